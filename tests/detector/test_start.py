"""Starting from weights: what is taken is what is there, what is frozen stays, and another file is another training."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from detector import checkpoint, load_detector
from detector.checkpoint import Checkpoint, CheckpointError, Found
from detector.datasets import open_dataset
from detector.exported import to_darknet
from detector.hyperparameters import Hyperparameters
from detector.models import build_network
from detector.models.darknet import num_frozen_rows, rows_of
from detector.models.darknet_files import WeightsError, stored_layers, weights_bytes
from detector.models.network import HeadPrior, initialise_lane
from detector.plan import MODELS, TrainingPlan
from detector.start import Start, model_of, sha256_of
from detector.start import load_start as load
from detector.telemetry import CheckpointSaved, EpochMetrics, StepTelemetry
from detector.trainer import LaneSpec, Trainer
from tests.scenes import few_scenes
from tests.trained import PLAN, VALUES

SMALL = replace(PLAN, epochs=2)


def load_start(plan: TrainingPlan, names: list[str], values: Hyperparameters = VALUES) -> Start:
    return load(plan, names, values)


def starting(weights: Path, **changes: object) -> TrainingPlan:
    return replace(SMALL, weights=str(weights), weights_sha256=sha256_of(weights), **changes)


def trained(plan: TrainingPlan, path: Path, *, classes: str = "digits-1", lanes: int = 1) -> list[Checkpoint]:
    """The lanes after a training on few scenes."""
    files = [path.with_name(f"{path.name}-{number}.pt") for number in range(lanes)]
    specs = [LaneSpec(values=VALUES, seed=number, checkpoint=file) for number, file in enumerate(files)]
    list(Trainer(plan, few_scenes(classes), specs).fit())
    return [checkpoint.load(file) for file in files]


def layers(model: str) -> list[int]:
    return [layer.index for layer in stored_layers(rows_of(model, 1))]


@pytest.mark.parametrize("freeze", ["backbone", "none", 5])
def test_the_first_validation_is_that_of_the_weights(freeze: str | int, weights: Path) -> None:
    trainer = Trainer(
        starting(weights, freeze=freeze), open_dataset("digits-1", image_size=64), [LaneSpec(values=VALUES)]
    )

    (first,) = trainer.evaluate_once()

    assert isinstance(first, EpochMetrics)
    stored = checkpoint.load(weights).metrics
    assert stored["map50"] > 0.3
    assert {name: getattr(first, name) for name in stored} == dict(stored)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_what_is_frozen_keeps_weights_and_statistics_and_the_rest_learns(
    optimizer: str, weights: Path, tmp_path: Path
) -> None:
    values, file = replace(VALUES, optimizer=optimizer, lr0=0.001), tmp_path / "a.pt"
    lane = LaneSpec(values=values, checkpoint=file)
    list(Trainer(starting(weights, freeze="backbone"), few_scenes(), [lane]).fit())

    before, after = checkpoint.load(weights).weights, checkpoint.load(file)
    for kept in (after.weights, after.averaged_weights):
        same = {name for name in before if torch.equal(before[name], kept[name])}
        assert {int(name.split(".")[1]) for name in same} == {0, 2, 4, 6, 8, 10, 12}
        assert len(same) == 7 * 5
    remembered = [name for state in after.optimizer.values() if isinstance(state, dict) for name in state]
    assert any(name.startswith("blocks.13.") for name in remembered)


def test_lanes_start_from_the_same_weights_and_a_dropped_one_leaves_the_others_as_they_are(
    weights: Path, tmp_path: Path
) -> None:
    plan = starting(weights, freeze=7, precision="float64")
    specs = [LaneSpec(values=VALUES, seed=number, checkpoint=tmp_path / f"{number}.pt") for number in range(2)]
    trainer = Trainer(plan, few_scenes(), specs)
    losses: dict[int, list[float]] = {0: [], 1: []}
    for record in trainer.fit():
        if isinstance(record, StepTelemetry):
            losses[record.lane].append(record.loss)
            if record.lane == 1 and record.step == 1:
                trainer.stop(1)

    (alone,) = trained(plan, tmp_path / "alone")

    assert losses[0][0] == losses[1][0]
    for name, value in alone.weights.items():
        torch.testing.assert_close(checkpoint.load(tmp_path / "0.pt").weights[name], value, rtol=1e-9, atol=1e-9)


def test_a_stopped_training_with_frozen_layers_goes_on_to_the_same_bits(weights: Path, tmp_path: Path) -> None:
    plan = starting(weights, freeze="backbone")
    (straight,) = trained(plan, tmp_path / "straight")
    lane = LaneSpec(values=VALUES, checkpoint=tmp_path / "stopped.pt")
    with closing(Trainer(plan, few_scenes(), [lane]).fit()) as first:
        assert any(isinstance(record, CheckpointSaved) for record in first)  # read no further than that

    stored = checkpoint.load(tmp_path / "stopped.pt")
    moved = tmp_path / "moved.pt"
    moved.write_bytes(weights.read_bytes())
    again = replace(lane, start=Found(checkpoint=stored))
    list(Trainer(starting(moved, freeze="backbone"), few_scenes(), [again]).fit())

    assert stored.epoch == 0
    resumed = checkpoint.load(tmp_path / "stopped.pt")
    assert all(torch.equal(value, resumed.weights[name]) for name, value in straight.weights.items())


@pytest.mark.parametrize("change", ["weights", "freeze"])
def test_a_checkpoint_of_another_start_is_of_another_training(change: str, weights: Path, tmp_path: Path) -> None:
    plan = starting(weights, epochs=1)
    (stored,) = trained(plan, tmp_path / "a")
    other = tmp_path / "other.pt"
    checkpoint.save(replace(checkpoint.load(weights), epoch=7), other)
    asked = starting(other, epochs=1) if change == "weights" else replace(plan, freeze="backbone")
    lane = LaneSpec(values=VALUES, start=Found(checkpoint=stored))

    with pytest.raises(
        CheckpointError, match=r"another training: (weights_sha256 was|freeze was 'none', is 'backbone')"
    ):
        Trainer(asked, few_scenes(), [lane])


def test_heads_of_other_classes_start_from_the_seed_and_that_is_said(weights: Path) -> None:
    ours = load_start(starting(weights), ["raccoon"])

    assert ours.text == "its classes are digit, not raccoon: all layers but the heads are taken"
    assert ours.anchors is None
    assert {int(name.split(".")[1]) for name in ours.state} == set(layers(PLAN.model)) - {15, 22}


def test_heads_that_code_boxes_in_another_way_start_from_the_seed(weights: Path, tmp_path: Path) -> None:
    to_darknet(load_detector(weights), tmp_path / "a.weights")

    for file in (weights, tmp_path / "a.weights"):
        start = load_start(starting(file), ["digit"], replace(VALUES, coding="exp"))
        assert start.text == "its boxes are coded bounded, not exp: all layers but the heads are taken"
        assert "blocks.15.bias" not in start.state and start.anchors is None


def test_heads_that_learned_classes_in_another_way_are_taken_only_where_there_is_one(
    weights: Path, tmp_path: Path
) -> None:
    rows, names = rows_of(PLAN.model, 2), ("a", "b")
    network = build_network(PLAN.model, num_classes=2)
    initialise_lane(network, 0, seed=0, prior=HeadPrior(boxes_per_image=2.0, class_share=(0.5, 0.5)), image_size=64)
    state = network.lane_state(0)
    (tmp_path / "two.weights").write_bytes(b"".join(weights_bytes(rows, state, images_seen=0)))
    softmax = replace(VALUES, class_loss="softmax")

    one = load_start(starting(weights), ["digit"], softmax)
    two = load_start(starting(tmp_path / "two.weights"), names, replace(softmax, coding="exp"))

    assert one.text == "all layers and the anchors are taken"
    assert two.text == "its classes are learned by bce, not softmax: all layers but the heads are taken"


def test_darknets_file_is_a_start_whole_or_in_part(weights: Path, tmp_path: Path) -> None:
    to_darknet(load_detector(weights), tmp_path / "whole.weights")
    before = checkpoint.load(weights).weights
    rows = rows_of(PLAN.model, 1)
    content = (tmp_path / "whole.weights").read_bytes()
    backbone = [layer for layer in stored_layers(rows) if layer.index < 15]
    part = tmp_path / "tiny.conv.15"
    part.write_bytes(content[: 20 + 4 * sum(layer.num_values for layer in backbone)])

    other = load_start(starting(tmp_path / "whole.weights"), ["a", "b"])
    partial = load_start(starting(part, freeze="backbone"), ["digit"])

    assert other.text == "its heads are of 1 classes, not 2: all layers but the heads are taken"
    assert partial.text == "layers 0 to 14 are taken, of 24; the file has no more; layers 0 to 12 are frozen"
    for start in (other, partial):
        assert start.anchors is None
        assert all(torch.equal(value, before[name]) for name, value in start.state.items())


def test_a_training_from_darknets_files_begins_where_the_weights_were(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.weights"
    to_darknet(load_detector(weights), path)
    plan = starting(path)

    (first,) = Trainer(plan, open_dataset("digits-1", image_size=64), [LaneSpec(values=VALUES)]).evaluate_once()
    path.with_suffix(".cfg").unlink()
    without = load_start(plan, ["digit"], replace(VALUES, coding="exp"))  # which darknet has where no cfg says another

    assert isinstance(first, EpochMetrics)
    stored = checkpoint.load(weights).metrics
    assert {name: getattr(first, name) for name in stored} == pytest.approx(dict(stored), abs=1e-6)
    assert without.anchors is None and "no a.cfg beside it: the labels decide" in without.text


def test_anchors_keep_their_pixels_at_another_image_size(weights: Path, tmp_path: Path) -> None:
    to_darknet(load_detector(weights), tmp_path / "a.weights")

    for file in (weights, tmp_path / "a.weights"):
        small, large = (load_start(starting(file, image_size=size), ["digit"]).anchors for size in (64, 128))
        assert small is not None and large is not None
        for mine, other in zip(small, large, strict=True):
            torch.testing.assert_close(mine * 64, other * 128)


def test_a_file_of_ours_says_of_which_network_it_is_and_others_do_not(weights: Path, tmp_path: Path) -> None:
    to_darknet(load_detector(weights), tmp_path / "a.weights")
    (tmp_path / "damaged.pt").write_bytes(weights.read_bytes()[:-100])

    assert model_of(weights) == PLAN.model
    assert [model_of(tmp_path / name) for name in ("a.weights", "damaged.pt", "none.pt")] == ["", "", ""]


def test_a_start_that_cannot_be_used_says_why(weights: Path, tmp_path: Path) -> None:
    darknet = tmp_path / "short.weights"
    rows = rows_of(PLAN.model, 1)
    pieces = list(weights_bytes(rows, checkpoint.load(weights).weights, images_seen=0))
    darknet.write_bytes(b"".join(pieces[:6]))  # the header and layer 0
    no_anchors = tmp_path / "no_anchors.weights"
    no_anchors.write_bytes(b"".join(pieces))
    no_anchors.with_suffix(".cfg").write_text("[net]\nwidth=64\n[yolo]\nmask=0,1,9\nanchors=1,2,  3,4,  5,6\n")
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes(weights.read_bytes()[:-100])
    cases = {
        "is not the file this began with: its SHA-256 is ": replace(starting(weights), weights_sha256="0" * 64),
        "holds weights of yolov3-tiny-compact, not of yolov3-compact": starting(weights, model="yolov3-compact"),
        "freeze: 16 layers reach a head; allowed: up to 15": starting(weights, freeze=16),
        r"short.weights: lacks layer 2, which is to be frozen \(freeze: 3\)": starting(darknet, freeze=3),
        r"no_anchors.cfg: has no \[yolo\] sections that name anchors": starting(no_anchors),
        "damaged.pt: not a readable checkpoint": starting(damaged),
        "none.pt: cannot be read: No such file": replace(SMALL, weights=str(tmp_path / "none.pt")),
    }

    for message, plan in cases.items():
        with pytest.raises(ValueError, match=message) as error:
            load_start(plan, ["digit"])
        assert isinstance(error.value, WeightsError) or "freeze" in message


@pytest.mark.parametrize("model", MODELS)
def test_a_backbone_ends_where_the_first_neck_begins(model: str) -> None:
    expected = {"yolov3": 75, "yolov3-spp": 75, "yolov3-compact": 27}

    assert num_frozen_rows("backbone", rows_of(model, 3)) == expected.get(model, 13)


@pytest.mark.parametrize("freeze", [0, -1, True, "all", 1.5, None])
def test_what_cannot_be_frozen_is_refused(freeze: object) -> None:
    with pytest.raises(
        ValueError, match=r"freeze: .* is not one of \['none', 'backbone'\] or a number of leading layers"
    ):
        TrainingPlan(freeze=freeze)  # type: ignore[arg-type]


def test_a_plan_without_weights_trains_as_before(tmp_path: Path) -> None:
    (stored,) = trained(replace(SMALL, epochs=1), tmp_path / "a")

    assert load_start(SMALL, ["digit"]).state == {}
    assert (stored.plan.weights, stored.plan.freeze) == ("", "none")
