"""Hyperparameters that change while a training is under way: the same whoever changes them, whoever is beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from detector import checkpoint
from detector.checkpoint import Checkpoint, Found
from detector.hyperparameters import Hyperparameters
from detector.plan import TrainingPlan
from detector.telemetry import EpochMetrics, LaneEnded, StepTelemetry, Telemetry
from detector.trainer import LaneSpec, Trainer
from tests.scenes import few_scenes

PLAN = TrainingPlan(model="yolov3-tiny-compact", image_size=64, batch_size=4, nominal_batch_size=4, epochs=3)
EXACT = replace(PLAN, precision="float64")
FIRST = Hyperparameters(lr0=0.01, momentum=0.9, warmup_epochs=0.5)
# Values of each kind: of the rates, the rule, the loss, the average; and what answers spikes.
SECOND = replace(FIRST, lr0=0.03, momentum=0.8, weight_decay=0.01, box=2.0, ema_decay=0.5, clip_norm=1.0)
THIRD = replace(SECOND, lr0=0.002, obj=3.0, momentum=0.95)


@pytest.fixture(autouse=True)
def one_thread() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def train(lanes: Sequence[LaneSpec], plan: TrainingPlan = PLAN) -> list[Telemetry]:
    return list(Trainer(plan, few_scenes("digits-3", train=12, val=4, test=4), lanes).fit())


def same_weights(one: Checkpoint, other: Checkpoint) -> bool:
    pairs = [(one.weights, other.weights), (one.averaged_weights, other.averaged_weights)]
    return all(torch.equal(mine[name], theirs[name]) for mine, theirs in pairs for name in theirs)


def in_parts(folder: Path, plan: TrainingPlan, values: Sequence[Hyperparameters]) -> Checkpoint:
    """A training of one epoch under each of some values, each from the checkpoint of the one before."""
    start = Found()
    for epoch, each in enumerate(values):
        path = folder / f"{epoch}.pt"
        if start.checkpoint is not None:
            start = Found(checkpoint=checkpoint.under(start.checkpoint, each))
        train([LaneSpec(values=each, epochs=epoch + 1, checkpoint=path, start=start)], plan)
        start = Found(checkpoint=checkpoint.load(path))
    assert start.checkpoint is not None
    return start.checkpoint


@pytest.mark.parametrize("choices", [{}, {"on_spike": "skip", "clipping": "adaptive"}, {"optimizer": "adamw"}])
def test_parts_that_hand_on_their_weights_are_one_training_whose_values_change(
    tmp_path: Path, choices: dict[str, str]
) -> None:
    values = [replace(each, **choices) for each in (FIRST, SECOND, THIRD)]
    whole = LaneSpec(values=values[0], later={1: values[1], 2: values[2]}, checkpoint=tmp_path / "whole.pt")

    train([whole])
    chain = in_parts(tmp_path, PLAN, values)

    assert same_weights(checkpoint.load(tmp_path / "whole.pt"), chain)
    assert checkpoint.load(tmp_path / "whole.pt").values == chain.values == values[2]


def test_a_change_is_felt(tmp_path: Path) -> None:
    changed, unchanged = (tmp_path / name for name in ("changed.pt", "unchanged.pt"))
    records = train([LaneSpec(values=FIRST, later={2: THIRD}, checkpoint=changed)])
    train([LaneSpec(values=FIRST, checkpoint=unchanged)])

    momenta = {each.epoch: each.momentum for each in records if isinstance(each, StepTelemetry)}
    assert [momenta[1], momenta[2]] == [0.9, 0.95]
    assert not same_weights(checkpoint.load(changed), checkpoint.load(unchanged))


def test_a_lane_whose_values_change_is_alone_what_it_is_beside_others_and_they_are_as_without_it(
    tmp_path: Path,
) -> None:
    changing, other = LaneSpec(values=FIRST, later={1: THIRD}), LaneSpec(values=SECOND, seed=1)
    beside = [replace(each, checkpoint=tmp_path / f"{place}.pt") for place, each in enumerate((changing, other))]
    alone = [replace(each, checkpoint=tmp_path / f"alone-{place}.pt") for place, each in enumerate((changing, other))]

    train(beside, EXACT)
    for each in alone:
        train([each], EXACT)

    for place in range(2):
        one, two = (checkpoint.load(tmp_path / f"{name}{place}.pt") for name in ("", "alone-"))
        for name, value in two.weights.items():
            torch.testing.assert_close(one.weights[name], value, rtol=1e-9, atol=1e-12)


def test_a_stopped_training_goes_on_with_the_values_of_its_epoch(tmp_path: Path) -> None:
    data = few_scenes("digits-3", train=12, val=4, test=4)
    lane = LaneSpec(values=FIRST, later={1: SECOND, 2: THIRD}, checkpoint=tmp_path / "stopped.pt")
    train([replace(lane, checkpoint=tmp_path / "straight.pt")])
    for record in Trainer(PLAN, data, [lane]).fit():
        if isinstance(record, StepTelemetry) and record.step == 7:  # in the third epoch
            break

    path, seed = tmp_path / "stopped.pt", lane.seed
    found = checkpoint.latest(path, PLAN, FIRST, seed, origin="", last_epoch=1, later=lane.later)
    train([replace(lane, start=found)])

    assert found.checkpoint is not None and found.checkpoint.values == SECOND
    assert same_weights(checkpoint.load(path), checkpoint.load(tmp_path / "straight.pt"))


def test_a_part_of_a_training_ends_after_its_epochs_and_is_not_measured_on_the_test_images() -> None:
    records = train([LaneSpec(values=FIRST, epochs=2), LaneSpec(values=FIRST)])

    ends = {each.lane: each for each in records if isinstance(each, LaneEnded)}
    splits = [
        [each.split for each in records if isinstance(each, EpochMetrics) and each.lane == lane] for lane in (0, 1)
    ]
    assert (ends[0].step, ends[0].reason) == (6, "ran 2 of 3 epochs")
    assert (ends[1].step, ends[1].reason) == (9, "ran all epochs")
    assert splits == [["val"] * 2, ["val"] * 3 + ["test"]]


def test_what_lanes_share_cannot_change() -> None:
    with pytest.raises(ValueError, match="cells: lanes of one population share it"):
        train([LaneSpec(values=FIRST, later={1: replace(FIRST, cells="square")})])


def test_a_checkpoint_goes_under_other_numbers_and_not_under_other_choices(tmp_path: Path) -> None:
    train([LaneSpec(values=FIRST, epochs=1, checkpoint=tmp_path / "lane.pt")])
    stored = checkpoint.load(tmp_path / "lane.pt")

    assert checkpoint.under(stored, SECOND).values == SECOND
    with pytest.raises(ValueError, match="can only be carried over to other numbers: optimizer was 'sgd', is 'adamw'"):
        checkpoint.under(stored, replace(FIRST, optimizer="adamw"))
