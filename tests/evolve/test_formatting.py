"""Numbers and names as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolve.formatting import choice


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
