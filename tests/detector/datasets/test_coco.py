"""COCO's layout: where its files lie, what of them is used, and every way to get JSON wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.datasets import DataError, coco
from tests.detector.datasets.photographs import noise_image, opened, refusal

CATEGORIES = ({"id": 3, "name": "cat"}, {"id": 7, "name": "dog", "supercategory": "animal"})


def _content(*names: str, **changes: Any) -> dict[str, Any]:
    """A record for each image, and one box in each: of category 3 in the first, of 7 in the others."""
    images = [{"id": 10 + n, "file_name": name, "width": 40, "height": 20} for n, name in enumerate(names)]
    annotations = [
        {"id": 100 + n, "image_id": 10 + n, "category_id": 7 if n else 3, "bbox": [4, 2.5, 16, 12.5], "iscrowd": 0}
        for n in range(len(names))
    ]
    return {"images": images, "annotations": annotations, "categories": list(CATEGORIES), **changes}


def _write(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three training and two validation images of 40 x 20 pixels, laid out like COCO 2017."""
    for number, name in enumerate(("train2017/0", "train2017/1", "train2017/2", "val2017/0", "val2017/1")):
        noise_image(tmp_path / f"{name}.png", number)
    _write(tmp_path / "annotations/instances_train2017.json", _content("0.png", "1.png", "2.png"))
    _write(tmp_path / "annotations/instances_val2017.json", _content("0.png", "1.png"))
    _write(tmp_path / "annotations/captions_train2017.json", {"captions": []})
    return tmp_path


def _changed(root: Path, kind: str, place: int, **changes: Any) -> None:
    """The training file with some keys of one record changed, or removed where they are None."""
    file = root / "annotations/instances_train2017.json"
    content = json.loads(file.read_text())
    record = content[kind][place] | changes
    content[kind][place] = {key: value for key, value in record.items() if value is not ...}
    _write(file, content)


def _told(dataset: Any) -> list[tuple[str, str, str]]:
    return [(found.kind, Path(found.file).name, found.message) for found in dataset.findings]


def test_a_folder_of_annotations_with_images_by_year_is_opened(root: Path) -> None:
    dataset = opened(root)

    assert dataset.names == ("cat", "dog") and dataset.findings == ()
    assert (len(dataset.train), len(dataset.val), dataset.test) == (3, 2, None)
    assert [dataset.train.original(n).labels for n in range(3)] == [(0,), (1,), (1,)]
    assert dataset.train.original(0).boxes == ((4.0, 2.5, 20.0, 15.0),)
    assert dataset.val.original(0).image == root / "val2017/0.png"  # of the same name as one in train


@pytest.mark.parametrize(
    ("layout", "splits"),
    [
        ({"train/_annotations.coco.json": "train/{}", "valid/_annotations.coco.json": "valid/{}"}, [3, 3]),
        ({"train.json": "images/train/{}", "val.json": "images/val/{}", "test.json": "images/{}"}, [3, 3, 3]),
        ({"annotations/a_train.json": "images/{}", "annotations/a_val.json": "images/{}"}, [3, 3]),
        ({"labels.json": "{}"}, [1, 1, 1]),
        ({"Annotations/all.json": "JPEGImages/{}"}, [1, 1, 1]),
    ],
)
def test_files_are_found_where_exports_put_them(layout: dict[str, str], splits: list[int], tmp_path: Path) -> None:
    root = tmp_path / "test"  # says nothing of the split of the files in it
    for number, (file, place) in enumerate(layout.items()):
        names = [f"{number}-{n}.png" for n in range(3)]
        for n, name in enumerate(names):
            noise_image(root / place.format(name), 10 * number + n)
        _write(root / file, _content(*names))

    assert [len(split) for split in opened(root).splits().values()] == splits


def test_one_file_may_be_named_and_a_part_is_held_out(root: Path) -> None:
    dataset = opened(root / "annotations/instances_train2017.json")

    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (1, 1, 1)
    assert dataset.note.startswith("splits as instances_train2017.json have them; of 3 images")


