"""Lists with an image and its boxes a line: where they lie, which image a line means, and how a line can be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.detector.datasets.photographs import noise_image, opened, refusal


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three training and two validation images of 40 x 20 pixels, with one box each."""
    for number, split in enumerate(("train", "train", "train", "val", "val")):
        noise_image(tmp_path / f"images/{number}.png", number)
        with (tmp_path / f"{split}.txt").open("a") as file:
            file.write(f"images/{number}.png 4,2,20,15,{number % 2}\n")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    return tmp_path


def _written(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


def _told(dataset: Any) -> list[tuple[str, str, int | None]]:
    return [(found.kind, Path(found.file).name, found.line) for found in dataset.findings]


def test_lists_and_class_names_beside_them_are_opened(root: Path) -> None:
    dataset = opened(root)

    assert dataset.names == ("cat", "dog") and dataset.findings == ()
    assert (len(dataset.train), len(dataset.val), dataset.test) == (3, 2, None)
    assert dataset.train.original(1).boxes == ((4.0, 2.0, 20.0, 15.0),) and dataset.train.original(1).labels == (1,)


def test_lists_may_be_named_as_scripts_name_them(root: Path) -> None:
    for before, after in (("train", "2007_train"), ("val", "2007_valid"), ("classes", "voc_classes")):
        (root / f"{before}.txt").rename(root / f"{after}.txt")
    dataset = opened(root)

    assert (len(dataset.train), len(dataset.val), dataset.names) == (3, 2, ("cat", "dog"))


def test_one_list_may_be_named_and_a_part_is_held_out(root: Path) -> None:
    dataset = opened((root / "train.txt").rename(root / "all.txt"))

    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (1, 1, 1)


def test_a_line_may_have_no_box_or_several_and_an_image_several_lines(root: Path) -> None:
    (root / "train.txt").write_text(
        "\n  images/0.png\t4,2,20,15,0   1.5,2,3e1,4.25,1  \nimages/1.png\nimages/0.png 4,2,8,8,1\n"
    )
    dataset = opened(root)

    assert dataset.train.original(0).boxes == ((4.0, 2.0, 20.0, 15.0), (1.5, 2.0, 30.0, 4.25), (4.0, 2.0, 8.0, 8.0))
    assert _told(dataset) == [("listed_twice", "0.png", None), ("no_objects", "1.png", None)]


def test_an_image_of_several_lines_is_held_out_with_all_its_boxes(root: Path) -> None:
    lines = [f"images/{number}.png {4 + side},2,20,15,0\n" for side in (0, 1) for number in range(5)]
    dataset = opened(_written(root / "all.txt", "".join(lines)))
    splits = dataset.splits().values()

    assert "of 5 images 3 train, 1 val, 1 test" in dataset.note
    assert len({split.original(index).image for split in splits for index in range(len(split))}) == 5
    assert all(len(split.original(index).boxes) == 2 for split in splits for index in range(len(split)))
    assert [finding.kind for finding in dataset.findings if finding.kind in ("listed_twice", "leak")] == [
        "listed_twice"
    ] * 5


def test_an_image_of_several_lines_counts_once_towards_the_three_that_are_needed(root: Path) -> None:
    source = _written(root / "all.txt", "images/0.png 4,2,20,15,0\n" * 2 + "images/1.png 4,2,20,15,0\n")

    assert "2 images and no val part; allowed: a val part or 3 images" in refusal(source)


@pytest.mark.parametrize("name", ["a b/two  words.png", "a.png b.png", " ,.jpg 1,2,3,4,0 .PNG", "x.png/0.png"])
def test_blanks_belong_to_the_name_of_the_image_that_is_there(name: str, root: Path) -> None:
    noise_image(root / name.strip(), 9)
    with (root / "train.txt").open("a") as file:
        file.write(f"{name} 1,2,3,4,1\n{(root / 'images/3.png').resolve()} 1,2,3,4,1\n")
    dataset = opened(root)

    assert dataset.train.original(3).image == root / name.strip()
    assert dataset.train.original(3).boxes == ((1.0, 2.0, 3.0, 4.0),)


def test_a_line_that_may_mean_two_images_is_refused(root: Path) -> None:
    noise_image(root / "a.png")
    noise_image(root / "a.png b.png")
    (root / "train.txt").write_text("a.png b.png 1,2,3,4,0\n")

    assert "train.txt:1: 'a.png' and 'a.png b.png' are both there; allowed: lines that name one" in refusal(root)


def test_findings_name_the_line(root: Path) -> None:
    (root / "train.txt").write_text(
        "images/0.png 30,2,50,15,0\nimages/1.png 50,2,60,15,0 1,1,5,5,0 1,1,5,5,0\nimages/2.png 4,2,4,15,0\n"
    )

    assert _told(opened(root))[:4] == [
        ("clipped", "train.txt", 1),
        ("outside", "train.txt", 2),
        ("repeated_box", "train.txt", 2),
        ("no_area", "train.txt", 3),
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("images/0.png 4,2,20,15", "'4,2,20,15'; allowed: five numbers with only commas between: x0,y0,x1,y1,class"),
        ("images/0.png 4,2,20,15,0,1", "'4,2,20,15,0,1'; allowed: five numbers"),
        ("images/0.png 4, 2, 20, 15, 0", "'4,'; allowed: five numbers"),
        ("images/0.png 4,2,x,15,0", "'4,2,x,15,0'; allowed: five numbers"),
        ("images/0.png 4,2,nan,15,0", "'4,2,nan,15,0'; allowed: five numbers"),
        ("images/0.png 4,2,1e999,15,0", "'4,2,1e999,15,0'; allowed: five numbers"),
        ("images/0.png 4,2,1_0,15,0", "'4,2,1_0,15,0'; allowed: five numbers"),
        ("images/0.png 4,2,20,15,2", "class 2 is not known; allowed: 0 to 1 (cat, dog)"),
        ("images/0.png 4,2,20,15,0.5", "class 0.5 is not known"),
        ("images/0.png 4,2,20,15,-1", "class -1 is not known"),
        ("images/9.png 4,2,20,15,0", "no image images/9.png; allowed: image files, relative to this file"),
        ("images/0.svg 4,2,20,15,0", "'images/0.svg 4,2,20,15,0' names no image; allowed: .bmp, .gif"),
        ("4,2,20,15,0", "'4,2,20,15,0' names no image"),
        ("a" * 5000 + ".png", "no image aaa"),
        ("a\0b.png 4,2,20,15,0", "no image a?b.png"),
    ],
)
def test_a_wrong_line_is_named_with_what_is_allowed(line: str, expected: str, root: Path) -> None:
    (root / "train.txt").write_text(f"images/1.png 4,2,20,15,0\n{line}\n")

    assert f"train.txt:2: {expected}" in refusal(root)


