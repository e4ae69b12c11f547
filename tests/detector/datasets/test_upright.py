"""Images that EXIF turns: upright in every image format, with their boxes in every format of labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from detector.datasets import Sample
from detector.datasets.audit import Audit, Entry, LabelledObject, upright_entry
from detector.datasets.label_files import FORMATS
from detector.datasets.listing import Original
from detector.datasets.pictures import read_picture
from detector.findings import Box
from tests.detector.datasets.photographs import FRAME, folder_of, found, noise_file

MARK = (4, 6, 20, 14)  # a white rectangle in the upright image, far from its middle
UNDO = {  # how an upright image is stored under each orientation
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def _marked(size: tuple[int, int] = FRAME) -> Image.Image:
    upright = Image.new("RGB", size, "black")
    upright.paste("white", MARK)
    return upright


def _save_turned(file: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    method = UNDO[orientation]
    stored = _marked() if method is None else _marked().transpose(method)
    stored.save(file, exif=exif)


def _mark_in(sample: Sample) -> list[int]:
    rows, columns = torch.nonzero(sample.image[0] > 128, as_tuple=True)
    return [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_every_orientation_and_format_comes_upright(suffix: str, orientation: int, tmp_path: Path) -> None:
    _save_turned(tmp_path / f"a{suffix}", orientation)
    picture = read_picture(tmp_path / f"a{suffix}", longest=100)

    assert picture.size == FRAME and picture.orientation == orientation and picture.flaws == ()
    assert picture.image[:, 10, 12].tolist() == pytest.approx([255] * 3, abs=12)
    assert picture.image[:, 25, 40].tolist() == pytest.approx([0] * 3, abs=12)


def _stored_box(orientation: int) -> Box:
    """The mark as somebody sees it who draws on the file's own frame."""
    mask = np.zeros((FRAME[1], FRAME[0]), dtype=np.uint8)
    mask[MARK[1] : MARK[3], MARK[0] : MARK[2]] = 255
    method = UNDO[orientation]
    image = Image.fromarray(mask)
    return (image if method is None else image.transpose(method)).getbbox() or (0, 0, 0, 0)


def _turned_set(folder: Path, format_name: str, orientation: int, box: Box, size: tuple[int, int]) -> Any:
    """A data set whose first image is turned; its labels have a box as it stands, and state a size where they can."""
    listed = [noise_file(folder / "made", stem) for stem in "bcd"]
    _save_turned(folder / "made/a.png", orientation)
    turned = Original(image=folder / "made/a.png", size=size, boxes=(box,), labels=(0,))
    return folder_of(folder / "set", format_name, {"train": [turned, *listed[:2]], "val": listed[2:]}).open()


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_made_in_the_upright_image_stay_where_they_are(
    orientation: int, format_name: str, tmp_path: Path
) -> None:
    dataset = _turned_set(tmp_path, format_name, orientation, MARK, FRAME)
    sample = dataset.train.sample(0, 0)

    assert sample.boxes_M4.tolist() == [_mark_in(sample)] == [list(MARK)]
    message = f"EXIF orientation {orientation}: turned upright, 48 x 32; boxes are taken in the upright image"
    assert found(dataset) == ([] if orientation == 1 else [("rotated", "a.png", message)])


@pytest.mark.parametrize(("format_name", "file"), [("voc", "a.xml"), ("coco", "a.png")])  # which state a size
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_made_in_the_unrotated_frame_are_turned_along_with_the_image(
    orientation: int, format_name: str, file: str, tmp_path: Path
) -> None:
    dataset = _turned_set(tmp_path, format_name, orientation, _stored_box(orientation), (FRAME[1], FRAME[0]))
    sample = dataset.train.sample(0, 0)

    assert sample.boxes_M4.tolist() == [_mark_in(sample)] == [list(MARK)]
    assert [(kind, name) for kind, name, _ in found(dataset)] == [("rotated", "a.png"), ("size_mismatch", file)]
    assert "states 32 x 48 pixels, the image has 48 x 32 upright; the labels seem to be made" in found(dataset)[1][2]
    assert found(dataset)[0][2].endswith("boxes are turned along with it")


@pytest.mark.parametrize(("format_name", "states"), [("voc", "states"), ("coco", "labels state")])
def test_a_stated_size_that_fits_neither_frame_leaves_the_boxes(format_name: str, states: str, tmp_path: Path) -> None:
    dataset = _turned_set(tmp_path, format_name, 6, MARK, (40, 40))

    assert dataset.train.sample(0, 0).boxes_M4.tolist() == [list(MARK)]
    assert f"{states} 40 x 40 pixels, the image has 48 x 32; the image's size is used" in found(dataset)[1][2]


def test_of_a_square_image_nothing_more_is_told() -> None:
    audit = Audit()
    labelled = LabelledObject(label=0, box=(1.0, 2.0, 3.0, 4.0), line=1)
    entry = Entry(image=Path("a.png"), label_file=Path("a.xml"), objects=(labelled,), stated_size=(9, 9))
    kept = upright_entry(entry, (9, 9), 6, audit)

    assert kept == entry and [finding.kind for finding in audit.findings] == ["rotated"]
