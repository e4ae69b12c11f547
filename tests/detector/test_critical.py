"""The edge of stability: where algebra has it, found without a trace in the training that it is measured in."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from math import isnan, nan
from pathlib import Path

import pytest
import torch
from torch import Tensor

from detector import checkpoint
from detector.checkpoint import Found
from detector.critical import LARGEST, PASSES, SMALLEST, critical_ratios, critical_steps
from detector.hyperparameters import Hyperparameters
from detector.plan import TrainingPlan
from detector.telemetry import StepTelemetry, Telemetry
from detector.trainer import LaneSpec, Trainer
from tests.scenes import few_scenes

EXACT = TrainingPlan(batch_size=4, nominal_batch_size=4, epochs=2, precision="float64")
SCENES = few_scenes("digits-3", train=12, val=2, test=2)
VALUES = [
    Hyperparameters(lr0=0.01, warmup_epochs=1.0, warmup_steps=0),
    Hyperparameters(lr0=0.05, momentum=0.8, warmup_epochs=0.0, warmup_steps=0, clip_norm=0.0),
]


def trainer(values: Sequence[Hyperparameters], plan: TrainingPlan = EXACT, **options: object) -> Trainer:
    lanes = [LaneSpec(values=each, seed=seed, has_critical=True) for seed, each in enumerate(values)]
    return Trainer(plan, SCENES, [replace(lane, **options) for lane in lanes])


def steps_of(records: Sequence[Telemetry], lane: int = 0) -> list[StepTelemetry]:
    return [each for each in records if isinstance(each, StepTelemetry) and each.lane == lane]


def measured(records: Sequence[Telemetry], lane: int = 0) -> dict[int, float]:
    return {each.step: each.critical_ratio for each in steps_of(records, lane) if not isnan(each.critical_ratio)}


def test_of_a_quadratic_loss_it_is_two_over_rate_times_curvature_for_every_lane() -> None:
    rate_T = torch.tensor([1e-3, 0.01, 0.1, 0.5, 1.9, 2.5, 30.0], dtype=torch.float64)
    curvature, weight, asked = 1.25, 3.0, []

    def loss_at(factor_T: Tensor) -> Tensor:
        asked.append(factor_T)
        return curvature / 2 * (weight - factor_T * rate_T * curvature * weight) ** 2

    found_T = critical_ratios(loss_at, torch.full_like(rate_T, curvature / 2 * weight**2))

    expected_T = 2 / (rate_T * curvature)
    near = (expected_T > 1 / 64) & (expected_T < 64)
    assert near.sum() == 5
    assert ((found_T / expected_T)[near] - 1).min() > 0 and (found_T / expected_T)[near].max() < 1.05
    assert ((found_T / expected_T)[~near].log().abs() < torch.tensor(2.0).log()).all()
    assert len(asked) == PASSES < 10


def test_an_update_uphill_is_at_the_lower_end_a_harmless_one_at_the_upper_and_of_no_number_nothing_is_said() -> None:
    slope_T = torch.tensor([1.0, -1.0, -1.0])

    found_T = critical_ratios(lambda factor_T: 1 + slope_T * factor_T, torch.tensor([1.0, 1.0, nan]))

    assert found_T[:2].tolist() == [SMALLEST, LARGEST] and isnan(found_T[2])


@pytest.mark.parametrize(
    ("values", "accumulation", "expected"),
    [
        ({"warmup_epochs": 1.0, "warmup_steps": 0}, 1, {0, 5, 10, 20, 30}),
        ({"warmup_epochs": 0.0, "warmup_steps": 7}, 1, {0, 4, 7, 10, 20, 30}),
        ({"warmup_epochs": 0.0, "warmup_steps": 0}, 1, {0, 10, 20, 30}),
        ({"warmup_epochs": 0.0, "warmup_steps": 0}, 4, {3, 13, 23, 33}),
        ({"warmup_epochs": 9.0, "warmup_steps": 0}, 1, {0, 10, 20, 30}),
    ],
)
def test_it_is_measured_around_the_warm_up_and_at_quarters_where_an_update_is_made(
    values: dict[str, float], accumulation: int, expected: set[int]
) -> None:
    found = critical_steps(Hyperparameters(**values), steps_per_epoch=10, total_steps=40, accumulation=accumulation)

    assert found == expected


def test_a_training_that_is_measured_is_the_same_to_the_last_bit() -> None:
    states = random.getstate(), torch.get_rng_state()
    plan = replace(EXACT, precision="float32")
    with_it, without = trainer(VALUES, plan), trainer(VALUES, plan, has_critical=False)

    found, expected = ([*each.train_epoch()] for each in (with_it, without))

    for lane in (0, 1):
        assert len(measured(found, lane)) >= 2 and not measured(expected, lane)
        (mine, optimizer), (other, another) = (each._population.lane_state(lane) for each in (with_it, without))
        assert all(torch.equal(mine[name], other[name]) for name in other)
        average, expected_average = optimizer["average"], another["average"]
        assert all(torch.equal(average[name], expected_average[name]) for name in expected_average)
        pairs = zip(steps_of(found, lane), steps_of(expected, lane), strict=True)
        assert all((a.loss, a.grad_norm, a.update_ratio) == (b.loss, b.grad_norm, b.update_ratio) for a, b in pairs)
    assert random.getstate() == states[0] and torch.equal(torch.get_rng_state(), states[1])


def test_lanes_have_what_they_would_have_alone() -> None:
    together = [*trainer(VALUES).fit()]

    for lane, values in enumerate(VALUES):
        alone = [*Trainer(EXACT, SCENES, [LaneSpec(values=values, seed=lane, has_critical=True)]).fit()]
        assert measured(together, lane) == pytest.approx(measured(alone), rel=1e-6)
        assert len(measured(alone)) >= 3


def test_lanes_of_other_images_have_what_they_would_have_alone() -> None:
    values = [replace(each, warmup_epochs=0.0) for each in VALUES]
    lanes = [LaneSpec(values=each, data_seed=seed, has_critical=True) for seed, each in enumerate(values)]
    together = [*Trainer(EXACT, SCENES, lanes).train_epoch()]

    for number, lane in enumerate(lanes):
        alone = [*Trainer(EXACT, SCENES, [lane]).train_epoch()]
        assert measured(together, number) == pytest.approx(measured(alone), rel=1e-6)


def test_the_loss_is_raised_at_the_ratio_and_not_well_below_it() -> None:
    training = trainer(VALUES[1:])
    population = training._population
    asked, kept = [], population.measure

    def measure(batches: object, rates: object, pulls: object, slots: object, **others: object) -> object:
        asked.append((batches, pulls))
        return kept(batches, rates, pulls, slots, **others)

    population.measure = measure  # type: ignore[method-assign]
    records = training.train_epoch()
    first = next(each for each in records if isinstance(each, StepTelemetry))

    def loss_at(factor: float) -> float:
        moved = population._optimizers.moved(torch.tensor([factor], dtype=torch.float64))
        weights = {name: value.requires_grad_() for name, value in moved.items()}
        buffers = {name: value.clone() for name, value in population._network.named_buffers()}
        return float(
            population._losses.of_batches(population._network, *asked[0], weights | buffers).terms_TS4.sum().detach()
        )

    assert loss_at(0.0) == pytest.approx(first.loss, rel=1e-12)
    assert SMALLEST < first.critical_ratio < LARGEST
    assert loss_at(first.critical_ratio) > first.loss
    assert loss_at(first.critical_ratio / 1.1) <= first.loss


def test_a_training_that_goes_on_measures_what_one_that_was_not_stopped_does(tmp_path: Path) -> None:
    lane = LaneSpec(values=VALUES[0], checkpoint=tmp_path / "lane.pt", has_critical=True)
    whole = [*Trainer(EXACT, SCENES, [replace(lane, checkpoint=tmp_path / "whole.pt")]).fit()]
    first = Trainer(EXACT, SCENES, [lane])
    before = [*first.train_epoch(), *first.settle()]

    start = Found(checkpoint=checkpoint.load(tmp_path / "lane.pt"))
    after = [*Trainer(EXACT, SCENES, [replace(lane, start=start)]).fit()]

    assert measured(before) | measured(after) == measured(whole)
    assert measured(before) and measured(after)
