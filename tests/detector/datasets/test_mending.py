"""Files that are cut short: used as far as they go where little is missing, and refused where much is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageFile

from detector.datasets import UnreadableImagesError
from detector.datasets.mending import mend
from detector.datasets.pictures import MAX_MISSING, read_picture
from tests.detector.datasets.photographs import cut, noise
from tests.places import RACCOON


@pytest.mark.parametrize(
    ("name", "mode", "options", "num_bytes"),
    [
        ("a.jpg", "RGB", {}, 20),
        ("a.jpg", "L", {}, 20),
        ("a.jpg", "CMYK", {}, 20),
        ("a.jpg", "RGB", {"progressive": True}, 20),
        ("a.jpg", "RGB", {"subsampling": 0}, 20),
        ("a.png", "RGB", {}, 60),
        ("a.png", "L", {}, 60),
        ("a.png", "P", {}, 60),
        ("a.png", "RGBA", {}, 60),
        ("a.png", "1", {}, 30),
        ("a.bmp", "RGB", {}, 100),
        ("a.bmp", "P", {}, 100),
        ("a.ppm", "RGB", {}, 100),
        ("a.tif", "RGB", {}, 100),
    ],
)
def test_a_file_that_is_cut_a_little_short_is_used_with_a_flaw(
    name: str, mode: str, options: dict[str, Any], num_bytes: int, tmp_path: Path
) -> None:
    file = tmp_path / name
    noise(mode=mode, size=(96, 64)).save(file, **options)
    whole = read_picture(file, longest=100)
    picture = read_picture(cut(file, num_bytes), longest=100)

    assert [flaw.kind for flaw in picture.flaws] == ["cut_short"] and whole.flaws == ()
    assert picture.size == whole.size and picture.image.shape == whole.image.shape
    differs = (picture.image != whole.image).any(dim=0).float().mean()
    assert differs <= (1.0 if "progressive" in options else MAX_MISSING + 0.02)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp", "a.ppm", "a.tif"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_file_without_a_large_part_of_its_pixels_is_refused_with_that_part(
    name: str, share: float, tmp_path: Path
) -> None:
    file = tmp_path / name
    noise(size=(96, 96)).save(file)
    cut(file, int(share * file.stat().st_size))

    with pytest.raises(UnreadableImagesError, match=rf"{name}: not a readable image \(cut short: \d+% of its pixels"):
        read_picture(file, longest=100)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp"])
def test_the_missing_share_is_that_of_the_pixels(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    noise(size=(160, 160)).save(file)
    mended = mend(cut(file, file.stat().st_size // 4).read_bytes())

    assert mended is not None
    assert mended.missing == pytest.approx(0.25, abs=0.04)


def test_a_progressive_jpeg_without_its_last_scans_is_told_to_be_coarse(tmp_path: Path) -> None:
    noise(size=(160, 160)).save(tmp_path / "a.jpg", progressive=True)
    picture = read_picture(cut(tmp_path / "a.jpg", 200), longest=160)

    assert picture.flaws[0].message == (
        "file is cut short; 0.0% of the pixels are missing, the others may be coarse; the image is used"
    )


def test_a_jpeg_whose_end_was_never_written_counts_as_cut_short(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    noise(size=(160, 160)).save(file)
    file.write_bytes(file.read_bytes()[:-200] + b"\0" * 10)

    assert [flaw.kind for flaw in read_picture(file, longest=160).flaws] == ["cut_short"]


def test_a_file_that_is_damaged_but_not_short_is_not_mended(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    noise().save(file)
    data = bytearray(file.read_bytes())
    data[data.index(b"IDAT") + 40] ^= 0xFF
    file.write_bytes(data)

    assert mend(bytes(data)) is None
    with pytest.raises(UnreadableImagesError):
        read_picture(file, longest=100)


def test_reading_a_cut_file_leaves_pillow_as_strict_as_it_was(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.jpg")
    file = cut(tmp_path / "a.jpg", 20)
    read_picture(file, longest=100)

    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    with Image.open(file) as opened, pytest.raises(OSError, match="truncated"):
        opened.load()


@pytest.mark.skipif(not RACCOON.is_dir(), reason="the raccoon photographs are not beside the repository")
def test_photographs_short_of_twenty_bytes_are_used_and_of_a_third_are_not(tmp_path: Path) -> None:
    photographs = sorted((RACCOON / "images").iterdir())[:10]
    kinds = []
    for number, photograph in enumerate(photographs):
        data = photograph.read_bytes()
        (tmp_path / f"{number}.jpg").write_bytes(data[:-20])
        kinds.extend(flaw.kind for flaw in read_picture(tmp_path / f"{number}.jpg", longest=144).flaws)
        (tmp_path / f"{number}.jpg").write_bytes(data[: -len(data) // 3])
        with pytest.raises(UnreadableImagesError, match="cut short"):
            read_picture(tmp_path / f"{number}.jpg", longest=144)

    assert kinds == ["cut_short"] * 10
