"""Data sets written in every format: what is read back is what was there, and a write that fails leaves nothing."""

from __future__ import annotations

import errno
import shutil
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO
from torchvision.datasets import VOCDetection

from detector.datasets import DataError, open_dataset, writing
from detector.datasets.audit import ROUNDING_PX
from detector.datasets.label_files import FORMATS
from detector.datasets.listing import Original
from detector.datasets.writing import originals, write_dataset
from detector.findings import Box
from tests.detector.datasets.photographs import noise_file
from tests.places import BLOOD_CELLS, RACCOON

NAMES = ("red panda", "Größe 大", "a<b & 'c'>\"", "no", "1e3")
EXACT_PX = 1e-3


def _pixels(number: int, size: tuple[int, int] = (40, 30)) -> torch.Tensor:
    noise = np.random.default_rng(number).integers(0, 256, (3, size[1], size[0]), dtype=np.uint8)
    return torch.from_numpy(noise)


def _original(number: int, *boxes: Box, labels: tuple[int, ...] = (), image: Path | None = None) -> Original:
    found = labels or (0,) * len(boxes)
    return Original(image=image or _pixels(number), size=(40, 30), boxes=boxes, labels=found)


def _three(*originals: Original) -> dict[str, list[Original]]:
    """The images as the training split, and one other image in each of val and test."""
    box = (1.0, 2.0, 11.0, 22.0)
    return {"train": list(originals), "val": [_original(901, box)], "test": [_original(902, box)]}


def _written(out: Path, format_name: str, splits: dict[str, Any], names: tuple[str, ...] = NAMES) -> Any:
    write_dataset(out, format_name=format_name, names=names, splits=splits)
    return open_dataset(str(out), image_size=64)


def _is_near(one: Original, other: Original, tolerance: float) -> bool:
    same = (one.labels, one.size, len(one.boxes)) == (other.labels, other.size, len(other.boxes))
    return same and np.allclose(one.boxes, other.boxes, rtol=0, atol=tolerance)


@st.composite
def _boxes(draw: st.DrawFn) -> tuple[tuple[Box, ...], tuple[int, ...]]:
    """Boxes of at least a pixel and a bit in an image of 40 x 30, and their classes."""
    sides = [st.floats(0, length - 1.01).flatmap(lambda low, to=length: _to(low, to)) for length in (40, 30)]
    pairs = draw(
        st.lists(st.tuples(*sides, st.integers(0, len(NAMES) - 1)), max_size=4, unique_by=lambda pair: pair[0])
    )
    return tuple((x0, y0, x1, y1) for (x0, x1), (y0, y1), _ in pairs), tuple(label for *_, label in pairs)


def _to(low: float, length: int) -> st.SearchStrategy[tuple[float, float]]:
    return st.tuples(st.just(low), st.floats(low + 1.01, length))


@pytest.mark.parametrize("format_name", FORMATS)
@settings(max_examples=15, deadline=None)
@given(found=st.lists(_boxes(), min_size=1, max_size=3))
def test_boxes_classes_and_splits_come_back(format_name: str, found: list[Any]) -> None:
    first = _original(900, (0.0, 0.0, 40.0, 30.0))  # a data set needs a box
    splits = _three(first, *(_original(n, *boxes, labels=labels) for n, (boxes, labels) in enumerate(found)))
    with TemporaryDirectory() as folder:
        dataset = _written(Path(folder) / "new", format_name, splits)

    back = {split: list(listed) for split, listed in originals(dataset).items()}
    tolerance = ROUNDING_PX if format_name == "listing" else EXACT_PX
    assert dataset.names == NAMES
    assert {split: len(listed) for split, listed in back.items()} == {s: len(listed) for s, listed in splits.items()}
    for split, listed in splits.items():
        assert all(_is_near(one, other, tolerance) for one, other in zip(listed, back[split], strict=True))


