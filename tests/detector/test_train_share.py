"""A share of the training images: nested, the same in every epoch, and counted by all that counts images."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.augment import without_augmentation
from detector.batches import TrainingOrder, num_batches, training_batches, used_of
from detector.hyperparameters import Hyperparameters
from detector.plan import TrainingPlan
from detector.telemetry import EpochMetrics, LaneStarted, StepTelemetry, Telemetry
from detector.trainer import LaneSpec, Trainer
from tests.detector.test_batches import Counted
from tests.scenes import few_scenes

NONE = without_augmentation(Hyperparameters())
ORDER = TrainingOrder(epoch=0, seed=0, batch_size=4, image_size=32, max_boxes=3)
SHARES = (0.1, 0.25, 0.5, 0.99)
EXACT = TrainingPlan(batch_size=4, nominal_batch_size=4, epochs=2, precision="float64")


def shown(split: Counted, train_share: float, **order: int) -> set[int]:
    """Indices of the images of an epoch."""
    values = replace(NONE, train_share=train_share)
    return {
        int(image[0, 0, 0])
        for batch in training_batches(split, replace(ORDER, **order), values)
        for image in batch.images
    }


@pytest.mark.parametrize("seed", [0, 1])
def test_a_smaller_share_is_a_part_of_a_larger_one_and_the_same_in_every_epoch(seed: int) -> None:
    split = Counted(40)
    found = [shown(split, share, seed=seed) for share in (*SHARES, 1)]

    assert [len(each) for each in found] == [4, 10, 20, 40, 40]
    assert all(smaller <= larger for smaller, larger in pairwise(found))
    assert found[2] == shown(split, 0.5, seed=seed, epoch=3) != shown(split, 0.5, seed=seed + 7)


def test_all_images_are_the_split_itself_in_the_order_that_it_had() -> None:
    split = Counted(30)

    assert used_of(split, 1.0, 0) is split


def test_mosaics_and_mixtures_are_made_of_the_same_images() -> None:
    split = Counted(40)
    values = replace(NONE, train_share=0.25, mosaic=1.0)
    own = shown(split, 0.25)

    seen = {int(value) for batch in training_batches(split, ORDER, values) for value in batch.images.unique()}

    assert seen - {114} <= own  # grey lies between them


def test_a_share_of_rendered_scenes_is_new_in_no_epoch() -> None:
    split = few_scenes(train=8).train
    order = replace(ORDER, image_size=64)

    def images(train_share: float, epoch: int) -> list[bytes]:
        batches = training_batches(split, replace(order, epoch=epoch), replace(NONE, train_share=train_share))
        return sorted(image.numpy().tobytes() for batch in batches for image in batch.images)

    assert images(0.5, 0) == images(0.5, 1)
    assert images(1.0, 0) != images(1.0, 1)
    assert set(images(0.5, 0)) < set(images(1.0, 0))


@given(count=st.integers(1, 300), batch_size=st.integers(1, 40), percent=st.integers(1, 100))
@settings(max_examples=60, deadline=None)
def test_a_share_has_at_least_a_batch_or_says_which_have(count: int, batch_size: int, percent: int) -> None:
    split, train_share = Counted(count), percent / 100
    try:
        batches = num_batches(split, batch_size, train_share)
    except ValueError as error:
        allowed = float(str(error).rpartition("allowed: ")[2].partition("..")[0])
        assert train_share < 1 and len(used_of(split, train_share, 0)) < batch_size
        assert allowed == 1 or num_batches(split, batch_size, allowed) == 1
        return
    assert batches == -(-len(used_of(split, train_share, 0)) // batch_size)
    assert train_share == 1 or len(used_of(split, train_share, 0)) >= batch_size


def test_a_trainer_says_which_share_is_too_small() -> None:
    with pytest.raises(ValueError, match=r"train_share: 0\.1 of 16 training images is 2, fewer .* allowed: 0\.25\.\.1"):
        Trainer(EXACT, few_scenes(train=16), [LaneSpec(values=Hyperparameters(train_share=0.1))])


def losses(records: list[Telemetry], lane: int) -> list[float]:
    steps = [each.loss for each in records if isinstance(each, StepTelemetry) and each.lane == lane]
    return steps + [each.map50 for each in records if isinstance(each, EpochMetrics) and each.lane == lane]


def test_lanes_of_a_share_train_as_runs_of_their_own_each_on_the_images_of_its_seed() -> None:
    data = few_scenes("digits-3", train=16, val=2, test=2)
    lanes = [
        LaneSpec(values=Hyperparameters(train_share=0.5, lr0=lr0), seed=seed, data_seed=seed)
        for seed, lr0 in enumerate((0.01, 0.02))
    ]

    together = list(Trainer(EXACT, data, lanes).fit())

    assert {each.total_steps for each in together if isinstance(each, LaneStarted)} == {4}
    for seed, lane in enumerate(lanes):
        alone = list(Trainer(EXACT, data, [lane]).fit())
        assert losses(together, seed) == pytest.approx(losses(alone, 0), rel=1e-8)
    assert losses(together, 0)[0] != losses(together, 1)[0]


def test_lanes_of_different_shares_are_refused() -> None:
    lanes = [LaneSpec(values=Hyperparameters(train_share=share)) for share in (0.5, 1.0)]

    with pytest.raises(ValueError, match="train_share: lanes of one population share it"):
        Trainer(EXACT, few_scenes(train=16), lanes)


def test_images_of_batches_of_a_share_are_those_of_the_whole() -> None:
    split = Counted(12)
    order = replace(ORDER, batch_size=12)
    (whole,) = training_batches(split, order, NONE)
    (half,) = training_batches(split, replace(order, batch_size=6), replace(NONE, train_share=0.5))

    rows = {int(image[0, 0, 0]): (image, labels) for image, labels in zip(whole.images, whole.labels_NM5, strict=True)}
    for image, labels in zip(half.images, half.labels_NM5, strict=True):
        expected_image, expected_labels = rows[int(image[0, 0, 0])]
        assert torch.equal(image, expected_image) and torch.equal(labels, expected_labels)
