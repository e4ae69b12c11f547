"""Training images as an epoch shows them: resized, moved, bent, mirrored, recoloured and combined at random.

What is drawn for an image is a function of (seed, epoch, image, name of the hyperparameter): switching one on moves no
other's draws. Shapes: M boxes of an image, S side of the square.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from math import cos, pi, sin
from random import Random
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from detector.combining import NUM_MIXED, NUM_TILES, cut_out, mixture, mosaic
from detector.datasets.listing import Sample, Split
from detector.draws import drawn, share
from detector.families import AUGMENTATION
from detector.hyperparameters import Hyperparameters, declarations, names
from detector.letterbox import View, letterbox, onto_square, within
from detector.warping import Bend, warped

# RGB to luma and two axes of chroma; hue turns the chroma, saturation stretches it. FCC 1953 (NTSC), YIQ.
_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
_RGB = torch.linalg.inv(_YIQ)
_BENDS = ("degrees", "shear", "perspective")
_Moves = Mapping[str, list[float]]  # numbers drawn for what is on, times its strength
_NO_MOVE = [0.0] * 4
_MIXED_EVENLY = 32.0  # both parameters of the beta distribution of a mixture's shares, as in ultralytics/yolov3


def without_augmentation(values: Hyperparameters) -> Hyperparameters:
    """The same hyperparameters with all augmentation off: images are letterboxed only."""
    off: dict[str, Any] = dict.fromkeys(names(AUGMENTATION), 0.0)
    return replace(values, **off)


def in_epoch(values: Hyperparameters, epoch: int, epochs: int) -> Hyperparameters:
    """Hyperparameters of an epoch: without mosaics if it is one of the last, of which `close_mosaic` is the share.

    Source: Ge et al. 2021 (YOLOX), section 2.1; close_mosaic of the ultralytics package, which counts epochs.
    """
    return replace(values, mosaic=0.0) if epoch >= epochs - round(values.close_mosaic * epochs) else values


def augments(values: Hyperparameters) -> bool:
    """Whether images are varied at all."""
    return any(getattr(values, name) for name in _variations())


def images_in_one(values: Hyperparameters) -> int:
    """How many images may be seen in one: their boxes are as many times more."""
    return (NUM_TILES if values.mosaic else 1) * (NUM_MIXED if values.mixup else 1)


@cache
def _variations() -> tuple[str, ...]:
    """Hyperparameters that vary an image by themselves."""
    return tuple(
        name
        for name in names(AUGMENTATION)
        if not any(need in declarations() for need, *_ in declarations()[name].needs)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochImages:
    """Images of a split in one epoch of a training, and what is drawn for each.

    Attributes:
        split: The split that the images are of.
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

    def any_index(self, number: float) -> int:
        """The image that a drawn number chooses."""
        return int(share(number) * len(self.split))


def augment(images: EpochImages, index: int, values: Hyperparameters, image_size: int) -> Sample:
    """An image as the epoch shows it, on a square of `image_size` pixels.

    Boxes are cut to the square; those that keep a tenth of their area or less, or are thinner than 2 px, are left out.
    Where nothing is to be done the sample itself comes back, so its tensors must not be written to.

    Args:
        images: Images of the epoch.
        index: Index of the image among them, from 0.
        values: Hyperparameters, which say how much the image is varied.
        image_size: Side of the result in pixels.
    """
    sample = _varied(images, index, values, image_size)
    if values.mixup:
        is_mixed, other, seed, *_ = images.draws(index, "mixup")
        if share(is_mixed) < values.mixup:
            ratio = Random(seed).betavariate(_MIXED_EVENLY, _MIXED_EVENLY)
            sample = mixture(sample, _varied(images, images.any_index(other), values, image_size), ratio)
    if values.cutout:
        x, y, *_ = images.draws(index, "cutout")
        sample = cut_out(sample, (share(x) * image_size, share(y) * image_size), values.cutout * image_size)
    return sample


