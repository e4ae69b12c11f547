"""What every engine must do; a new engine joins the list."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from multiprocessing import forkserver
from pathlib import Path

import pytest

from detector.observations import LayerInspected
from detector.telemetry import CheckpointSaved, EndCause, EpochMetrics, LaneEnded, LaneStarted, StepTelemetry
from evolve.run.engines import Crashed, Ended, Engine, EngineEvent, Parted, ProcessEngine, Progress, SerialEngine
from evolve.run.objective import MakeObjective
from evolve.storage.lease import process_mark
from evolve.study.trial import Record, Trial
from tests.fakes import STEPS_PER_EPOCH, UNLUCKY_SEED, make_fake
from tests.processes import forked

EPOCHS = 3


def ray_engine(make_objective: MakeObjective) -> Engine:
    from evolve.run.engines.ray import RayEngine  # Ray takes seconds to import

    return RayEngine(make_objective, workers=2)


ENGINES: dict[str, Callable[[MakeObjective], Engine]] = {
    "serial": SerialEngine,
    "one process": partial(ProcessEngine, workers=1),
    "two processes": partial(ProcessEngine, workers=2),
    "three lanes": partial(SerialEngine, lanes=3),
    "a process of three lanes": partial(ProcessEngine, workers=1, lanes=3),
    "two processes of two lanes": partial(ProcessEngine, workers=2, lanes=2),
    "ray": ray_engine,
}
MARKS = {"ray": pytest.mark.ray}
WITH_LANES = [name for name in ENGINES if "lanes" in name]


@pytest.fixture(params=[pytest.param(name, marks=MARKS.get(name, ())) for name in ENGINES], scope="module")
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("checkpoints")
    made = ENGINES[request.param](partial(make_fake, EPOCHS, folder))
    yield made
    made.close()


NUMBERS = iter(range(1000))


def trial(lr0: float, seeds: tuple[int, ...] = (0,), *, trains_every_seed: bool = False) -> Trial:
    params, number = {"lr0": lr0}, next(NUMBERS)
    return Trial(study="contract", number=number, params=params, seeds=seeds, trains_every_seed=trains_every_seed)


def events_until_end(
    engine: Engine,
    *,
    stop_after_epoch: int | None = None,
    count: int = 1,
    when_begun: Callable[[], None] = lambda: None,
) -> list[EngineEvent]:
    seen: list[EngineEvent] = []
    deadline = time.monotonic() + 60
    while sum(isinstance(each, Ended | Crashed) for each in seen) < count:
        assert time.monotonic() < deadline, seen
        for event in engine.events(0.5):
            if not seen:
                when_begun()
            seen.append(event)
            if isinstance(event, Progress) and event.awaits_decision:
                last = event.records[-1].telemetry
                assert isinstance(last, EpochMetrics)
                engine.decide(event.trial, goes_on=last.epoch != stop_after_epoch)
    return seen


def records(events: list[EngineEvent]) -> list[Record]:
    return [record for event in events if isinstance(event, Progress) for record in event.records]


def test_all_records_arrive_in_order_and_then_the_end(engine: Engine) -> None:
    mine = trial(0.1)
    engine.submit(mine)

    events = events_until_end(engine)

    assert events[-1] == Ended(trial=mine.number)
    telemetry = [each.telemetry for each in records(events)]
    assert isinstance(telemetry[0], LaneStarted) and isinstance(telemetry[1], LayerInspected)
    assert [each.step for each in telemetry if isinstance(each, StepTelemetry)] == list(range(15))
    assert [each.split for each in telemetry if isinstance(each, EpochMetrics)] == ["val"] * 3 + ["test"]
    assert isinstance(telemetry[-1], LaneEnded)


def test_a_trial_told_to_stop_trains_no_further(engine: Engine) -> None:
    engine.submit(trial(0.1))

    events = events_until_end(engine, stop_after_epoch=0)

    steps = [each.telemetry for each in records(events) if isinstance(each.telemetry, StepTelemetry)]
    assert len(steps) == STEPS_PER_EPOCH
    assert isinstance(events[-1], Ended)


def test_an_exception_is_a_crash_with_its_traceback_and_the_next_trial_trains(engine: Engine) -> None:
    engine.submit(trial(5e-5))
    crash = events_until_end(engine)[-1]
    engine.submit(trial(0.1))
    after = events_until_end(engine)[-1]

    assert isinstance(crash, Crashed) and not crash.is_fatal
    assert crash.reason == "RuntimeError: lr0 5e-05 breaks this network"
    assert "in misbehave" in crash.traceback
    assert isinstance(after, Ended)


def test_a_full_disk_is_fatal(engine: Engine) -> None:
    engine.submit(trial(5e-7))

    crash = events_until_end(engine)[-1]

    assert isinstance(crash, Crashed) and crash.is_fatal
    assert "No space left on device" in crash.reason


def test_a_trial_goes_on_from_its_checkpoint(engine: Engine) -> None:
    mine = trial(0.1)
    engine.submit(mine)
    events_until_end(engine)
    engine.submit(mine)

    again = [each.telemetry for each in records(events_until_end(engine))]

    assert isinstance(again[0], LaneStarted) and again[0].step == 15
    assert not any(isinstance(each, StepTelemetry) for each in again)


def test_a_trial_that_is_a_part_goes_on_from_its_parents_checkpoint_and_ends_after_its_epochs(engine: Engine) -> None:
    first = replace(trial(0.1), epochs=1)
    engine.submit(first)
    events_until_end(engine)
    second = replace(trial(0.2), parent=first.number, epochs=2)
    engine.submit(second)

    found = [each.telemetry for each in records(events_until_end(engine))]

    assert [each.step for each in found if isinstance(each, StepTelemetry)] == [5, 6, 7, 8, 9]
    assert [each.split for each in found if isinstance(each, EpochMetrics)] == ["val"]
    assert isinstance(found[-1], LaneEnded) and found[-1].cause is EndCause.FINISHED


def test_a_trial_that_was_paused_goes_on_in_the_same_engine_as_one_that_never_was(engine: Engine) -> None:
    whole, mine = trial(0.1), trial(0.1)
    engine.submit(whole)
    straight = telemetry_of(events_until_end(engine), whole.number)
    engine.submit(replace(mine, epochs=1))
    first = telemetry_of(events_until_end(engine), mine.number)
    engine.submit(mine)
    then = telemetry_of(events_until_end(engine), mine.number)

    assert isinstance(first[-1], LaneEnded) and first[-1].cause is EndCause.FINISHED
    assert isinstance(then[0], LaneStarted) and then[0].epoch == 1
    assert [*first[:-1], *then[1:]] == straight


def test_every_seed_is_trained(engine: Engine) -> None:
    engine.submit(trial(0.1, seeds=(0, 7)))

    seeds = [each.seed for each in records(events_until_end(engine)) if isinstance(each.telemetry, LaneEnded)]

    assert seeds == [0, 7]


def test_a_seed_that_diverges_ends_its_trial_unless_every_seed_is_to_be_trained(engine: Engine) -> None:
    seeds = (0, UNLUCKY_SEED, 7)
    ended = {}
    for every in (False, True):
        engine.submit(trial(0.1, seeds=seeds, trains_every_seed=every))
        found = records(events_until_end(engine))
        ended[every] = [(each.seed, each.telemetry.cause) for each in found if isinstance(each.telemetry, LaneEnded)]

    assert ended[False] == [(0, EndCause.FINISHED), (UNLUCKY_SEED, EndCause.DIVERGED)]
    assert ended[True] == [*ended[False], (7, EndCause.FINISHED)]


def test_as_many_trials_as_the_capacity_train_at_once(engine: Engine) -> None:
    mine = [trial(0.1) for _ in range(engine.capacity)]
    for each in mine:
        engine.submit(each)

    events = events_until_end(engine, count=len(mine))

    assert {each.trial for each in events if isinstance(each, Ended)} == {each.number for each in mine}


def telemetry_of(events: list[EngineEvent], number: int) -> list[object]:
    """Telemetry of a trial, without the path of its checkpoints."""
    found = [record.telemetry for record in records(events) if record.trial == number]
    return [replace(each, path="") if isinstance(each, CheckpointSaved) else each for each in found]


def test_what_a_trial_yields_does_not_depend_on_who_trains_beside_it(engine: Engine) -> None:
    alone = trial(0.1)
    engine.submit(alone)
    first = telemetry_of(events_until_end(engine), alone.number)
    together = [trial(rate) for rate in (0.1, 5.0, 0.03)[: engine.capacity]]
    for each in together:
        engine.submit(each)

    assert telemetry_of(events_until_end(engine, count=len(together)), together[0].number) == first


@pytest.mark.parametrize("engine", WITH_LANES, indirect=True)
def test_of_trials_side_by_side_only_the_one_that_raises_crashes(engine: Engine) -> None:
    mine = [trial(rate) for rate in (0.1, 5e-5, 0.03)]
    for each in mine:
        engine.submit(each)

    events = events_until_end(engine, count=3)

    assert [each.trial for each in events if isinstance(each, Crashed)] == [mine[1].number]
    assert {each.trial for each in events if isinstance(each, Ended)} == {mine[0].number, mine[2].number}


@pytest.mark.parametrize("engine", WITH_LANES, indirect=True)
def test_a_trial_that_is_stopped_leaves_its_place_to_another_which_joins_the_rest(engine: Engine) -> None:
    mine = [trial(rate) for rate in (0.1, 0.2, 0.03, 0.04)[: engine.capacity]]
    for each in mine:
        engine.submit(each)
    late, seen = trial(0.3), []
    while not any(isinstance(each, Ended) for each in seen):
        for event in engine.events(0.5):
            seen.append(event)
            if isinstance(event, Progress) and event.awaits_decision:
                engine.decide(event.trial, goes_on=event.trial != mine[0].number, reason="was the slowest")
    engine.submit(late)
    seen += events_until_end(engine, count=len(mine))

    (last,) = [each for each in telemetry_of(seen, mine[0].number) if isinstance(each, LaneEnded)]
    assert (last.cause, last.reason) == (EndCause.STOPPED, "was the slowest")
    order = [record.trial for record in records(seen)]
    ends = {each.trial: place for place, each in enumerate(seen) if isinstance(each, Ended)}
    assert order.index(late.number) < max(place for place, number in enumerate(order) if number == mine[1].number)
    assert set(ends) == {late.number, *(each.number for each in mine)}


def test_when_memory_runs_out_the_trials_are_trained_in_halves(tmp_path: Path) -> None:
    engine = SerialEngine(partial(make_fake, EPOCHS, tmp_path, most_lanes=1), lanes=4)
    mine = [trial(0.1) for _ in range(4)]
    for each in mine:
        engine.submit(each)

    events = events_until_end(engine, count=4)
    engine.submit(trial(0.2))
    engine.submit(trial(0.3))
    after = events_until_end(engine, count=2)

    parted = [each for each in events if isinstance(each, Parted)]
    assert {each.trial for each in parted} == {each.number for each in mine}
    assert "MemoryError" in parted[0].reason and "with 2 instead of 4 lanes" in parted[0].reason
    assert all(isinstance(each, Ended) for each in events if isinstance(each, Ended | Crashed))
    assert not any(isinstance(each, Parted | Crashed) for each in after)  # it is not tried again


def test_trials_that_may_be_trained_as_one_meet_in_one_worker(tmp_path: Path) -> None:
    make = partial(make_fake, EPOCHS, tmp_path)
    engine = ProcessEngine(make, workers=2, lanes=2, fuse_key=lambda trial: trial.params["shared"])
    mine = [replace(trial(0.1), params={"lr0": 0.1, "shared": kind}) for kind in ("a", "b", "b", "a")]
    for each in mine:
        engine.submit(each)
    held = [set(worker.started) for worker in engine._workers]
    events_until_end(engine, count=4)
    engine.close()

    assert {mine[0].number, mine[3].number} in held and {mine[1].number, mine[2].number} in held


def test_trials_that_cannot_share_a_training_take_turns(tmp_path: Path) -> None:
    engine = SerialEngine(partial(make_fake, EPOCHS, tmp_path), lanes=2)
    mine = [replace(trial(0.1), params={"lr0": 0.1, "shared": kind}) for kind in ("a", "b")]
    for each in mine:
        engine.submit(each)

    epochs = [
        each.trial for each in records(events_until_end(engine, count=2)) if isinstance(each.telemetry, EpochMetrics)
    ]

    assert epochs[:4] == [mine[0].number, mine[1].number] * 2


def test_a_worker_that_is_killed_crashes_its_trial_and_is_replaced(tmp_path: Path) -> None:
    engine = ProcessEngine(partial(make_fake, EPOCHS, tmp_path), workers=1)
    try:
        engine.submit(trial(5e-6))
        crash = events_until_end(engine)[-1]
        engine.submit(trial(0.1))
        after = events_until_end(engine)[-1]
    finally:
        engine.close()

    assert isinstance(crash, Crashed) and "SIGKILL" in crash.reason and "memory" in crash.reason
    assert isinstance(after, Ended)


def test_an_objective_that_cannot_be_made_crashes_the_trial(tmp_path: Path) -> None:
    engine = ProcessEngine(partial(make_fake, EPOCHS), workers=1)  # type: ignore[arg-type] - a folder is missing
    try:
        engine.submit(trial(0.1))
        crash = events_until_end(engine)[-1]
    finally:
        engine.close()

    assert isinstance(crash, Crashed) and "TypeError" in crash.reason


def test_closing_ends_the_workers_in_the_middle_of_a_trial(tmp_path: Path) -> None:
    engine = ProcessEngine(partial(make_fake, 1000, tmp_path, 0.01), workers=2)
    engine.submit(trial(0.1))
    engine.events(10)
    processes = [worker.process for worker in engine._workers]
    engine.close()

    assert not any(process.is_alive() for process in processes)


def test_what_is_sent_to_the_whole_group_leaves_workers_and_what_they_are_forked_from_at_work(tmp_path: Path) -> None:
    engine = ProcessEngine(partial(make_fake, EPOCHS, tmp_path), workers=1)
    (worker,) = engine._workers

    def terminate() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            for pid in (worker.process.pid, forkserver._forkserver._forkserver_pid):  # type: ignore[attr-defined]
                os.kill(pid, number)

    try:
        engine.submit(trial(0.1))
        events = events_until_end(engine, when_begun=terminate)
        is_alive = worker.process.is_alive()
    finally:
        engine.close()

    assert isinstance(events[-1], Ended) and is_alive


def be_driver(folder: Path) -> None:
    """Has a worker train a step that never ends, and says who its workers are."""
    engine = ProcessEngine(partial(make_fake, 3, folder, 1000.0), workers=2)
    engine.submit(trial(0.1))
    for _ in range(2):
        engine.events(5)
    print(*(worker.process.pid for worker in engine._workers), flush=True)
    time.sleep(1000)


def test_a_driver_that_dies_leaves_no_worker_behind_even_in_the_middle_of_a_step(tmp_path: Path) -> None:
    with forked(partial(be_driver, tmp_path), tmp_path) as driver:
        driver.wait_until(lambda: driver.said().endswith("\n"))
        workers = [int(pid) for pid in driver.said().split()]
        alive_before = [process_mark(pid) for pid in workers]
        driver.send(signal.SIGKILL)
        driver.ended()

        deadline = time.monotonic() + 30
        while any(map(process_mark, workers)) and time.monotonic() < deadline:
            time.sleep(0.1)

    assert len(workers) == 2 and all(alive_before)
    assert not any(map(process_mark, workers))


def test_a_trial_whose_fuse_key_cannot_be_told_crashes_alone(tmp_path: Path) -> None:
    def key(_: Trial) -> float:
        return 1 / 0

    with closing(ProcessEngine(partial(make_fake, 1, tmp_path), workers=1, fuse_key=key)) as engine:
        engine.submit(unknown := trial(0.1))
        (crashed,) = engine.events(5.0)

    assert isinstance(crashed, Crashed) and crashed.trial == unknown.number
    assert crashed.reason == "ZeroDivisionError: division by zero" and "in key" in crashed.traceback
