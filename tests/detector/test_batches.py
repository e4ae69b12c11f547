"""Batches: a function of seed and epoch, of one shape, nothing lost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import box_convert

from detector.augment import without_augmentation
from detector.batches import (
    Batch,
    TrainingOrder,
    evaluation_batches,
    image_sizes,
    num_batches,
    training_batches,
)
from detector.datasets import Sample, open_dataset
from detector.hyperparameters import Hyperparameters

NONE = without_augmentation(Hyperparameters())
STRONG = Hyperparameters(fliplr=0.5, hsv_h=0.1, hsv_s=0.7, hsv_v=0.4, translate=0.2, scale=0.5)
ORDER = TrainingOrder(epoch=0, seed=0, batch_size=4, image_size=32, max_boxes=3)


class Counted:
    """Images whose pixels all are their index, with `index % 3` boxes."""

    def __init__(self, count: int, *, height: int = 32, width: int = 32) -> None:
        self._count, self._size = count, (height, width)

    def __len__(self) -> int:
        return self._count

    def sample(self, index: int, epoch: int) -> Sample:
        boxes_M4 = torch.tensor([[2.0, 3.0, 12.0, 13.0], [4.0, 8.0, 30.0, 24.0]])[: index % 3]
        image = torch.full((3, *self._size), index, dtype=torch.uint8)
        return Sample(image=image, boxes_M4=boxes_M4, labels_M=torch.full((index % 3,), index))


def _indices(batches: Iterable[Batch]) -> list[int]:
    return [int(image[0, 16, 16]) for batch in batches for image in batch.images]


def _same(one: list[Batch], other: list[Batch]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a.images, b.images) and torch.equal(a.labels_NM5, b.labels_NM5)
        for a, b in zip(one, other, strict=True)
    )


@given(count=st.integers(1, 40), batch_size=st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_an_epoch_shows_every_image_and_fills_the_last_batch_from_its_start(count: int, batch_size: int) -> None:
    split = Counted(count)
    batches = list(training_batches(split, replace(ORDER, batch_size=batch_size), NONE))
    shown = _indices(iter(batches))

    assert len(batches) == num_batches(split, batch_size)
    assert all(batch.images.shape == (batch_size, 3, 32, 32) for batch in batches)
    assert sorted(shown[:count]) == list(range(count))
    assert shown[count:] == (shown[:count] * batch_size)[: len(shown) - count]


def test_the_order_depends_on_epoch_and_seed_alone() -> None:
    split = Counted(30)
    first, again, next_epoch, other_seed = (
        _indices(training_batches(split, order, NONE))
        for order in (ORDER, ORDER, replace(ORDER, epoch=1), replace(ORDER, seed=1))
    )

    assert first == again
    assert first != next_epoch and first != other_seed and next_epoch != other_seed
    assert first != sorted(first)


def test_a_training_resumed_at_an_epoch_sees_the_same_bits() -> None:
    split = Counted(10, height=40, width=28)
    through = [list(training_batches(split, replace(ORDER, epoch=epoch), STRONG)) for epoch in range(3)]
    resumed = list(training_batches(split, replace(ORDER, epoch=2), STRONG))

    assert _same(through[2], resumed)
    assert not _same(through[1], resumed)


def test_an_image_is_varied_the_same_whatever_batch_it_falls_into() -> None:
    split = Counted(12, height=40, width=28)
    by_four = torch.cat([batch.images for batch in training_batches(split, ORDER, STRONG)])
    by_six = torch.cat([batch.images for batch in training_batches(split, replace(ORDER, batch_size=6), STRONG)])

    assert torch.equal(by_four, by_six)


@pytest.mark.parametrize(
    ("image_size", "multi_scale", "sizes"),
    [
        (416, 0.25, [320, 352, 384, 416, 448, 480, 512]),
        (160, 0.2, [128, 160, 192]),
        (160, 0.19, [160]),
        (64, 0.5, [64, 96]),
        (32, 0.5, [32]),
        (640, 0.0, [640]),
    ],
)
def test_sizes_are_the_multiples_of_32_within_the_share(image_size: int, multi_scale: float, sizes: list[int]) -> None:
    assert list(image_sizes(image_size, multi_scale)) == sizes


def test_the_size_of_a_batch_varies_by_seed_epoch_and_place_and_labels_stay_fractions_of_it() -> None:
    order = replace(ORDER, image_size=160)
    values = replace(NONE, multi_scale=0.5)

    def sides(order: TrainingOrder) -> list[int]:
        return [batch.images.shape[-1] for batch in training_batches(Counted(120), order, values)]

    first = sides(order)
    assert set(first) == {96, 128, 160, 192, 224}
    assert first == sides(order)
    assert len({tuple(first), tuple(sides(replace(order, epoch=1))), tuple(sides(replace(order, seed=1)))}) == 3
    for varied, still in zip(
        training_batches(Counted(12), order, values), training_batches(Counted(12), order, NONE), strict=True
    ):
        assert torch.allclose(varied.labels_NM5, still.labels_NM5, atol=1e-6)


def test_a_batch_has_rows_for_all_images_that_are_in_one() -> None:
    rows = {
        name: training_batches(Counted(9), ORDER, replace(NONE, **{name: 0.5}))[0].labels_NM5.shape[1]
        for name in ("fliplr", "mosaic", "mixup")
    }

    assert rows == {"fliplr": 3, "mosaic": 12, "mixup": 6}


def test_digits_rendered_through_batches_are_new_each_epoch_and_the_same_each_time() -> None:
    dataset = open_dataset("digits-3", image_size=32)
    order = TrainingOrder(epoch=4, seed=1, batch_size=16, image_size=32, max_boxes=dataset.max_boxes)
    once, again = (training_batches(dataset.train, order, NONE)[0] for _ in range(2))
    later = training_batches(dataset.train, replace(order, epoch=5), NONE)[0]

    assert _same([once], [again])
    assert not torch.equal(once.images, later.images)


def test_labels_are_centres_and_sizes_and_unused_rows_say_so() -> None:
    batch = next(evaluation_batches(Counted(3), batch_size=3, image_size=32, max_boxes=4))

    assert batch.images.dtype == torch.uint8
    assert batch.labels_NM5.shape == (3, 4, 5) and batch.labels_NM5.dtype == torch.float32
    assert (batch.labels_NM5[..., 0] >= 0).sum(1).tolist() == [0, 1, 2]
    assert batch.labels_NM5[1, 0].tolist() == pytest.approx([1, 7 / 32, 8 / 32, 10 / 32, 10 / 32])
    assert batch.labels_NM5[2, 2:].tolist() == [[-1, 0, 0, 0, 0]] * 2


@given(
    x=st.floats(0, 20), y=st.floats(0, 20), width=st.floats(1, 12), height=st.floats(1, 12), label=st.integers(0, 79)
)
@settings(max_examples=40, deadline=None)
def test_labels_of_a_batch_turned_back_are_the_boxes(
    x: float, y: float, width: float, height: float, label: int
) -> None:
    class One(Counted):
        def sample(self, index: int, epoch: int) -> Sample:
            boxes_M4 = torch.tensor([[x, y, x + width, y + height]])
            return replace(super().sample(0, 0), boxes_M4=boxes_M4, labels_M=torch.tensor([label]))

    row = next(evaluation_batches(One(1), batch_size=1, image_size=32, max_boxes=1)).labels_NM5[0, 0]

    back = box_convert(row[1:] * 32, "cxcywh", "xyxy")
    assert back.tolist() == pytest.approx([x, y, x + width, y + height], abs=1e-4)
    assert row[0] == label


def test_evaluation_goes_through_all_images_once_in_order_letterboxed() -> None:
    batches = list(evaluation_batches(Counted(10, height=20, width=40), batch_size=4, image_size=32, max_boxes=2))

    assert [len(batch.images) for batch in batches] == [4, 4, 2]
    assert _indices(iter(batches)) == list(range(10))
    assert all(bool((batch.images[:, :, :8] == 114).all()) for batch in batches)


def test_an_image_with_more_boxes_than_allowed_is_refused() -> None:
    with pytest.raises(ValueError, match="2 labels; allowed: at most 1"):
        list(training_batches(Counted(9), replace(ORDER, max_boxes=1), NONE))


def test_an_empty_split_is_refused_and_bad_orders_too() -> None:
    with pytest.raises(ValueError, match="no images"):
        training_batches(Counted(0), ORDER, NONE)
    with pytest.raises(ValueError, match="batch_size: 0 is below 1"):
        replace(ORDER, batch_size=0)
    with pytest.raises(ValueError, match="epoch: -1 is below 0"):
        replace(ORDER, epoch=-1)


def test_a_batch_is_the_same_in_whatever_order_batches_are_asked_for() -> None:
    batches = training_batches(Counted(21), ORDER, STRONG)
    in_order, backwards = list(batches), [batches[place] for place in range(-1, -len(batches) - 1, -1)]

    assert _same(in_order, backwards[::-1])
    assert _same(in_order[1:3], batches[1:3])
    with pytest.raises(IndexError):
        batches[len(batches)]
