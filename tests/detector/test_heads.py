"""Heads: what the decoupled one is made of, how its outputs lie, and what files of weights say of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from detector import checkpoint, load_detector
from detector.exported import EveryBox, ExportError, to_darknet, to_torchscript
from detector.hyperparameters import Hyperparameters
from detector.models import build_network, rows_of
from detector.models.network import HeadPrior, initialise_lane, strides_of
from detector.plan import MODELS, TrainingPlan
from detector.start import load_start
from detector.trainer import LaneSpec, Trainer
from tests.scenes import few_scenes

PLAN = TrainingPlan(batch_size=4, nominal_batch_size=4, epochs=1)
DECOUPLED = Hyperparameters(head="decoupled", warmup_epochs=0.0)
PRIOR = HeadPrior(boxes_per_image=2.0, class_share=(0.6, 0.3, 0.1))
IMAGES = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of weights of a training with decoupled heads."""
    path = tmp_path_factory.mktemp("trained") / "lane.pt"
    lane = LaneSpec(values=DECOUPLED, checkpoint=path)
    list(Trainer(PLAN, few_scenes("digits-1", train=4, val=2, test=2), [lane]).fit())
    return path


def test_the_published_head_has_a_stem_and_two_convolutions_of_each_branch() -> None:
    rows = rows_of("yolov3", 80, "decoupled")
    end = next(index for index, row in enumerate(rows) if row.kind == "yolo")
    first = next(index for index, (a, b) in enumerate(zip(rows, rows_of("yolov3", 80), strict=False)) if a != b)

    found = [(row.kind, row.filters, row.size) for row in rows[first:end]]

    convs = [("conv", 256, 3)] * 2
    assert found == [
        ("conv", 256, 1), *convs, ("conv", 3 * 80, 1), ("route", 256, 1), *convs, ("conv", 3 * 5, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
def test_outputs_have_the_shape_of_coupled_ones_and_lie_as_they_do(model: str) -> None:
    networks = [
        build_network(model, num_classes=2, lanes=2, values=Hyperparameters(head=head))
        .eval()
        .to(memory_format=torch.channels_last)
        for head in ("coupled", "decoupled")
    ]
    images = torch.zeros(2, 3, 64, 64).to(memory_format=torch.channels_last)

    with torch.no_grad():
        coupled, decoupled = (network(images) for network in networks)

    assert strides_of(networks[0].rows) == strides_of(networks[1].rows)
    assert [(head.shape, head.stride()) for head in coupled] == [(head.shape, head.stride()) for head in decoupled]


@pytest.mark.parametrize("model", ["yolov3-tiny", "yolov3-tiny-compact"])
def test_small_networks_are_no_larger_with_it(model: str) -> None:
    coupled, decoupled = (
        sum(value.numel() for value in build_network(model, num_classes=1, values=values).parameters())
        for values in (Hyperparameters(), DECOUPLED)
    )

    assert 0.85 * coupled < decoupled <= coupled


def test_each_branch_decides_what_is_its_own() -> None:
    network = build_network("yolov3-tiny-compact", num_classes=3, values=DECOUPLED).eval()
    initialise_lane(network, 0, seed=0, prior=PRIOR, image_size=64, values=DECOUPLED)
    images = torch.rand(1, 3, 64, 64)
    before = network(images)[0].detach()
    classes = next(index for index, row in enumerate(network.rows) if row.outputs == "classes")

    network.blocks[str(classes)].conv.weight.data.zero_()
    after = network(images)[0].detach()

    assert torch.equal(before[..., :5], after[..., :5]) and not torch.equal(before[..., 5:], after[..., 5:])
    # What is left of the classes is their bias, the prior.
    assert after[0, 0, 0, 0, 0, 5:].sigmoid().tolist() == pytest.approx(PRIOR.class_share, abs=0.1)


def test_lanes_answer_as_separate_networks_do() -> None:
    fused = build_network("yolov3-compact", num_classes=2, lanes=2, values=DECOUPLED).double()
    prior = replace(PRIOR, class_share=(0.5, 0.5))
    for lane in range(2):
        initialise_lane(fused, lane, seed=lane, prior=prior, image_size=64, values=DECOUPLED)
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64)

    heads = fused(images)

    for lane in range(2):
        single = build_network("yolov3-compact", num_classes=2, values=DECOUPLED).double()
        initialise_lane(single, 0, seed=lane, prior=prior, image_size=64, values=DECOUPLED)
        for mine, alone in zip(heads, single(images), strict=True):
            torch.testing.assert_close(mine[:, lane : lane + 1], alone, rtol=1e-9, atol=1e-9)


def test_files_that_can_hold_it_say_the_same_and_darknet_is_refused(trained: Path, tmp_path: Path) -> None:
    detector = load_detector(trained)
    to_torchscript(detector, tmp_path / "a.torchscript")

    for mine, theirs in zip(
        torch.jit.load(tmp_path / "a.torchscript")(IMAGES), EveryBox(detector)(IMAGES), strict=True
    ):
        torch.testing.assert_close(mine, theirs)
    with pytest.raises(ExportError, match="darknet has no head 'decoupled'; allowed: coupled; onnx and torchscript"):
        to_darknet(detector, tmp_path / "a.weights")


def test_of_weights_with_another_head_all_before_the_heads_is_taken(
    trained: Path, weights: Path, tmp_path: Path
) -> None:
    to_darknet(load_detector(weights), tmp_path / "a.weights")
    cases = ((weights, DECOUPLED, "coupled"), (tmp_path / "a.weights", DECOUPLED, "coupled"))
    cases += ((trained, Hyperparameters(), "decoupled"),)

    for file, values, its in cases:
        start = load_start(replace(PLAN, weights=str(file), freeze="backbone"), ["digit"], values)

        assert start.text == (
            f"its heads are {its}, not {values.head}: layers 0 to 13 are taken; layers 0 to 12 are frozen"
        )
        assert {int(name.split(".")[1]) for name in start.state} == {0, 2, 4, 6, 8, 10, 12, 13}
        assert start.anchors is None


def test_weights_with_the_same_head_are_taken_whole(trained: Path) -> None:
    stored = checkpoint.load(trained)

    start = load_start(replace(PLAN, weights=str(trained)), stored.names, DECOUPLED)
    other = load_start(replace(PLAN, weights=str(trained)), ["raccoon"], DECOUPLED)

    assert start.text == "all layers and the anchors are taken"
    assert start.state.keys() == build_network(PLAN.model, num_classes=1, values=DECOUPLED).state_dict().keys()
    assert len(start.state) - len(other.state) == 2 * 2 * 2  # kernel and bias of two outputs at two scales
