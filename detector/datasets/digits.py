"""Scenes of real handwritten digits on cluttered backgrounds, rendered anew for every training epoch.

Digits: Alpaydin & Kaynak, Optical Recognition of Handwritten Digits (UCI 1998), as scikit-learn ships them: 1,797
images of 8 x 8. Each goes to one split only (70 % train, 15 % val, 15 % test within each class), so no split shows ink
of another. A scene is a function of (seed, split, epoch, index); val and test scenes do not depend on the seed, so
that trainings with different seeds are measured on the same images.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch.nn import functional

from detector.datasets.listing import DataError, Dataset, Original, Sample

CLASS_NAMES: dict[str, tuple[str, ...]] = {
    "digits": ("digit",),
    "digits-1": ("digit",),
    "digits-3": ("0", "1", "2"),
    "digits-10": tuple(str(digit) for digit in range(10)),
}
MAX_DIGITS = 3
NUM_SCENES = {"train": 640, "val": 128, "test": 256}

_SPLITS = ("train", "val", "test")
_SHARES = (0.7, 0.85)  # ends of the train and val shares of each class
# Measured with the tiny compact network, 400 batches of 16, one class: mAP50 0.5 with sides from 12, 0.9 from 22.
_MIN_SIDE, _MAX_SIDE, _NUM_SIDES = 22 / 64, 44 / 64, 9  # of an 8 x 8 digit, fraction of the image
_TRIES = 4  # places tried for a digit before it is left out
_DRAWS = 4 + 2 * _TRIES  # random numbers for a digit: which, size, contrast, tint, y and x of each place
_STAMP_BYTES = 64 * 2**20  # kept stamps, at most
_BANK_BYTES = 12 * 2**20

U16 = NDArray[np.uint16]


class DigitImages(NamedTuple):
    """Digits of one split: `pixels` (K, 8, 8) uint8 from 0 to 16, `digits` (K,), `source` (K,) rows of load_digits."""

    pixels: NDArray[np.uint8]
    digits: NDArray[np.int64]
    source: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitSettings:
    """What a split of a digits data set is rendered from.

    Attributes:
        split: train, val or test.
        names: Class names, one of the values of `CLASS_NAMES`.
        image_size: Side of the scenes in pixels, at least 32.
        seed: Seed of the training scenes.
        num_scenes: Number of scenes in the split.
    """

    split: str
    names: tuple[str, ...]
    image_size: int
    seed: int
    num_scenes: int

    def __post_init__(self) -> None:
        if self.split not in _SPLITS:
            raise ValueError(f"split: {self.split!r} is not one of {list(_SPLITS)}")
        if self.names not in CLASS_NAMES.values():
            raise ValueError(f"names: {self.names!r} is not one of {list(CLASS_NAMES.values())}")
        if self.image_size < 32 or self.num_scenes < 1 or self.seed < 0:
            raise ValueError(
                f"image_size {self.image_size}, num_scenes {self.num_scenes}, seed {self.seed}: "
                "allowed are at least 32, at least 1, and no negative seed"
            )


class DigitScenes:
    """One split of a digits data set, rendered when asked for."""

    def __init__(self, settings: DigitSettings) -> None:
        self.settings = settings
        self._seed = settings.seed if settings.split == "train" else 0
        self._split = _SPLITS.index(settings.split)
        pool = digit_images(settings.split)
        is_one_class = len(settings.names) == 1
        shown = np.isin(pool.digits, range(10) if is_one_class else [int(name) for name in settings.names])
        self._pixels = pool.pixels[shown]
        self._labels = [0 if is_one_class else digit for digit in pool.digits[shown].tolist()]
        self._sides = _sides(settings.image_size)
        self._bank, self._levels = background_bank(self._split, self._seed, settings.image_size)
        stamp_bytes = 2 * sum(side**2 for side in self._sides) // _NUM_SIDES  # about, on average
        num_stamps = _NUM_SIDES * len(self._pixels)
        fits = stamp_bytes * num_stamps <= _STAMP_BYTES
        self._block = len(self._pixels) if fits else 1  # drawn together: many at once are far cheaper
        self._draws = lru_cache(maxsize=2)(self._draw_epoch)
        self._stamps = lru_cache(maxsize=_NUM_SIDES if fits else _STAMP_BYTES // stamp_bytes)(self._draw_stamps)

    def __len__(self) -> int:
        return self.settings.num_scenes

    def _draw_epoch(self, epoch: int) -> list[list[float]]:
        # Seeding a generator for each scene would cost a quarter of the scene.
        generator = np.random.default_rng([self._seed, self._split, epoch])
        numbers: list[list[float]] = generator.random((len(self), 4 + MAX_DIGITS * _DRAWS)).tolist()
        return numbers

    def sample(self, index: int, epoch: int) -> Sample:
        """Scene `index`; those of the training split differ from epoch to epoch.

        Raises:
            IndexError: `index` is not one of the split's scenes.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"scene {index} of {len(self)}")
        draws = self._draws(epoch if self._split == 0 else 0)[index]
        image, level = self._background(draws)
        boxes: list[tuple[int, int, int, int]] = []
        labels: list[int] = []
        for first in range(4, 4 + _DRAWS * _num_digits(draws[3]), _DRAWS):
            stamp, label = self._digit(draws[first], draws[first + 1])
            place = draws[first + 4 : first + _DRAWS]
            if (box := _free_place(stamp.shape, place, boxes, self.settings.image_size)) is not None:
                _print(image[:, box[1] : box[3], box[0] : box[2]], stamp, _ink(level, draws[first + 2 : first + 4]))
                boxes.append(box)
                labels.append(label)
        return Sample(
            image=torch.from_numpy(image),
            boxes_M4=torch.from_numpy(np.array(boxes, dtype=np.float32)),
            labels_M=torch.from_numpy(np.array(labels, dtype=np.int64)),
        )

    def size(self, index: int) -> tuple[int, int]:  # noqa: ARG002  scenes are all of one size
        """Width and height of a scene in pixels."""
        return self.settings.image_size, self.settings.image_size

    def original(self, index: int) -> Original:
        """Scene `index` of epoch 0."""
        scene = self.sample(index, 0)
        boxes = tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in scene.boxes_M4.tolist())
        return Original(image=scene.image, size=self.size(index), boxes=boxes, labels=tuple(scene.labels_M.tolist()))

    def _background(self, draws: list[float]) -> tuple[NDArray[np.uint8], float]:
        size, spare = self.settings.image_size, self._bank.shape[-1] - self.settings.image_size
        which, y, x = int(draws[0] * len(self._bank)), int(draws[1] * spare), int(draws[2] * spare)
        return self._bank[which, :, y : y + size, x : x + size].copy(), self._levels[which]

    def _digit(self, which: float, size: float) -> tuple[U16, int]:
        digit, side = int(which * len(self._labels)), self._sides[int(size * _NUM_SIDES)]
        block, row = divmod(digit, self._block)
        return self._stamps(side, block)[row], self._labels[digit]

    def _draw_stamps(self, side: int, block: int) -> list[U16]:
        first = block * self._block
        return make_stamps(self._pixels[first : first + self._block], side)


