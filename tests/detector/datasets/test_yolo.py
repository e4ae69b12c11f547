"""YOLO's layout: every way to list images, and every way to get labels wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from detector.auditing import audit
from detector.datasets.yolo import label_path
from tests.detector.datasets.photographs import noise_image, opened, refusal


def _labels(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def _config(root: Path, **changes: Any) -> Path:
    config = {"train": "images/train", "val": "images/val", "names": ["cat", "dog"]}
    config = {key: value for key, value in {**config, **changes}.items() if value is not None}
    file = root / "data.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three training and two validation images, one box each."""
    for number, part in enumerate(("train", "train", "train", "val", "val")):
        noise_image(tmp_path / f"images/{part}/{number}.png", number)
        _labels(tmp_path / f"labels/{part}/{number}.txt", f"{number % 2} 0.5 0.5 0.25 0.5\n")
    _config(tmp_path)
    return tmp_path


def test_a_folder_or_its_data_yaml_opens_the_same_data(root: Path) -> None:
    by_folder, by_file = opened(root), opened(root / "data.yaml")

    assert by_folder.names == by_file.names == ("cat", "dog")
    assert (len(by_folder.train), len(by_folder.val), by_folder.test) == (3, 2, None)
    assert by_folder.findings == () and by_folder.max_boxes == 1 and by_folder.augments
    sample = by_file.train.sample(1, 0)
    assert sample.image.shape == (3, 20, 40)
    assert sample.boxes_M4.tolist() == [[15, 5, 25, 15]] and sample.labels_M.tolist() == [1]
    assert torch.equal(sample.image, by_folder.train.sample(1, 5).image)


def test_the_summary_counts_images_boxes_and_findings(root: Path) -> None:
    noise_image(root / "images/train/plain.png", 9)
    _labels(root / "labels/val/3.txt", "0 0.5 0.5 0.2 0.2\n1 0.9 0.5 0.4 0.2\n1 0.5 0.5 0 0.2\n")
    summary = opened(root).summary()

    assert summary["splits"]["train"] == {"images": 4, "boxes": 3, "boxes_by_class": {"cat": 2, "dog": 1}}
    assert summary["splits"]["val"] == {"images": 2, "boxes": 3, "boxes_by_class": {"cat": 2, "dog": 1}}
    assert summary["findings"] == {"clipped": 1, "no_area": 1, "no_label_file": 1}
    assert summary["max_boxes"] == 2 and summary["classes"] == ["cat", "dog"]


@pytest.mark.parametrize("names", [["cat", "dog"], {0: "cat", 1: "dog"}])
def test_names_may_be_a_list_or_a_mapping(names: object, root: Path) -> None:
    assert opened(_config(root, names=names, nc=2)).names == ("cat", "dog")


def test_a_count_of_classes_stands_in_for_names(root: Path) -> None:
    assert opened(_config(root, names=None, nc=2)).names == ("class0", "class1")


def test_parts_may_be_lists_of_folders_and_listings(root: Path) -> None:
    noise_image(root / "more/images/7.jpg", 7)
    _labels(root / "more/labels/7.txt", "1 0.5 0.5 0.5 0.5")
    (root / "train.txt").write_text("./images/train/0.png\n\nimages/train/1.png\n")
    (root / "lists").mkdir()
    (root / "lists/val.txt").write_text("images/val/3.png\n")
    dataset = opened(_config(root, train=["train.txt", "more/images"], val="lists/val.txt", test="images/val/"))

    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (3, 1, 2)
    assert dataset.train.sample(2, 0).labels_M.tolist() == [1]


def test_a_path_key_moves_the_root(root: Path) -> None:
    config = _config(root, path="..")
    (root / "sub").mkdir()
    config = config.rename(root / "sub" / "data.yaml")

    assert len(opened(config).train) == 3


def test_exports_that_point_beside_their_folder_are_understood(root: Path) -> None:
    assert len(opened(_config(root, train="../images/train", val="../images/val")).val) == 2


def test_without_val_images_are_held_out_and_the_note_says_so(root: Path) -> None:
    dataset = opened(_config(root, train="images", val=None))

    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (3, 1, 1)
    assert "of 5 images 3 train, 1 val, 1 test by seed 0" in dataset.note


def test_labels_stand_in_for_the_last_folder_called_images() -> None:
    assert label_path(Path("images/set/images/train/a.b.jpg")) == Path("images/set/labels/train/a.b.txt")
    assert label_path(Path("photos/images.jpg")) == Path("photos/images.txt")


def test_labels_may_lie_beside_their_images(tmp_path: Path) -> None:
    for number in range(4):
        noise_image(tmp_path / f"photos/{number}.png", number)
        _labels(tmp_path / f"photos/{number}.txt", "0 0.5 0.5 0.5 0.5")
    _labels(tmp_path / "photos/notes.txt", "taken in May")

    assert opened(_config(tmp_path, train="photos", val=None)).train.sample(0, 0).labels_M.tolist() == [0]


