"""An image on the network's square: what is seen of it, resized and laid on grey, and its boxes with it.

Shapes: K boxes found, M boxes of an image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torchvision.ops import box_area, clip_boxes_to_image
from torchvision.transforms.v2 import functional

from detector.datasets.listing import Sample
from detector.datasets.pictures import GREY

# A box that keeps no more of its area, or has a shorter side, is not trained on (box_candidates of ultralytics/yolov3).
MIN_AREA_LEFT, MIN_SIDE_PX = 0.1, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How an image lies on the square, across and down.

    Attributes:
        scale: Pixels of the square for one pixel of the image.
        middle: What lies at the square's centre if nothing is shifted, in pixels of the image from its own centre.
        shift: How far all is shifted after that, in pixels of the square.
    """

    scale: tuple[float, float]
    middle: tuple[float, float] = (0.0, 0.0)
    shift: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Pixels `source` of an image's row or column, and the pixels `target` of the square they become."""

    source: tuple[int, int]
    target: tuple[int, int]

    @property
    def length(self) -> int:
        """Pixels of the square that are covered."""
        return self.target[1] - self.target[0]

    @property
    def factor(self) -> float:
        """Pixels of the square for one of the image."""
        return self.length / (self.source[1] - self.source[0])

    @property
    def offset(self) -> float:
        """Where the image begins, in pixels of the square."""
        return self.target[0] - self.source[0] * self.factor


def interval(length: int, scale: float, start: float, side: int) -> Interval:
    """What is seen of a row or column of an image, rounded to whole pixels.

    Boxes go the way of the rounded intervals, as the pixels do, so rounding moves none against its object.

    Args:
        length: Length of the row or column in pixels.
        scale: Pixels of the square for one pixel of the image.
        start: Where the image begins, in pixels from the edge of the square; below 0 where its beginning is cut off.
        side: Side of the square in pixels.
    """
    stop = start + length * scale
    if stop <= 0 or start >= side:
        return Interval(source=(0, 1), target=(0, 0))
    first = min(max(round(start), 0), side - 1)
    last = min(max(round(stop), first + 1), side)  # however thin, what is in sight has a pixel
    begin = min(max(round((first - start) / scale), 0), length - 1)
    end = min(max(round((last - start) / scale), begin + 1), length)
    return Interval(source=(begin, end), target=(first, last))


def letterbox(sample: Sample, image_size: int) -> Sample:
    """The sample resized to fit a square, its aspect kept, centred on grey; itself if it fits already.

    Args:
        sample: Image of any size with its boxes.
        image_size: Side of the square in pixels.
    """
    if sample.height == sample.width == image_size:
        return sample
    scale = image_size / max(sample.height, sample.width)
    square = onto_square(sample, View(scale=(scale, scale)), image_size)
    return replace(square, boxes_M4=_clipped(square))


def from_letterbox(boxes_K4: Tensor, *, size: tuple[int, int], image_size: int) -> Tensor:
    """Boxes found on a letterboxed square, in pixels of the image that was put there and cut to it.

    Args:
        boxes_K4: Corners xyxy as fractions (0..1) of the square.
        size: Width and height of the image in pixels, as given to `letterbox`.
        image_size: Side of the square in pixels.
    """
    scale = image_size / max(size)
    across, down = (_centred(length, scale, 0.0, 0.0, image_size) for length in size)
    offset = boxes_K4.new_tensor([across.offset, down.offset] * 2)
    factor = boxes_K4.new_tensor([across.factor, down.factor] * 2)
    inside: Tensor = clip_boxes_to_image((boxes_K4 * image_size - offset) / factor, (size[1], size[0]))
    return inside


def onto_square(sample: Sample, view: View, image_size: int) -> Sample:
    """What is seen of an image on grey, and all its boxes, which may reach beyond the square or lie outside.

    Args:
        sample: Image of any size with its boxes.
        view: How the image lies on the square.
        image_size: Side of the square in pixels.
    """
    sides = zip((sample.width, sample.height), view.scale, view.middle, view.shift, strict=True)
    across, down = (_centred(*side, image_size) for side in sides)
    if across.length == down.length == image_size:
        square = _resized(sample.image, across, down)
    else:
        square = grey_square(image_size)
        lay(sample.image, across, down, square)
    return replace(sample, image=square, boxes_M4=moved(sample.boxes_M4, across, down))


def grey_square(side: int) -> Tensor:
    """An image of nothing, (3, side, side)."""
    return torch.full((3, side, side), GREY, dtype=torch.uint8)


def lay(image: Tensor, across: Interval, down: Interval, square: Tensor) -> None:
    """Writes what is seen of an image onto a square; far shifts may leave nothing of it."""
    if min(across.length, down.length) > 0:
        square[:, slice(*down.target), slice(*across.target)] = _resized(image, across, down)


def moved(boxes_M4: Tensor, across: Interval, down: Interval) -> Tensor:
    """Boxes of an image in pixels of the square, not cut to it."""
    boxes_M4 = boxes_M4 * torch.tensor([across.factor, down.factor] * 2)
    boxes_M4 += torch.tensor([across.offset, down.offset] * 2)
    return boxes_M4


def within(sample: Sample) -> Sample:
    """The sample with its boxes cut to the image; those that keep too little of themselves are left out."""
    cut_M4 = _clipped(sample)
    sides_M2 = cut_M4[:, 2:] - cut_M4[:, :2]
    keep_M = (box_area(cut_M4) > MIN_AREA_LEFT * box_area(sample.boxes_M4)) & (sides_M2 >= MIN_SIDE_PX).all(dim=1)
    return replace(sample, boxes_M4=cut_M4[keep_M], labels_M=sample.labels_M[keep_M])


def _clipped(sample: Sample) -> Tensor:
    cut_M4: Tensor = clip_boxes_to_image(sample.boxes_M4, (sample.height, sample.width))
    return cut_M4


def _centred(length: int, scale: float, middle: float, shift: float, side: int) -> Interval:
    return interval(length, scale, (side - length * scale) / 2 + (shift - middle * scale), side)


def _resized(image: Tensor, across: Interval, down: Interval) -> Tensor:
    seen = image[:, slice(*down.source), slice(*across.source)]
    resized: Tensor = functional.resize(seen, [down.length, across.length], antialias=True)
    return resized
