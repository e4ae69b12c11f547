"""Folders with broken images and labels, in every format: what ends the check, what is left out, and what is told."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path

import pytest
import torch

from detector.datasets import DataError, Finding, UnreadableImagesError, open_dataset
from detector.datasets.audit import MAX_UNREADABLE_SHOWN, Audit
from detector.datasets.label_files import FORMATS
from tests.detector.datasets.photographs import Folder, cut, exif_block, folder_of, found, noise, noise_file


def test_three_broken_files_of_a_folder_are_two_findings_and_one_that_is_named(folder: Folder) -> None:
    cut(folder.image("a"), 20)
    noise(1).save(folder.image("b"), exif=exif_block(65537, kind=4))
    folder.image("c").write_bytes(b"")

    with pytest.raises(UnreadableImagesError) as caught:
        folder.open()
    lines = str(caught.value).splitlines()
    dataset = folder.open(skip_unreadable=True)
    assert lines[0].startswith("1 image cannot be read; allowed: .bmp, .gif")
    assert lines[1:] == [f"{folder.image('c')}: not a readable image (the file is empty)"]
    assert [(kind, name) for kind, name, _ in found(dataset)] == [
        ("cut_short", "a.jpg"),
        ("bad_exif", "b.jpg"),
        ("unreadable", "c.jpg"),
    ]
    assert dataset.summary()["findings"] == {"bad_exif": 1, "cut_short": 1, "unreadable": 1}
    assert (len(dataset.train), len(dataset.val)) == (5, 2)


def test_a_bad_label_of_an_image_in_two_splits_is_named_once(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        noise_file(tmp_path / "images", name)
        (label := tmp_path / "labels" / f"{name}.txt").parent.mkdir(exist_ok=True)
        label.write_text("0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "labels" / "b.txt").write_text("0 0.5 half 0.2 0.2\n")
    (tmp_path / "data.yaml").write_text("path: .\ntrain: images\nval: images\nnames: [thing]\n")

    with pytest.raises(DataError) as caught:
        open_dataset(str(tmp_path), image_size=64)
    assert str(caught.value).count("b.txt:1") == 1


def test_more_than_ten_unreadable_images_are_all_named(tmp_path: Path) -> None:
    audit = Audit()
    for number in range(12):
        audit.unreadable(tmp_path / f"{number}.jpg", "not a readable image")

    with pytest.raises(UnreadableImagesError, match="12 images cannot be read") as caught:
        audit.raise_problems()
    assert [f"{number}.jpg: not a readable image" in str(caught.value) for number in range(12)] == [True] * 12


def test_of_more_than_fifty_unreadable_images_the_rest_is_counted() -> None:
    audit = Audit()
    for number in range(MAX_UNREADABLE_SHOWN + 7):
        audit.unreadable(Path(f"{number}.jpg"), "not a readable image")

    with pytest.raises(UnreadableImagesError) as caught:
        audit.raise_problems()
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("57 images cannot be read") and lines[-1] == "and 7 more"
    assert len(lines) == 1 + MAX_UNREADABLE_SHOWN + 1


def test_other_problems_are_named_beside_unreadable_images_under_the_general_class(folder: Folder) -> None:
    folder.image("a").write_bytes(b"")
    broken = folder.break_labels("b")

    with pytest.raises(DataError) as caught:
        folder.open()
    assert not isinstance(caught.value, UnreadableImagesError)
    assert broken in str(caught.value)
    assert f"{folder.image('a')}: not a readable image (the file is empty)" in str(caught.value)


def test_other_problems_end_the_check_even_where_unreadable_images_are_left_out(folder: Folder) -> None:
    folder.image("a").write_bytes(b"")
    broken = folder.break_labels("b")

    with pytest.raises(DataError) as caught:
        folder.open(skip_unreadable=True)
    assert broken in str(caught.value) and "a.jpg: not" not in str(caught.value)


@pytest.mark.parametrize("format_name", FORMATS)
def test_leaving_an_image_out_moves_no_other_to_another_split(format_name: str, tmp_path: Path) -> None:
    listed = [noise_file(tmp_path / "made", stem) for stem in "abcdefgh"]
    folder = folder_of(tmp_path / "set", format_name, {"train": listed})
    whole = folder.open()
    folder.image("h").write_bytes(b"")
    left = folder.open(skip_unreadable=True)

    for part, split in left.splits().items():
        images = [whole.splits()[part].sample(index, 0).image for index in range(len(whole.splits()[part]))]
        for index in range(len(split)):
            assert any(torch.equal(split.sample(index, 0).image, image) for image in images)
    assert sum(len(split) for split in left.splits().values()) == 7


def test_a_split_that_loses_all_its_images_is_refused_with_their_names(folder: Folder) -> None:
    folder.image("g").write_bytes(b"")
    folder.image("h").write_bytes(b"no picture")

    with pytest.raises(DataError, match=r"none of the 2 images in val can be read \(.*g\.jpg, .*h\.jpg\); allowed"):
        folder.open(skip_unreadable=True)


@pytest.mark.parametrize(
    ("folder", "file", "line"),
    [("voc", "ImageSets/Main/val.txt", "a\n"), ("listing", "val.txt", "images/a.jpg 4,2,20,15,0\n")],
    indirect=["folder"],
)
def test_an_image_in_two_splits_is_left_out_of_both_and_told_once(folder: Folder, file: str, line: str) -> None:
    with (folder.root / file).open("a") as opened:
        opened.write(line)
    folder.image("a").write_bytes(b"")
    dataset = folder.open(skip_unreadable=True)

    assert (len(dataset.train), len(dataset.val)) == (5, 2)
    assert [kind for kind, _, _ in found(dataset)] == ["unreadable"]


def test_broken_files_are_trained_on_with_the_pixels_of_the_check(folder: Folder) -> None:
    cut(folder.image("a"), 20)
    noise(1).save(folder.image("b"), exif=exif_block(0))
    noise(2).save(folder.image("c"), exif=exif_block(6))
    kept, decoded = folder.open(), folder.open(cache_mb=0)

    for index in range(6):
        one, other = kept.train.sample(index, 0), decoded.train.sample(index, 1)
        assert torch.equal(one.image, other.image) and torch.equal(one.boxes_M4, other.boxes_M4)


def test_a_picture_of_more_pixels_than_pillow_allows_is_named_not_a_traceback(folder: Folder) -> None:
    file = BytesIO()
    noise().save(file, "PNG")
    data = bytearray(file.getvalue())
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    folder.image("a").write_bytes(data)

    with pytest.raises(UnreadableImagesError, match=r"/a\.jpg: not a readable image"):
        folder.open()


@pytest.mark.parametrize("folder", ["voc"], indirect=True)
def test_a_message_has_one_line_even_where_a_name_has_two(folder: Folder) -> None:
    (folder.root / "classes.txt").unlink()
    file = folder.root / "Annotations/a.xml"
    file.write_text(file.read_text().replace(">cat<", ">red\n  panda<").replace("<difficult>0", "<difficult>1"))

    assert ("difficult", "a.xml", "red panda is marked difficult; kept") in found(folder.open())


def test_a_finding_of_several_lines_is_refused() -> None:
    with pytest.raises(ValueError, match="has several lines; allowed: one"):
        Finding(kind="rotated", file="a", line=None, message="one\ntwo")
