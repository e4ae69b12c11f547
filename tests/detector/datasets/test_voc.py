"""Pascal VOC's layout: upper and lower case, split files, and every way to get XML wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detector.auditing import audit
from tests.detector.datasets.photographs import noise_image, opened, refusal

BOX = (5, 3, 20, 15)
OBJECT = (
    "<object><name>{name}</name><difficult>{difficult}</difficult>\n"
    "<bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox></object>\n"
)


def _xml(*boxes: tuple[object, ...], name: str = "cat", difficult: int = 0, size: tuple[int, int] = (40, 20)) -> str:
    objects = "".join(OBJECT.format(*box, name=name, difficult=difficult) for box in boxes)
    stated = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    return f"<annotation>\n{stated}\n{objects}</annotation>"


def _root(folder: Path, *, annotations: str = "Annotations", images: str = "JPEGImages") -> Path:
    """Six images a.. f of 40 x 20 pixels with one box each, class dog for b."""
    (folder / annotations).mkdir(parents=True)
    (folder / images).mkdir()
    for number, stem in enumerate("abcdef"):
        noise = np.random.default_rng(number).integers(0, 256, (20, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / images / f"{stem}.png")
        (folder / annotations / f"{stem}.xml").write_text(_xml(BOX, name="dog" if stem == "b" else "cat"))
    return folder


def _split(root: Path, **parts: str) -> None:
    (root / "ImageSets/Main").mkdir(parents=True, exist_ok=True)
    for part, stems in parts.items():
        (root / f"ImageSets/Main/{part}.txt").write_text("\n".join(stems) + "\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = _root(tmp_path)
    _split(root, train="abcd", val="ef")
    return root


@pytest.mark.parametrize(
    ("annotations", "images"), [("Annotations", "JPEGImages"), ("annotations", "images"), ("Annotations", "images")]
)
def test_folders_may_be_written_either_way(annotations: str, images: str, tmp_path: Path) -> None:
    root = _root(tmp_path, annotations=annotations, images=images)
    _split(root, train="abcd", val="ef")
    dataset = opened(root)

    assert dataset.names == ("cat", "dog")
    assert (len(dataset.train), len(dataset.val), dataset.test) == (4, 2, None)
    assert dataset.findings == () and dataset.augments
    assert dataset.train.sample(1, 0).labels_M.tolist() == [1]


def test_corners_count_from_one_and_include_the_last_pixel(root: Path) -> None:
    assert opened(root).train.sample(0, 0).boxes_M4.tolist() == [[4, 2, 20, 15]]


def test_a_corner_of_zero_shows_that_the_data_set_counts_from_zero(root: Path) -> None:
    (root / "Annotations/f.xml").write_text(_xml((0, 3, 20, 15)))
    dataset = opened(root)

    assert dataset.train.sample(0, 0).boxes_M4.tolist() == [[5, 3, 20, 15]]
    assert dataset.note.endswith("corners counted from 0")


def test_without_split_files_images_are_held_out_by_seed(tmp_path: Path) -> None:
    dataset = opened(_root(tmp_path))

    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (4, 1, 1)
    assert "no split files" in dataset.note and "by seed 0" in dataset.note


def test_trainval_is_what_val_leaves_of_it(root: Path) -> None:
    (root / "ImageSets/Main/train.txt").unlink()
    _split(root, trainval="abcdef", val="ab")
    dataset = opened(root)

    assert (len(dataset.train), len(dataset.val)) == (4, 2)
    assert dataset.findings[0].kind == "unused_class"


def test_trainval_and_test_hold_out_val(tmp_path: Path) -> None:
    root = _root(tmp_path)
    _split(root, trainval="abcd", test="ef")
    dataset = opened(root)

    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (3, 1, 2)


def test_split_files_may_lie_in_the_root_and_name_files_or_flags(tmp_path: Path) -> None:
    root = _root(tmp_path)
    (root / "train.txt").write_text("a.png\nb  1\n\nc -1\n")
    (root / "val.txt").write_text("images/d.png\n")
    dataset = opened(root)

    assert (len(dataset.train), len(dataset.val)) == (3, 1)
    assert [(finding.kind, finding.message) for finding in dataset.findings] == [
        ("unlisted", "2 images are in no split and are not used: e.png, f.png")
    ]


def _named(root: Path, name: str, stem: str = "a") -> None:
    file = root / f"Annotations/{stem}.xml"
    file.write_text(file.read_text().replace("<annotation>", f"<annotation><filename>{name}</filename>"))


@pytest.mark.parametrize("name", ["a.jpg", "VOC2007/a.jpg", r"C:\photos\a.jpg"])
@pytest.mark.parametrize("splits", [{"train": "abcd", "val": "ef"}, {}])
def test_of_images_with_one_stem_the_one_that_the_annotation_names_is_used(
    name: str, splits: dict[str, str], tmp_path: Path
) -> None:
    root = _root(tmp_path)
    noise_image(root / "JPEGImages/a.jpg", 9)
    _split(root, **splits)
    _named(root, name)
    dataset = opened(root)

    assert "JPEGImages/a.jpg" in dataset.files and "JPEGImages/a.png" not in dataset.files
    assert [finding.message for finding in dataset.findings if finding.kind == "unlisted"] == [
        "1 images are in no split and are not used: a.png"
    ]


@pytest.mark.parametrize("line", ["a.jpg", "JPEGImages/a.jpg", "a.jpg 1"])
def test_of_images_with_one_stem_the_one_that_the_split_file_names_is_used(line: str, root: Path) -> None:
    noise_image(root / "JPEGImages/a.jpg", 9)
    (root / "ImageSets/Main/train.txt").write_text(f"{line}\nb\nc\nd\n")

    assert "JPEGImages/a.jpg" in opened(root).files


def test_an_image_whose_name_begins_with_that_of_a_file_is_not_taken_for_it(root: Path) -> None:
    noise_image(root / "JPEGImages/a.png.png", 9)
    _split(root, train=["a.png", "b", "c", "d"])

    assert "JPEGImages/a.png" in opened(root).files


@pytest.mark.parametrize(("name", "line"), [("", "a"), ("a.bmp", "a"), ("b.jpg", "a"), ("a.png", "a.jpg")], ids=str)
def test_images_with_one_stem_of_which_neither_or_both_are_named_are_refused(name: str, line: str, root: Path) -> None:
    noise_image(root / "JPEGImages/a.jpg", 9)
    _split(root, train=[line, "b", "c", "d"])
    _named(root, name)
    message = "a.jpg and a.png are both there; allowed: one that <filename> or the split file names"

    assert refusal(root) == f"{root}/Annotations/a.xml: {message}"
    result, dataset = audit(str(root), image_size=64)
    assert [found.message for found in result.findings if found.kind == "bad_label"] == [message]
    assert dataset is not None and len(dataset.train) == 3


def test_images_with_one_stem_and_no_annotation_are_refused(root: Path) -> None:
    noise_image(root / "JPEGImages/a.jpg", 9)
    (root / "Annotations/a.xml").unlink()

    assert f"{root}/JPEGImages/a.jpg: a.jpg and a.png are both there" in refusal(root)


@pytest.mark.parametrize("name", ["a.jpg", "b.png", "photo 1", ""])
def test_a_name_in_the_annotation_that_fits_no_image_does_not_matter_where_one_has_the_stem(
    name: str, root: Path
) -> None:
    _named(root, name)

    assert opened(root).findings == ()


def test_two_annotations_of_one_stem_are_refused(root: Path) -> None:
    (root / "Annotations/a.XML").write_text(_xml(BOX))

    assert refusal(root) == f"{root}/Annotations/a.XML: a.XML and a.xml are both there; allowed: one of them"


def test_a_classes_file_orders_the_names_and_bounds_them(root: Path) -> None:
    (root / "classes.txt").write_text("dog\ncat\nbird\n")
    assert opened(root).names == ("dog", "cat", "bird")
    (root / "classes.txt").write_text("cat\n")

    assert "Annotations/b.xml:3: class 'dog' is not known; allowed: cat" in refusal(root)


def test_a_classes_file_that_repeats_itself_is_refused(root: Path) -> None:
    (root / "classes.txt").write_text("cat\ncat\n")

    assert "classes.txt: ['cat', 'cat']; allowed" in refusal(root)


def test_difficult_objects_are_kept_and_told(root: Path) -> None:
    (root / "Annotations/a.xml").write_text(_xml(BOX, difficult=1))
    dataset = opened(root)

    assert [(finding.kind, finding.line) for finding in dataset.findings] == [("difficult", 3)]
    assert len(dataset.train.sample(0, 0).labels_M) == 1


def test_a_stated_size_that_disagrees_is_told_and_the_file_believed(root: Path) -> None:
    (root / "Annotations/a.xml").write_text(_xml((5, 3, 38, 15), size=(30, 20)))
    dataset = opened(root)

    assert [finding.kind for finding in dataset.findings] == ["size_mismatch"]
    assert "states 30 x 20 pixels, the image has 40 x 20" in dataset.findings[0].message
    assert dataset.train.sample(0, 0).boxes_M4.tolist() == [[4, 2, 38, 15]]


def test_boxes_are_cut_or_left_out_and_told_with_file_and_line(root: Path) -> None:
    (root / "Annotations/a.xml").write_text(_xml(BOX, (30, 3, 60, 15), (50, 3, 60, 15), (5, 3, 5, 15), (9, 3, 4, 15)))
    dataset = opened(root)

    assert [(finding.kind, finding.line) for finding in dataset.findings] == [
        ("clipped", 5),
        ("outside", 7),
        ("no_area", 9),
        ("no_area", 11),
    ]
    assert dataset.train.sample(0, 0).boxes_M4.tolist() == [[4, 2, 20, 15], [29, 2, 40, 15]]


def test_images_without_annotation_or_objects_are_background(root: Path) -> None:
    (root / "Annotations/c.xml").unlink()
    (root / "Annotations/d.xml").write_text(_xml())
    dataset = opened(root)

    assert [(finding.kind, Path(finding.file).name) for finding in dataset.findings] == [
        ("no_label_file", "c.png"),
        ("no_objects", "d.xml"),
    ]
    assert len(dataset.train) == 4 and dataset.train.sample(2, 0).boxes_M4.shape == (0, 4)


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("<annotation>\n<object>\n</annotation>", 3, "not readable as XML (mismatched tag"),
        ("", 1, "not readable as XML (no element found"),
        ("<html></html>", 1, "<html> at the top; allowed: <annotation>"),
        ("<!DOCTYPE a>\n<annotation/>", 1, "document type or entity declared; allowed: XML without <!DOCTYPE>"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>\n<annotation>&b;</annotation>', 1, "document type or entity"),
        ("<annotation>\n<object><name>cat</name></object></annotation>", 2, "<object> without bndbox/xmin"),
        (_xml((1, 2, "x", 4)), 3, "bndbox/xmax 'x' in <object>; allowed: a number"),
        (_xml((1, 2, "inf", 4)), 3, "bndbox/xmax 'inf'"),
        (_xml(BOX, name=""), 3, "<object> without name"),
        ("<annotation>\n<size><width>4</width></size></annotation>", 1, "without size/height"),
    ],
)
def test_wrong_xml_is_named_with_file_line_and_what_is_allowed(text: str, line: int, expected: str, root: Path) -> None:
    (root / "Annotations/a.xml").write_text(text)
    told = refusal(root)

    assert f"Annotations/a.xml:{line}: " in told and expected in told


def test_annotations_without_image_and_unknown_split_lines_are_refused_together(root: Path) -> None:
    (root / "Annotations/lost.xml").write_text(_xml(BOX))
    _split(root, val="ez")
    told = refusal(root)

    assert "Annotations/lost.xml: no image; allowed: one of lost.* in" in told
    assert "ImageSets/Main/val.txt:2: no image z; allowed" in told


def test_unreadable_images_are_found_before_training(root: Path) -> None:
    file = root / "JPEGImages/e.png"
    file.write_bytes(file.read_bytes()[:-300])

    assert "JPEGImages/e.png: not a readable image" in refusal(root)


def test_split_files_without_training_images_are_refused(root: Path) -> None:
    (root / "ImageSets/Main/train.txt").unlink()

    assert "split files for val only; allowed: train.txt or trainval.txt" in refusal(root)


def test_a_folder_that_is_not_voc_is_refused(root: Path) -> None:
    (root / "Annotations").rename(root / "boxes")
    told = refusal(root)

    assert "has no data.yaml and no annotations; looked for *.xml in annotations/, annots/, ann/, xml/" in told
    assert "images in jpegimages/, images/, imgs/, img/, photos/ (in any case)" in told
    assert "found ImageSets/, JPEGImages/, boxes/; allowed: digits" in told


def test_a_folder_that_is_not_voc_names_ten_of_what_it_holds(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number:02}.doc").touch()

    assert "found 00.doc, 01.doc, 02.doc" in refusal(tmp_path)
    assert ", 09.doc and 2 more; allowed" in refusal(tmp_path)


@pytest.mark.parametrize("annotations", ["annots", "labels", "LABELS", "label", "xml", "ann"])
@pytest.mark.parametrize("images", ["images", "img", "IMG", "imgs", "JPEGImages", "Photos"])
def test_annotations_and_images_are_found_under_their_other_names(
    annotations: str, images: str, tmp_path: Path
) -> None:
    root = _root(tmp_path, annotations=annotations, images=images)
    _split(root, train="abcd", val="ef")
    dataset = opened(root)

    assert (len(dataset.train), len(dataset.val), dataset.findings) == (4, 2, ())
    assert dataset.train.sample(0, 0).boxes_M4.tolist() == [[4, 2, 20, 15]]


@pytest.mark.parametrize(
    ("annotations", "images"), [(".", "."), ("images", "images"), ("annots", "annots"), ("annots", "."), (".", "img")]
)
def test_annotations_may_lie_beside_the_images_or_one_of_both_in_the_root(
    annotations: str, images: str, tmp_path: Path
) -> None:
    made = _root(tmp_path / "made")
    root = tmp_path / "set"
    for folder, suffix, place in (("Annotations", "xml", annotations), ("JPEGImages", "png", images)):
        (root / place).mkdir(parents=True, exist_ok=True)
        for file in (made / folder).glob(f"*.{suffix}"):
            file.rename(root / place / file.name)
    (root / "train.txt").write_text("a\nb\nc\nd\n")
    (root / "val.txt").write_text("e\nf\n")
    (root / "classes.txt").write_text("dog\ncat\n")
    dataset = opened(root)

    assert (len(dataset.train), len(dataset.val), dataset.names) == (4, 2, ("dog", "cat"))
    assert dataset.findings == ()


def test_xml_is_preferred_where_another_folder_of_labels_holds_none(root: Path) -> None:
    (root / "Annotations").rename(root / "xml")
    (root / "labels").mkdir()
    (root / "labels/a.txt").write_text("0 0.5 0.5 0.2 0.2")
    (root / "xml/a.xml").rename(root / "xml/a.XML")

    assert opened(root).findings == ()
