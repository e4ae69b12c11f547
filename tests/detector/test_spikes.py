"""Updates whose gradient is a spike are made, skipped, or skipped with the weights taken back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from detector import checkpoint
from detector.checkpoint import Found
from detector.choices.spikes import NormHistory
from detector.hyperparameters import Hyperparameters
from detector.plan import TrainingPlan
from detector.spikes import SpikeGuard, State
from detector.telemetry import StepTelemetry
from detector.trainer import LaneSpec, Trainer
from tests.scenes import few_scenes

PLAN = TrainingPlan(batch_size=4, nominal_batch_size=4, epochs=4)
# Norms of a training this fast go up and down, so that some are above the last one, which is all that is remembered.
RESTLESS = Hyperparameters(
    lr0=0.2,
    warmup_epochs=0.0,
    on_spike="rewind",
    spike_warmup=1.0,
    spike_z=0.0,
    spike_decay=0.0,
    rewind_steps=2.0,
)


def state(name: str) -> State:
    return {"name": name}, {}


def test_mean_and_variance_are_those_of_the_first_norms() -> None:
    norms = [3.0, 5.0, 4.0, 9.0]
    history = NormHistory()
    for norm in norms:
        history = history.having(norm, most=6.0)

    assert history.mean == pytest.approx(np.mean(norms))
    assert history.variance == pytest.approx(np.var(norms))
    assert history.deviations(1e9) == 0  # too few are known


def test_a_spike_counts_for_what_is_just_none_so_that_a_new_level_is_learned() -> None:
    history = NormHistory(count=25, mean=10.0, variance=4.0)

    assert history.deviations(16.0) == pytest.approx(3.0, rel=1e-5)
    assert history.having(1e12, most=6.0).mean == pytest.approx(10 + 0.03 * 12, rel=1e-5)
    for _ in range(200):
        history = history.having(100.0, most=6.0)
    assert history.deviations(100.0) < 6


def test_a_lane_goes_back_by_as_many_updates_as_were_asked_for_and_at_most_twice_as_many() -> None:
    guard = SpikeGuard(replace(RESTLESS, spike_z=6.0, spike_decay=0.9, spike_warmup=3.0, rewind_steps=5.0))
    went_back: list[State] = []
    for update in range(18):
        assert guard.makes_update(10.0 + update % 2, lambda at=update: state(str(at)), went_back.append)

    assert not guard.makes_update(1e6, lambda: state("never"), went_back.append)

    assert went_back == [state("10")]  # kept before updates 0, 5, 10 and 15


def test_a_lane_that_went_back_does_not_return_to_the_way_it_left() -> None:
    guard = SpikeGuard(replace(RESTLESS, spike_z=6.0, spike_decay=0.9, spike_warmup=3.0, rewind_steps=5.0))
    went_back: list[State] = []

    def updates(numbers: range, *, way: str) -> None:
        for number in numbers:
            assert guard.makes_update(10.0 + number % 2, lambda at=number: state(f"{at} {way}"), went_back.append)

    updates(range(14), way="left")
    guard.makes_update(1e6, lambda: state("never"), went_back.append)
    updates(range(14, 17), way="taken")
    guard.makes_update(1e6, lambda: state("never"), went_back.append)

    assert went_back == [state("5 left"), state("5 left")]


def test_a_lane_that_only_skips_keeps_nothing_and_never_goes_back() -> None:
    guard = SpikeGuard(replace(RESTLESS, on_spike="skip", spike_warmup=2.0))
    went_back: list[State] = []

    made = [guard.makes_update(norm, lambda: state("never"), went_back.append) for norm in (1.0, 1.0, 50.0, 1.0)]

    assert made == [True, True, False, True]
    assert not went_back
    assert guard.state()["kept"] == []


def test_a_training_that_goes_back_goes_on_from_a_checkpoint_to_the_last_bit(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    scenes = few_scenes(train=12, val=4, test=4)
    lane = LaneSpec(values=RESTLESS, checkpoint=tmp_path / "lane.pt")
    whole = losses(Trainer(PLAN, scenes, [lane]))
    before = checkpoint.load(checkpoint.before_path(tmp_path / "lane.pt"))

    again = losses(Trainer(PLAN, scenes, [replace(lane, start=Found(checkpoint=before))]))

    assert again == whole[-len(again) :]
    assert len(again) == 3
    assert whole != losses(Trainer(PLAN, scenes, [LaneSpec(values=replace(RESTLESS, on_spike="none"))]))


def losses(trainer: Trainer) -> list[tuple[float, float]]:
    return [(each.loss, each.grad_norm) for each in trainer.fit() if isinstance(each, StepTelemetry)]
