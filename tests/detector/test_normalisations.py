"""Normalisations against torch's own modules, lane by lane, and what files of weights say of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from detector import checkpoint, load_detector
from detector.choices.normalisations import NORMALISATIONS, groups_of
from detector.exported import EveryBox, ExportError, to_darknet, to_torchscript
from detector.hyperparameters import Hyperparameters
from detector.models import build_network
from detector.models.darknet_files import WeightsError
from detector.models.network import HeadPrior, initialise_lane
from detector.optimizer import LaneOptimizers
from detector.plan import TrainingPlan
from detector.start import load_start
from detector.telemetry import Rates
from detector.trainer import LaneSpec, Trainer
from tests.scenes import few_scenes

PLAN = TrainingPlan(batch_size=4, nominal_batch_size=4, epochs=1)
WITHOUT_BATCHES = ("group", "none")
IMAGES = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=WITHOUT_BATCHES)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of weights of a training without statistics of batches."""
    path = tmp_path_factory.mktemp("trained") / f"{request.param}.pt"
    lane = LaneSpec(values=Hyperparameters(normalisation=request.param, warmup_epochs=0.0), checkpoint=path)
    list(Trainer(PLAN, few_scenes("digits-3", train=4, val=2, test=2), [lane]).fit())
    return path


def randomised(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        parameter.data = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
    return module


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_a_lane_is_normalised_as_torch_does_it_alone(name: str) -> None:
    theirs = {
        "batch": lambda: nn.BatchNorm2d(24),
        "group": lambda: nn.GroupNorm(6, 24),  # of four channels
        "none": lambda: nn.Conv2d(24, 24, 1, groups=24),
    }
    ours = randomised(NORMALISATIONS[name](24, 2).double())
    x = torch.randn(3, 48, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    both = ours(x)

    for lane in range(2):
        part = slice(24 * lane, 24 * (lane + 1))
        alone = theirs[name]().double()
        if isinstance(alone, nn.Conv2d):
            alone.weight.data.fill_(1)
        else:
            alone.weight.data = ours.get_parameter("weight").data[part]
        alone.bias.data = ours.get_parameter("bias").data[part]
        torch.testing.assert_close(both[:, part], alone(x[:, part]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("channels", "groups"),
    [(1024, 32), (256, 32), (64, 16), (16, 4), (8, 2), (4, 1), (1, 1), (12, 3), (7, 1), (66, 11)],
)
def test_groups_divide_the_channels_and_have_four_or_more_each(channels: int, groups: int) -> None:
    assert groups_of(channels) == groups


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_only_kernels_decay_whatever_normalises(name: str) -> None:
    values = Hyperparameters(normalisation=name, weight_decay=0.1)
    network = build_network("yolov3-tiny-compact", num_classes=1, values=values)
    prior = HeadPrior(boxes_per_image=2.0, class_share=(1.0,))
    initialise_lane(network, 0, seed=0, prior=prior, image_size=64, values=values)
    optimizers = LaneOptimizers(network, [values])
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)

    optimizers.propose([Rates(lr=0.1, bias_lr=0.2, momentum=0.9, in_warmup=True)])
    moved = {key for key, move in optimizers.moves(0).items() if move.any()}

    assert moved == {key for key in network.state_dict() if key.endswith("conv.weight")}


def test_a_file_of_weights_detects_as_the_lane_that_was_trained(trained: Path, tmp_path: Path) -> None:
    stored = checkpoint.load(trained)
    checkpoint.save_weights(trained, tmp_path / "weights.pt")
    network = build_network(PLAN.model, num_classes=3, values=stored.values).eval()
    network.load_lane(0, stored.averaged_weights)

    heads = load_detector(tmp_path / "weights.pt").raw_outputs(IMAGES)

    for mine, theirs in zip(heads, network(IMAGES / 255), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_torchscript_says_what_the_detector_says_and_darknet_is_refused(trained: Path, tmp_path: Path) -> None:
    detector = load_detector(trained)
    to_torchscript(detector, tmp_path / "a.torchscript")

    for mine, theirs in zip(
        torch.jit.load(tmp_path / "a.torchscript")(IMAGES), EveryBox(detector)(IMAGES), strict=True
    ):
        torch.testing.assert_close(mine, theirs)
    with pytest.raises(ExportError, match=r"darknet has no normalisation '(group|none)'; allowed: batch; onnx and"):
        to_darknet(detector, tmp_path / "a.weights")
    assert not (tmp_path / "a.weights").exists()


def test_weights_of_another_normalisation_are_refused_and_those_of_the_same_are_taken(
    trained: Path, weights: Path, tmp_path: Path
) -> None:
    to_darknet(load_detector(weights), tmp_path / "a.weights")
    values = checkpoint.load(trained).values
    names = checkpoint.load(trained).names

    for file, asked in ((trained, Hyperparameters()), (weights, values), (tmp_path / "a.weights", values)):
        with pytest.raises(WeightsError, match=r"its layers have normalisation \w+, not \w+; allowed: \w+"):
            load_start(replace(PLAN, weights=str(file)), names, asked)
    start = load_start(replace(PLAN, weights=str(trained), freeze="backbone"), names, values)
    assert start.text.startswith("all layers and the anchors are taken")


@pytest.mark.parametrize("name", WITHOUT_BATCHES)
def test_frozen_layers_keep_their_weights_and_the_rest_learns(name: str, tmp_path: Path) -> None:
    scenes = few_scenes("digits-1", train=4, val=2, test=2)
    lane = LaneSpec(values=Hyperparameters(normalisation=name, warmup_epochs=0.0), checkpoint=tmp_path / "first.pt")
    list(Trainer(PLAN, scenes, [lane]).fit())
    plan = replace(PLAN, weights=str(tmp_path / "first.pt"), freeze=5)
    list(Trainer(plan, scenes, [replace(lane, checkpoint=tmp_path / "second.pt")]).fit())

    before, after = checkpoint.load(tmp_path / "first.pt"), checkpoint.load(tmp_path / "second.pt").weights
    kept = {key for key, value in before.averaged_weights.items() if torch.equal(value, after[key])}

    assert kept == {key for key in after if int(key.split(".")[1]) < 5}