def _varied(images: EpochImages, index: int, values: Hyperparameters, image_size: int) -> Sample:
    """An image, or a mosaic around it, placed on the square, mirrored and recoloured."""
    sample = _placed(images, index, values, image_size)
    if values.fliplr and share(images.draws(index, "fliplr")[0]) < values.fliplr:
        sample = flipped(sample)
    if values.flipud and share(images.draws(index, "flipud")[0]) < values.flipud:
        sample = upside_down(sample)
    if values.hsv_h or values.hsv_s or values.hsv_v:
        hue, saturation, brightness = (
            getattr(values, name) * images.draws(index, name)[0] for name in ("hsv_h", "hsv_s", "hsv_v")
        )
        sample = replace(sample, image=_recoloured(sample.image, hue, 1 + saturation, 1 + brightness))
    if values.contrast:
        factor = 1 + values.contrast * images.draws(index, "contrast")[0]
        sample = replace(sample, image=functional.adjust_contrast(sample.image, factor))
    return sample


def _placed(images: EpochImages, index: int, values: Hyperparameters, image_size: int) -> Sample:
    strengths = {name: getattr(values, name) for name in ("scale", "translate", "crop", *_BENDS)}
    drawn_for = {name: images.draws(index, name) for name, strength in strengths.items() if strength}
    sample, fits = images.sample(index), 1.0
    if values.mosaic:
        is_mosaic, x, y, *others = images.draws(index, "mosaic")
        if share(is_mosaic) < values.mosaic:
            tiles = [sample, *(images.sample(images.any_index(other)) for other in others[: NUM_TILES - 1])]
            sample = mosaic(tiles, (image_size * (1 + x / 2), image_size * (1 + y / 2)), image_size)
            fits = 2.0  # the network's square is its middle
    if not drawn_for and fits == 1:
        return letterbox(sample, image_size)
    moves = {name: [strengths[name] * number for number in numbers] for name, numbers in drawn_for.items()}
    view = _view(sample, moves, fits, image_size)
    if any(name in moves for name in _BENDS):
        return within(warped(sample, view, _bend(moves), image_size))
    return within(onto_square(sample, view, image_size))


def _view(sample: Sample, moves: _Moves, fits: float, image_size: int) -> View:
    """Where the image is seen: as it fits the square `fits` times, enlarged, cropped and shifted.

    Source of the crop, each edge by itself, out of the image as well: darknet, src/data.c, jitter.
    """
    zoom = 1 + moves.get("scale", _NO_MOVE)[0]
    right, down = moves.get("translate", _NO_MOVE)[:2]
    scale = zoom * (fits * image_size) / max(sample.height, sample.width)
    shift = (right * image_size, down * image_size)
    if "crop" not in moves:
        return View(scale=(scale, scale), shift=shift)
    edges = moves["crop"]
    return View(
        scale=(scale / (1 - edges[0] - edges[1]), scale / (1 - edges[2] - edges[3])),
        middle=(
            (edges[0] - edges[1]) / 2 * sample.width / fits,
            (edges[2] - edges[3]) / 2 * sample.height / fits,
        ),
        shift=shift,
    )


def _bend(moves: _Moves) -> Bend:
    lean_x, lean_y = moves.get("shear", _NO_MOVE)[:2]
    away_x, away_y = moves.get("perspective", _NO_MOVE)[:2]
    return Bend(angle=moves.get("degrees", _NO_MOVE)[0], shear=(lean_x, lean_y), perspective=(away_x, away_y))


def flipped(sample: Sample) -> Sample:
    """The sample mirrored left to right."""
    x0, y0, x1, y1 = sample.boxes_M4.unbind(1)
    boxes_M4 = torch.stack([sample.width - x1, y0, sample.width - x0, y1], dim=1)
    return replace(sample, image=functional.horizontal_flip(sample.image), boxes_M4=boxes_M4)


def upside_down(sample: Sample) -> Sample:
    """The sample mirrored top to bottom."""
    x0, y0, x1, y1 = sample.boxes_M4.unbind(1)
    boxes_M4 = torch.stack([x0, sample.height - y1, x1, sample.height - y0], dim=1)
    return replace(sample, image=functional.vertical_flip(sample.image), boxes_M4=boxes_M4)


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
