"""The command that is named next works as it is printed."""

from __future__ import annotations

import pytest

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

    say_next(["evolve", "studies"], as_json=False, storage=DEFAULT_STORAGE)
    say_next(["evolve", "studies"], as_json=False, storage="sqlite:///other.db")
    say_next(["evolve", "studies"], as_json=True)

    assert capsys.readouterr().out == "next    evolve studies\n" * 2