def test_background_images_are_kept_and_told(root: Path) -> None:
    (root / "labels/train/0.txt").unlink()
    _labels(root / "labels/train/1.txt", "\n")
    dataset = opened(root)

    assert [(finding.kind, Path(finding.file).name) for finding in dataset.findings] == [
        ("no_label_file", "0.png"),
        ("no_objects", "1.txt"),
        ("unused_class", "data.yaml"),
    ]
    assert dataset.train.sample(0, 0).boxes_M4.shape == (0, 4) and len(dataset.train) == 3


def test_boxes_are_cut_or_left_out_and_told_with_file_and_line(root: Path) -> None:
    boxes = ("0 0.5 0.5 0.2 0.2", "0 0 0.5 0.5 0.5", "1 1.5 0.5 0.2 0.2", "1 0.5 0.5 0 0.3", "1 0.5 0.5 -0.2 0.3")
    _labels(root / "labels/train/0.txt", "\n".join((*boxes, boxes[0])))
    dataset = opened(root)
    told = [(finding.kind, finding.line) for finding in dataset.findings]

    assert told == [("clipped", 2), ("outside", 3), ("no_area", 4), ("no_area", 5), ("repeated_box", 6)]
    assert all(finding.file.endswith("labels/train/0.txt") for finding in dataset.findings)
    assert dataset.train.sample(0, 0).boxes_M4.tolist() == [[16, 8, 24, 12], [0, 5, 10, 15]]


def test_boxes_shrink_with_their_image(root: Path) -> None:
    noise_image(root / "images/train/0.png", 0, size=(384, 192))
    sample = opened(root).train.sample(0, 0)

    assert sample.image.shape == (3, 48, 96)
    assert sample.boxes_M4.tolist() == [[36, 12, 60, 36]]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0 0.5 0.5 0.2", "five numbers"),
        ("0 0.5 0.5 0.2 0.2 0.9", "five numbers"),
        ("cat 0.5 0.5 0.2 0.2", "five numbers"),
        ("0 0.5 nan 0.2 0.2", "five numbers"),
        ("2 0.5 0.5 0.2 0.2", r"class 2 is not known; allowed: 0 to 1 (cat, dog)"),
        ("-1 0.5 0.5 0.2 0.2", "class -1 is not known"),
        ("0.5 0.5 0.5 0.2 0.2", "class 0.5 is not known"),
        ("0 120 80 40 30", "counts pixels; allowed: fractions"),
    ],
)
def test_a_wrong_line_is_named_with_file_number_and_what_is_allowed(line: str, expected: str, root: Path) -> None:
    _labels(root / "labels/train/1.txt", f"0 0.5 0.5 0.2 0.2\n{line}\n")
    told = refusal(root)

    assert "labels/train/1.txt:2: " in told and expected in told


def test_many_problems_come_in_one_message_and_unreadable_images_after_them(root: Path) -> None:
    _labels(root / "labels/train/0.txt", "9 0.5 0.5 0.2 0.2\n" * 11)
    _labels(root / "labels/val/4.txt", "0 0.5\n")
    (root / "images/val/3.png").write_bytes(b"no picture")
    (root / "images/train/2.png").write_bytes(b"no picture")
    told = refusal(root).splitlines()

    assert len(told) == 14 and told[10] == "and 2 more"
    assert told[11].startswith("2 images cannot be read; allowed: .bmp")
    assert ["2.png: not a readable image (its bytes are of no known image format)" in line for line in told[12:]] == [
        True,
        False,
    ]


def test_unreadable_images_are_found_before_training(root: Path) -> None:
    file = root / "images/val/3.png"
    file.write_bytes(file.read_bytes()[:-400])

    assert "images/val/3.png: not a readable image" in refusal(root)


def test_labels_without_an_image_are_refused_but_not_class_lists(root: Path) -> None:
    _labels(root / "labels/train/classes.txt", "cat\ndog\n")
    assert len(opened(root).train) == 3
    _labels(root / "labels/train/lost.txt", "0 0.5 0.5 0.2 0.2\n")

    assert "labels/train/lost.txt: labels without an image; allowed: one of lost.* in" in refusal(root)


def test_label_files_that_are_no_text_are_refused(root: Path) -> None:
    (root / "labels/train/0.txt").write_bytes(b"\xff\xfe\x00 0.5")

    assert "labels/train/0.txt: not readable as text" in refusal(root)


def test_listings_name_lines_that_are_no_images(root: Path) -> None:
    (root / "train.txt").write_text("images/train/0.png\nimages/train/none.png\nlabels/train/0.txt\n")
    told = refusal(_config(root, train="train.txt"))

    assert "train.txt:2: no image images/train/none.png" in told
    assert "train.txt:3: labels/train/0.txt is not an image" in told


def test_images_of_a_folder_that_would_share_their_labels_are_refused(root: Path) -> None:
    noise_image(root / "images/train/0.jpg", 9)
    message = "0.jpg and 0.png are both there; allowed: one image for a label file, or a .txt file that lists images"

    assert refusal(root) == f"{root}/labels/train/0.txt: {message}"
    result, dataset = audit(str(root), image_size=64)
    assert [found.message for found in result.findings if found.kind == "bad_label"] == [message]
    assert dataset is not None and [Path(name).name for name in dataset.files] == ["1.png", "2.png", "3.png", "4.png"]


