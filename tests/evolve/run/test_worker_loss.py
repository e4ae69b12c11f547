"""Workers that die, stop or get nowhere: their trials go on from the last checkpoint, and a run comes to its end."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

import pytest
from optuna.trial import TrialState

from evolve.run.engines import Limits, ProcessEngine
from evolve.run.events import StudyStopped, TrialEnded, WorkerLost
from evolve.run.runner import StudyRun
from evolve.storage.database import Storage
from evolve.study import Study
from tests.evolve.run.test_runner import run, verdicts
from tests.fake_runs import trials_told
from tests.fakes import fake_study, make_fake


def run_in_processes(
    study: Study,
    folder: Path,
    signals: dict[int, signal.Signals],
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    workers: int = 1,
) -> list[object]:
    """Events of a run whose workers send signals to themselves, at the given steps, once a trial."""
    storage = Storage(f"sqlite:///{folder}/evolve.db")
    make = partial(make_fake, study.epochs, folder, 0.0, signals)
    started = StudyRun(study, storage, ProcessEngine(make, workers=workers, limits=limits), environment_id="test")
    with storage.lease(started.study_id, study.name) as lease:
        seen: list[object] = list(started.events(lease))
    storage.close()
    return seen


def as_if_nothing_had_happened(study: Study, folder: Path) -> list[tuple[object, ...]]:
    alone = folder / "alone"
    alone.mkdir()
    run(study, alone)
    return [(each.params, each.values, each.state) for each in trials_told(alone)]


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSEGV, signal.SIGRTMIN])
def test_a_worker_that_dies_costs_no_trial(tmp_path: Path, sent: signal.Signals) -> None:
    study = fake_study(sampler="tpe")

    events = run_in_processes(study, tmp_path, {12: sent})

    lost = [each for each in events if isinstance(each, WorkerLost)]
    reached = [each for each in trials_told(tmp_path) if len(each.intermediate_values) == study.epochs]
    assert len(lost) == len(reached) > 0
    assert all(each.is_retried and "worker process died with signal" in each.reason for each in lost)
    assert [(each.params, each.values, each.state) for each in trials_told(tmp_path)] == as_if_nothing_had_happened(
        study, tmp_path
    )


def test_a_worker_may_die_once_between_any_two_epochs(tmp_path: Path) -> None:
    study = fake_study(space={"lr0": {"choices": [0.1]}}, budget={"trials": 1})

    events = run_in_processes(study, tmp_path, {2: signal.SIGKILL, 7: signal.SIGKILL, 13: signal.SIGKILL})

    assert len([each for each in events if isinstance(each, WorkerLost)]) == 3
    assert verdicts(tmp_path) == {0: "undertrained"}


def test_a_worker_that_dies_twice_without_an_epoch_between_fails_its_trial_alone(tmp_path: Path) -> None:
    study = fake_study(space={"lr0": {"choices": [0.1]}}, budget={"trials": 2})

    events = run_in_processes(study, tmp_path, {6: signal.SIGKILL, 7: signal.SIGKILL})

    ended = [each for each in events if isinstance(each, TrialEnded)]
    assert [str(each.outcome.verdict) for each in ended] == ["failed", "failed"]
    assert "SIGKILL" in ended[0].outcome.reason and "twice without an epoch between" in ended[0].outcome.reason


def test_trials_that_all_lose_their_workers_stop_the_study_with_what_to_change(tmp_path: Path) -> None:
    study = fake_study(space={"lr0": {"choices": [0.1]}})

    last = run_in_processes(study, tmp_path, {2: signal.SIGKILL, 3: signal.SIGKILL})[-1]

    assert isinstance(last, StudyStopped) and last.is_failed
    assert last.reason.startswith("3 trials in a row lost their worker twice") and "--workers 1" in last.reason


def test_a_worker_that_stops_is_found_and_its_trial_goes_on(tmp_path: Path) -> None:
    study = fake_study(space={"lr0": {"choices": [0.1]}}, budget={"trials": 1})

    events = run_in_processes(study, tmp_path, {12: signal.SIGSTOP}, limits=Limits(silent_seconds=8))

    (lost,) = [each for each in events if isinstance(each, WorkerLost)]
    assert "was silent for" in lost.reason
    assert verdicts(tmp_path) == {0: "undertrained"}


def test_when_the_time_is_up_a_worker_that_gets_nowhere_is_not_waited_for(tmp_path: Path) -> None:
    study = fake_study(space={"lr0": {"choices": [0.1]}}, budget={"trials": 2, "seconds": 1})

    limits = Limits(silent_seconds=1000, hurried_seconds=1)
    events = run_in_processes(study, tmp_path, {12: signal.SIGSTOP}, limits=limits)

    (lost,) = [each for each in events if isinstance(each, WorkerLost)]
    assert not lost.is_retried and "got no further" in lost.reason
    last = events[-1]
    assert isinstance(last, StudyStopped) and last.reason == "time budget of 1 s spent" and not last.is_failed
    assert [each.state for each in trials_told(tmp_path)] == [TrialState.RUNNING]


def test_the_budget_is_not_spent_where_its_last_trial_was_left_to_the_next_run(tmp_path: Path) -> None:
    study = fake_study(space={"lr0": {"choices": [0.1]}}, budget={"trials": 1, "seconds": 1})

    limits = Limits(silent_seconds=1000, hurried_seconds=1)
    last = run_in_processes(study, tmp_path, {12: signal.SIGSTOP}, limits=limits)[-1]

    assert last == StudyStopped(reason="time budget of 1 s spent", is_complete=False)


def test_a_trial_that_takes_too_long_goes_on_once_from_its_checkpoint(tmp_path: Path) -> None:
    study = fake_study(space={"lr0": {"choices": [0.1]}}, budget={"trials": 1})

    events = run_in_processes(
        study, tmp_path, {12: signal.SIGSTOP}, limits=Limits(silent_seconds=1000, trial_seconds=6)
    )

    (lost,) = [each for each in events if isinstance(each, WorkerLost)]
    assert "took longer than budget.trial_seconds, 6 s" in lost.reason
    assert verdicts(tmp_path) == {0: "undertrained"}
