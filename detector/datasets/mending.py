"""Image files that are cut short, completed so that a decoder reads what is there of them.

Pillow reads such files only under a switch of the whole process, so the missing bytes are put in here instead. How
much is missing is measured: of a PNG by its inflated bytes, of a JPEG by the grey that blocks without data decode to,
of uncompressed pixels by decoding with two fillings. Other compressed formats are not completed.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.datasets.image_files import check_pixels, opened_image

_END_OF_JPEG = b"\xff\xd9"
_BLANKS = (127, 128)  # a JPEG block without coefficients is 128, and 127 in inverted CMYK
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type; PNG specification, table 11.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """A file that was cut short, with an end.

    Attributes:
        data: Bytes that decode as a whole image.
        missing: Share of the pixels that are not in the file, from 0 to 1. A progressive JPEG without its last scans
            misses no pixel; it is coarse.
        is_coarse: Whether the pixels that are there may have less detail than they were saved with.
    """

    data: bytes
    missing: float
    is_coarse: bool = False


def mend(data: bytes) -> Mended | None:
    """The image file in `data` with an end, or None if it is not cut short or nothing can be made of it."""
    try:
        with opened_image(data) as opened:
            if opened.format in ("JPEG", "MPO"):
                return _mend_jpeg(data)
            if opened.format == "PNG":
                return _mend_png(data)
            is_raw = bool(opened.tile) and all(tile[0] == "raw" for tile in opened.tile)
            return _mend_raw(data, opened.width * opened.height) if is_raw else None
    except Exception:  # damaged bytes lead Pillow's decoders to errors of every kind
        return None


def _pixels(data: bytes) -> NDArray[np.uint8]:
    with opened_image(data) as opened:
        return np.atleast_3d(np.asarray(opened))


def _mend_jpeg(data: bytes) -> Mended:
    # A download that was given up may be as long as it should be, its end all zero.
    whole = data.rstrip(b"\0") + _END_OF_JPEG
    with opened_image(whole) as opened:
        is_progressive = "progressive" in opened.info
    return Mended(data=whole, missing=_blank_share(_pixels(whole)), is_coarse=is_progressive)


def _blank_share(pixels: NDArray[np.uint8]) -> float:
    """Share of pixels in the blank end of a JPEG: blocks go by row, so every row ends blank from some place on."""
    is_blank: NDArray[np.bool_] = np.logical_or.reduce([pixels == blank for blank in _BLANKS]).all(axis=2)
    blank_by_row = np.minimum.accumulate(is_blank[:, ::-1], axis=1).sum(axis=1)[::-1]
    is_in_end = np.minimum.accumulate(blank_by_row > 0)
    return float(blank_by_row[is_in_end].sum()) / is_blank.size


def _mend_png(data: bytes) -> Mended | None:
    chunks, packed, place = bytearray(_PNG_SIGNATURE), bytearray(), len(_PNG_SIGNATURE)
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length
        if kind == b"IEND":
            return None
        if kind == b"IDAT":
            packed += data[place + 8 : place + 8 + length]
        elif end <= len(data):
            chunks += data[place:end]
        place = end
    width, height, depth, colour, _, _, is_interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    if is_interlaced:
        return None
    check_pixels((width, height), len(data))
    expected = height * (1 + (width * _PNG_CHANNELS[colour] * depth + 7) // 8)
    lines = zlib.decompressobj().decompress(bytes(packed), expected)
    chunks += _chunk(b"IDAT", zlib.compress(lines.ljust(expected, b"\0"), 1)) + _chunk(b"IEND", b"")
    return Mended(data=bytes(chunks), missing=1 - len(lines) / expected)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _mend_raw(data: bytes, num_pixels: int) -> Mended | None:
    num_bytes = min(9 * len(data), 8 * num_pixels)  # no more than pixels have, nor than a tenth of them can miss
    dark, light = (data + bytes([filling]) * num_bytes for filling in (0, 255))
    missing = float((_pixels(dark) != _pixels(light)).any(axis=2).mean())
    return Mended(data=dark, missing=missing) if missing else None
