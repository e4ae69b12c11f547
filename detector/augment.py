"""Training images as an epoch shows them: resized, shifted, mirrored and recoloured at random.

What is drawn for an image is a function of (seed, epoch, image, name of the hyperparameter): switching one on moves no
other's draws. Shapes: M boxes of an image, S side of the square.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import cos, pi, sin
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from detector.datasets.listing import Sample, Split
from detector.draws import drawn, share
from detector.hyperparameters import AUGMENTATION, Hyperparameters, names
from detector.letterbox import View, letterbox, onto_square, within

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


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochImages:
    """Images of a split in one epoch of a training, and what is drawn for each.

    Attributes:
        split: The images.
        seed: Seed of the augmentation.
        epoch: Index of the epoch, from 0.
    """

    split: Split
    seed: int
    epoch: int

    def sample(self, index: int) -> Sample:
        """The image at `index` before it is varied."""
        return self.split.sample(index, self.epoch)

    def draws(self, index: int, name: str) -> tuple[float, ...]:
        """Eight numbers, -1 to below 1, for a hyperparameter and an image."""
        return drawn(self.seed, self.epoch, index, name)


def augment(images: EpochImages, index: int, values: Hyperparameters, image_size: int) -> Sample:
    """An image as the epoch shows it, on a square of `image_size` pixels.

    Boxes are cut to the square; those that keep a tenth of their area or less, or are thinner than 2 px, are left out.
    Where nothing is to be done the sample itself comes back, so its tensors must not be written to.

    Args:
        images: Images of the epoch.
        index: Which of them.
        values: How much to vary it.
        image_size: Side of the result in pixels.
    """
    sample = _placed(images, index, values, image_size)
    if values.fliplr and share(images.draws(index, "fliplr")[0]) < values.fliplr:
        sample = flipped(sample)
    if values.hsv_h or values.hsv_s or values.hsv_v:
        hue, saturation, brightness = (
            getattr(values, name) * images.draws(index, name)[0] for name in ("hsv_h", "hsv_s", "hsv_v")
        )
        sample = replace(sample, image=_recoloured(sample.image, hue, 1 + saturation, 1 + brightness))
    return sample


def _placed(images: EpochImages, index: int, values: Hyperparameters, image_size: int) -> Sample:
    sample = images.sample(index)
    if not values.scale and not values.translate:
        return letterbox(sample, image_size)
    zoom = 1 + values.scale * images.draws(index, "scale")[0]
    right, down, *_ = images.draws(index, "translate")
    shift = (values.translate * right * image_size, values.translate * down * image_size)
    scale = zoom * image_size / max(sample.height, sample.width)
    return within(onto_square(sample, View(scale=(scale, scale), shift=shift), image_size))


def flipped(sample: Sample) -> Sample:
    """The sample mirrored left to right."""
    x0, y0, x1, y1 = sample.boxes_M4.unbind(1)
    boxes_M4 = torch.stack([sample.width - x1, y0, sample.width - x0, y1], dim=1)
    return replace(sample, image=functional.horizontal_flip(sample.image), boxes_M4=boxes_M4)


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