def open_digits(source: str, *, image_size: int, seed: int = 0) -> Dataset:
    """The digits data set called `source`: digits or digits-1 (one class), digits-3 (0, 1, 2) or digits-10.

    Raises:
        DataError: The name is not known.
        ValueError: The image size is below 32 or the seed negative.
    """
    if source not in CLASS_NAMES:
        raise DataError(f"{source}: no such digits; allowed: {', '.join(CLASS_NAMES)}")
    names = CLASS_NAMES[source]
    train, val, test = (
        DigitScenes(
            DigitSettings(split=split, names=names, image_size=image_size, seed=seed, num_scenes=NUM_SCENES[split])
        )
        for split in _SPLITS
    )
    return Dataset(
        source=source,
        names=names,
        train=train,
        val=val,
        test=test,
        findings=(),
        note="rendered scenes: training ones anew each epoch, val and test fixed; no digit appears in two parts",
        max_boxes=MAX_DIGITS,
        augments=False,
    )


@cache
def digit_images(split: str) -> DigitImages:
    """Digits of a split: 70 % of each class for train, 15 % each for val and test, the same in every run."""
    from sklearn.datasets import load_digits  # a second of importing that other data sets are spared

    bunch = load_digits()
    digits = np.asarray(bunch.target, dtype=np.int64)
    generator = np.random.default_rng(0)
    rows = np.sort(
        np.concatenate([_share(generator.permutation(np.flatnonzero(digits == d)), split) for d in range(10)])
    )
    return DigitImages(np.asarray(bunch.images[rows], dtype=np.uint8), digits[rows], rows)


def _share(rows: NDArray[np.int64], split: str) -> NDArray[np.int64]:
    ends = [0, *(round(share * len(rows)) for share in _SHARES), len(rows)]
    number = _SPLITS.index(split)
    return rows[ends[number] : ends[number + 1]]


def make_stamps(pixels_K88: NDArray[np.uint8], side: int) -> list[U16]:
    """Ink of digits, 0..256, enlarged so that 8 pixels become `side`, strokes sharpened, each cut to its tight box.

    Args:
        pixels_K88: Pixels of the digits, 0 to 16.
        side: Side in pixels of an 8 x 8 digit once enlarged.
    """
    framed = functional.pad(torch.from_numpy(pixels_K88).to(torch.float32)[:, None], (1, 1, 1, 1))
    enlarged = functional.interpolate(framed, size=round(side * 10 / 8), mode="bicubic")[:, 0]
    # Enlarging an 8 x 8 image blurs it: a steeper slope gives strokes an edge, and a box that hugs them.
    ink = ((enlarged * 30 - 112).clamp_(0, 256)).numpy().astype(np.uint16)
    return [np.ascontiguousarray(stamp[_extent(stamp, 1), _extent(stamp, 0)]) for stamp in ink]


