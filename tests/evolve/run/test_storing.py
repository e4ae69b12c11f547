"""What comes of trials that train side by side is stored at once, before anybody learns of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import create_engine, delete, event, update

from dashboards.data.study_loading import load
from detector.telemetry import EndCause, LaneEnded, LaneStarted
from evolve.run.engines import Ended, EngineEvent, Progress, SerialEngine
from evolve.run.events import RunEvent, TrialEnded, TrialStarted
from evolve.run.runner import StudyRun
from evolve.search.samplers import make_sampler
from evolve.storage.database import Storage
from evolve.storage.trials import Trials
from evolve.study import Study
from evolve.study.trial import Record, Trial
from tests.evolve.run.test_runner import run, verdicts
from tests.fake_runs import events_of, trials_told
from tests.fakes import STEPS_PER_EPOCH, fake_study, make_fake, metrics_of, step_of

EPOCHS = 3
LANES = 4


class Lanes:
    """An engine whose trials train in step: all of them yield an epoch in one list of events."""

    capacity = LANES

    def __init__(self, url: str) -> None:
        self.under_way: dict[int, tuple[Trial, int]] = {}
        self.commits: list[int] = []  # until each list of events was done with
        self.stored: list[bool] = []  # whether others saw an epoch's records when it was decided on
        self._others, self._commits = Storage(url, reads_only=True), 0

    def watch(self, storage: Storage) -> None:
        """Counts transactions that are committed."""

        def count(_connection: Any) -> None:
            self._commits += 1

        event.listen(storage.engine, "commit", count)

    def submit(self, trial: Trial) -> None:
        self.under_way[trial.number] = trial, 0

    def events(self, timeout: float) -> list[EngineEvent]:
        self.commits.append(self._commits)
        found: list[EngineEvent] = []
        for number, (trial, epoch) in list(self.under_way.items()):
            records = list(records_of(trial, epoch))
            found.append(Progress(trial=number, records=records, awaits_decision=epoch < EPOCHS))
            self.under_way[number] = trial, epoch + 1
            if epoch >= EPOCHS:
                found.append(Ended(trial=number))
                del self.under_way[number]
        return found

    def decide(self, trial: int, *, goes_on: bool, reason: str = "") -> None:
        _, epochs = self.under_way[trial]
        trial_id = trial + 1  # of the only study
        self.stored.append(self._others.records.last_epochs(trial_id) == {0: epochs - 1})
        if not goes_on:
            self.under_way[trial] = self.under_way[trial][0], EPOCHS + 1

    def hurry(self) -> None:
        """Nothing takes time."""

    def close(self) -> None:
        self._others.close()


def records_of(trial: Trial, epoch: int) -> Iterator[Record]:
    def record(telemetry: Any) -> Record:
        return Record(trial=trial.number, seed=0, telemetry=telemetry)

    lr0, first = float(trial.params["lr0"]), epoch * STEPS_PER_EPOCH
    if epoch == 0:
        yield record(LaneStarted(lane=0, epoch=0, step=0, total_steps=EPOCHS * STEPS_PER_EPOCH))
    if epoch >= EPOCHS:
        cause = EndCause.FINISHED if epoch == EPOCHS else EndCause.STOPPED
        yield record(LaneEnded(lane=0, step=first, cause=cause, reason="ran all epochs"))
        return
    yield from (record(step_of(lr0, 0, step, epoch)) for step in range(first, first + STEPS_PER_EPOCH))
    yield record(metrics_of(lr0, 0, epoch, EPOCHS, "val"))


def side_by_side(study: Study, folder: Path) -> tuple[Lanes, list[RunEvent]]:
    url = f"sqlite:///{folder}/evolve.db"
    with closing(Storage(url)) as storage:
        engine = Lanes(url)
        started = StudyRun(study, storage, engine, environment_id="test")
        with storage.lease(started.study_id, study.name) as lease:
            engine.watch(storage)
            return engine, list(started.events(lease))


SPACE = {"lr0": {"low": 1e-3, "high": 0.9, "log": True}}


@pytest.mark.parametrize("pruner", ["none", "asha"])
def test_one_list_of_events_is_one_transaction_and_decided_on_after_it(tmp_path: Path, pruner: str) -> None:
    engine, events = side_by_side(
        fake_study(epochs=EPOCHS, budget={"trials": LANES}, space=SPACE, pruner=pruner), tmp_path
    )

    # From the third list on nothing else is stored between two lists, and trials are under way together.
    between = [later - earlier for earlier, later in zip(engine.commits[1:], engine.commits[2:], strict=False)]
    assert len([each for each in events if isinstance(each, TrialEnded)]) == LANES
    assert set(between) == {1}
    assert len(engine.stored) > LANES and all(engine.stored)


def test_lanes_are_pruned_against_each_other_and_every_trial_is_told(tmp_path: Path) -> None:
    study = fake_study(epochs=EPOCHS, budget={"trials": 4 * LANES}, space=SPACE, pruner="asha", sampler="tpe")

    side_by_side(study, tmp_path)

    found = trials_told(tmp_path)
    assert "pruned" in verdicts(tmp_path).values()
    assert [each.number for each in found] == list(range(4 * LANES))
    assert all(each.state.is_finished() and set(each.params) == set(study.space) for each in found)
    assert all(each.system_attrs for each in found)  # rungs


def test_a_trial_that_ends_has_its_outcome_and_optunas_or_neither(tmp_path: Path) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched, suppress(KeyboardInterrupt):
        patched.setattr(Trials, "tell", killed)
        run(fake_study(), tmp_path)

    assert [each.state for each in trials_told(tmp_path)] == [TrialState.RUNNING]
    assert verdicts(tmp_path) == {}
    run(fake_study(), tmp_path)
    (whole := tmp_path / "whole").mkdir()
    run(fake_study(), whole)
    assert [(each.params, each.values) for each in trials_told(tmp_path)] == [
        (each.params, each.values) for each in trials_told(whole)
    ]


def test_a_trial_that_an_older_evolve_ended_and_did_not_tell_is_told(tmp_path: Path) -> None:
    run(fake_study(), tmp_path)
    before = trials_told(tmp_path)
    with closing(Storage(f"sqlite:///{tmp_path}/evolve.db")) as storage, storage.engine.begin() as connection:
        trials, values = models.TrialModel.__table__, models.TrialValueModel.__table__
        last = before[-1]._trial_id
        running = {"state": TrialState.RUNNING, "datetime_complete": None}
        connection.execute(update(trials).where(trials.c.trial_id == last).values(running))
        connection.execute(delete(values).where(values.c.trial_id == last))

    events = run(fake_study(), tmp_path)

    assert len(events) == 1
    assert [(each.state, each.values) for each in trials_told(tmp_path)] == [
        (each.state, each.values) for each in before
    ]


@pytest.mark.parametrize("sampler", ["random", "tpe", "cmaes", "evolution"])
def test_a_run_asks_what_optunas_ask_would(tmp_path: Path, sampler: str) -> None:
    study = fake_study(sampler=sampler, budget={"trials": 14}, space=SPACE | {"momentum": {"low": 0.5, "high": 0.95}})
    run(study, tmp_path)
    found = trials_told(tmp_path)

    for number in (0, 1, 11, 13):
        search = optuna.create_study(direction="maximize", sampler=make_sampler(study))
        search.add_trials(found[:number])
        assert search.ask(study.space.distributions()).params == found[number].params


def test_children_are_stored_with_their_parent(tmp_path: Path) -> None:
    run(fake_study(sampler="evolution", budget={"trials": 12}), tmp_path)

    parents = {each.number: each.system_attrs.get("evolve:parent") for each in trials_told(tmp_path)}

    assert [number for number, parent in parents.items() if parent is None] == [0, 1, 2, 3, 4]
    assert all(parent < number for number, parent in parents.items() if parent is not None)
    shown = create_engine(f"sqlite:///{tmp_path}/evolve.db")
    assert load(shown, "fake").parents == {number: each for number, each in parents.items() if each is not None}
    shown.dispose()


def test_a_trial_that_somebody_queues_in_optuna_is_trained_next(tmp_path: Path) -> None:
    run(fake_study(budget={"trials": 2}), tmp_path)
    theirs = optuna.load_study(study_name="fake", storage=f"sqlite:///{tmp_path}/evolve.db")
    theirs.enqueue_trial({"lr0": 0.125})

    run(fake_study(budget={"trials": 4}), tmp_path)

    found = trials_told(tmp_path)
    assert [each.number for each in found] == [0, 1, 2, 3]
    assert found[2].params["lr0"] == 0.125 and 0.5 <= found[2].params["momentum"] <= 0.95
    assert all(each.state.is_finished() for each in found)


@pytest.mark.parametrize(("name", "value"), [("lr0", -5.0), ("lr0", "abc"), ("optimizer", "nope")])
def test_a_trial_that_was_queued_with_what_it_cannot_have_fails_alone(tmp_path: Path, name: str, value: object) -> None:
    space = SPACE | {"optimizer": {"choices": ["sgd", "adam"]}}
    run(fake_study(space=space, budget={"trials": 1}), tmp_path)
    optuna.load_study(study_name="fake", storage=f"sqlite:///{tmp_path}/evolve.db").enqueue_trial({name: value})

    events = run(fake_study(space=space, budget={"trials": 3}), tmp_path)

    failed = next(event for event in events if isinstance(event, TrialEnded))
    assert failed.outcome.verdict == "failed"
    assert failed.outcome.reason.startswith(f"trial 1: {name}: {value!r} was asked for, and is no value of ")
    states = [trial.state for trial in trials_told(tmp_path)]
    assert states == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE]
    assert verdicts(tmp_path)[1] == "failed"


def test_a_study_that_optunas_tools_removed_hands_nothing_to_the_next(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/evolve.db"
    once = fake_study(space={"lr0": {"choices": [0.1]}}, budget={"trials": 1})
    for folder in (tmp_path / "before", tmp_path / "after"):
        folder.mkdir()
    in_folder(once, tmp_path, "before")
    optuna.delete_study(study_name="fake", storage=url)

    started, *_, ended, _ = in_folder(
        fake_study(space={"lr0": {"choices": [0.05]}}, budget={"trials": 1}), tmp_path, "after"
    )

    assert isinstance(started, TrialStarted) and not started.is_resumed
    assert isinstance(ended, TrialEnded) and [trial.values for trial in trials_told(tmp_path)] == [
        [ended.outcome.fitness]
    ]


def test_a_study_that_goes_on_gets_nothing_of_one_that_optunas_tools_removed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/evolve.db"
    (tmp_path / "gone").mkdir()
    run(fake_study(budget={"trials": 1}), tmp_path)
    in_folder(fake_study(name="removed", budget={"trials": 2}), tmp_path, "gone")
    optuna.delete_study(study_name="removed", storage=url)

    events = run(fake_study(budget={"trials": 2}), tmp_path)

    assert [event.is_resumed for event in events if isinstance(event, TrialStarted)] == [False]


def in_folder(study: Study, folder: Path, checkpoints: str) -> list[object]:
    """Events of a run whose checkpoints lie in a folder of their own."""
    return events_of(study, folder, SerialEngine(partial(make_fake, study.epochs, folder / checkpoints)))
