"""Samples in the order they are trained or measured on, as tensors of one shape, or of a size that varies by batch.

An epoch is a function of (seed, epoch): the order is shuffled by both, and each image is varied by what is drawn for
(seed, epoch, index). So a training may go on from any epoch, and who does the work does not matter. Where a share of
the images is used, which they are is a function of the seed alone.
Shapes: N images, M labels of an image at most, S side of the images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final, overload

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_convert

from detector.augment import EpochImages, augment, augments, images_in_one
from detector.datasets.listing import Original, Sample, Split
from detector.draws import drawn, share
from detector.hyperparameters import Hyperparameters
from detector.letterbox import letterbox
from detector.plan import check_share, images_used

NO_LABEL = -1.0
_ORDER, _CHOICE = 0, 1  # what a stream of random numbers is for
_STRIDE = 32  # pixels of the coarsest cell: sides are multiples of it
_LEAST_SIDE = 64  # to which sizes vary: at 32 px a batch of one image has one value a channel, and no variance


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Images and labels for one forward pass.

    Attributes:
        images: RGB, uint8, (N, 3, S, S).
        labels_NM5: Class and box (centre x, centre y, width, height, fractions of S), float32; rows that are not used
            have class -1 and zeros.
        places: Index of each image among those that are trained on, from 0; of an image made of several, that of the
            first. Empty where nothing is trained on the batch.
    """

    images: Tensor
    labels_NM5: Tensor
    places: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOrder:
    """Which epoch of which training, and the shape of its batches.

    Attributes:
        epoch: Index of the epoch, from 0.
        seed: Seed of the order of images and of augmentation.
        batch_size: Images in a batch, N.
        image_size: Side of the images in pixels, S; what it varies around with `multi_scale`.
        max_boxes: Labels of an image of the split at most; an image of a batch may be made of several.

    Raises:
        ValueError: A number is not allowed.
    """

    epoch: int
    seed: int
    batch_size: int
    image_size: int
    max_boxes: int

    def __post_init__(self) -> None:
        for name, low in (("epoch", 0), ("seed", 0), ("batch_size", 1), ("image_size", 1), ("max_boxes", 1)):
            if getattr(self, name) < low:
                raise ValueError(f"{name}: {getattr(self, name)} is below {low}")


