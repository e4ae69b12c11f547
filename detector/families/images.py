"""How the images of an epoch are varied, how large they are, and how many of them are used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from detector.declaration import VARIED, number
from detector.families import AUGMENTATION, IMAGES, SIZE


def _variation(default: float, high: float, meaning: str, unit: str) -> Any:
    """An augmentation: images are made once for all lanes, and 0 leaves them as they are."""
    needs = ((VARIED,),)
    return number(default, 0.0, high, AUGMENTATION, meaning, unit=unit, is_shared=True, needs=needs)


@dataclass(frozen=True, kw_only=True)
class Images:
    """Augmentations, the size of the images, and the share of them."""

    fliplr: float = _variation(0.5, 1.0, "Probability of a horizontal flip.", "probability")
    hsv_h: float = _variation(0.015, 0.5, "Largest change of hue.", "of the circle")
    hsv_s: float = _variation(0.7, 1.0, "Largest relative change of saturation.", "relative")
    hsv_v: float = _variation(0.4, 1.0, "Largest relative change of brightness.", "relative")
    translate: float = _variation(0.1, 0.9, "Largest shift.", "of the image")
    scale: float = _variation(0.5, 0.9, "Largest relative change of size.", "relative")
    flipud: float = _variation(0.0, 1.0, "Probability of a vertical flip.", "probability")
    contrast: float = _variation(0.0, 1.0, "Largest relative change of contrast.", "relative")
    degrees: float = _variation(0.0, 180.0, "Largest rotation.", "degrees")
    shear: float = _variation(0.0, 30.0, "Largest angle by which vertical and horizontal lines lean.", "degrees")
    perspective: float = _variation(
        0.0, 0.4, "How much farther away than the centre an edge of the image is at most.", "of the distance"
    )
    crop: float = _variation(
        0.0, 0.4, "How far each edge of what is seen moves in or out at most, darknet's jitter.", "of the image"
    )
    mosaic: float = _variation(0.0, 1.0, "Probability that an image is one of four around a corner.", "probability")
    close_mosaic: float = number(
        0.0,
        0.0,
        1.0,
        AUGMENTATION,
        "Share of the epochs, the last ones, that have no mosaics.",
        unit="of the epochs",
        is_shared=True,
        needs=((VARIED,), ("mosaic",)),
    )
    mixup: float = _variation(0.0, 1.0, "Probability that another image is laid over an image.", "probability")
    cutout: float = _variation(0.0, 0.9, "Side of a grey square that hides a part.", "of the image")
    multi_scale: float = number(
        0.0,
        0.0,
        0.5,
        SIZE,
        "Largest relative change of the size of a batch's images, in whole multiples of 32 px.",
        unit="of image_size",
        is_shared=True,
    )
    train_share: float = number(
        1.0,
        1e-4,
        1.0,
        IMAGES,
        "Share of the training images that is used, drawn by the seed, a smaller one a part of a larger one. Below 1 "
        "digits are the same in every epoch.",
        unit="of the images",
        is_shared=True,
    )
