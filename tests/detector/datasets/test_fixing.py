"""A corrected copy has what is wrong mended or left out, and says what was done."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.auditing import audit
from detector.datasets import open_dataset
from detector.datasets.audit import overlapping
from detector.datasets.fixing import merged_boxes
from detector.findings import Box, Severity
from evolve.errors import EvolveError
from evolve.run.auditing import Auditing
from tests.detector.datasets.damages import (
    COCO,
    LISTING,
    VOC,
    YOLO,
    Damage,
    copy,
    edit,
    every,
    label,
    picture,
    record,
    scene,
    whole,
    write,
)
from tests.detector.datasets.photographs import cut
from tests.places import BLOOD_CELLS, RACCOON

sides = st.floats(1, 60)
boxes = st.builds(lambda x, y, w, h: (x, y, x + w, y + h), sides, sides, sides, sides)


@given(st.lists(st.tuples(boxes, st.integers(0, 2)), max_size=12))
def test_merged_boxes_overlap_no_more_and_stay_within_what_they_are_made_of(labelled: list[tuple[Box, int]]) -> None:
    before, labels = [box for box, _ in labelled], [klass for _, klass in labelled]
    after, kept = merged_boxes(before, labels)

    assert not [pair for pair in overlapping(after) if kept[pair[0]] == kept[pair[1]]]
    assert set(kept) == set(labels) and len(after) <= len(before)
    assert merged_boxes(after, kept) == (after, kept)
    for corner in range(4):
        values = [box[corner] for box in before]
        assert all(min(values) - 1e-6 <= box[corner] <= max(values) + 1e-6 for box in after)


def test_two_boxes_of_one_object_become_their_mean_and_those_of_two_classes_stay() -> None:
    doubled = ((0.0, 0.0, 10.0, 10.0), (0.0, 0.0, 10.0, 11.0))

    assert merged_boxes(doubled, (1, 1)) == (((0.0, 0.0, 10.0, 10.5),), (1,))
    assert merged_boxes(doubled, (0, 1)) == (doubled, (0, 1))


def _fixed(root: Path) -> Auditing:
    return Auditing(str(root), image_size=64)


def test_all_that_can_be_mended_is_mended_and_told(tmp_path: Path) -> None:
    root = whole(tmp_path, YOLO)
    every(
        label("0 .95 .5 .3 .3\n0 .5 .5 0 .1\n0 1.5 .5 .1 .1\n0 .3 .5 .2 .2\n0 .3 .5 .2 .2\n0 .3 .5 .2 .21"),
        label("0 .5 .5 .2 .2\nx", "b"),
        write("images/train/c.jpg", b""),
        copy("images/train/d.jpg", "images/val/h.jpg"),
        picture("images/val/i.jpg", scene(4), quality=60),
    )(root)
    auditing = _fixed(root)
    done = auditing.fix(tmp_path / "fixed")
    dataset = open_dataset(done.folder, image_size=64)

    assert {finding.kind for finding in done.done} == {
        *("clipped", "no_area", "outside", "repeated_box", "double_box", "bad_label", "unreadable"),
        *("leak", "similar_leak"),
    }
    assert done.after.counts() == {"few_images": 2}
    assert sorted(Path(name).stem for name in dataset.files) == ["a", "f", "g", "h", "i"]
    assert dataset.box_counts["train"] == (2, 1)
    assert audit(str(root), image_size=64)[0].counts() == auditing.result.counts()  # nothing is changed in place


@pytest.mark.parametrize("format_name", [YOLO, VOC, COCO, LISTING])
def test_the_copy_is_in_the_format_of_the_data_set(format_name: str, tmp_path: Path) -> None:
    root = whole(tmp_path, format_name)
    done = _fixed(root).fix(tmp_path / "fixed")
    before, after = (
        sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) for folder in (root, tmp_path / "fixed")
    )

    assert before == after
    assert done.done == ()


MARKED = edit("Annotations/a.xml", "<difficult>0", "<difficult>1")
LOST = write("Annotations/z.xml", "<annotation></annotation>")


@pytest.mark.parametrize(
    ("format_name", "damage", "kind", "message"),
    [
        (COCO, record("annotations", iscrowd=1), "crowd", "annotation 1: iscrowd 1; left out"),
        (COCO, record("annotations", image_id=99), "missing_image", "ids of images in this file; left out"),
        (VOC, LOST, "missing_image", "no image; allowed: one of z.* in {root}/JPEGImages; left out"),
        (VOC, write("ImageSets/Main/train.txt", "a\nb\nc\nd\ne"), "unlisted", "are not used: f.jpg; left out"),
        (VOC, MARKED, "difficult", "cat is marked difficult; kept without the mark"),
    ],
)
def test_what_the_copy_does_without_is_told(
    format_name: str, damage: Damage, kind: str, message: str, tmp_path: Path
) -> None:
    root = whole(tmp_path, format_name)
    damage(root)
    done = _fixed(root).fix(tmp_path / "fixed")

    assert [found.kind for found in done.done] == [kind]
    assert done.done[0].message.endswith(message.format(root=root))
    assert kind not in done.after.counts()


@pytest.mark.parametrize(
    ("damage", "left_out"),
    [
        (record("annotations", id=2), "b"),
        (record("annotations", id=None), "a"),
        (record("images", id=2), "ab"),
        (record("images", id=None), "a"),
    ],
)
def test_an_image_is_left_out_where_an_id_does_not_tell_all_its_boxes(
    damage: Damage, left_out: str, tmp_path: Path
) -> None:
    root = whole(tmp_path, COCO)
    damage(root)
    done = _fixed(root).fix(tmp_path / "fixed")
    kept = {Path(name).stem for name in open_dataset(done.folder, image_size=64).files if name.endswith(".jpg")}

    assert done.done[0].message.endswith("; the image is left out")
    assert kept == set("abcdefghi") - set(left_out)
    assert set(done.after.counts()) == {"few_images"}


def test_of_a_wrong_category_is_told_which_classes_the_copy_has(tmp_path: Path) -> None:
    root = whole(tmp_path, COCO)
    edit("annotations/instances_train.json", '"categories": [', '"categories": [{"id": 2, "name": "dog"}, ')(root)
    done = _fixed(root).fix(tmp_path / "fixed")

    told = [finding.message for finding in done.done]
    assert told == ["categories[2]: id 2 is given twice; allowed: once; the classes are cat, dog"]
    assert set(done.after.counts()) == {"few_images"}


def test_recorded_sizes_are_right_in_the_copy(tmp_path: Path) -> None:
    root = whole(tmp_path, VOC)
    edit("Annotations/a.xml", "<width>96", "<width>90")(root)
    done = _fixed(root).fix(tmp_path / "fixed")

    assert [finding.kind for finding in done.done] == ["size_mismatch"]
    assert "size_mismatch" not in done.after.counts()


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    root = whole(tmp_path, YOLO)
    with pytest.raises(EvolveError, match=r"--fix .*is there already"):
        _fixed(root).fix(root)


def test_what_cannot_be_opened_cannot_be_fixed(tmp_path: Path) -> None:
    with pytest.raises(EvolveError, match="cannot be put right"):
        _fixed(tmp_path / "nothing").fix(tmp_path / "fixed")


def test_where_no_training_image_would_be_left_nothing_is_written(tmp_path: Path) -> None:
    root = whole(tmp_path, YOLO)
    for stem in "abcdef":
        cut(root / f"images/train/{stem}.jpg", 1500)

    with pytest.raises(EvolveError, match="no training image would be left"):
        _fixed(root).fix(tmp_path / "fixed")
    assert not (tmp_path / "fixed").exists()


@pytest.mark.skipif(not BLOOD_CELLS.is_dir(), reason="the data sets are not beside the repository")
@pytest.mark.parametrize(
    ("data", "changes", "notes"),
    [(RACCOON, 5, {"similar_image"}), pytest.param(BLOOD_CELLS, 11, {"imbalance"}, marks=pytest.mark.slow)],
)
def test_copies_of_real_data_sets_are_clean(data: Path, changes: int, notes: set[str], tmp_path: Path) -> None:
    # As small as 64 px for speed; some boxes are smaller than a cell then.
    done = Auditing(str(data), image_size=64).fix(tmp_path / "fixed")
    left = [finding for finding in done.after.findings if finding.kind != "small_boxes"]

    assert len(done.done) == changes
    assert {finding.kind for finding in left} == notes
    assert {finding.severity for finding in left} == {Severity.NOTE}