@pytest.mark.parametrize("format_name", FORMATS)
def test_digits_are_rendered_and_are_the_scenes_of_the_first_epoch(format_name: str, tmp_path: Path) -> None:
    digits = open_dataset("digits-3", image_size=64)
    few = {split: [part.original(index) for index in range(4)] for split, part in digits.splits().items()}
    dataset = _written(tmp_path / "new", format_name, few, digits.names)

    assert dataset.names == ("0", "1", "2")
    for split, part in digits.splits().items():
        for index in range(4):
            one, other = part.sample(index, 0), dataset.splits()[split].sample(index, 0)
            assert torch.equal(one.image, other.image) and torch.equal(one.labels_M, other.labels_M)
            assert torch.equal(one.boxes_M4, other.boxes_M4)


@cache
def _photographs(source: Path) -> tuple[tuple[str, ...], dict[str, list[Original]]]:
    """Class names, and up to eight photographs of each split."""
    dataset = open_dataset(str(source), image_size=32)
    return dataset.names, {split: list(islice(listed, 8)) for split, listed in originals(dataset).items()}


@pytest.mark.parametrize("source", [RACCOON, BLOOD_CELLS], ids=lambda path: path.name)
@pytest.mark.parametrize("format_name", FORMATS)
def test_photographs_are_copied_byte_for_byte_and_their_boxes_come_back(
    format_name: str, source: Path, tmp_path: Path
) -> None:
    if not source.is_dir():
        pytest.skip(f"the photographs of {source.name} are not beside the repository")
    names, before = _photographs(source)
    after = originals(_written(tmp_path / "new", format_name, before, names))

    for split, listed in before.items():
        by_name = {_file(one).name: one for one in after[split]}
        assert len(by_name) == len(listed)
        for one in listed:
            other = by_name[_file(one).name]
            assert _file(one).read_bytes() == _file(other).read_bytes()
            assert _is_near(one, other, EXACT_PX)
            assert _file(other).stat().st_nlink == 1


