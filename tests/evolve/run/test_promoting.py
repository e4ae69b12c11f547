"""Trials that are paused and promoted: the same on every engine and after a crash, and to the same bits as unpaused."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from optuna.trial import TrialState

from detector import checkpoint
from evolve.errors import StudyError
from evolve.run.crew import Asked, crew
from evolve.run.detection import best_path, checkpoint_path
from evolve.run.doctor.trials import left_behind
from evolve.run.engines import Engine, ProcessEngine, SerialEngine
from evolve.run.events import StudyStopped, TrialEnded, TrialPaused, TrialStarted
from evolve.run.keeping import unneeded, unneeded_of
from evolve.run.lanes import DetectionObjective
from evolve.storage.database import Storage
from evolve.storage.time_spent import time_spent
from evolve.storage.trial_rows import trial_rows
from evolve.study import Study
from tests.fake_runs import events_of, run_in_workers, trials_told
from tests.fakes import fake_study, make_fake
from tests.processes import forked
from tests.scenes import few_scenes

PROMOTING: dict[str, Any] = {"pruner": "promotion", "epochs": 27, "budget": {"trials": 12}, "sampler": "tpe"}


def faked(folder: Path, study: Study, seconds: float = 0.0) -> Callable[[], Any]:
    return partial(make_fake, study.epochs, folder, seconds)


def told(folder: Path, name: str = "fake") -> list[tuple[object, ...]]:
    """What each trial was and what it came to."""
    return [(each.params, each.state, each.values, each.intermediate_values) for each in trials_told(folder, name)]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[object, ...]]:
    folder, study = tmp_path_factory.mktemp("straight"), fake_study(**PROMOTING)
    events = events_of(study, folder, SerialEngine(faked(folder, study)))
    assert isinstance(events[-1], StudyStopped) and events[-1].is_complete
    return told(folder)


def test_a_third_of_a_rung_goes_on_and_all_end_once_none_may(straight: list[tuple[object, ...]]) -> None:
    lengths = [len(reported) for *_, reported in straight]  # type: ignore[arg-type]
    states = [state for _, state, *_ in straight]

    assert len(straight) == 12
    assert set(lengths) <= {0, 1, 3, 9, 27}
    assert 4 <= sum(length >= 9 for length in lengths) < 12
    assert states.count(TrialState.COMPLETE) >= 1
    assert all((state is TrialState.COMPLETE) == (length == 27) for state, length in zip(states, lengths, strict=True))


@pytest.mark.parametrize("stop_after", [2, 5, 9, 14, 20, 33, 47])
def test_a_run_that_is_killed_anywhere_goes_on_as_if_it_had_not_been(
    stop_after: int, tmp_path: Path, straight: list[tuple[object, ...]]
) -> None:
    study = fake_study(**PROMOTING)
    events_of(study, tmp_path, SerialEngine(faked(tmp_path, study)), stop_after=stop_after)

    events_of(study, tmp_path, SerialEngine(faked(tmp_path, study)))

    assert told(tmp_path) == straight


def test_kill_9_while_trials_wait_changes_nothing_of_what_is_found(
    tmp_path: Path, straight: list[tuple[object, ...]]
) -> None:
    program = partial(run_in_workers, fake_study(**PROMOTING), tmp_path, seconds=0.005)
    with forked(program, tmp_path) as driver:
        driver.wait_until(lambda: driver.said().count("TrialPaused") >= 4)
        driver.send(signal.SIGKILL)
        driver.ended()
    waiting = sum(state is TrialState.RUNNING for _, state, *_ in told(tmp_path))

    with forked(program, tmp_path) as driver:
        ended = driver.ended()

    assert ended.returncode == 0, ended.stderr
    assert waiting >= 2
    assert told(tmp_path) == straight


ENGINES: dict[str, Callable[[Any], Engine]] = {
    "lanes": partial(SerialEngine, lanes=4),
    "workers": partial(ProcessEngine, workers=2),
    "workers with lanes": partial(ProcessEngine, workers=2, lanes=2),
}


@pytest.mark.parametrize("engine", ENGINES)
def test_whoever_trains_all_end_and_the_best_of_each_rung_went_on(engine: str, tmp_path: Path) -> None:
    study = fake_study(**PROMOTING | {"sampler": "random"})

    events = events_of(study, tmp_path, ENGINES[engine](faked(tmp_path, study)))

    found = told(tmp_path)
    assert isinstance(events[-1], StudyStopped) and events[-1].is_complete
    assert sum(isinstance(each, TrialEnded) for each in events) == 12
    assert all(state.is_finished() for _, state, *_ in found)  # type: ignore[attr-defined]
    first = {number: reported[2] for number, (*_, reported) in enumerate(found) if 2 in reported}  # type: ignore[index]
    sound = [number for number, (_, state, *_) in enumerate(found) if state is not TrialState.FAIL]
    best = max(sound, key=lambda number: first.get(number, 0.0))
    assert found[best][1] is TrialState.COMPLETE


def test_with_several_seeds_only_what_comes_to_the_end_trains_with_all(tmp_path: Path) -> None:
    study = fake_study(**PROMOTING | {"seeds": [0, 1]})

    events_of(study, tmp_path, SerialEngine(faked(tmp_path, study)))

    storage = Storage(f"sqlite:///{tmp_path}/evolve.db")
    rows = trial_rows(storage.engine, "fake")
    storage.close()
    seeds = {row.verdict: {len(each.trainings) for each in rows if each.verdict == row.verdict} for row in rows}
    assert seeds["pruned"] == {1}
    assert seeds[rows[0].verdict] == {2} and rows[0].is_trained_through


def test_a_trial_that_waits_is_said_to_do_so_and_keeps_its_weights(tmp_path: Path) -> None:
    study = fake_study(**PROMOTING | {"space": {"lr0": {"low": 0.01, "high": 0.5}}})
    events = events_of(study, tmp_path, SerialEngine(faked(tmp_path, study)), stop_after=20)
    paused = [each for each in events if isinstance(each, TrialPaused)]
    storage = Storage(f"sqlite:///{tmp_path}/evolve.db")
    study_id = storage.study_id("fake")

    rows = {row.number: row for row in trial_rows(storage.engine, "fake")}
    left = {finding.where for finding in left_behind(storage, study, study_id, "evolve run")}
    with storage.engine.connect() as connection:
        spent = time_spent(connection, study_id)
    dropped = [*unneeded(tmp_path, study, storage, study_id)]
    ended = storage.verdicts(study_id)
    storage.close()

    waiting = [each.trial.number for each in paused]
    assert waiting and all(rows[number].verdict == "paused" for number in waiting)
    assert rows[waiting[0]].reason == paused[0].outcome.reason
    assert "after 3 of 27 epochs: place 1 of 1 so far" in rows[waiting[0]].reason
    assert any(event.startswith("paused: fitness") for event in rows[waiting[0]].events)
    assert not any(where.endswith(f"trial {number}") for where in left for number in waiting)
    assert spent.by_verdict["paused"].total > 0
    assert not dropped and not ended.keys() & set(waiting)


def test_where_the_data_have_changed_trials_that_trained_or_waited_begin_anew_with_their_parameters(
    tmp_path: Path,
) -> None:
    study = fake_study(**PROMOTING | {"space": {"lr0": {"low": 0.01, "high": 0.5}}})
    kept = {"fixed_params": {"lr0": 0.1}, "evolve:parent": 3}
    events_of(study, tmp_path, SerialEngine(faked(tmp_path, study)), stop_after=20)
    before = trials_told(tmp_path)
    unfinished = [trial.number for trial in before if trial.state is TrialState.RUNNING]
    with closing(Storage(f"sqlite:///{tmp_path}/evolve.db")) as storage:
        for key, value in kept.items():
            storage.optuna.set_trial_system_attr(before[unfinished[0]]._trial_id, key, value)
        storage.forget_unfinished(storage.study_id("fake"))
        rows = trial_rows(storage.engine, "fake")
    after = trials_told(tmp_path)
    for checkpoint_of_fake in tmp_path.glob("*.json"):  # are of other data
        checkpoint_of_fake.unlink()
    events = events_of(study, tmp_path, SerialEngine(faked(tmp_path, study)))

    assert any(before[number].system_attrs.get("evolve:paused") for number in unfinished)
    assert [trial.params for trial in after] == [trial.params for trial in before]
    assert not any(after[number].intermediate_values for number in unfinished)
    assert [after[number].system_attrs for number in unfinished] == [kept, *[{}] * (len(unfinished) - 1)]
    assert {row.verdict for row in rows if row.number in unfinished} == {"interrupted"}
    assert [event.trial.number for event in events if isinstance(event, TrialStarted)][: len(unfinished)] == unfinished
    assert isinstance(events[-1], StudyStopped) and events[-1].is_complete


def test_of_a_trial_that_waits_only_the_checkpoint_before_the_last_is_dropped(tmp_path: Path) -> None:
    study, last = fake_study(**PROMOTING), checkpoint_path(tmp_path, 3, 0)
    last.parent.mkdir(parents=True)
    for path in (last, best_path(last), checkpoint.before_path(last)):
        path.touch()

    assert [*unneeded_of(tmp_path, study, 3, {3: "paused"}, is_exportable=False)] == [checkpoint.before_path(last)]


def test_a_trial_that_can_no_longer_be_promoted_ends_as_pruned_and_says_why(tmp_path: Path) -> None:
    study = fake_study(**PROMOTING)
    events_of(study, tmp_path, SerialEngine(faked(tmp_path, study)))
    storage = Storage(f"sqlite:///{tmp_path}/evolve.db")
    rows = trial_rows(storage.engine, "fake")
    study_id = storage.study_id("fake")
    dropped = {each.parent.name if each.suffix else each.name for each in unneeded(tmp_path, study, storage, study_id)}
    storage.close()

    pruned = [row for row in rows if row.verdict == "pruned"]
    assert pruned and all(", of whom 1 in 3 goes on" in row.reason for row in pruned)
    assert all(row.trainings[0].verdict == "pruned" for row in pruned)
    assert any("promoted: from 3 to 9 epochs, as place" in event for row in rows for event in row.events)
    assert not dropped  # no files were made


def test_time_that_is_up_leaves_trials_waiting_and_the_next_run_goes_on_with_them(tmp_path: Path) -> None:
    study = fake_study(**PROMOTING | {"budget": {"trials": 12, "seconds": 50}})

    events = events_of(study, tmp_path, SerialEngine(faked(tmp_path, study)), times=[float(at) for at in range(60)])
    before = told(tmp_path)
    again = events_of(study, tmp_path, SerialEngine(faked(tmp_path, study)), times=[0.0])

    assert isinstance(events[-1], StudyStopped) and not events[-1].is_complete
    assert sum(state is TrialState.RUNNING for _, state, *_ in before) >= 2
    assert isinstance(again[-1], StudyStopped) and again[-1].is_complete
    assert all(state.is_finished() for _, state, *_ in told(tmp_path))  # type: ignore[attr-defined]


def test_where_all_diverge_each_is_a_result_and_the_study_ends(tmp_path: Path) -> None:
    study = fake_study(**PROMOTING | {"space": {"lr0": {"low": 2, "high": 9}}})

    events = events_of(study, tmp_path, SerialEngine(faked(tmp_path, study)))

    assert isinstance(events[-1], StudyStopped) and events[-1].is_complete
    assert [state for _, state, *_ in told(tmp_path)] == [TrialState.PRUNED] * 12


def test_promotion_is_refused_on_a_cluster() -> None:
    with pytest.raises(StudyError, match="--engine ray: trials that are promoted go on from their checkpoints"):
        crew(Asked(engine="ray"), ["cpu"], trials=8, sampler="random", pruner="promotion")


REAL = Study.from_mapping(
    {
        "name": "real",
        "data": "digits-1",
        "image_size": 32,
        "batch_size": 4,
        "epochs": 3,
        "hyperparameters": {"warmup_epochs": 1},
        "space": {"lr0": {"low": 1e-3, "high": 1e-2}, "momentum": {"low": 0.5, "high": 0.95}},
        "sampler": "random",
        "budget": {"trials": 3},
        "thresholds": {"floor": 0.0},
        "keep_weights": "all",
    },
    origin="test",
)


def trained(study: Study, folder: Path, *, lanes: int) -> dict[int, Any]:
    """The last checkpoint of each trial that has all epochs."""
    data = few_scenes("digits-1", train=8, val=4, test=4)
    made = DetectionObjective(study=study, device="cpu", run_folder=folder, dataset=data)
    folder.mkdir()
    events_of(study, folder, SerialEngine(lambda: made, lanes=lanes))
    found = {number: checkpoint.load(checkpoint_path(folder, number, 0)) for number in range(3)}
    return {number: each for number, each in found.items() if each.epoch == study.epochs - 1}


def test_a_promoted_trial_has_the_bits_of_one_that_never_paused(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    whole = trained(REAL, tmp_path / "whole", lanes=1)
    promoting = Study.from_mapping(REAL.to_mapping() | {"pruner": "promotion"}, origin="test")
    paused = trained(promoting, tmp_path / "paused", lanes=1)
    torch.set_num_threads(before)

    assert len(whole) == 3 and len(paused) == 1
    ((number, mine),) = paused.items()
    theirs = whole[number]
    assert all(torch.equal(mine.weights[name], theirs.weights[name]) for name in theirs.weights)
    assert mine.metrics == theirs.metrics and mine.val_losses == theirs.val_losses
    assert mine.train_losses == theirs.train_losses
