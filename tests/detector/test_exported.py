"""`evolve weights`: what other programs read is what the detector says."""

from __future__ import annotations

import builtins
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from torch import Tensor
from torchvision.ops import batched_nms
from typer.testing import CliRunner

from detector import checkpoint, load_detector
from detector.datasets import open_dataset
from detector.exported import EveryBox, ExportError, to_darknet, to_onnx
from detector.hyperparameters import Hyperparameters
from detector.letterbox import letterbox
from detector.models.darknet_files import read_cfg_heads, read_weights
from detector.plan import TrainingPlan
from detector.predict import Detector
from detector.trainer import LaneSpec, Trainer
from evolve.cli import app
from evolve.errors import EvolveError
from tests.places import RACCOON
from tests.scenes import few_scenes

Export = Callable[..., Result]


@pytest.fixture
def export(weights: Path) -> Export:
    """Runs `evolve weights` with trained weights; what goes wrong is raised."""

    def run(*arguments: object, file: Path = weights) -> Result:
        return CliRunner().invoke(app, ["weights", str(file), *map(str, arguments)], catch_exceptions=False)

    return run


@pytest.fixture(scope="module")
def images() -> Tensor:
    val = open_dataset("digits-1", image_size=64).val
    return torch.stack([val.sample(index, 0).image for index in range(5)])


def coded(coding: str, weights: Path, path: Path) -> Path:
    """The same weights, whose boxes are coded in a way of choice."""
    stored = checkpoint.load(weights)
    checkpoint.save(replace(stored, values=replace(stored.values, coding=coding)), path)
    return path


def test_every_box_after_suppression_is_what_the_detector_finds(weights: Path, images: Tensor) -> None:
    detector = load_detector(weights)
    boxes_NK4, scores_NKC = EveryBox(detector)(images)

    for image, boxes_K4, scores_K in zip(images, boxes_NK4, scores_NKC[..., 0], strict=True):
        (found,) = detector([image], min_score=0.05, nms_iou=0.45)
        shown = scores_K > 0.05
        kept = batched_nms(boxes_K4[shown], scores_K[shown], torch.zeros(int(shown.sum())), 0.45)
        torch.testing.assert_close(boxes_K4[shown][kept], found.boxes_K4, atol=1e-3, rtol=1e-5)
        torch.testing.assert_close(scores_K[shown][kept], found.scores_K)


def test_darknet_gets_three_files_and_the_same_values(export: Export, weights: Path, tmp_path: Path) -> None:
    done = export("--to", "darknet", "-o", tmp_path / "a.weights")

    assert done.exit_code == 0
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.cfg", "a.names", "a.weights"]
    assert (tmp_path / "a.names").read_text() == "digit\n"
    assert "note    batch norm divides by sqrt(variance + 1e-05)" in done.stdout
    detector = load_detector(weights)
    read = read_weights(tmp_path / "a.weights", detector.source.plan.model, num_classes=1)
    own = detector.network.lane_state(0)
    differing = [name for name, value in read.state.items() if not torch.equal(value, own[name])]
    # Only heads differ, and only in the class output, which nothing here reads.
    assert differing == ["blocks.15.bias", "blocks.15.conv.weight", "blocks.22.bias", "blocks.22.conv.weight"]


def test_darknets_product_with_the_class_is_our_score_where_there_is_one_class(
    export: Export, weights: Path, images: Tensor, tmp_path: Path
) -> None:
    export("--to", "darknet", "-o", tmp_path / "a.weights")
    detector = load_detector(weights)
    _, expected_NKC = EveryBox(detector)(images)

    read = read_weights(tmp_path / "a.weights", detector.source.plan.model, num_classes=1)
    detector.network.load_lane(0, read.state)
    heads = [head.flatten(1, 4) for head in detector.raw_outputs(images)]

    products = torch.cat([head[..., 4:5].sigmoid() * head[..., 5:].sigmoid() for head in heads], 1)
    torch.testing.assert_close(products, expected_NKC)


@pytest.mark.parametrize(("coding", "has_note"), [("exp", False), ("bounded", True), ("wide", True)])
def test_a_cfg_says_how_boxes_are_coded_and_a_note_who_knows_that(
    coding: str, has_note: bool, export: Export, weights: Path, tmp_path: Path
) -> None:
    said = export("--to", "darknet", "-o", tmp_path / "a.weights", file=coded(coding, weights, tmp_path / "a.pt"))

    assert read_cfg_heads(tmp_path / "a.cfg").coding == coding
    assert ("pjreddie's darknet does not" in " ".join(said.stdout.split())) is has_note


