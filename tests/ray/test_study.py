"""A study on a Ray cluster of two nodes: all of a trial's records, its losses, its stops and its second chances."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from sqlalchemy import select

from evolve.errors import EvolveError
from evolve.run.engines import SerialEngine
from evolve.run.events import StudyStopped, TrialEnded, WorkerLost
from evolve.run.objective import MakeObjective
from evolve.run.runner import StudyRun
from evolve.storage import schema
from evolve.storage.database import Storage
from evolve.study import Study
from tests.evolve.run.test_runner import verdicts
from tests.fake_runs import trials_told
from tests.fakes import STEPS_PER_EPOCH, fake_study, make_fake
from tests.ray.conftest import CPUS

pytestmark = pytest.mark.ray


def run(
    study: Study, folder: Path, *, step_seconds: float = 0.0, make: MakeObjective | None = None, **options: Any
) -> Iterator[object]:
    """Events of one run, on the cluster at the address among the options or a Ray of its own."""
    from evolve.run.engines.ray import RayEngine, Stopping

    make = make or partial(make_fake, study.epochs, folder, step_seconds)
    stopping = Stopping(scheduler=study.scheduler, epochs=study.epochs, fitness=study.fitness.of)
    engine = RayEngine(make, stopping=stopping, **options)
    storage = Storage(f"sqlite:///{folder}/evolve.db")
    try:
        started = StudyRun(study, storage, engine, environment_id="test")
        with storage.lease(started.study_id, study.name) as lease:
            yield from started.events(lease)
    finally:
        engine.close()
        storage.close()


def steps(folder: Path) -> Counter[int]:
    """Steps stored of each trial."""
    storage = Storage(f"sqlite:///{folder}/evolve.db", reads_only=True)
    with storage.engine.connect() as connection:
        query = select(schema.trial.c.number).join(schema.step, schema.step.c.trial_id == schema.trial.c.trial_id)
        found = Counter(connection.scalars(query))
    storage.close()
    return found


def noted(folder: Path) -> list[str]:
    storage = Storage(f"sqlite:///{folder}/evolve.db", reads_only=True)
    with storage.engine.connect() as connection:
        found = list(connection.scalars(select(schema.event.c.message).order_by(schema.event.c.created)))
    storage.close()
    return found


def test_a_study_on_two_nodes_is_told_and_judged_as_on_one_machine(cluster: Any, tmp_path: Path) -> None:
    study = fake_study(budget={"trials": 8})
    (tmp_path / "serial").mkdir()
    events = list(run(study, tmp_path, address=cluster.address))
    storage = Storage(f"sqlite:///{tmp_path}/serial/evolve.db")
    serial = StudyRun(study, storage, SerialEngine(partial(make_fake, 4, tmp_path / "serial")), environment_id="test")
    with storage.lease(serial.study_id, study.name) as lease:
        list(serial.events(lease))
    storage.close()

    last = events[-1]
    assert isinstance(last, StudyStopped) and last.is_complete
    assert verdicts(tmp_path) == verdicts(tmp_path / "serial")
    assert "diverged" in verdicts(tmp_path).values()
    here, there = trials_told(tmp_path), trials_told(tmp_path / "serial")
    assert [(each.state, each.params, each.values, each.constraints) for each in here] == [
        (each.state, each.params, each.values, each.constraints) for each in there
    ]
    assert steps(tmp_path) == steps(tmp_path / "serial")


def test_where_a_trial_trained_is_noted_with_its_ray_id_host_and_process(cluster: Any, tmp_path: Path) -> None:
    list(run(fake_study(budget={"trials": 2}), tmp_path, address=cluster.address, workers=1))

    places = [text for text in noted(tmp_path) if text.startswith("Ray trial")]
    assert len(places) == 2 and all(", process " in text and " on " in text for text in places)
    # One process for both trials: the program is loaded and the data are read once.
    assert len({text.partition("process")[2] for text in places}) == 1


def test_as_many_trials_train_at_once_as_the_nodes_have_room_for(cluster: Any, tmp_path: Path) -> None:
    from evolve.run.engines.ray import RayEngine

    capacities = []
    for cpus in (1.0, 0.5, 2.0):
        engine = RayEngine(partial(make_fake, 1, tmp_path), address=cluster.address, cpus_per_trial=cpus)
        capacities.append(engine.capacity)
        engine.close()
    with pytest.raises(EvolveError, match=r"wants 1 CPUs and 1 GPUs, and no node of the Ray cluster has them"):
        RayEngine(partial(make_fake, 1, tmp_path), address=cluster.address, gpus_per_trial=1)

    assert capacities == [2 * CPUS, 4 * CPUS, CPUS]


def test_a_scheduler_of_tunes_stops_trials_as_pruned_and_says_so(cluster: Any, tmp_path: Path) -> None:
    space = {"lr0": {"choices": [0.1, 0.09, 0.11, 0.002, 0.003, 0.004]}}
    study = fake_study(scheduler="asha", space=space, sampler="grid", budget={"trials": 6}, epochs=6)
    events = list(run(study, tmp_path, address=cluster.address, workers=1))

    ended = {each.trial.number: each.outcome for each in events if isinstance(each, TrialEnded)}
    stopped = {number: outcome for number, outcome in ended.items() if outcome.verdict == "pruned"}
    states = {each.number: each.state for each in trials_told(tmp_path)}
    assert stopped and len(ended) == 6
    assert all(outcome.reason.endswith("was not enough: stopped by Tune's asha") for outcome in stopped.values())
    assert {number for number, state in states.items() if state == TrialState.PRUNED} == set(stopped)
    assert all(steps(tmp_path)[number] < 6 * STEPS_PER_EPOCH for number in stopped)


def test_a_scheduler_remembers_the_trials_of_earlier_runs(cluster: Any, tmp_path: Path) -> None:
    good, bad = [0.1, 0.095, 0.105], [0.003]
    space = {"lr0": {"choices": [*good, *bad]}}
    study = fake_study(scheduler="asha", space=space, sampler="grid", budget={"trials": 4}, epochs=6, seed=9)
    running = run(study, tmp_path, address=cluster.address, workers=1)
    ended: list[TrialEnded] = []
    for event in running:
        if isinstance(event, TrialEnded):
            ended.append(event)
        if len(ended) == 3:
            break
    running.close()  # type: ignore[attr-defined]
    ended += [each for each in run(study, tmp_path, address=cluster.address, workers=1) if isinstance(each, TrialEnded)]

    by_rate = {each.trial.params["lr0"]: (place, each.outcome) for place, each in enumerate(ended)}
    place, worst = by_rate[0.003]
    assert place == 3, "the order of this grid has changed: choose another seed"
    assert worst.verdict == "pruned"


def test_a_training_that_raises_fails_with_its_own_traceback(cluster: Any, tmp_path: Path) -> None:
    study = fake_study(space={"lr0": {"choices": [5e-5, 0.1]}}, sampler="grid", budget={"trials": 2})
    list(run(study, tmp_path, address=cluster.address))

    storage = Storage(f"sqlite:///{tmp_path}/evolve.db")
    failed = next(each for each in trials_told(tmp_path) if each.params["lr0"] == 5e-5)
    outcome = storage.outcome(failed._trial_id)
    storage.close()
    assert outcome is not None and failed.state == TrialState.FAIL
    assert outcome.reason == "RuntimeError: lr0 5e-05 breaks this network"
    assert outcome.traceback is not None and "in misbehave" in outcome.traceback


def test_a_process_that_gets_nowhere_is_killed_and_its_trial_tried_once_more(cluster: Any, tmp_path: Path) -> None:
    from evolve.run.engines import Limits

    limits = Limits(stuck_seconds=2.0, times_longest=0.0)
    study = fake_study(space={"lr0": {"choices": [0.1]}}, sampler="grid", budget={"trials": 1})
    started = time.monotonic()
    events = list(run(study, tmp_path, step_seconds=100.0, address=cluster.address, workers=1, limits=limits))

    lost = [each for each in events if isinstance(each, WorkerLost)]
    ended = [each.outcome for each in events if isinstance(each, TrialEnded)]
    assert [each.is_retried for each in lost] == [True] and "got no further for" in lost[0].reason
    assert [outcome.verdict for outcome in ended] == ["failed"] and "twice" in ended[0].reason
    assert time.monotonic() - started < 60