def test_a_line_of_nothing_but_names_is_read_at_once(root: Path) -> None:
    (root / "train.txt").write_text("images/1.png 4,2,20,15,0\n" + "a.png " * 100_000 + "\n")

    assert "train.txt:2: no image a.png" in refusal(root)


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (None, "no class names; allowed: a classes.txt beside the lists, with a name a line"),
        ("\n", "classes.txt: []; allowed: at least one class name a file, each once"),
        ("cat\ncat\n", "classes.txt: ['cat', 'cat']; allowed"),
        ("cat\0\n", "has control characters"),
    ],
)
def test_without_usable_class_names_lists_are_refused(classes: str | None, expected: str, root: Path) -> None:
    (root / "classes.txt").unlink() if classes is None else (root / "classes.txt").write_text(classes)

    assert expected in refusal(root)


def test_two_files_where_one_is_meant_are_refused(root: Path) -> None:
    (root / "old_train.txt").write_text("images/0.png\n")
    assert "old_train.txt and train.txt are both of train; allowed: one of them" in refusal(root)
    (root / "old_train.txt").unlink()
    for name in ("a", "b"):
        (root / f"{name}_classes.txt").write_text("cat\n")
    assert opened(root).names == ("cat", "dog")  # classes.txt is preferred
    (root / "classes.txt").unlink()

    assert "several class lists (a_classes.txt, b_classes.txt); allowed: a classes.txt" in refusal(root)


def test_lists_without_boxes_or_training_images_are_no_such_data_set(root: Path) -> None:
    (root / "train.txt").unlink()
    assert "lists of val only; allowed: one of train among them" in refusal(root)
    (root / "val.txt").write_text("images/3.png\nimages/4.png\n")

    assert "has no data.yaml and no annotations; looked for" in refusal(root)