def test_of_images_that_would_share_their_labels_a_list_takes_those_it_names(root: Path) -> None:
    noise_image(root / "images/train/0.jpg", 9)
    (root / "train.txt").write_text("images/train/0.jpg\n")

    assert "images/train/0.jpg" in opened(_config(root, train="train.txt")).files


def test_images_without_labels_may_have_one_stem(root: Path) -> None:
    for name in ("plain.jpg", "plain.png"):
        noise_image(root / f"images/train/{name}", ord(name[6]))

    assert len(opened(root).train) == 5


def test_images_listed_twice_and_twins_across_parts_are_told(root: Path) -> None:
    (root / "images/val/3.png").write_bytes((root / "images/train/0.png").read_bytes())
    (root / "train.txt").write_text("images/train/0.png\nimages/train/1.png\nimages/train/0.png\n")
    dataset = opened(_config(root, train="train.txt"))

    assert [finding.kind for finding in dataset.findings] == ["listed_twice", "leak"]
    assert len(dataset.train) == 2


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"names": None}, "names: None; allowed: a list of class names"),
        ({"names": []}, r"names: []; allowed"),
        ({"names": {1: "cat", 2: "dog"}}, "names: keys [1, 2]; allowed: 0 to 1"),
        ({"names": ["cat", "cat"]}, "has a name twice"),
        ({"nc": 3}, "nc: 3 with 2 names; allowed: 2"),
        ({"path": "nowhere"}, "path: no folder"),
        ({"train": None}, "train: missing; allowed: a folder"),
        ({"train": "nowhere"}, "train: no "),
        ({"train": 5}, "train: 5; allowed"),
        ({"train": ["images/train", 5]}, "allowed: a folder, a list"),
        ({"train": "images/train/0.png"}, "neither a folder nor a .txt file"),
        ({"train": "labels"}, "no images in train"),
    ],
)
def test_a_wrong_data_yaml_is_refused_by_key(changes: dict[str, object], expected: str, root: Path) -> None:
    assert expected in refusal(_config(root, **changes))


@pytest.mark.parametrize(("text", "expected"), [("train: [", "not readable as YAML"), ("- a", "list at the top")])
def test_a_data_yaml_that_is_no_mapping_is_refused(text: str, expected: str, root: Path) -> None:
    (root / "data.yaml").write_text(text)

    assert expected in refusal(root)


def test_yaml_tags_do_not_run_code(root: Path) -> None:
    (root / "data.yaml").write_text("names: !!python/object/apply:os.getcwd []\n")

    assert "not readable as YAML" in refusal(root)


def test_a_folder_with_several_yaml_files_asks_which(root: Path) -> None:
    _config(root).rename(root / "one.yaml")
    assert len(opened(root).train) == 3
    (root / "two.yaml").write_text("names: [a]")

    assert "several YAML files (one.yaml, two.yaml)" in refusal(root)


def test_a_training_part_without_any_box_is_refused(root: Path) -> None:
    for number in range(3):
        (root / f"labels/train/{number}.txt").unlink()

    assert "no box in the 3 training images" in refusal(root)


def _without_yaml(root: Path) -> str:
    (root / "data.yaml").unlink()
    return refusal(root)


def test_yolo_labels_without_a_data_yaml_are_answered_with_one_that_works(root: Path) -> None:
    (root / "classes.txt").write_text("cat\ndog\n")
    told = _without_yaml(root)
    first, *lines = told.splitlines()
    (root / "data.yaml").write_text("\n".join(lines))

    assert first.endswith(
        f"has YOLO labels in labels/ (text files: 5) but no data.yaml; allowed: a folder with one; "
        f"write into {root}/data.yaml:"
    )
    assert lines == [f"path: {root}", "train: images/train", "val: images/val", "names: [cat, dog]"]
    assert (len(opened(root).train), opened(root).names) == (3, ("cat", "dog"))


def test_without_a_list_of_classes_there_is_a_place_for_the_name_of_each(root: Path) -> None:
    assert "names: [name of class 0, name of class 1]" in _without_yaml(root)


def test_folders_whose_labels_would_not_be_found_are_to_be_renamed_first(root: Path) -> None:
    (root / "images").rename(root / "img")
    (root / "labels").rename(root / "label")

    assert "rename label to labels, then rename img to images, then write into" in _without_yaml(root)


def test_yolo_labels_beside_the_images_are_to_be_moved_first(tmp_path: Path) -> None:
    noise_image(tmp_path / "images/a.png")
    _labels(tmp_path / "images/a.txt", "0 0.5 0.5 0.2 0.2\n")
    told = refusal(tmp_path)

    assert "move the .txt files to a folder labels, then write into" in told
    assert "train: images\nnames: [name of class 0]" in told