def num_batches(split: Split, batch_size: int, train_share: float = 1.0) -> int:
    """Batches in one pass over a split, or over a share of it, the last one counted even if it is not full.

    Raises:
        ValueError: The share is less than a batch.
    """
    check_share(len(split), train_share, batch_size)
    return -(-images_used(len(split), train_share) // batch_size)


def training_batches(split: Split, order: TrainingOrder, values: Hyperparameters) -> TrainingBatches:
    """Batches of one epoch, shuffled and varied, all of the same shape but for what `multi_scale` changes.

    Args:
        split: Images to train on.
        order: Epoch, seed and shapes. The last batch is filled up from the start of the epoch's order.
        values: Hyperparameters, which say how much images are varied and what share of them is used.

    Raises:
        ValueError: The split is empty.
    """
    return TrainingBatches(used_of(split, values.train_share, order.seed), order, values)


@final
class TrainingBatches(Sequence[Batch]):
    """Batches of one epoch, each made whenever it is asked for, on any thread.

    Args:
        split: Images that are trained on.
        order: Epoch, seed and shapes.
        values: Hyperparameters, which say how much images are varied.

    Raises:
        ValueError: The split is empty; when a batch is made, an image has more labels than `order.max_boxes`.
    """

    def __init__(self, split: Split, order: TrainingOrder, values: Hyperparameters) -> None:
        if len(split) == 0:
            raise ValueError("the split has no images; allowed: at least one")
        self._images = EpochImages(split=split, seed=order.seed, epoch=order.epoch)
        self._order, self._values = order, values
        self._is_varied, self._max_boxes = augments(values), order.max_boxes * images_in_one(values)
        self._rows = np.split(_shuffled(len(split), order), num_batches(split, order.batch_size))

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> Batch: ...

    @overload
    def __getitem__(self, place: slice) -> list[Batch]: ...

    def __getitem__(self, place: int | slice) -> Batch | list[Batch]:
        if isinstance(place, slice):
            return [self[index] for index in range(len(self))[place]]
        place = range(len(self))[place]
        side, places = _image_size(self._order, place, self._values.multi_scale), tuple(self._rows[place].tolist())
        return _collate([self._sample(index, side) for index in places], self._max_boxes, places)

    def _sample(self, index: int, side: int) -> Sample:
        if self._is_varied:
            return augment(self._images, index, self._values, side)
        return letterbox(self._images.sample(index), side)


def used_of(split: Split, train_share: float, seed: int) -> Split:
    """The images of a split that are trained on: all, or a share drawn by a seed, of which a smaller one is a part.

    Of rendered scenes a share is fixed, those of epoch 0: what is new in every epoch would be no share of anything.
    """
    if train_share == 1:
        return split
    drawn_order = np.random.default_rng([seed, 0, _CHOICE]).permutation(len(split))
    return _Chosen(split, tuple(drawn_order[: images_used(len(split), train_share)].tolist()))


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Some images of a split, by their places in it, the same in every epoch."""

    whole: Split
    places: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.places)

    def sample(self, index: int, epoch: int) -> Sample:  # noqa: ARG002 - no epoch has others
        return self.whole.sample(self.places[index], 0)

    def size(self, index: int) -> tuple[int, int]:
        return self.whole.size(self.places[index])

    def original(self, index: int) -> Original:
        return self.whole.original(self.places[index])


def image_sizes(image_size: int, multi_scale: float) -> range:
    """Sides in pixels that the images of a batch may have, all as likely.

    Args:
        image_size: The side they vary around, a multiple of 32.
        multi_scale: Largest change of that side, as a share of it; 0 leaves it alone.

    Source: Redmon & Farhadi 2016 (YOLO9000), section 2, "Multi-Scale Training"; for each batch, and by a share, as in
    ultralytics/yolov3, train.py.
    """
    steps = int(image_size * multi_scale / _STRIDE + 1e-9)
    least = max(image_size - steps * _STRIDE, min(image_size, _LEAST_SIDE))
    return range(least, image_size + steps * _STRIDE + 1, _STRIDE)


def _image_size(order: TrainingOrder, place: int, multi_scale: float) -> int:
    """Side of the images in a batch of the epoch."""
    if not multi_scale:
        return order.image_size
    sizes = image_sizes(order.image_size, multi_scale)
    return sizes[int(share(drawn(order.seed, order.epoch, place, "multi_scale")[0]) * len(sizes))]


def _shuffled(count: int, order: TrainingOrder) -> np.ndarray:
    shuffled = np.random.default_rng([order.seed, order.epoch, _ORDER]).permutation(count)
    return np.resize(shuffled, -(-count // order.batch_size) * order.batch_size)


def evaluation_batches(split: Split, *, batch_size: int, image_size: int, max_boxes: int) -> Iterator[Batch]:
    """All images of a split once, in order, letterboxed; the last batch may be smaller.

    Args:
        split: Images to measure on, as they are in epoch 0.
        batch_size: Images in a batch, N.
        image_size: Side of the images in pixels, S.
        max_boxes: Labels of an image at most, M.

    Raises:
        ValueError: An image has more labels than `max_boxes`.
    """
    for first in range(0, len(split), batch_size):
        indices = range(first, min(first + batch_size, len(split)))
        yield _collate([letterbox(split.sample(index, 0), image_size) for index in indices], max_boxes)


def fixed_batch(split: Split, *, batch_size: int, image_size: int, max_boxes: int) -> Batch:
    """One batch of images from all over a split, letterboxed, the same every time; arguments as `evaluation_batches`.

    It is full: of fewer images some are in it several times.
    """
    places = np.linspace(0, len(split) - 1, batch_size).round().astype(int)
    return _collate([letterbox(split.sample(index, 0), image_size) for index in places.tolist()], max_boxes)


def _collate(samples: Sequence[Sample], max_boxes: int, places: tuple[int, ...] = ()) -> Batch:
    counts = [sample.labels_M.shape[0] for sample in samples]
    if (most := max(counts)) > max_boxes:
        raise ValueError(f"an image has {most} labels; allowed: at most {max_boxes}, as max_boxes says")
    boxes = box_convert(torch.cat([sample.boxes_M4 for sample in samples]), "xyxy", "cxcywh") / samples[0].width
    classes = torch.cat([sample.labels_M for sample in samples])
    labels_NM5 = torch.tensor([NO_LABEL, 0.0, 0.0, 0.0, 0.0]).repeat(len(samples), max_boxes, 1)
    is_used_NM = torch.arange(max_boxes) < torch.tensor(counts)[:, None]
    labels_NM5[is_used_NM] = torch.cat((classes[:, None], boxes), 1)
    return Batch(images=torch.stack([sample.image for sample in samples]), labels_NM5=labels_NM5, places=places)