def _file(original: Original) -> Path:
    assert isinstance(original.image, Path)
    return original.image


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_photograph_turned_by_exif_keeps_its_boxes_in_the_upright_frame(
    format_name: str, orientation: int, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = _pixels(1, (40, 30) if orientation == 3 else (30, 40)).permute(1, 2, 0).numpy()
    Image.fromarray(stored).save(tmp_path / "a.jpg", exif=exif)
    turned = _original(1, (3.0, 4.0, 31.0, 17.0), image=tmp_path / "a.jpg")
    dataset = _written(tmp_path / "new", format_name, _three(turned))

    assert _is_near(dataset.train.original(0), turned, EXACT_PX)
    assert [finding.kind for finding in dataset.findings if finding.kind != "unused_class"] == ["rotated"]


@pytest.mark.parametrize("format_name", FORMATS)
def test_images_of_one_name_stay_apart_and_odd_names_are_read_again(format_name: str, tmp_path: Path) -> None:
    names = ("x/a.png", "y/a.png", "y/A.PNG", "a b 1.png", "two\nlines.png", " 1,2,3,4,0 .png", "c.d.png", "x/é&<.png")
    listed = []
    for number, name in enumerate(names):
        file = tmp_path / "old" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(_pixels(number).permute(1, 2, 0).numpy()).save(file, format="PNG")
        boxes = ((0.0, 0.0, 5.0, 6.0), (5.0, 5.0, 9.0, 9.0))
        listed.append(_original(number, *boxes, labels=(number % 5, number // 5), image=file))
    dataset = _written(tmp_path / "new", format_name, _three(*listed))

    back = list(originals(dataset)["train"])
    assert {_file(one).read_bytes(): one.labels for one in listed} == {
        _file(one).read_bytes(): one.labels for one in back
    }
    assert "leak" not in {finding.kind for finding in dataset.findings}


@pytest.mark.parametrize(("format_name", "moved"), [("yolo", 0), ("voc", 1), ("coco", 0), ("listing", 1)])
def test_a_box_smaller_than_its_format_can_hold_is_widened_and_told(
    format_name: str, moved: int, tmp_path: Path
) -> None:
    splits = _three(_original(0, (39.99, 5.0, 40.0, 9.0), (3.0, 4.0, 4.0, 5.0)))
    written = write_dataset(tmp_path / "new", format_name=format_name, names=NAMES, splits=splits)
    dataset = open_dataset(str(tmp_path / "new"), image_size=64)

    assert written.moved == moved
    assert written.boxes == {"train": 2, "val": 1, "test": 1} and written.images == {"train": 1, "val": 1, "test": 1}
    assert len(dataset.train.original(0).boxes) == 2


@pytest.mark.parametrize("format_name", ["voc", "listing"])
@pytest.mark.parametrize("name", [" cat", "a\u2028b", "a\x85b", "\ufffe"])
def test_a_class_name_that_no_line_can_hold_is_refused(format_name: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be written as .*; allowed: .* one of the formats yolo, coco"):
        write_dataset(tmp_path / "new", format_name=format_name, names=(name,), splits=_three())


def test_a_format_that_is_not_known_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'csv' is not known; allowed: yolo, voc, coco, listing"):
        write_dataset(tmp_path / "new", format_name="csv", names=NAMES, splits=_three())


def test_a_folder_that_holds_something_and_a_file_are_refused_and_an_empty_folder_is_filled(tmp_path: Path) -> None:
    splits = _three(_original(0, (0.0, 0.0, 5.0, 6.0)))
    for name in ("full/kept.txt", "empty/", "file"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).write_text("mine")

    for name in ("full", "file"):
        with pytest.raises(DataError, match=f"{name}: is there already; allowed: a folder that is not there"):
            write_dataset(tmp_path / name, format_name="yolo", names=NAMES, splits=splits)
    write_dataset(tmp_path / "empty", format_name="yolo", names=NAMES, splits=splits)
    assert sorted(path.name for path in (tmp_path / "empty").iterdir()) == ["data.yaml", "images", "labels"]
    assert (tmp_path / "full/kept.txt").read_text() == "mine"


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_full_disk_leaves_nothing_half_made(after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[Path] = []

    def fill(source: Path, target: Path) -> None:
        if len(copied) == after:
            raise OSError(errno.ENOSPC, "No space left on device")
        copied.append(target)
        target.write_bytes(source.read_bytes())

    files = []
    for number in range(3):
        files.append(tmp_path / f"{number}.png")
        Image.fromarray(_pixels(number).permute(1, 2, 0).numpy()).save(files[-1])
    monkeypatch.setattr(writing.shutil, "copyfile", fill)
    listed = [_original(number, image=file) for number, file in enumerate(files)]

    with pytest.raises(OSError, match="No space left"):
        write_dataset(tmp_path / "a/new", format_name="voc", names=NAMES, splits={"train": listed})
    assert list((tmp_path / "a").iterdir()) == []
    shutil.rmtree(tmp_path / "a")


def test_pycocotools_reads_what_is_written_as_coco(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    original = _original(0, (1.5, 2.0, 11.0, 22.25), (0.0, 0.0, 40.0, 30.0), labels=(2, 0))
    _written(tmp_path / "new", "coco", _three(_original(1), original))
    capsys.readouterr()
    read = COCO(str(tmp_path / "new/annotations/instances_train.json"))
    (image,) = read.loadImgs([2])
    found = read.loadAnns(read.getAnnIds(imgIds=[2], iscrowd=False))

    assert (tmp_path / "new/train" / image["file_name"]).is_file() and (image["width"], image["height"]) == (40, 30)
    assert [each["bbox"] for each in found] == [[1.5, 2.0, 9.5, 20.25], [0.0, 0.0, 40.0, 30.0]]
    assert [each["name"] for each in read.loadCats([each["category_id"] for each in found])] == [NAMES[2], NAMES[0]]
    assert [each["area"] for each in found] == [9.5 * 20.25, 1200.0]


def test_torchvision_reads_what_is_written_as_voc(tmp_path: Path) -> None:
    listed = [noise_file(tmp_path / "made", "a")]
    root = tmp_path / "VOCdevkit/VOC2012"
    _written(root, "voc", {"train": listed, "val": [noise_file(tmp_path / "made", "b")]}, ("a<b & c",))
    image, target = VOCDetection(str(tmp_path), image_set="train")[0]

    assert image.size == (48, 32)
    assert target["annotation"]["object"] == [
        {
            "name": "a<b & c",
            "difficult": "0",
            "bndbox": {"xmin": "5", "ymin": "3", "xmax": "20", "ymax": "15"},
        }
    ]
