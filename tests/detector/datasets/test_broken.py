"""Every way in which a data set is broken is found, whatever else is wrong, and none ends in a traceback."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from detector.auditing import audit
from detector.findings import KINDS, Severity
from evolve.run.auditing import Auditing
from tests.detector.datasets.damages import (
    COCO,
    LISTING,
    VOC,
    YOLO,
    Damage,
    audited,
    copy,
    edit,
    every,
    label,
    picture,
    record,
    remove,
    scene,
    shorten,
    whole,
    write,
)
from tests.detector.datasets.photographs import exif_block
from tests.places import BLOOD_CELLS, RACCOON


def boxes(*sizes: tuple[float, float]) -> str:
    return "".join(f"0 {0.1 + 0.01 * n} 0.5 {w} {h}\n" for n, (w, h) in enumerate(sizes))


SPREAD = [(0.0005 * 8**w, 0.0005 * 8**h) for w in range(4) for h in range(4)]
CATS = [(0.05 + 0.001 * n, 0.05) for n in range(25)]
MOVING: dict[str, Any] = {"format": "GIF", "append_images": [scene(1)]}
LISTED = edit("data.yaml", "images/train", "train.txt")
DOGS = ("classes.txt", *(f"Annotations/{stem}.xml" for stem in "bdfh"))
CASES: Sequence[tuple[str, str, Damage]] = [
    ("no_area", YOLO, label("0 .5 .5 0 .1")),
    ("no_area", YOLO, label("0 .5 .5 .1 -.1")),
    ("outside", YOLO, label("0 1.5 .5 .1 .1")),
    ("clipped", YOLO, label("0 .95 .5 .3 .3")),
    ("repeated_box", YOLO, label("0 .5 .5 .3 .3\n0 .5 .5 .3 .3")),
    ("double_box", YOLO, label("0 .5 .5 .3 .3\n0 .5 .5 .3 .31")),
    ("contested_box", YOLO, label("0 .5 .5 .3 .3\n1 .5 .5 .3 .3")),
    ("unknown_class", YOLO, label("7 .5 .5 .2 .2")),
    ("unknown_class", YOLO, label("-1 .5 .5 .2 .2")),
    ("unknown_class", YOLO, label("0.5 .5 .5 .2 .2")),
    ("bad_label", YOLO, label("cat .5 .5 .2 .2")),
    ("bad_label", YOLO, label("0 .5 .5 .2")),
    ("bad_label", YOLO, label("0 nan .5 .2 .2")),
    ("bad_label", YOLO, label("0 48 32 20 20")),
    ("bad_label", YOLO, label(b"\xff\xfe\x00\x01")),
    ("no_label_file", YOLO, remove("labels/train/a.txt")),
    ("no_objects", YOLO, label("\n")),
    ("missing_image", YOLO, remove("images/train/a.jpg")),
    ("unreadable", YOLO, write("images/train/a.jpg", b"")),
    ("unreadable", YOLO, write("images/train/a.jpg", "no picture")),
    ("unreadable", YOLO, shorten("images/train/a.jpg", 1500)),
    ("cut_short", YOLO, shorten("images/train/a.jpg", 20)),
    ("bad_exif", YOLO, picture("images/train/a.jpg", scene(0), exif=exif_block(9))),
    ("rotated", YOLO, picture("images/train/a.jpg", scene(0), exif=exif_block(6))),
    ("several_frames", YOLO, picture("images/train/a.jpg", scene(0), save_all=True, **MOVING)),
    ("same_image", YOLO, copy("images/train/a.jpg", "images/train/b.jpg")),
    ("leak", YOLO, copy("images/train/a.jpg", "images/val/h.jpg")),
    ("similar_image", YOLO, picture("images/train/b.jpg", scene(0), quality=40)),
    ("similar_image", YOLO, picture("images/train/b.jpg", scene(0).resize((48, 32)), quality=95)),
    ("similar_leak", YOLO, picture("images/val/h.jpg", scene(0).point(lambda level: level * 0.8), quality=95)),
    ("unused_class", YOLO, edit("data.yaml", "- dog", "- dog\n- cow")),
    ("unmeasured_class", YOLO, edit("labels/val/h.txt", "1 ", "0 ")),
    ("small_boxes", YOLO, label("0 .5 .5 .02 .02")),
    ("imbalance", YOLO, every(label(boxes(*CATS)), label(boxes(*CATS), "c"))),
    ("anchor_recall", YOLO, label(boxes(*SPREAD))),
    ("listed_twice", YOLO, every(write("train.txt", "images/train/a.jpg\n" * 2), LISTED)),
    ("missing_image", YOLO, every(write("train.txt", "images/train/z.jpg"), LISTED)),
    ("listed_twice", VOC, write("ImageSets/Main/train.txt", "a\nb\na")),
    ("unlisted", VOC, write("ImageSets/Main/train.txt", "a\nb")),
    ("missing_image", VOC, write("ImageSets/Main/train.txt", "a\nb\nz")),
    ("missing_image", VOC, remove("JPEGImages/a.jpg")),
    ("size_mismatch", VOC, edit("Annotations/a.xml", "<width>96", "<width>90")),
    ("unknown_class", VOC, edit("Annotations/a.xml", "<name>cat", "<name>cow")),
    ("bad_label", VOC, edit("Annotations/a.xml", "<xmin>21", "<xmin>left")),
    ("bad_label", VOC, edit("Annotations/a.xml", "</annotation>", "")),
    ("bad_label", VOC, write("Annotations/a.xml", '<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>')),
    ("difficult", VOC, edit("Annotations/a.xml", "<difficult>0", "<difficult>1")),
    ("rare_class", VOC, every(*(edit(file, "dog", "Cat") for file in DOGS))),
    ("bad_label", COCO, record("annotations", bbox=[1, 2, 3])),
    ("unknown_class", COCO, record("annotations", category_id=77)),
    ("bad_class", COCO, record("categories", name="dog")),
    ("missing_image", COCO, record("annotations", image_id=77)),
    ("missing_image", COCO, record("images", file_name="z.jpg")),
    ("crowd", COCO, record("annotations", iscrowd=1)),
    ("no_area", COCO, record("annotations", bbox=[4, 4, 0, 0])),
    ("unusable", COCO, write("annotations/instances_train.json", "[")),
    ("bad_label", LISTING, edit("train.txt", "20,10,", "20,")),
    ("unknown_class", LISTING, edit("train.txt", "50,0", "50,9")),
    ("missing_image", LISTING, edit("train.txt", "a.jpg", "z.jpg")),
    ("unusable", LISTING, remove("classes.txt")),
    ("unusable", YOLO, write("data.yaml", "train: [")),
    ("unusable", YOLO, edit("data.yaml", "- dog", "- cat")),
    ("unusable", YOLO, edit("data.yaml", "images/train", "images/none")),
    ("unusable", YOLO, every(*(label("", stem) for stem in "abcdef"))),
    ("unusable", YOLO, every(*(write(f"images/val/{stem}.jpg", b"") for stem in "ghi"))),
    ("unusable", VOC, write("ImageSets/Main/val.txt", "")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "format_name", "damage"), CASES, ids=[f"{n}-{f}-{k}" for n, (k, f, _) in enumerate(CASES)]
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_what_is_broken_is_found(kind: str, format_name: str, damage: Damage, tmp_path: Path) -> None:
    root = whole(tmp_path, format_name)
    damage(root)

    assert kind in audited(root).counts()


@pytest.mark.parametrize("format_name", [YOLO, VOC, COCO, LISTING])
def test_a_data_set_that_is_whole_has_only_too_few_images(format_name: str, tmp_path: Path) -> None:
    assert audited(whole(tmp_path, format_name)).counts() == {"few_images": 2}


def test_every_kind_of_finding_is_among_these_cases() -> None:
    assert {kind for kind, _, _ in CASES} | {"few_images"} == set(KINDS)


@pytest.mark.parametrize("broken", ["ghi", "hi"])
def test_a_split_whose_labels_are_broken_is_not_said_to_have_no_readable_image(broken: str, tmp_path: Path) -> None:
    root = whole(tmp_path, YOLO)
    for stem in "ghi":
        file = root / (f"labels/val/{stem}.txt" if stem in broken else f"images/val/{stem}.jpg")
        file.write_bytes(b"x")
    (told,) = [found.message for found in audited(root).findings if found.kind == "unusable"]

    assert told.startswith("none of the 3 images in val can be read and has labels that can be understood (")


@pytest.mark.parametrize("letter", ["\n", "\x85", "\u2028"])
def test_findings_of_images_with_line_breaks_in_their_names_have_one_line(letter: str, tmp_path: Path) -> None:
    root = whole(tmp_path, YOLO)
    every(
        picture(f"images/train/b{letter}.jpg", scene(0), quality=40),
        picture(f"images/val/h{letter}.jpg", scene(2), quality=40),
        copy("images/train/d.jpg", f"images/train/a{letter}.jpg"),
    )(root)
    auditing = Auditing(str(root), image_size=64)
    found = [*auditing.result.findings, *auditing.fix(tmp_path / "fixed").done]

    assert {"similar_image", "similar_leak", "same_image"} <= {finding.kind for finding in found}
    assert all(finding.message.isprintable() for finding in found)


def test_everything_at_once_is_found_at_once(tmp_path: Path) -> None:
    root, broken = whole(tmp_path, YOLO), []
    for kind, format_name, damage in CASES[:33]:
        if format_name == YOLO and kind in ("bad_label", "unreadable", "outside", "no_label_file"):
            broken.append(kind)
            damage(root)
    (root / "labels/train/b.txt").write_text("x\n" * 50)
    found = audited(root)

    assert found.counts()["bad_label"] >= 50
    assert found.findings[0].severity is Severity.ERROR


def test_problems_of_a_label_file_are_told_of_its_image_which_is_left_out(tmp_path: Path) -> None:
    root = whole(tmp_path, YOLO)
    label("0 .5 .5 .2 .2\nx")(root)
    found, dataset = audit(str(root), image_size=64)

    (finding,) = [finding for finding in found.findings if finding.kind == "bad_label"]
    assert finding.images == (str(root / "images/train/a.jpg"),) and finding.line == 2
    assert dataset is not None and len(dataset.train) == 5


@pytest.mark.parametrize("name", ["nothing", "empty", "text.txt", "no\nline"])
def test_what_is_no_data_set_is_one_error_on_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("images/a.png")
    found = audited(tmp_path / name)

    assert [(finding.kind, finding.severity) for finding in found.findings] == [("unusable", Severity.ERROR)]
    assert found.summary == {} and found.as_mapping()["severities"] == {"error": 1, "warning": 0, "note": 0}


@pytest.mark.skipif(not RACCOON.is_dir(), reason="the raccoon photographs are not beside the repository")
def test_all_twins_of_the_raccoons_are_found() -> None:
    found = audit(str(RACCOON), image_size=64)[0]
    alike = {finding.kind: [] for finding in found.findings}
    for finding in found.findings:
        alike[finding.kind].append({Path(image).stem.removeprefix("raccoon-") for image in finding.images})

    assert alike["same_image"] == [{"74", "52"}, {"120", "83"}]
    assert alike["leak"] == [{"11", "116"}, {"65", "98"}]
    assert alike["similar_leak"] == [{"85", "51"}]  # one with words written on it
    assert alike["similar_image"] == [{"45", "21"}, {"52", "50"}, {"74", "50"}]
    assert found.severities()[Severity.ERROR] == 0


@pytest.mark.skipif(not BLOOD_CELLS.is_dir(), reason="the blood cells are not beside the repository")
def test_faults_of_the_blood_cells_are_found() -> None:
    found = audit(str(BLOOD_CELLS), image_size=64)[0]

    assert found.counts() == {"no_area": 2, "double_box": 8, "similar_leak": 1, "small_boxes": 3, "imbalance": 1}
    assert all(len(finding.boxes) == 2 for finding in found.findings if finding.kind == "double_box")


def test_a_finding_of_a_pair_has_both_images_and_boxes_have_theirs(tmp_path: Path) -> None:
    root = whole(tmp_path, YOLO)
    copy("images/train/a.jpg", "images/val/h.jpg")(root)
    label("0 1.5 .5 .1 .1", "b")(root)
    by_kind = {finding.kind: finding for finding in audited(root).findings}

    assert [Path(image).name for image in by_kind["leak"].images] == ["h.jpg", "a.jpg"]
    assert by_kind["outside"].boxes[0] == pytest.approx((139.2, 28.8, 148.8, 35.2))
