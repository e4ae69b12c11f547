"""A database that goes away while a study runs, and comes back."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import optuna
import pytest
from psycopg import errors
from sqlalchemy.exc import DBAPIError, OperationalError

from evolve.errors import StorageError
from evolve.run.away import is_away, wait_for
from evolve.run.crew import Asked
from evolve.run.events import DatabaseAway, StudyStopped, TrialEnded
from evolve.run.run import Run, run_study
from evolve.storage.lease import Lease
from evolve.storage.records import Records
from evolve.study.file import read_study
from tests.small_study import SMALL


def failed(reason: str) -> OperationalError:
    return OperationalError("insert", {}, sqlite3.OperationalError(reason))


def test_a_study_whose_database_goes_away_goes_on_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    study = read_study(str(tmp_path / "small.yaml"), {}).preview()
    calls, write = iter(range(1000)), Records.write

    def sometimes(self: Records, *arguments: Any) -> None:
        if next(calls) == 2:
            raise failed("disk I/O error")
        write(self, *arguments)

    def finished(folder: Path) -> list[tuple[object, ...]]:
        run = Run(study=study, storage_url=f"sqlite:///{folder}/evolve.db", asked=Asked(engine="serial"), runs=folder)
        events = list(run_study(run, should_stop=lambda: False))
        last = events[-1]
        assert isinstance(last, StudyStopped) and last.is_complete
        seen.append(sum(isinstance(each, DatabaseAway) for each in events))
        assert len({each.trial.number for each in events if isinstance(each, TrialEnded)}) == study.budget.trials
        trials = optuna.load_study(study_name=study.name, storage=run.storage_url).get_trials()
        return [(each.number, each.params, each.state, each.values) for each in trials]

    seen: list[int] = []
    whole = finished(tmp_path / "whole")
    monkeypatch.setattr(Records, "write", sometimes)

    assert finished(tmp_path / "away") == whole
    assert seen == [0, 1]


@pytest.mark.parametrize("is_asked_to_stop", [False, True])
def test_a_database_that_answers_and_takes_nothing_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_asked_to_stop: bool
) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    study = read_study(str(tmp_path / "small.yaml"), {}).preview()
    run = Run(study=study, storage_url=f"sqlite:///{tmp_path}/evolve.db", asked=Asked(engine="serial"), runs=tmp_path)
    seen: list[object] = []
    refused: list[object] = []

    def never(*_arguments: Any) -> None:
        refused.append(study)
        monkeypatch.setattr(Lease, "take", never)  # nor anything else from now on
        raise failed("database is locked")

    monkeypatch.setattr(Records, "write", never)
    with pytest.raises(OperationalError, match="database is locked"):
        seen.extend(run_study(run, should_stop=lambda: is_asked_to_stop and bool(refused)))

    assert sum(isinstance(each, DatabaseAway) for each in seen) == (0 if is_asked_to_stop else 1)
    assert len(refused) == (1 if is_asked_to_stop else 2)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (failed("database is locked"), True),
        (failed("disk I/O error"), True),
        (failed("no such table: evolve_step"), False),
        (failed("database or disk is full"), False),
        (OperationalError("select", {}, errors.AdminShutdown("terminating connection")), True),
        (DBAPIError("select", {}, errors.UndefinedColumn("no such column")), False),
        (DBAPIError("select", {}, errors.Error("gone"), connection_invalidated=True), True),
        (StorageError("another process has taken it over"), False),
    ],
    ids=str,
)
def test_only_a_database_that_cannot_be_reached_is_waited_for(error: Exception, expected: bool) -> None:
    assert is_away(error) is expected
    with pytest.raises(StorageError) as wrapped:
        raise StorageError("cannot be opened") from error
    assert is_away(wrapped.value) is expected


def test_a_database_is_waited_for_no_longer_than_the_limit(tmp_path: Path) -> None:
    waited: list[float] = []

    with pytest.raises(StorageError, match="run again when it answers: nothing finished is lost"):
        wait_for(f"sqlite:///{tmp_path}/nowhere/evolve.db", lambda: False, limit=20, sleep=waited.append)
    assert sum(waited) == 20


def test_whoever_asks_to_stop_is_not_made_to_wait_for_a_database(tmp_path: Path) -> None:
    waited: list[float] = []

    with pytest.raises(StorageError, match="run again when it answers: nothing finished is lost"):
        wait_for(f"sqlite:///{tmp_path}/nowhere/evolve.db", lambda: True, limit=20, sleep=waited.append)

    assert not waited
