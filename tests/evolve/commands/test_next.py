"""The command that is named next works as it is printed."""

from __future__ import annotations

import pytest

from evolve.commands.again import typed_with
from evolve.commands.options import DEFAULT_STORAGE
from evolve.commands.output import say_next


def test_the_next_command_reads_the_database_of_this_one(capsys: pytest.CaptureFixture[str]) -> None:
    say_next(["evolve", "report", "my study"], as_json=False, storage="sqlite:///my runs/other.db")

    expected = "next    evolve report 'my study' --storage 'sqlite:///my runs/other.db'\n"
    assert capsys.readouterr().out == expected


def test_a_database_that_is_found_without_is_not_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVOLVE_STORAGE", "sqlite:///other.db")

    say_next(["evolve", "show", "a"], as_json=False, storage=DEFAULT_STORAGE)
    say_next(["evolve", "show", "b"], as_json=False, storage="sqlite:///other.db")
    say_next(["evolve", "studies"], as_json=False)
    say_next(["evolve", "studies"], as_json=True)

    first, *others = capsys.readouterr().out.splitlines()
    assert others == ["next    evolve show b", "next    evolve studies"]
    assert first == f"next    evolve show a --storage {DEFAULT_STORAGE}"  # the environment names the other one


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("run --study my_data --epochs 3", "evolve run --study my_data --updates 600"),
        ("run --study my_data-photos --resume", ""),
        ("run --study my_data --name photos", ""),
        ("train --hyp hyp.yaml --name=mine", ""),
        ("cure my_data-photos", ""),
    ],
)
def test_a_command_is_named_with_other_options_only_where_it_takes_them(
    typed: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["evolve", *typed.split()])

    assert typed_with({"--updates": 600}) == expected