def _extent(ink: U16, axis: int) -> slice:
    visible = np.flatnonzero(ink.max(axis=axis) > 64)
    return slice(int(visible[0]), int(visible[-1]) + 1)


def _sides(image_size: int) -> tuple[int, ...]:
    return tuple(round(side) for side in (np.linspace(_MIN_SIDE, _MAX_SIDE, _NUM_SIDES) * image_size).tolist())


def _num_digits(draw: float) -> int:
    return 1 + int(draw**2 * MAX_DIGITS)  # one in 58 % of the scenes, two in 24 %, three in 18 %


def _free_place(
    shape: tuple[int, ...], draws: list[float], taken: list[tuple[int, int, int, int]], image_size: int
) -> tuple[int, int, int, int] | None:
    height, width = shape
    slack = image_size // 32  # boxes may touch by this much
    for y, x in zip(draws[::2], draws[1::2], strict=True):
        x0, y0 = int(x * (image_size - width + 1)), int(y * (image_size - height + 1))
        x1, y1 = x0 + width, y0 + height
        if all(x1 - a <= slack or c - x0 <= slack or y1 - b <= slack or d - y0 <= slack for a, b, c, d in taken):
            return x0, y0, x1, y1
    return None


def _ink(level: float, draws: list[float]) -> U16:
    """Colour of the ink: lighter than a dark background, darker than a light one, with a tint."""
    contrast = 90 + 110 * draws[0]
    value = min(level + contrast, 255.0) if level < 128 else max(level - contrast, 0.0)
    tint = 50 * (draws[1] - 0.5)
    low, high = min(max(value - tint, 0.0), 255.0), min(max(value + tint, 0.0), 255.0)
    return np.array((int(high), int(value), int(low)), dtype=np.uint16).reshape(3, 1, 1)


def _print(region: NDArray[np.uint8], stamp: U16, ink: U16) -> None:
    """Blend ink into a region of an image, which is a view and is written to."""
    blended = np.multiply(region, 256 - stamp, dtype=np.uint16)  # at most 255 * 256
    blended += ink * stamp
    blended >>= 8
    region[...] = blended


@lru_cache(maxsize=6)  # the splits of two data sets: each takes a tenth of a second
def background_bank(split: int, seed: int, image_size: int) -> tuple[NDArray[np.uint8], list[float]]:
    """Backgrounds twice as wide as a scene, (K, 3, 2 S, 2 S) uint8, and the mean level of each; not to be written to.

    Gradients, grain, blobs, bars, arcs and short strokes: clutter of the digits' own stroke width, but no digits.
    """
    side = 2 * image_size
    count = min(max(_BANK_BYTES // (3 * side * side), 6), 64)
    generator = np.random.default_rng([seed, split, image_size, 77])
    bank = np.stack([_background(generator, side) for _ in range(count)])
    bank.setflags(write=False)
    return bank, [float(level) for level in bank.mean(axis=(1, 2, 3))]


def _background(generator: np.random.Generator, side: int) -> NDArray[np.uint8]:
    corners = generator.uniform(40, 215) + generator.uniform(-45, 45, (2, 2, 1)) + generator.uniform(-25, 25, (2, 2, 3))
    gradient = Image.fromarray(np.clip(corners, 0, 255).astype(np.uint8)).resize(
        (side, side), resample=Image.Resampling.BICUBIC
    )
    _scribble(ImageDraw.Draw(gradient), generator, side)
    grain = generator.normal(0, generator.uniform(2, 14), (side, side, 1))
    speckled = np.asarray(gradient, dtype=np.float64) + grain
    return np.ascontiguousarray(np.clip(speckled, 0, 255).astype(np.uint8).transpose(2, 0, 1))


def _scribble(draw: ImageDraw.ImageDraw, generator: np.random.Generator, side: int) -> None:
    unit = side / 128  # lengths below are pixels of a 64 px scene
    for _ in range(int(generator.integers(4, 14))):
        shape = int(generator.integers(4))
        x, y = generator.uniform(0, side, 2)
        width, height = generator.uniform(5, 36, 2) * unit
        grey = generator.uniform(20, 235)
        colour = tuple(int(c) for c in np.clip(grey + generator.uniform(-25, 25, 3), 0, 255))
        stroke = max(round(generator.uniform(1.5, 5) * unit), 1)
        around = (x, y, x + width, y + height)
        if shape == 0:
            draw.line((x, y, x + width - 18 * unit, y + height - 18 * unit), fill=colour, width=stroke)
        elif shape == 1:
            start = generator.uniform(0, 360)
            draw.arc(around, start, start + generator.uniform(60, 170), fill=colour, width=stroke)
        elif shape == 2:
            draw.rectangle((x, y, x + width / 2, y + height / 2), fill=colour)
        else:
            draw.ellipse((x, y, x + width / 3, y + height / 3), fill=colour)