def test_a_crowd_is_left_out_and_told(root: Path) -> None:
    _changed(root, "annotations", 1, iscrowd=1, bbox=...)
    dataset = opened(root)

    assert _told(dataset) == [
        ("crowd", "instances_train2017.json", "annotation 101: iscrowd 1; left out"),
        ("no_objects", "1.png", "no objects; the image counts as background"),
    ]


def test_findings_name_the_annotation(root: Path) -> None:
    for place, box in enumerate(([30, 2, 20, 10], [50, 2, 20, 10], [4, 2, 0, 10])):
        _changed(root, "annotations", place, bbox=box, id=200 + place)
    _write(root / "annotations/instances_train2017.json", _with_more(root, image_id=10, bbox=[1, 1, 5, 5]))
    dataset = opened(root)

    file = "instances_train2017.json"
    assert [(kind, name, message.split(" ")[:2]) for kind, name, message in _told(dataset) if name == file] == [
        ("clipped", file, ["annotation", "200:"]),
        ("repeated_box", file, ["annotation", "301:"]),
        ("outside", file, ["annotation", "201:"]),
        ("no_area", file, ["annotation", "202:"]),
    ]


def _with_more(root: Path, **record: Any) -> dict[str, Any]:
    """The training file with the same annotation twice more."""
    content = json.loads((root / "annotations/instances_train2017.json").read_text())
    content["annotations"] += [{"id": number, "category_id": 3, "iscrowd": 0} | record for number in (300, 301)]
    return content  # type: ignore[no-any-return]


def test_an_image_with_two_records_keeps_the_labels_of_both_and_is_told(root: Path) -> None:
    _changed(root, "images", 1, file_name="./0.png")
    _changed(root, "annotations", 1, bbox=[1, 1, 8, 8])
    dataset = opened(root)

    assert len(dataset.train) == 2 and dataset.train.original(0).labels == (0, 1)
    assert _told(dataset) == [("listed_twice", "0.png", "listed twice in one split; kept once with the labels of both")]


def test_a_stated_size_that_disagrees_is_told_of_the_image(root: Path) -> None:
    _changed(root, "images", 0, width=30)

    message = "labels state 30 x 20 pixels, the image has 40 x 20; the image's size is used"
    assert _told(opened(root)) == [("size_mismatch", "0.png", message)]


def test_a_category_that_only_groups_others_is_no_class(root: Path) -> None:
    for name in ("train", "val"):
        file = root / f"annotations/instances_{name}2017.json"
        content = json.loads(file.read_text())
        _write(file, content | {"categories": [{"id": 0, "name": "animal", "supercategory": "none"}, *CATEGORIES]})
    dataset = opened(root)

    assert dataset.names == ("cat", "dog") and dataset.findings == ()
    assert dataset.note.endswith("; animal groups categories and is no class")