def test_a_softmax_over_classes_is_refused_by_darknet_and_kept_by_others(images: Tensor, tmp_path: Path) -> None:
    plan = TrainingPlan(batch_size=4, nominal_batch_size=4, epochs=1)
    lane = LaneSpec(values=Hyperparameters(class_loss="softmax"), checkpoint=tmp_path / "a.pt")
    list(Trainer(plan, few_scenes("digits-3", train=4, val=2, test=2), [lane]).fit())
    detector = load_detector(tmp_path / "a.pt")

    _, scores_NKC = EveryBox(detector)(images)
    with pytest.raises(ExportError, match="darknet has no class loss 'softmax'; allowed: bce; onnx and torchscript"):
        to_darknet(detector, tmp_path / "a.weights")

    objectness = torch.cat([head[..., 4].flatten(1).sigmoid() for head in detector.raw_outputs(images)], 1)
    torch.testing.assert_close(scores_NKC.sum(-1), objectness)


@pytest.mark.parametrize("coding", ["exp", "bounded"])
def test_torchscript_says_what_torch_says_for_any_number_of_images(
    coding: str, export: Export, weights: Path, images: Tensor, tmp_path: Path
) -> None:
    file = coded(coding, weights, tmp_path / "coded.pt")
    export("--to", "torchscript", "-o", tmp_path / "a.torchscript", file=file)

    facts = {"facts.json": ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = torch.jit.load(tmp_path / "a.torchscript", _extra_files=facts)

    assert json.loads(facts["facts.json"]) == {"names": '["digit"]', "image_size": "64", "nms_iou": "0.45"}
    for mine, theirs in zip(EveryBox(load_detector(file))(images), loaded(images), strict=True):
        torch.testing.assert_close(theirs, mine, atol=1e-5, rtol=1e-5)


def onnx_differences(path: Path, detector: Detector, images: Tensor) -> list[float]:
    """Largest differences of boxes (pixels) and scores between onnxruntime and torch."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map["image_size"] == str(detector.image_size)
    with torch.no_grad():
        mine = EveryBox(detector)(images)
    theirs = session.run(["boxes", "scores"], {"images": images.numpy()})
    return [float((torch.from_numpy(b) - a).abs().max()) for a, b in zip(mine, theirs, strict=True)]


def test_onnxruntime_says_what_torch_says(export: Export, weights: Path, images: Tensor, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    done = json.loads(export("--to", "onnx", "-o", tmp_path / "a.onnx", "--json").stdout)

    assert done["files"] == {str(tmp_path / "a.onnx"): (tmp_path / "a.onnx").stat().st_size}
    for batch in (images, images[:1]):
        boxes, scores = onnx_differences(tmp_path / "a.onnx", load_detector(weights), batch)
        assert boxes < 1e-4 and scores < 1e-4


@pytest.mark.slow
@pytest.mark.skipif(not RACCOON.exists(), reason="the raccoon photographs are not beside the checkout")
def test_onnxruntime_says_what_torch_says_of_forty_photographs(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    data = open_dataset(str(RACCOON), image_size=160)
    plan = TrainingPlan(model="yolov3-tiny", image_size=160, epochs=2)
    list(Trainer(plan, data, [LaneSpec(values=Hyperparameters(), checkpoint=tmp_path / "a.pt")]).fit())
    detector = load_detector(tmp_path / "a.pt")
    to_onnx(detector, tmp_path / "a.onnx")
    photographs = [letterbox(data.val.sample(index, 0), 160).image for index in range(40)]

    boxes, scores = onnx_differences(tmp_path / "a.onnx", detector, torch.stack(photographs))

    # Measured: 9.2e-5 pixels of 160, which is six steps of a float32 there, and 9.6e-8.
    assert boxes < 1e-3 and scores < 1e-4, (boxes, scores)


def test_without_the_package_the_command_that_installs_it_is_named(
    export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def absent(name: str, *arguments: Any, **settings: Any) -> Any:
        if name == "onnx":
            raise ImportError(name=name)
        return real(name, *arguments, **settings)

    monkeypatch.setattr(builtins, "__import__", absent)

    with pytest.raises(EvolveError, match=r"--to onnx: onnx needs onnx: pip install '\.\[onnx\]'"):
        export("--to", "onnx")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--to", "darket"), "--to: unknown format 'darket'; did you mean 'darknet'"),
        (("--to", "darknet", "-o", "a.cfg"), r"-o a.cfg: does not end in \.weights"),
    ],
)
def test_what_is_not_allowed_is_said(arguments: tuple[str, ...], message: str, export: Export) -> None:
    with pytest.raises(EvolveError, match=message):
        export(*arguments)
