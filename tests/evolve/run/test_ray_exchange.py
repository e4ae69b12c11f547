"""Where the study's run and Tune's controller meet, without either."""

from __future__ import annotations

from threading import Thread
from typing import Any

import pytest

from detector.telemetry import CheckpointSaved, EndCause, LaneEnded
from evolve.run.engines import Crashed, Ended, Progress
from evolve.study.trial import Record, Trial
from tests.fakes import metrics_of

pytest.importorskip("ray")
TRIAL = Trial(study="exchange", number=3, params={"lr0": 0.1}, seeds=(0, 7))


@pytest.fixture
def exchange() -> Any:
    from evolve.run.engines.ray.exchange import Exchange, Training

    made = Exchange(fitness=lambda metrics: metrics.map50)
    made.submit(TRIAL)
    taken = made.take()
    assert taken is TRIAL
    made.added("abc", Training(trial=taken, ray_trial=None))
    return made


def progress(*telemetry: Any, seed: int = 0, awaits_decision: bool = False) -> Progress:
    records = [Record(trial=3, seed=seed, telemetry=each) for each in telemetry]
    return Progress(trial=3, records=records, awaits_decision=awaits_decision)


SAVED = CheckpointSaved(lane=0, epoch=0, step=5, path="3-0.json")
MEASURED = metrics_of(0.1, 0, 0, 4, "val")


def test_a_training_waits_until_the_run_has_decided_and_a_stop_has_a_last_record(exchange: Any) -> None:
    answers: list[Any] = []
    asking = Thread(
        target=lambda: answers.append(exchange.passed("abc", [progress(MEASURED, awaits_decision=True)], "here"))
    )
    asking.start()
    (asked,) = exchange.events(10)
    assert asked.awaits_decision and asked.place == "here" and asking.is_alive()
    exchange.decide(3, "was behind the others")
    asking.join(10)

    assert not answers[0].goes_on
    last, ended = exchange.events(10)
    assert last.records[0].telemetry == LaneEnded(
        lane=0, step=5, cause=EndCause.STOPPED, reason="was behind the others"
    )
    assert ended == Ended(trial=3)


def test_a_scheduler_is_asked_about_the_first_seeds_checkpoints_alone(exchange: Any) -> None:
    assert exchange.passed("abc", [progress(SAVED), progress()], "here").has_checkpoint
    assert not exchange.passed("abc", [progress(SAVED, seed=7)], "here").has_checkpoint


def test_when_tune_fails_every_trial_it_had_is_lost_once_and_none_is_taken_any_more(exchange: Any) -> None:
    waiting = Trial(study="exchange", number=4, params={}, seeds=(0,))
    in_hand = Trial(study="exchange", number=5, params={}, seeds=(0,))
    exchange.submit(in_hand)
    assert exchange.take() is in_hand
    exchange.submit(waiting)

    exchange.lose_all("Ray Tune failed: OSError: the head is gone\nTraceback ...")

    lost = exchange.events(1)
    assert sorted(each.trial for each in lost) == [3, 4, 5]
    assert all(isinstance(each, Crashed) and each.by_machine for each in lost)
    assert {each.reason for each in lost} == {"Ray Tune failed: OSError: the head is gone"}
    assert not exchange.submit(waiting)


def test_closing_lets_nobody_wait_and_says_nothing_of_how_trials_ended(exchange: Any) -> None:
    exchange.close()

    assert not exchange.passed("abc", [progress(MEASURED, awaits_decision=True)], "here").goes_on
    assert [type(each) for each in exchange.events(0.1)] == [Progress]


def test_asha_knows_a_trial_that_goes_on_and_those_of_earlier_runs() -> None:
    from types import SimpleNamespace

    from evolve.run.engines.ray.schedulers import EPOCH, FITNESS, Stopping, make_scheduler
    from evolve.run.engines.ray.training import TRIAL as KEY

    stopping = Stopping(scheduler="asha", epochs=9)
    history = {0: {0: 0.5, 1: 0.6}, 1: {0: 0.6}, 2: {0: 0.4}}
    asha = make_scheduler(stopping, history)
    fresh = make_scheduler(stopping, {})
    assert asha is not None and fresh is not None

    def asked(scheduler: Any, number: int, epochs: int, fitness: float) -> str:
        ours = Trial(study="asha", number=number, params={}, seeds=(0,))
        ray_trial = SimpleNamespace(config={KEY: ours})
        scheduler.on_trial_add(None, ray_trial)
        return str(scheduler.on_trial_result(None, ray_trial, {EPOCH: epochs, FITNESS: fitness}))

    assert asked(asha, 3, 1, 0.1) == "STOP" and asked(fresh, 3, 1, 0.1) == "CONTINUE"
    # It has passed the first rung in an earlier run, where it was among the best.
    assert asked(asha, 0, 2, 0.1) == "CONTINUE"