def test_what_is_not_used_may_be_anything(root: Path) -> None:
    _changed(root, "annotations", 0, segmentation=[[1, 2], {"a": {"b": None}}], area=float("nan"), score=float("inf"))
    _changed(root, "images", 0, date_captured=5, width=None, height=None)
    _changed(root, "annotations", 1, iscrowd=...)

    assert opened(root).findings == ()


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        ("annotations", {"bbox": [1, 2, 3]}, "annotation 100: bbox [1, 2, 3]; allowed: four numbers of pixels"),
        ("annotations", {"bbox": ["1", 2, 3, 4]}, "annotation 100: bbox ['1', 2, 3, 4]; allowed"),
        ("annotations", {"bbox": [True, 2, 3, 4]}, "annotation 100: bbox [True, 2, 3, 4]; allowed"),
        ("annotations", {"bbox": [float("nan"), 2, 3, 4]}, "annotation 100: bbox [nan, 2, 3, 4]; allowed"),
        ("annotations", {"bbox": [float("inf"), 2, 3, 4]}, "annotation 100: bbox [inf, 2, 3, 4]; allowed"),
        ("annotations", {"bbox": [1, 2, 3, 10**400]}, "annotation 100: bbox [1, 2, 3, 1000"),
        ("annotations", {"bbox": "1 2 3 4"}, "annotation 100: bbox '1 2 3 4'; allowed"),
        ("annotations", {"bbox": ...}, "annotation 100: bbox None; allowed"),
        ("annotations", {"image_id": 99}, "annotation 100: image_id 99 is of no image; allowed"),
        ("annotations", {"image_id": "10"}, "annotation 100: image_id '10'; allowed: a whole number"),
        ("annotations", {"image_id": [10]}, "annotation 100: image_id [10]; allowed: a whole number"),
        ("annotations", {"category_id": 1}, "annotation 100: category_id 1 is not known; allowed: 3, 7"),
        ("annotations", {"category_id": True}, "annotation 100: category_id True; allowed: a whole number"),
        ("annotations", {"category_id": {}}, "annotation 100: category_id {}; allowed: a whole number"),
        ("annotations", {"iscrowd": True}, "annotation 100: iscrowd True; allowed: 0 or 1"),
        ("annotations", {"iscrowd": []}, "annotation 100: iscrowd []; allowed: 0 or 1"),
        ("annotations", {"id": ...}, "annotations[0]: id None; allowed: a whole number"),
        ("annotations", {"id": 101}, "annotations[1]: id 101 is given twice; allowed: once"),
        ("images", {"id": 11}, "images[1]: id 11 is given twice; allowed: once"),
        ("images", {"id": 1.5}, "images[0]: id 1.5; allowed: a whole number"),
        ("images", {"file_name": "lost.png"}, "image 10: no file lost.png; allowed: files in the folder of this split"),
        ("images", {"file_name": 5}, "image 10: file_name 5; allowed: a text that is not empty"),
        ("images", {"file_name": "a\0b\ud800"}, "image 10: no file a?b?; allowed"),
        ("images", {"file_name": "../annotations/instances_val2017.json"}, "val2017.json is not an image; allowed"),
        ("images", {"width": "40"}, "image 10: width '40', height 20; allowed: numbers of pixels"),
        ("images", {"height": -1}, "image 10: width 40, height -1; allowed"),
        ("images", {"width": float("nan")}, "image 10: width nan, height 20; allowed"),
        ("categories", {"id": 7}, "categories[1]: id 7 is given twice; allowed: once"),
        ("categories", {"id": "3"}, "categories[0]: id '3'; allowed: a whole number"),
        ("categories", {"name": "dog"}, "2 categories are called 'dog'; allowed: one"),
        ("categories", {"name": " "}, "category 3: name ' '; allowed: a text that is not empty"),
        ("categories", {"name": None}, "category 3: name None; allowed"),
        ("categories", {"name": "bird"}, "category 3: 'cat'; allowed: 'bird', as in the file before"),
    ],
)
def test_a_wrong_record_is_named_by_its_id_with_what_is_allowed(
    kind: str, changes: dict[str, Any], expected: str, root: Path
) -> None:
    _changed(root, kind, 0, **changes)
    told = refusal(root)

    assert expected in told and "annotations/instances_" in told


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "name", "x"]), inner),
    max_leaves=5,
)
_PLACES = [(kind, key) for kind in ("images", "annotations", "categories") for key in sorted(coco.KEYS)]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(_PLACES), value=_JSON)
def test_any_value_anywhere_is_read_or_refused_in_a_sentence(place: tuple[str, str], value: object, root: Path) -> None:
    content = _content("0.png", "1.png", "2.png")
    kind, key = place
    content[kind][1] = content[kind][1] | {key: value}
    _write(root / "annotations/instances_train2017.json", content)

    try:
        opened(root)
    except DataError as error:
        assert "annotations/instances_" in str(error) and "allowed: " in str(error)


