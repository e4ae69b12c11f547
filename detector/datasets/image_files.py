"""Image files opened with what they may ask for checked first: their bytes, and the pixels that their head states."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO

from PIL import Image, ImageFile

MAX_FILE_BYTES = 2**29
MAX_PIXELS = 89_478_485  # from here on Pillow warns
# A file of a few kilobytes may state any size. No photograph has this many pixels for a byte, and no drawing either.
MAX_PIXELS_A_BYTE = 1000
# Others, whatever their name ends in, may start programs (EPS) or are no pictures.
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
FEW_PIXELS = 2048 * 2048  # are read however small the file is


class TooLargeError(ValueError):
    """An image has more pixels than an image to train on can have."""


@contextmanager
def opened_image(data: bytes) -> Iterator[ImageFile.ImageFile]:
    """The image in a file's bytes, its pixels not decoded yet.

    Raises:
        TooLargeError: It states more than 89 million pixels, or more than its bytes can hold.
        Exception: It is no image; damaged bytes lead Pillow to errors of every kind.
    """
    try:
        opened = Image.open(BytesIO(data), formats=_known_formats())
    except Image.DecompressionBombError:
        raise TooLargeError(f"more pixels than {MAX_PIXELS:,}") from None
    with opened:
        check_pixels(opened.size, len(data))
        yield opened


@cache
def _known_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def check_pixels(size: tuple[int, int], num_bytes: int) -> None:
    """Makes sure that an image may be decoded.

    Args:
        size: Width and height in pixels.
        num_bytes: Size of the image's file in bytes.

    Raises:
        TooLargeError: It has more pixels than 89 million, or than its bytes can hold.
    """
    pixels = size[0] * size[1]
    shown = f"{size[0]} x {size[1]} pixels"
    if pixels > MAX_PIXELS:
        raise TooLargeError(f"{shown} are more than {MAX_PIXELS:,}")
    if pixels > max(FEW_PIXELS, num_bytes * MAX_PIXELS_A_BYTE):
        raise TooLargeError(f"{shown} cannot be in a file of {num_bytes:,} bytes")
