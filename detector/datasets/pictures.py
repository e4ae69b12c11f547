"""Image files as RGB tensors: upright, and shrunk to what training needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from detector.datasets.image_files import MAX_FILE_BYTES, TooLargeError, opened_image
from detector.datasets.listing import UnreadableImagesError
from detector.datasets.mending import Mended, mend
from detector.text_files import TextFileError, read_bytes

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
READABLE = f"{', '.join(SUFFIXES)} files that lack at most a tenth of their pixels"
GREY = 114  # what transparent pixels and borders show, as YOLO trainers pad
MAX_MISSING = 0.1  # share of the pixels a file that is cut short may lack: boxes should not lie on grey

_MARGIN = 1.5  # pictures are kept larger than the network sees them, so that enlarging shows real pixels
_EXIF_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
TRANSPOSING = (5, 6, 7, 8)  # EXIF orientations that exchange width and height


def longest_kept(image_size: int) -> int:
    """Largest width and height in pixels at which pictures are decoded for a square of `image_size` pixels."""
    return int(image_size * _MARGIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """Something wrong with an image file that is used all the same: kind of the finding, and its message."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """A decoded image file.

    Attributes:
        image: RGB, uint8, (3, height, width); not to be written to.
        size: Width and height in pixels of the file's image, upright, before it was shrunk.
        orientation: EXIF orientation of the file, 1 to 8; the image has been turned upright by it.
        flaws: What is wrong with the file; empty where nothing is.
    """

    image: Tensor
    size: tuple[int, int]
    orientation: int = 1
    flaws: tuple[Flaw, ...] = ()


def read_picture(path: Path, *, longest: int) -> Picture:
    """Decode an image file, turn it upright by its EXIF tag and shrink it.

    A file that is cut short is used if at most a tenth of its pixels is missing, an EXIF block that makes no sense is
    passed over, and of an animation the first frame is used; all of that becomes flaws of the picture.

    Args:
        path: Image file.
        longest: Largest width and height of the result in pixels; larger images are shrunk with antialiasing.

    Raises:
        UnreadableImagesError: The file is missing, damaged, lacks more than a tenth of its pixels, has more than 89
            million of them, or a pixel format that is not 8 or 16 bits a channel.
    """
    try:
        data = read_bytes(path, max_bytes=MAX_FILE_BYTES)
    except TextFileError as error:
        raise _refusal(path, str(error).removeprefix("cannot be read: ")) from error
    try:
        return _decoded(data, longest)
    except TooLargeError as error:
        raise _refusal(path, str(error)) from error
    except Exception as error:  # damaged bytes lead Pillow's decoders to errors of every kind
        if (mended := mend(data)) is None:
            raise _refusal(path, _reason(error, data)) from error
    if mended.missing > MAX_MISSING:
        raise _refusal(path, f"cut short: {mended.missing:.0%} of its pixels are missing")
    try:
        picture = _decoded(mended.data, longest)
    except Exception as error:
        raise _refusal(path, _reason(error, data)) from error
    return replace(picture, flaws=(_cut_short(mended), *picture.flaws))


def _refusal(path: Path, reason: str) -> UnreadableImagesError:
    return UnreadableImagesError(f"{path}: not a readable image ({' '.join(reason.split())}); allowed: {READABLE}")


def _reason(error: Exception, data: bytes) -> str:
    if not data:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return "its bytes are of no known image format"  # Pillow's text would name an address in memory
    return str(error) or type(error).__name__


def _cut_short(mended: Mended) -> Flaw:
    missing = f"{mended.missing:.1%} of the pixels are missing"
    coarse = ", the others may be coarse" if mended.is_coarse else ""
    return Flaw(kind="cut_short", message=f"file is cut short; {missing}{coarse}; the image is used")


def _decoded(data: bytes, longest: int) -> Picture:
    with opened_image(data) as opened:
        # Pillow turns TIFF upright while it decodes, and the tag is gone then; PNG may have its tag behind the pixels.
        before = _orientation(opened) if opened.format == "TIFF" else None
        size, moving = opened.size, _several_frames(opened)
        opened.draft(None, _shrunk(size, longest))  # lets JPEG decode at a fraction of its size
        opened.load()
        orientation, flaws = before or _orientation(opened)
        upright = _as_rgb(opened)
    if before is not None:
        size = upright.size
    elif orientation in _TURNS:
        upright = upright.transpose(_TURNS[orientation])
        size = (size[1], size[0]) if orientation in TRANSPOSING else size
    target = _shrunk(size, longest)
    if upright.size != target:
        upright = upright.resize(target, Image.Resampling.BILINEAR)  # antialiased when shrinking
    pixels = torch.from_numpy(np.array(upright)).permute(2, 0, 1).contiguous()
    return Picture(image=pixels, size=size, orientation=orientation, flaws=(*moving, *flaws))


def _several_frames(opened: Image.Image) -> tuple[Flaw, ...]:
    # The second image of a camera's MPO is a preview or the other eye's view.
    try:
        is_several = opened.format != "MPO" and getattr(opened, "is_animated", False)
    except Exception:  # what is behind the first frame is not needed
        is_several = False
    if not is_several:
        return ()
    return (Flaw(kind="several_frames", message="file has several frames or pages; the first is used"),)


def _orientation(opened: Image.Image) -> tuple[int, tuple[Flaw, ...]]:
    """EXIF orientation from 1 to 8, and what is wrong with the EXIF block; 1 where it makes no sense."""
    try:
        found = _stated_orientation(opened)
    except Exception as error:  # Pillow reads whatever the block's bytes lead to
        return 1, (_bad_exif(f"EXIF block is not readable ({error or type(error).__name__})"),)
    if found not in _TURNS and found != 1:
        return 1, (_bad_exif(f"EXIF orientation {found!r:.40}; allowed: 1 to 8"),)
    return int(found), ()


def _stated_orientation(opened: Image.Image) -> Any:
    # The block is read anew: Pillow has tried while opening, and would now pass over what it could not read.
    block = opened.info.get("exif", b"")
    exif = Image.Exif()
    exif.load(block)
    if not len(exif) and any(block.removeprefix(b"Exif\0\0")[8:]):
        raise ValueError("none of its entries can be read")
    return exif.get(_EXIF_ORIENTATION) or opened.getexif().get(_EXIF_ORIENTATION, 1)  # or XMP's


def _bad_exif(found: str) -> Flaw:
    return Flaw(kind="bad_exif", message=f"{found}; the pixels are used as they stand")


def _shrunk(size: tuple[int, int], longest: int) -> tuple[int, int]:
    scale = min(longest / max(size), 1.0)
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def _as_rgb(opened: Image.Image) -> Image.Image:
    if opened.mode in ("I", "F"):
        raise ValueError(f"pixel format {opened.mode} has no fixed range")
    if opened.mode.startswith("I;16"):
        eight_bits = (np.asarray(opened, dtype=np.uint16) >> 8).astype(np.uint8)
        return Image.fromarray(eight_bits).convert("RGB")
    if opened.has_transparency_data:
        laid_over = Image.new("RGBA", opened.size, (GREY, GREY, GREY, 255))
        laid_over.alpha_composite(opened.convert("RGBA"))
        return laid_over.convert("RGB")
    return opened.convert("RGB")