@pytest.mark.parametrize("name", ["c\0t", "c\ud800t"])
def test_a_category_whose_name_nobody_sees_is_refused(name: str, root: Path) -> None:
    _changed(root, "categories", 0, name=name)
    (root / "annotations/instances_val2017.json").unlink()

    assert "has control characters; allowed: names that can be shown" in refusal(root)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ":1: not readable as JSON (Expecting value)"),
        ('{"images": [],\n"annotations": [}', ":2: not readable as JSON (Expecting value)"),
        ("[" * 100_000, ": not readable as JSON (nested too deep)"),
        ('{"a":' * 100_000, ": not readable as JSON (nested too deep)"),
        ('{"images": [], "images": []}', ": not readable as JSON (key 'images' is given twice in one object)"),
        ('{"images": ' + "1" * 5000 + "}", ": not readable as JSON (Exceeds the limit"),
        ("[]", ": images: no list of objects; allowed: COCO annotations, with lists images, annotations, categories"),
        ("5", ": images: no list of objects"),
        ('{"images": [], "categories": []}', ": annotations: no list of objects"),
        ('{"images": [5], "annotations": [], "categories": []}', ": images: no list of objects"),
        ('{"images": [], "annotations": [], "categories": []}', ": no categories; allowed: at least one"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}]}', ": no images in train"),
    ],
)
def test_a_file_that_is_not_cocos_is_refused_by_name(text: str, expected: str, root: Path) -> None:
    file = root / "annotations/instances_train2017.json"
    file.write_text(text)
    (root / "annotations/instances_val2017.json").unlink()

    assert f"{file}{expected}" in refusal(file)


def test_bytes_that_are_no_text_and_files_beyond_the_limits_are_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "annotations/instances_val2017.json").write_bytes(b'{"images": "\xff"}')
    assert "instances_val2017.json: is not text in UTF-8 (byte 12, line 1)" in refusal(root)
    monkeypatch.setattr(coco, "MAX_OBJECTS", 5)
    assert "instances_train2017.json: not readable as JSON (more than 5 objects)" in refusal(root)
    monkeypatch.setattr(coco, "MAX_BYTES", 50)
    assert "instances_train2017.json: is larger than 50 bytes" in refusal(root)


def test_ten_wrong_records_are_named_and_the_rest_counted(root: Path) -> None:
    content = _content("0.png", "1.png", "2.png")
    content["annotations"] = [{"id": number} for number in range(100)]
    _write(root / "annotations/instances_train2017.json", content)
    told = refusal(root).splitlines()

    assert len(told) == 11 and told[-1] == "and 90 more"


def test_files_that_leave_open_which_split_is_meant_are_refused(root: Path) -> None:
    _write(root / "annotations/instances_train2014.json", _content("0.png"))
    assert "several JSON files of train (annotations/instances_train2014.json, annotations/instances" in refusal(root)
    for year in (2014, 2017):
        (root / f"annotations/instances_train{year}.json").unlink()
    _write(root / "annotations/instances_test2017.json", _content("0.png"))

    assert "JSON files of val, test only; allowed: one of train among them" in refusal(root)


@pytest.mark.parametrize("count", [1, 3])
def test_json_files_of_another_kind_are_no_coco(count: int, tmp_path: Path) -> None:
    for number in range(count):
        _write(tmp_path / f"labels/{number}.json", {"shapes": []})

    assert "has no data.yaml and no annotations; looked for" in refusal(tmp_path)


def test_beside_other_json_files_yolo_labels_are_answered_with_the_data_yaml_they_lack(tmp_path: Path) -> None:
    noise_image(tmp_path / "images/0.png")
    _write(tmp_path / "labels/0.txt", "0 0.5 0.5 0.2 0.2")
    _write(tmp_path / "package.json", {"name": "cats"})

    assert "has YOLO labels in labels/ (text files: 1) but no data.yaml" in refusal(tmp_path)
