"""Where the time of a study's workers went: what is measured, what was trained again, and what is left is waiting."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from itertools import islice
from math import isnan
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from detector.telemetry import LaneStarted
from evolve.outcome.training import TrainingOutcome
from evolve.outcome.verdict import Verdict
from evolve.run.engines import SerialEngine
from evolve.run.runner import StudyRun
from evolve.storage import schema
from evolve.storage.database import Storage
from evolve.storage.lease import LEASE_SECONDS, Lease
from evolve.storage.runs import RunFacts, RunTime, recorded
from evolve.storage.time_spent import TimeSpent, time_spent
from evolve.study import Study
from evolve.study.trial import Record
from tests.fakes import fake_study, make_fake, metrics_of, step_of

FACTS = RunFacts(workers=3, lanes=2, engine="SerialEngine", host="here", device="cpu")
STEP, EPOCH = 0.01, 0.05  # seconds that the fakes say: five steps are all of an epoch


class Clock:
    """Seconds that go on by themselves only when told to."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def run(study: Study, folder: Path, clock: Clock, *, stop_after: int | None = None, kill: bool = False) -> TimeSpent:
    """Where the time had gone after a run of 40 s, 10 of them before it had the lease; ended, stopped, or killed."""
    storage, since = Storage(f"sqlite:///{folder}/evolve.db"), RunTime(now=clock, clock=clock)
    clock.seconds += 10
    with closing(storage), closing(SerialEngine(partial(make_fake, study.epochs, folder))) as engine:
        started = StudyRun(study, storage, engine, environment_id="test")
        lease = Lease(storage.engine, started.study_id, study.name)
        lease.take()
        with recorded(storage.engine, lease, study_id=started.study_id, since=since, facts=FACTS):
            with closing(started.events(lease)) as events:
                list(islice(events, stop_after))
            clock.seconds += 30
            lease._written_at -= LEASE_SECONDS
            lease.heartbeat()
            with storage.engine.connect() as connection:
                beaten = connection.execute(select(schema.run.c.run_id, schema.run.c.heartbeat)).all()[-1]
            clock.seconds += 4 * kill
        if kill:  # which leaves the row as its last heartbeat did
            with storage.engine.begin() as connection:
                mine = schema.run.c.run_id == beaten.run_id
                connection.execute(update(schema.run).where(mine).values(heartbeat=beaten.heartbeat, ended=None))
        lease.release()
        return spent_of(storage, started.study_id)


def spent_of(storage: Storage, study_id: int) -> TimeSpent:
    with storage.engine.connect() as connection:
        return time_spent(connection, study_id)


def balanced(spent: TimeSpent) -> bool:
    return sum(spent.parts.values()) == pytest.approx(spent.worker_seconds) and min(spent.parts.values()) >= 0


def test_training_validating_and_waiting_are_workers_times_wall(tmp_path: Path) -> None:
    spent = run(fake_study(), tmp_path, Clock())

    assert spent.worker_seconds == pytest.approx(3 * 40)
    assert balanced(spent) and set(spent.parts) == {"training", "validating", "lost", "waiting"}
    assert spent.lost == 0 and spent.waiting == pytest.approx(120 - spent.spent.total)
    (only,) = spent.runs
    assert (only.seconds, only.has_ended, only.workers, only.lanes, only.host) == (40, True, 3, 2, "here")


def test_what_diverged_was_pruned_or_failed_is_wasted(tmp_path: Path) -> None:
    study = fake_study(space={"lr0": {"choices": [5.0, 0.1, 5e-5]}}, sampler="grid", budget={"trials": 3})

    spent = run(study, tmp_path, Clock())

    assert {name: seconds.training for name, seconds in spent.by_verdict.items()} == pytest.approx(
        {"diverged": 8 * STEP, "undertrained": 20 * STEP, "failed": 3 * STEP}
    )
    assert spent.by_verdict["undertrained"].validating == pytest.approx(EPOCH)  # the test images, at the end
    assert spent.wasted == pytest.approx(EPOCH + 6 * STEP)


def test_a_killed_run_is_as_long_as_its_last_heartbeat_says_and_those_after_it_are_added(tmp_path: Path) -> None:
    clock = Clock()
    killed = run(fake_study(), tmp_path, clock, stop_after=4, kill=True)

    whole = run(fake_study(), tmp_path, clock)

    assert [(each.seconds, each.has_ended) for each in killed.runs] == [(40, False)]
    assert whole.worker_seconds == pytest.approx(3 * 40 + 3 * 40)
    assert balanced(killed) and balanced(whole)


