"""Pictures whose EXIF makes no sense, and bytes that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from detector.datasets import UnreadableImagesError
from detector.datasets.pictures import read_picture
from tests.detector.datasets.photographs import exif_block, noise


@pytest.mark.parametrize(
    ("exif", "message"),
    [
        (exif_block(65537, kind=4), "EXIF orientation 65537; allowed: 1 to 8; the pixels are used as they stand"),
        (exif_block(0), "EXIF orientation 0; allowed: 1 to 8; the pixels are used as they stand"),
        (exif_block(9), "EXIF orientation 9; allowed: 1 to 8; the pixels are used as they stand"),
        (exif_block(b"6\0\0\0", kind=2), "EXIF orientation '6'; allowed: 1 to 8; the pixels are used as they stand"),
        (b"Exif\0\0garbage bytes, no header", "EXIF block is not readable (not a TIFF file"),
        (exif_block(6)[:-8], "EXIF block is not readable (none of its entries can be read)"),
    ],
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_exif_that_makes_no_sense_leaves_the_pixels_as_they_stand(exif: bytes, message: str, tmp_path: Path) -> None:
    noise().save(tmp_path / "plain.jpg")
    noise().save(tmp_path / "odd.jpg", exif=exif)
    plain, odd = (read_picture(tmp_path / name, longest=100) for name in ("plain.jpg", "odd.jpg"))

    assert torch.equal(plain.image, odd.image) and odd.orientation == 1
    assert [flaw.kind for flaw in odd.flaws] == ["bad_exif"] and odd.flaws[0].message.startswith(message)


def test_an_exif_block_without_entries_is_nothing_to_tell(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.jpg", exif=Image.Exif().tobytes())

    assert read_picture(tmp_path / "a.jpg", longest=100).flaws == ()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".gif", ".webp"])
def test_bytes_changed_at_random_end_as_a_picture_or_an_unreadable_image(suffix: str, tmp_path: Path) -> None:
    file, generator = tmp_path / f"a{suffix}", np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    noise().save(file, **({} if suffix in (".bmp", ".gif") else {"exif": exif}))
    whole = file.read_bytes()
    num_read = 0
    for _ in range(150):
        data = np.frombuffer(whole, dtype=np.uint8).copy()
        data[generator.integers(0, min(len(data), 120), 3)] = generator.integers(0, 256, 3)
        file.write_bytes(data.tobytes())
        try:
            read_picture(file, longest=100)
            num_read += 1
        except UnreadableImagesError as error:
            assert len(str(error).splitlines()) == 1

    assert num_read < 150
