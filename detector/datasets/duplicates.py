"""Images that look almost the same: another size, another compression, a little brighter, a border cut off.

A picture is told by two things: for 16 x 16 places each, whether it becomes lighter to the right and downwards, and
how light it is there. Pictures that agree in four fifths of the first and whose lightness goes together are almost the
same. Between photographs that have nothing in common but their kind, 0.66 was the largest agreement (86,000 pairs of
two public data sets); a picture and itself after JPEG at quality 30, at half its size, 1.3 times as bright, or without
2 % at each border agreed in 0.8 to 1.

Source: the difference hash is N. Krawetz's, "Kind of Like That", 2013; here of finer grids, and in both directions.
Letters: P pictures, B bits, L places.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from detector.datasets.listing import Dataset, Original
from detector.findings import Finding
from detector.text_files import printable

_SIDE = 16
MIN_AGREEMENT = 0.8  # share of the bits
MIN_CORRELATION = 0.9  # of the lightness: on plain backgrounds most bits agree by chance
_BLOCK = 1024  # pictures compared with all others at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an image is in a data set: its split and its index there."""

    dataset: Dataset
    split: str
    index: int

    @property
    def picture(self) -> Tensor:
        """RGB, uint8, (3, height, width); not to be written to."""
        return self.dataset.splits()[self.split].sample(self.index, 0).image

    @property
    def original(self) -> Original:
        """The image as it came, with its file and boxes."""
        return self.dataset.splits()[self.split].original(self.index)


def all_places(dataset: Dataset) -> list[Place]:
    """The images of a data set, split by split."""
    return [
        Place(dataset=dataset, split=name, index=index)
        for name, split in dataset.splits().items()
        for index in range(len(split))
    ]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """What a picture looks like from afar.

    Attributes:
        steps_B: 1 where the picture becomes lighter to the right or downwards, -1 elsewhere, float32.
        lightness_L: How light the picture is at each place, of mean 0 and length 1, float32; zeros for a picture of one
            colour.
    """

    steps_B: np.ndarray
    lightness_L: np.ndarray


def look_of(image: Tensor) -> Look:
    """The look of an RGB uint8 picture of shape (3, height, width)."""
    red, green, blue = image.to(torch.int16)
    # The weights of ITU-R BT.601 in 128ths; faster than Pillow, which wants another order of the pixels.
    grey = Image.fromarray(((38 * red + 75 * green + 15 * blue) >> 7).to(torch.uint8).numpy())
    wide, high, square = (
        np.asarray(grey.resize(size, Image.Resampling.BOX), dtype=np.float32)
        for size in ((_SIDE + 1, _SIDE), (_SIDE, _SIDE + 1), (_SIDE, _SIDE))
    )
    is_lighter_B = np.concatenate([np.diff(wide, axis=1).ravel(), np.diff(high, axis=0).ravel()]) > 0
    centred_L = square.ravel() - square.mean()
    return Look(
        steps_B=2 * is_lighter_B.astype(np.float32) - 1,
        lightness_L=centred_L / max(float(np.linalg.norm(centred_L)), 1e-6),
    )


def similar_pairs(looks: Sequence[Look]) -> Iterator[tuple[int, int, float]]:
    """Pairs of pictures that look almost the same: the earlier, the later, and the share of bits that agree."""
    if not looks:
        return
    steps_PB = np.stack([look.steps_B for look in looks])
    lightness_PL = np.stack([look.lightness_L for look in looks])
    for start in range(0, len(looks), _BLOCK):
        # A product of signs is the number of bits that agree less those that do not.
        agreement_PP = (1 + steps_PB[start : start + _BLOCK] @ steps_PB.T / steps_PB.shape[1]) / 2
        for row, later in np.argwhere(agreement_PP >= MIN_AGREEMENT).tolist():
            earlier = start + row
            if earlier < later and lightness_PL[earlier] @ lightness_PL[later] >= MIN_CORRELATION:
                yield earlier, later, float(agreement_PP[row, later])


def pixel_digest(image: Tensor) -> bytes:
    """Digest of a picture, which only pictures of the same pixels share."""
    return blake2b(f"{tuple(image.shape)}".encode() + image.numpy().tobytes(), digest_size=16).digest()


def similar_images(dataset: Dataset) -> list[Finding]:
    """A finding for each image of a file that looks almost like an earlier one, one of another split first.

    Images of the very same pixels are passed over: the check has told them. Of many alike each is told once, with the
    one it is most alike.
    """
    if not dataset.files:  # rendered scenes
        return []
    places = all_places(dataset)
    closest: dict[int, tuple[bool, float, int]] = {}
    for earlier, later, agreement in similar_pairs([look_of(place.picture) for place in places]):
        is_leak = places[earlier].split != places[later].split
        if not torch.equal(places[earlier].picture, places[later].picture):
            closest[later] = max(closest.get(later, (False, 0.0, 0)), (is_leak, agreement, earlier))
    return [
        _finding(places[later], places[earlier], agreement)
        for later, (_, agreement, earlier) in sorted(closest.items())
    ]


def _finding(place: Place, earlier: Place, agreement: float) -> Finding:
    image, other, split, other_split = place.original.image, earlier.original.image, place.split, earlier.split
    message = f"in {split}: looks almost like {other} in {other_split} ({agreement:.0%} alike); both kept"
    return Finding(
        kind="similar_image" if split == other_split else "similar_leak",
        file=str(image),
        line=None,
        message=printable(message),
        images=(str(image), str(other)),
    )