def test_what_is_trained_again_is_lost_and_not_waiting(tmp_path: Path) -> None:
    study = fake_study(space={"lr0": {"choices": [0.1]}}, budget={"trials": 1})
    clock = Clock()
    run(study, tmp_path, clock, stop_after=6)
    file = tmp_path / "0-0.json"
    before = file.exists()
    file.unlink(missing_ok=True)  # as if the checkpoint could not be read

    spent = run(study, tmp_path, clock)

    assert before and spent.lost >= 2 * 5 * STEP
    assert spent.spent.total == pytest.approx(20 * STEP + EPOCH)  # of each step once
    assert balanced(spent) and spent.worker_seconds == pytest.approx(240)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(f"sqlite:///{tmp_path}/evolve.db")


def begun(storage: Storage, *, run_started: float = 0.0) -> Callable[..., None]:
    """A trial of study 1 in a run of one worker and 10 s; returns what writes telemetry of a seed."""
    row = {"workers": 1, "lanes": 1, "engine": "x", "host": "h", "device": "cpu", "heartbeat": run_started + 10}
    with storage.engine.begin() as connection:
        connection.execute(insert(schema.run).values(study_id=1, started=run_started, **row))
    storage.begin_trial(7, study_id=1, number=0, environment_id="e")

    def write(*telemetry: object, seed: int = 0) -> None:
        records = [Record(trial=0, seed=seed, telemetry=each) for each in telemetry]  # type: ignore[arg-type]
        storage.records.write(7, records, {})

    return write


def test_validating_is_what_an_epoch_takes_beside_its_steps_and_never_negative(storage: Storage) -> None:
    write = begun(storage)

    write(step_of(0.1, 0, 0, 0), step_of(0.1, 0, 1, 0), metrics_of(0.1, 0, 0, 4, "val"))  # 0.02 of 0.05 s
    write(*(step_of(0.1, 0, step, 1) for step in range(2, 12)), metrics_of(0.1, 0, 1, 4, "val"))  # 0.1 of 0.05 s
    write(step_of(0.1, 0, 12, 2))

    spent = spent_of(storage, 1)
    assert spent.by_verdict.keys() == {"interrupted"}
    assert spent.spent.training == pytest.approx(13 * STEP)
    assert spent.spent.validating == pytest.approx(0.03)
    assert balanced(spent)


def test_a_training_that_has_ended_counts_once_beside_one_under_way(storage: Storage) -> None:
    write = begun(storage)
    write(step_of(0.1, 0, 0, 0), metrics_of(0.1, 0, 0, 4, "val"))
    storage.records.end_training(7, 0, TrainingOutcome(verdict=Verdict.CONVERGED, reason=""))
    write(LaneStarted(lane=0, epoch=0, step=0, total_steps=20), step_of(0.1, 1, 0, 0), seed=1)

    spent = spent_of(storage, 1).spent
    assert (spent.training, spent.validating) == pytest.approx((2 * STEP, EPOCH - STEP))


def test_forgetting_unfinished_trials_loses_what_they_trained(storage: Storage) -> None:
    write = begun(storage)
    write(step_of(0.1, 0, 0, 0), metrics_of(0.1, 0, 0, 4, "val"), step_of(0.1, 0, 1, 1))

    storage.forget_unfinished(1)

    spent = spent_of(storage, 1)
    assert spent.lost == pytest.approx(EPOCH + STEP) and spent.spent.total == 0
    assert balanced(spent)


def test_waiting_is_unknown_where_a_trial_began_before_any_run_that_is_recorded(storage: Storage) -> None:
    write = begun(storage, run_started=4e9)
    write(step_of(0.1, 0, 0, 0))

    spent = spent_of(storage, 1)

    assert isnan(spent.waiting) and isnan(spent.worker_seconds)
    assert spent.parts == {"training": pytest.approx(STEP), "validating": 0.0, "lost": 0.0}


def test_a_run_whose_lease_is_lost_says_nothing_more(storage: Storage) -> None:
    with storage.lease(1, "mine") as lease:
        clock = Clock()
        since = RunTime(now=clock, clock=clock)
        with recorded(storage.engine, lease, study_id=1, since=since, facts=FACTS):
            with storage.engine.connect() as connection:
                before = connection.execute(select(schema.run)).all()
            with closing(Storage(storage.url)) as other, other.engine.begin() as connection:
                connection.execute(update(schema.lease).values(token="another"))
            clock.seconds += 5

    with storage.engine.connect() as connection:
        assert repr(connection.execute(select(schema.run)).all()) == repr(before)
