"""Training images to the network's square: resized, shifted, mirrored and recoloured at random, or letterboxed.

Randomness comes from a generator that is passed in; each call takes the same number of draws from it.
Shapes: M boxes of an image, S side of the square.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import cos, pi, sin
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_area, clip_boxes_to_image
from torchvision.transforms.v2 import functional

from detector.datasets.listing import Sample
from detector.datasets.pictures import GREY
from detector.hyperparameters import AUGMENTATION, Hyperparameters, names

# A box that keeps no more of its area, or has a shorter side, is not trained on (box_candidates of ultralytics/yolov3).
MIN_AREA_LEFT, MIN_SIDE_PX = 0.1, 2.0
_DRAWS = 7  # flip, hue, saturation, brightness, right, down, larger

# RGB to luma and two axes of chroma; hue turns the chroma, saturation stretches it. FCC 1953 (NTSC), YIQ.
_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
_RGB = torch.linalg.inv(_YIQ)


def without_augmentation(values: Hyperparameters) -> Hyperparameters:
    """The same hyperparameters with all augmentation off: images are letterboxed only."""
    off: dict[str, Any] = dict.fromkeys(names(AUGMENTATION), 0.0)
    return replace(values, **off)


def augments(values: Hyperparameters) -> bool:
    """Whether images are varied at all."""
    return any(getattr(values, name) for name in names(AUGMENTATION))


def augment(sample: Sample, values: Hyperparameters, generator: np.random.Generator, image_size: int) -> Sample:
    """A varied copy of a sample on a square of `image_size` pixels.

    Boxes are cut to the square; those that keep a tenth of their area or less, or are thinner than 2 px, are left out.
    Where nothing is to be done the sample itself comes back, so its tensors must not be written to.

    Args:
        sample: Image of any size with its boxes.
        values: How much to vary it.
        generator: Seven numbers are drawn from it, whatever is varied.
        image_size: Side of the result in pixels.
    """
    if not augments(values):
        return letterbox(sample, image_size)
    flip, hue, saturation, brightness, right, down, larger = generator.uniform(-1, 1, _DRAWS).tolist()
    zoom = 1 + values.scale * larger
    shift = (values.translate * right * image_size, values.translate * down * image_size)
    varied = _onto_square(sample, image_size, zoom, shift)
    if (flip + 1) / 2 < values.fliplr:
        varied = flipped(varied)
    if values.hsv_h or values.hsv_s or values.hsv_v:
        gains = (1 + values.hsv_s * saturation, 1 + values.hsv_v * brightness)
        varied = replace(varied, image=_recoloured(varied.image, values.hsv_h * hue, *gains))
    return varied


def letterbox(sample: Sample, image_size: int) -> Sample:
    """The sample resized to fit a square, its aspect kept, centred on grey; itself if it fits already.

    Args:
        sample: Image of any size with its boxes.
        image_size: Side of the square in pixels.
    """
    if sample.height == sample.width == image_size:
        return sample
    return _onto_square(sample, image_size, 1.0, (0.0, 0.0))


def from_letterbox(boxes_K4: Tensor, *, size: tuple[int, int], image_size: int) -> Tensor:
    """Boxes found on a letterboxed square, in pixels of the image that was put there and cut to it.

    Args:
        boxes_K4: Corners xyxy as fractions (0..1) of the square.
        size: Width and height of the image in pixels, as given to `letterbox`.
        image_size: Side of the square in pixels.
    """
    scale = image_size / max(size)
    across, down = (_interval(length, scale, 0.0, image_size) for length in size)
    offset = boxes_K4.new_tensor([across.offset, down.offset] * 2)
    factor = boxes_K4.new_tensor([across.factor, down.factor] * 2)
    inside: Tensor = clip_boxes_to_image((boxes_K4 * image_size - offset) / factor, (size[1], size[0]))
    return inside


def flipped(sample: Sample) -> Sample:
    """The sample mirrored left to right."""
    x0, y0, x1, y1 = sample.boxes_M4.unbind(1)
    boxes_M4 = torch.stack([sample.width - x1, y0, sample.width - x0, y1], dim=1)
    return replace(sample, image=functional.horizontal_flip(sample.image), boxes_M4=boxes_M4)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Interval:
    """Pixels `source` of an image's row or column, and the pixels `target` of the square they become."""

    source: tuple[int, int]
    target: tuple[int, int]

    @property
    def factor(self) -> float:
        return (self.target[1] - self.target[0]) / (self.source[1] - self.source[0])

    @property
    def offset(self) -> float:
        return self.target[0] - self.source[0] * self.factor


