"""Trials written to Optuna's tables directly, beside Optuna and others who write there too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import TrialState
from sqlalchemy import create_engine, event, inspect, text

from evolve.errors import StorageError
from evolve.storage.database import Storage
from evolve.storage.trials import TakenError, Trials
from tests.contracts.optuna_tables import check_read_alike, check_written_alike

SPACE: dict[str, BaseDistribution] = {"lr0": FloatDistribution(0, 1), "momentum": FloatDistribution(0, 1)}
PARAMS = {"lr0": 0.25, "momentum": 0.5}


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    opened = Storage(f"sqlite:///{tmp_path}/evolve.db")
    yield opened
    opened.close()


@pytest.fixture
def theirs(storage: Storage) -> optuna.Study:
    """The study as another process has it open."""
    return optuna.create_study(storage=storage.url, study_name="both", direction="maximize")


@pytest.fixture
def trials(storage: Storage, theirs: optuna.Study) -> Trials:
    found = storage.trials(theirs._study_id, holds_ended=True)
    found.refresh()
    return found


def test_optuna_reads_what_it_would_have_written_itself(tmp_path: Path) -> None:
    check_written_alike(f"sqlite:///{tmp_path}/evolve.db")


def test_a_trial_that_others_queue_waits_and_one_that_they_run_is_followed_to_its_end(
    storage: Storage, theirs: optuna.Study, trials: Trials
) -> None:
    mine = trials.add(dict(PARAMS), SPACE)
    theirs.enqueue_trial({"lr0": 0.1})
    running = theirs.ask(SPACE)
    theirs.enqueue_trial({"lr0": 0.2})
    trials.refresh()

    assert [trial.number for trial in trials.waiting()] == [2]
    assert [trial.number for trial in trials.running()] == [0, 1]
    theirs.tell(running, 0.5)
    trials.tell(mine, TrialState.COMPLETE, 0.75)
    trials.refresh()

    assert trials.running() == []
    check_read_alike(storage, theirs._study_id, trials)


def test_a_number_that_others_took_is_not_given_twice(storage: Storage, theirs: optuna.Study, trials: Trials) -> None:
    theirs.ask(SPACE)

    with pytest.raises(TakenError), storage.transactions.together():
        trials.add(dict(PARAMS), SPACE)
    trials.refresh()
    trials.add(dict(PARAMS), SPACE)

    assert [trial.number for trial in theirs.get_trials()] == [0, 1]


def test_a_queued_trial_that_others_have_begun_is_theirs(
    storage: Storage, theirs: optuna.Study, trials: Trials
) -> None:
    theirs.enqueue_trial(PARAMS)
    trials.refresh()
    waiting = trials.waiting()[0]
    begun = theirs.ask(SPACE)

    with pytest.raises(TakenError):
        trials.take_up(waiting, dict(PARAMS), SPACE)
    theirs.tell(begun, 0.5)
    trials.refresh()

    assert trials.waiting() == [] == trials.running()
    check_read_alike(storage, theirs._study_id, trials)


def test_a_trial_that_others_have_ended_is_not_ended_again(theirs: optuna.Study, trials: Trials) -> None:
    trial = trials.add(dict(PARAMS), SPACE)
    theirs.tell(trial.number, 0.5)

    with pytest.raises(StorageError, match="trial 0: another process has ended it"):
        trials.tell(trial, TrialState.COMPLETE, 0.75)

    assert theirs.trials[0].value == 0.5


def test_a_value_reported_again_replaces_the_one_that_is_there(theirs: optuna.Study, trials: Trials) -> None:
    trial = trials.add(dict(PARAMS), SPACE)
    for value in (0.25, 0.5):
        trials.report(trial, 3, value)
        trials.keep(trial, {"rung": value})

    (read,) = theirs.get_trials()
    assert read.intermediate_values == trial.intermediate_values == {3: 0.5}
    assert read.system_attrs == trial.system_attrs == {"rung": 0.5}


def test_ended_trials_leave_memory_where_nobody_looks_back(theirs: optuna.Study, storage: Storage) -> None:
    for value in (0.25, 0.5):
        theirs.tell(theirs.ask(SPACE), value)
    trials = storage.trials(theirs._study_id, holds_ended=False)
    trials.refresh()
    trial = trials.add(dict(PARAMS), SPACE)

    assert (trial.number, trials.held()) == (2, [trial])
    trials.tell(trial, TrialState.COMPLETE, 0.75)
    theirs.tell(theirs.ask(SPACE), 1.0)
    trials.refresh()

    assert (trials.count, trials.held()) == (4, [])


def test_an_ended_trial_is_never_read_again(storage: Storage, trials: Trials) -> None:
    asked: dict[int, int] = {}
    for number in range(40):
        with counted(storage) as statements:
            trials.refresh()
            trial = trials.add(dict(PARAMS), SPACE)
        asked[number] = len(statements)
        trials.tell(trial, TrialState.COMPLETE, 0.5)

    assert set(list(asked.values())[1:]) == {4}  # what is new, the trial, its place, its parameters


def test_together_is_everything_or_nothing_and_reads_its_own_writing(storage: Storage, trials: Trials) -> None:
    with pytest.raises(KeyboardInterrupt), storage.transactions.together():
        trial = trials.add(dict(PARAMS), SPACE)
        storage.begin_trial(trial._trial_id, study_id=1, number=0, environment_id="e")
        with storage.transactions.together():
            assert not storage.begin_trial(trial._trial_id, study_id=1, number=0, environment_id="e")
        raise KeyboardInterrupt

    assert storage.outcome(1) is None
    assert storage.optuna.get_n_trials(1) == 0
    assert storage.begin_trial(1, study_id=1, number=0, environment_id="e")


@contextmanager
def counted(storage: Storage) -> Iterator[list[str]]:
    """Statements that are carried out within the block."""
    found: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        found.append(statement)

    event.listen(storage.engine, "before_cursor_execute", note)
    yield found
    event.remove(storage.engine, "before_cursor_execute", note)


def test_indexes_that_a_killed_process_did_not_come_to_make_are_made_by_the_next(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/evolve.db"
    Storage(url).close()
    database = create_engine(url)
    with database.begin() as connection:
        before = {table: inspect(connection).get_indexes(table) for table in ("studies", "trials")}
        connection.execute(text("drop index ix_studies_study_name"))

    Storage(url).close()

    with database.begin() as connection:
        assert {table: inspect(connection).get_indexes(table) for table in before} == before
    database.dispose()
    optuna.create_study(study_name="once", storage=url)
    with pytest.raises(optuna.exceptions.DuplicatedStudyError):
        optuna.create_study(study_name="once", storage=url)
