"""What layers hold: numbers as NumPy has them, of a training that does not notice that it is looked into."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from math import isnan, nan
from pathlib import Path

import numpy as np
import pytest
import torch

from detector import checkpoint
from detector.batches import fixed_batch
from detector.checkpoint import Found
from detector.hyperparameters import Hyperparameters
from detector.inspection import BINS, layer_values
from detector.observations import LayerInspected
from detector.plan import TrainingPlan
from detector.telemetry import LaneEnded, Rates, StepTelemetry, Telemetry
from detector.trainer import LaneSpec, Trainer
from detector.watching import MAX_EPOCHS, is_inspected
from tests.scenes import few_scenes

PLAN = TrainingPlan(batch_size=4, nominal_batch_size=4, epochs=2)
EXACT = replace(PLAN, precision="float64")
SCENES = few_scenes("digits-3", train=8, val=2, test=2)
NUM_LAYERS = 13  # convolutions of yolov3-tiny


def trainer(*values: Hyperparameters, plan: TrainingPlan = PLAN, **options: object) -> Trainer:
    lanes = [LaneSpec(values=each, seed=seed, is_inspected=True) for seed, each in enumerate(values)]
    return Trainer(plan, SCENES, [replace(lane, **options) for lane in lanes])


def inspected(records: Sequence[Telemetry], lane: int = 0) -> list[LayerInspected]:
    return [each for each in records if isinstance(each, LayerInspected) and each.lane == lane]


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_numbers_of_a_layer_are_those_of_numpy_whatever_their_size(scale: float) -> None:
    drawn = np.random.default_rng(0).standard_normal((6, 5, 3, 4)) ** 3
    drawn[0, 0] = 0.0
    values = torch.from_numpy(drawn * scale).float().contiguous(memory_format=torch.channels_last)

    found = layer_values(2, "weights", values, 0.5)

    exact = values.double().numpy()
    expected = (exact.mean(), exact.std(), np.sqrt((exact**2).sum()), exact.min(), exact.max(), 12 / 360)
    names = ("mean", "spread", "norm", "smallest", "largest", "zeros")
    assert [getattr(found, name) for name in names] == pytest.approx(expected, rel=1e-5)
    away = np.clip((exact - exact.mean()) / exact.std(), -4, 4)
    np.testing.assert_allclose(found.histogram, np.histogram(away, BINS, (-4, 4))[0] / 0.36, atol=0.5)
    assert (found.layer, found.part, found.dead) == (2, "weights", 0.5)


@pytest.mark.parametrize("value", [nan, float("inf"), -float("inf")])
def test_of_values_that_are_no_numbers_nothing_is_said(value: float) -> None:
    found = layer_values(0, "weights", torch.tensor([0.0, value, 2.0, 3.0]), 0.0)

    assert all(isnan(each) for each in (found.mean, found.spread, found.norm, found.smallest, found.largest))
    assert found.histogram == (0,) * BINS and found.zeros == 0.25


def test_values_that_are_all_the_same_lie_in_the_middle() -> None:
    found = layer_values(0, "weights", torch.full((100,), 0.1), 0.0)

    assert found.mean == pytest.approx(0.1) and found.spread == pytest.approx(0.0)
    assert found.histogram[BINS // 2] == 1000


@pytest.mark.parametrize("epochs", [1, 2, 24, 300])
def test_layers_are_looked_at_before_the_first_epoch_and_after_the_last_and_not_too_often(epochs: int) -> None:
    found = [epoch for epoch in range(epochs + 1) if is_inspected(epoch, epochs)]

    assert found[:2] == [0, 1] and found[-1] == epochs
    assert len(found) <= MAX_EPOCHS + 1


def test_a_training_that_is_looked_into_is_the_same_to_the_last_bit() -> None:
    values = Hyperparameters(clip_norm=0.0, warmup_epochs=0.5)
    states = random.getstate(), torch.get_rng_state()
    seen, unseen = trainer(values), trainer(values, is_inspected=False)

    found, expected = [], []
    for training, losses in ((seen, found), (unseen, expected)):
        training_records = training.train_epoch()
        losses += [(each.loss, each.grad_norm) for each in training_records if isinstance(each, StepTelemetry)]

    assert found == expected and len(found) == 2
    (mine, optimizer), (other, another) = (each._population.lane_state(0) for each in (seen, unseen))
    assert mine.keys() == other.keys() and any("running_var" in name for name in mine)
    assert all(torch.equal(mine[name], other[name]) for name in mine)
    average, expected_average = optimizer["average"], another["average"]
    assert all(torch.equal(average[name], expected_average[name]) for name in average)
    assert random.getstate() == states[0] and torch.equal(torch.get_rng_state(), states[1])
    assert not any(module._forward_hooks for module in seen._population._single.modules())


def test_every_part_of_every_layer_is_there_before_the_first_epoch_and_after_each() -> None:
    records = list(trainer(Hyperparameters()).fit())

    found = inspected(records)
    parts = ("activations", "weights", "gradients")
    assert [(each.epoch, each.part, each.layer) for each in found] == [
        (epoch, part, layer) for epoch in (0, 1, 2) for part in parts for layer in range(NUM_LAYERS)
    ]
    places = [place for place, each in enumerate(records) if isinstance(each, LayerInspected)]
    steps = [place for place, each in enumerate(records) if isinstance(each, StepTelemetry)]
    assert places[0] < steps[0] and steps[-1] < places[-1]
    assert isinstance(records[-1], LaneEnded)
    outputs = {each.layer for each in found if each.part == "activations" and isnan(each.dead)}
    assert len(outputs) == 2  # of both scales
    assert not any(isnan(each.spread) for each in found)


def test_of_a_decoupled_head_both_outputs_have_no_function_that_could_be_dead() -> None:
    found = inspected([*trainer(Hyperparameters(head="decoupled")).fit()])

    outputs = {each.layer for each in found if each.part == "activations" and isnan(each.dead)}
    layers = {each.layer for each in found}
    assert len(outputs) == 4 and max(outputs) == max(layers)  # boxes and classes at two scales


def test_weights_activations_and_gradients_are_those_of_a_step_on_the_same_batch() -> None:
    looked_into = trainer(Hyperparameters(), plan=EXACT)
    batch = fixed_batch(SCENES.train, batch_size=4, image_size=64, max_boxes=SCENES.max_boxes)
    found = {(each.part, each.layer): each for each in looked_into._population.inspect(0, batch)}

    network = looked_into._population._network
    first = next(iter(network.blocks.values()))
    kept: list[torch.Tensor] = []
    hook = first.register_forward_hook(lambda _module, _given, output: kept.append(output.detach().clone()))
    looked_into._population.measure([batch], [Rates(lr=0.0, bias_lr=0.0, momentum=0.0, in_warmup=False)], [0.0])
    hook.remove()

    assert found["activations", 0].spread == pytest.approx(float(kept[0].std(correction=0)))
    assert found["activations", 0].dead == float((kept[0].amax((0, 2, 3)) <= 0).double().mean())
    for layer, block in enumerate(network.blocks.values()):
        weight = block.conv.weight
        assert found["weights", layer].norm == pytest.approx(float(weight.detach().norm()))
        assert found["gradients", layer].norm == pytest.approx(float(weight.grad.norm()))


def test_a_lane_is_looked_into_as_a_training_of_its_own() -> None:
    values = [Hyperparameters(lr0=0.01), Hyperparameters(lr0=0.03, box=1.0)]
    together = list(trainer(*values, plan=EXACT).fit())

    for lane, mine in enumerate(values):
        alone = list(Trainer(EXACT, SCENES, [LaneSpec(values=mine, seed=lane, is_inspected=True)]).fit())
        for each, other in zip(inspected(together, lane), inspected(alone), strict=True):
            assert (each.epoch, each.layer, each.part) == (other.epoch, other.layer, other.part)
            assert (each.spread, each.norm) == pytest.approx((other.spread, other.norm), rel=1e-8)


def test_a_training_that_goes_on_says_again_what_it_had_said(tmp_path: Path) -> None:
    whole = list(trainer(Hyperparameters(), checkpoint=tmp_path / "whole.pt").fit())
    first = trainer(Hyperparameters(), checkpoint=tmp_path / "cut.pt")
    list(first.train_epoch()), list(first.settle())
    start = Found(checkpoint=checkpoint.load(tmp_path / "cut.pt"))

    rest = list(trainer(Hyperparameters(), checkpoint=tmp_path / "cut.pt", start=start).fit())

    assert inspected(rest) == [each for each in inspected(whole) if each.epoch > 0]


def test_layers_that_are_frozen_have_no_gradients(tmp_path: Path) -> None:
    list(trainer(Hyperparameters(), checkpoint=tmp_path / "start.pt").fit())
    plan = replace(PLAN, weights=str(tmp_path / "start.pt"), freeze="backbone", epochs=1)

    found = inspected(list(trainer(Hyperparameters(), plan=plan).fit()))

    of_part = {part: {each.layer for each in found if each.part == part} for part in ("weights", "gradients")}
    assert of_part["weights"] == set(range(NUM_LAYERS))
    assert of_part["gradients"] < of_part["weights"] and 0 not in of_part["gradients"]