def _interval(length: int, scale: float, shift: float, image_size: int) -> _Interval:
    """What is seen of a side of `length` pixels that is scaled, centred and shifted; rounded to whole pixels.

    Boxes go the way of the rounded intervals, as the pixels do, so rounding moves none against its object.
    """
    start = (image_size - length * scale) / 2 + shift
    stop = start + length * scale
    if stop <= 0 or start >= image_size:
        return _Interval(source=(0, 1), target=(0, 0))
    first = min(max(round(start), 0), image_size - 1)
    last = min(max(round(stop), first + 1), image_size)  # however thin, what is in sight has a pixel
    begin = min(max(round((first - start) / scale), 0), length - 1)
    end = min(max(round((last - start) / scale), begin + 1), length)
    return _Interval(source=(begin, end), target=(first, last))


def _onto_square(sample: Sample, image_size: int, zoom: float, shift: tuple[float, float]) -> Sample:
    scale = zoom * image_size / max(sample.height, sample.width)
    across = _interval(sample.width, scale, shift[0], image_size)
    down = _interval(sample.height, scale, shift[1], image_size)
    size = [down.target[1] - down.target[0], across.target[1] - across.target[0]]
    if size == [image_size, image_size]:
        square = _resized(sample.image, across, down, size)
    else:
        square = torch.full((3, image_size, image_size), GREY, dtype=torch.uint8)
        if min(size) > 0:  # far shifts may leave nothing of the image
            square[:, slice(*down.target), slice(*across.target)] = _resized(sample.image, across, down, size)
    boxes_M4 = sample.boxes_M4 * torch.tensor([across.factor, down.factor] * 2)
    boxes_M4 += torch.tensor([across.offset, down.offset] * 2)
    return _within(replace(sample, image=square, boxes_M4=boxes_M4), is_cut=zoom != 1 or shift != (0, 0))


def _resized(image: Tensor, across: _Interval, down: _Interval, size: list[int]) -> Tensor:
    seen = image[:, slice(*down.source), slice(*across.source)]
    resized: Tensor = functional.resize(seen, size, antialias=True)
    return resized


def _within(sample: Sample, *, is_cut: bool) -> Sample:
    cut_M4 = clip_boxes_to_image(sample.boxes_M4, (sample.height, sample.width))
    if not is_cut:
        return replace(sample, boxes_M4=cut_M4)
    sides_M2 = cut_M4[:, 2:] - cut_M4[:, :2]
    keep_M = (box_area(cut_M4) > MIN_AREA_LEFT * box_area(sample.boxes_M4)) & (sides_M2 >= MIN_SIDE_PX).all(dim=1)
    return replace(sample, boxes_M4=cut_M4[keep_M], labels_M=sample.labels_M[keep_M])


def _recoloured(image: Tensor, turn: float, saturation: float, brightness: float) -> Tensor:
    """Hue turned by a fraction of the circle, chroma and brightness multiplied.

    One 3 x 3 matrix instead of a way through HSV and back: the same variety for a twentieth of the time.
    """
    angle = 2 * pi * turn
    chroma = torch.tensor([[1.0, 0.0, 0.0], [0.0, cos(angle), -sin(angle)], [0.0, sin(angle), cos(angle)]])
    chroma[1:] *= saturation
    matrix = brightness * (_RGB @ chroma @ _YIQ)
    recoloured: Tensor = matrix @ image.reshape(3, -1).to(torch.float32)
    return recoloured.round_().clamp_(0, 255).to(torch.uint8).reshape(image.shape)
