"""Image files as RGB tensors: upright, shrunk to what training needs, kept in memory up to a limit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from detector.datasets.listing import DataError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
GREY = 114  # what transparent pixels and borders show, as YOLO trainers pad

_EXIF_ORIENTATION = 0x0112
_ON_ITS_SIDE = (5, 6, 7, 8)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """A decoded image file.

    Attributes:
        image: RGB, uint8, (3, height, width); not to be written to.
        size: Width and height of the file's image, upright, before it was shrunk.
    """

    image: Tensor
    size: tuple[int, int]


class PictureStore:
    """Reads image files and keeps as many as fit."""

    def __init__(self, *, longest: int, max_bytes: int) -> None:
        self._longest = longest
        self._bytes_left = max_bytes
        self._kept: dict[Path, Picture] = {}

    def __len__(self) -> int:
        """Number of pictures in memory."""
        return len(self._kept)

    def read(self, path: Path) -> Picture:
        """The picture in a file, from memory if it fitted there.

        Raises:
            DataError: The file cannot be read to its end as an image.
        """
        if (kept := self._kept.get(path)) is not None:
            return kept
        picture = read_picture(path, longest=self._longest)
        if picture.image.numel() <= self._bytes_left:
            self._bytes_left -= picture.image.numel()
            self._kept[path] = picture
        return picture


def read_picture(path: Path, *, longest: int) -> Picture:
    """Decode an image file to the end, turn it upright by its EXIF tag and shrink it.

    Args:
        path: Image file.
        longest: Largest width and height of the result in pixels; larger images are shrunk with antialiasing.

    Raises:
        DataError: The file is missing, damaged, cut short, or has a pixel format that is not 8 or 16 bits a channel.
    """
    try:
        with Image.open(path) as opened:
            size = _upright_size(opened)
            opened.draft(None, _shrunk(opened.size, longest))  # lets JPEG decode at a fraction of its size
            upright = ImageOps.exif_transpose(_as_rgb(opened))
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{path}: not a readable image ({error}); allowed: complete {', '.join(SUFFIXES)} files"
        ) from error
    target = _shrunk(size, longest)
    if upright.size != target:
        upright = upright.resize(target, Image.Resampling.BILINEAR)  # antialiased when shrinking
    pixels = torch.from_numpy(np.array(upright)).permute(2, 0, 1).contiguous()
    return Picture(image=pixels, size=size)


def _upright_size(opened: Image.Image) -> tuple[int, int]:
    width, height = opened.size
    return (height, width) if opened.getexif().get(_EXIF_ORIENTATION) in _ON_ITS_SIDE else (width, height)


def _shrunk(size: tuple[int, int], longest: int) -> tuple[int, int]:
    scale = min(longest / max(size), 1.0)
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def _as_rgb(opened: Image.Image) -> Image.Image:
    opened.load()
    if opened.mode in ("I", "F"):
        raise ValueError(f"pixel format {opened.mode} has no fixed range")
    if opened.mode.startswith("I;16"):
        eight_bits = (np.asarray(opened, dtype=np.uint16) >> 8).astype(np.uint8)
        return _with_exif(Image.fromarray(eight_bits).convert("RGB"), opened)
    if opened.has_transparency_data:
        laid_over = Image.new("RGBA", opened.size, (GREY, GREY, GREY, 255))
        laid_over.alpha_composite(opened.convert("RGBA"))
        return _with_exif(laid_over.convert("RGB"), opened)
    return _with_exif(opened.convert("RGB"), opened)


def _with_exif(converted: Image.Image, opened: Image.Image) -> Image.Image:
    converted.info["exif"] = opened.getexif().tobytes()
    return converted
