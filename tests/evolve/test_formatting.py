"""Numbers and names as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolve.commands.aligning import aligned
from evolve.formatting import choice, duration, number


@pytest.mark.parametrize(
    ("stored", "read"),
    [("0.008490536346736001", "0.00849"), ("0.26970039133399487", "0.2697"), ("16", "16"), ("cosine", "cosine")],
)
def test_a_choice_stored_as_text_has_four_digits_where_it_is_a_long_number(stored: str, read: str) -> None:
    assert choice(stored).startswith(read) and len(choice(stored)) <= 8


@given(st.floats(1e-6, 1e6))
def test_a_choice_is_the_number_that_was_stored_but_for_its_digits(value: float) -> None:
    assert float(choice(str(value))) == pytest.approx(value, rel=1e-3)
    assert len(choice(str(value))) <= len(str(value))


def test_a_name_that_python_takes_for_a_number_stays_as_it_is() -> None:
    assert choice("infinity") == "infinity"


@given(st.text(alphabet="abcdefghijklmopqrstuvwxyz_-", min_size=1))
def test_a_name_stays_as_it_is(name: str) -> None:
    assert choice(name) == name


@pytest.mark.parametrize(
    ("value", "text"), [(9999.4, "9999"), (9999.7, "10,000"), (-9999.7, "-10,000"), (12345.6, "12,346"), (2e7, "2e+07")]
)
def test_a_number_that_rounds_to_ten_thousand_is_written_as_one(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(("seconds", "text"), [(59.94, "59.9 s"), (59.97, "1 min 0 s"), (3599.7, "1 h 0 min")])
def test_a_time_that_rounds_to_the_next_unit_is_written_in_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_table_shows_names_as_they_are_typed() -> None:
    assert aligned(("arm", "x"), [(":fire: [b]", "1")], left=(0,), width=None)[-1].split() == [":fire:", "[b]", "1"]
