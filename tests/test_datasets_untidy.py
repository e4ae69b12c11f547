"""Untidy folders: files cut short, EXIF that makes no sense, images turned by it, images left out, misspelt classes."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from detector.datasets import DataError, Sample, UnreadableImagesError, open_dataset
from detector.datasets.audit import MAX_UNREADABLE_SHOWN, Audit, Entry, LabelledObject, upright_entry
from detector.datasets.mending import mend
from detector.datasets.pictures import MAX_MISSING, read_picture
from detector.datasets.spelling import is_one_edit, is_same_folded, note_misspelt
from detector.findings import Finding

RACCOON = Path(__file__).parents[1] / ".." / "shared" / "data" / "raccoon"
FRAME = (48, 32)  # width and height of images as they lie in the file
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


def _noise(number: int = 0, *, mode: str = "RGB", size: tuple[int, int] = FRAME) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def _cut(file: Path, num_bytes: int) -> Path:
    file.write_bytes(file.read_bytes()[:-num_bytes])
    return file


def _xml(*boxes: tuple[int, int, int, int], name: str = "cat", size: tuple[int, int] = FRAME) -> str:
    corners = ("xmin", "ymin", "xmax", "ymax")
    objects = "".join(
        f"\n<object><name>{name}</name><bndbox>"
        + "".join(f"<{corner}>{value}</{corner}>" for corner, value in zip(corners, box, strict=True))
        + "</bndbox></object>"
        for box in boxes
    )
    return f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>{objects}</annotation>"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Photographs a to h as JPEG with one box each, the last two in val."""
    for folder in ("annotations", "images"):
        (tmp_path / folder).mkdir()
    for number, stem in enumerate("abcdefgh"):
        _noise(number).save(tmp_path / f"images/{stem}.jpg", quality=95)
        (tmp_path / f"annotations/{stem}.xml").write_text(_xml((5, 3, 20, 15)))
    (tmp_path / "train.txt").write_text("\n".join("abcdef"))
    (tmp_path / "val.txt").write_text("g\nh")
    return tmp_path


def _open(root: Path, **options: Any) -> Any:
    return open_dataset(str(root), image_size=64, **options)


def _found(dataset: Any) -> list[tuple[str, str, str]]:
    return [(finding.kind, Path(finding.file).name, finding.message) for finding in dataset.findings]


# Files that are cut short


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
    _noise(mode=mode, size=(96, 64)).save(file, **options)
    whole = read_picture(file, longest=100)
    picture = read_picture(_cut(file, num_bytes), longest=100)

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
    _noise(size=(96, 96)).save(file)
    _cut(file, int(share * file.stat().st_size))

    with pytest.raises(UnreadableImagesError, match=rf"{name}: not a readable image \(cut short: \d+% of its pixels"):
        read_picture(file, longest=100)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp"])
def test_the_missing_share_is_that_of_the_pixels(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    _noise(size=(160, 160)).save(file)
    mended = mend(_cut(file, file.stat().st_size // 4).read_bytes())

    assert mended is not None
    assert mended.missing == pytest.approx(0.25, abs=0.04)


def test_a_progressive_jpeg_without_its_last_scans_is_told_to_be_coarse(tmp_path: Path) -> None:
    _noise(size=(160, 160)).save(tmp_path / "a.jpg", progressive=True)
    picture = read_picture(_cut(tmp_path / "a.jpg", 200), longest=160)

    assert picture.flaws[0].message == (
        "file is cut short; 0.0% of the pixels are missing, the others may be coarse; the image is used"
    )


def test_a_jpeg_whose_end_was_never_written_counts_as_cut_short(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    _noise(size=(160, 160)).save(file)
    file.write_bytes(file.read_bytes()[:-200] + b"\0" * 10)

    assert [flaw.kind for flaw in read_picture(file, longest=160).flaws] == ["cut_short"]


def test_a_file_that_is_damaged_but_not_short_is_not_mended(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    _noise().save(file)
    data = bytearray(file.read_bytes())
    data[data.index(b"IDAT") + 40] ^= 0xFF
    file.write_bytes(data)

    assert mend(bytes(data)) is None
    with pytest.raises(UnreadableImagesError):
        read_picture(file, longest=100)


def test_reading_a_cut_file_leaves_pillow_as_strict_as_it_was(root: Path) -> None:
    file = _cut(root / "images/a.jpg", 20)
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


# EXIF that makes no sense


def _exif(value: int | bytes, *, kind: int = 3) -> bytes:
    packed = value if isinstance(value, bytes) else struct.pack("<I", value)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHI", 1, 0x0112, kind, 1) + packed + b"\0\0\0\0"


@pytest.mark.parametrize(
    ("exif", "message"),
    [
        (_exif(65537, kind=4), "EXIF orientation 65537; allowed: 1 to 8; the pixels are used as they stand"),
        (_exif(0), "EXIF orientation 0; allowed: 1 to 8; the pixels are used as they stand"),
        (_exif(9), "EXIF orientation 9; allowed: 1 to 8; the pixels are used as they stand"),
        (_exif(b"6\0\0\0", kind=2), "EXIF orientation '6'; allowed: 1 to 8; the pixels are used as they stand"),
        (b"Exif\0\0garbage bytes, no header", "EXIF block is not readable (not a TIFF file"),
        (_exif(6)[:-8], "EXIF block is not readable (none of its entries can be read)"),
    ],
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_exif_that_makes_no_sense_leaves_the_pixels_as_they_stand(exif: bytes, message: str, tmp_path: Path) -> None:
    _noise().save(tmp_path / "plain.jpg")
    _noise().save(tmp_path / "odd.jpg", exif=exif)
    plain, odd = (read_picture(tmp_path / name, longest=100) for name in ("plain.jpg", "odd.jpg"))

    assert torch.equal(plain.image, odd.image) and odd.orientation == 1
    assert [flaw.kind for flaw in odd.flaws] == ["bad_exif"] and odd.flaws[0].message.startswith(message)


def test_an_exif_block_without_entries_is_nothing_to_tell(tmp_path: Path) -> None:
    _noise().save(tmp_path / "a.jpg", exif=Image.Exif().tobytes())

    assert read_picture(tmp_path / "a.jpg", longest=100).flaws == ()


# Images that cannot be used


def test_three_broken_files_of_a_folder_are_two_findings_and_one_that_is_named(root: Path) -> None:
    _cut(root / "images/a.jpg", 20)
    _noise(1).save(root / "images/b.jpg", exif=_exif(65537, kind=4))
    (root / "images/c.jpg").write_bytes(b"")

    with pytest.raises(UnreadableImagesError) as caught:
        _open(root)
    lines = str(caught.value).splitlines()
    dataset = _open(root, skip_unreadable=True)
    assert lines[0].startswith("1 image cannot be read; allowed: .bmp, .gif")
    assert lines[1:] == [f"{root}/images/c.jpg: not a readable image (the file is empty)"]
    assert [(kind, name) for kind, name, _ in _found(dataset)] == [
        ("cut_short", "a.jpg"),
        ("bad_exif", "b.jpg"),
        ("unreadable", "c.jpg"),
    ]
    assert dataset.summary()["findings"] == {"bad_exif": 1, "cut_short": 1, "unreadable": 1}
    assert (len(dataset.train), len(dataset.val)) == (5, 2)


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


def test_other_problems_are_named_beside_unreadable_images_under_the_general_class(root: Path) -> None:
    (root / "images/a.jpg").write_bytes(b"")
    (root / "annotations/b.xml").write_text("<annotation>")

    with pytest.raises(DataError) as caught:
        _open(root)
    assert not isinstance(caught.value, UnreadableImagesError)
    assert "b.xml:1: not readable as XML" in str(caught.value)
    assert "images/a.jpg: not a readable image (the file is empty)" in str(caught.value)


def test_other_problems_end_the_check_even_where_unreadable_images_are_left_out(root: Path) -> None:
    (root / "images/a.jpg").write_bytes(b"")
    (root / "annotations/b.xml").write_text("<annotation>")

    with pytest.raises(DataError) as caught:
        _open(root, skip_unreadable=True)
    assert "b.xml:1: not readable as XML" in str(caught.value) and "a.jpg" not in str(caught.value)


def test_leaving_an_image_out_moves_no_other_to_another_split(root: Path) -> None:
    for name in ("train.txt", "val.txt"):
        (root / name).unlink()
    whole = _open(root)
    (root / "images/h.jpg").write_bytes(b"")
    left = _open(root, skip_unreadable=True)

    for part, split in left.splits().items():
        images = [whole.splits()[part].sample(index, 0).image for index in range(len(whole.splits()[part]))]
        for index in range(len(split)):
            assert any(torch.equal(split.sample(index, 0).image, image) for image in images)
    assert sum(len(split) for split in left.splits().values()) == 7


def test_a_split_that_loses_all_its_images_is_refused_with_their_names(root: Path) -> None:
    (root / "images/g.jpg").write_bytes(b"")
    (root / "images/h.jpg").write_bytes(b"no picture")

    with pytest.raises(DataError, match=r"none of the 2 images in val can be read \(.*g\.jpg, .*h\.jpg\); allowed"):
        _open(root, skip_unreadable=True)


def test_an_image_in_two_splits_is_left_out_of_both_and_told_once(root: Path) -> None:
    (root / "val.txt").write_text("a\ng\nh")
    (root / "images/a.jpg").write_bytes(b"")
    dataset = _open(root, skip_unreadable=True)

    assert (len(dataset.train), len(dataset.val)) == (5, 2)
    assert [kind for kind, _, _ in _found(dataset)] == ["unreadable"]


def test_broken_files_are_trained_on_with_the_pixels_of_the_check(root: Path) -> None:
    _cut(root / "images/a.jpg", 20)
    _noise(1).save(root / "images/b.jpg", exif=_exif(0))
    _noise(2).save(root / "images/c.jpg", exif=_exif(6))
    kept, decoded = _open(root), _open(root, cache_mb=0)

    for index in range(6):
        one, other = kept.train.sample(index, 0), decoded.train.sample(index, 1)
        assert torch.equal(one.image, other.image) and torch.equal(one.boxes_M4, other.boxes_M4)


def test_a_picture_of_more_pixels_than_pillow_allows_is_named_not_a_traceback(root: Path) -> None:
    file = root / "images/a.png"
    _noise().save(file)
    data = bytearray(file.read_bytes())
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    (root / "images/a.jpg").write_bytes(data)
    file.unlink()

    with pytest.raises(UnreadableImagesError, match=r"images/a\.jpg: not a readable image"):
        _open(root)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".gif", ".webp"])
def test_bytes_changed_at_random_end_as_a_picture_or_an_unreadable_image(suffix: str, tmp_path: Path) -> None:
    file, generator = tmp_path / f"a{suffix}", np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    _noise().save(file, **({} if suffix in (".bmp", ".gif") else {"exif": exif}))
    whole = file.read_bytes()
    num_read = 0
    for _ in range(150):
        data = np.frombuffer(whole, dtype=np.uint8).copy()
        data[generator.integers(0, min(len(data), 120), 3)] = generator.integers(0, 256, 3)
        file.write_bytes(data.tobytes())
        try:
            read_picture(file, longest=100)
            num_read += 1
        except UnreadableImagesError as error:
            assert len(str(error).splitlines()) == 1

    assert num_read < 150


# Images turned upright


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


def _stored_box(orientation: int) -> tuple[int, int, int, int]:
    """The mark as somebody sees it who draws on the file's own frame, corners counted from 1."""
    mask = np.zeros((FRAME[1], FRAME[0]), dtype=np.uint8)
    mask[MARK[1] : MARK[3], MARK[0] : MARK[2]] = 255
    method = UNDO[orientation]
    image = Image.fromarray(mask)
    x0, y0, x1, y1 = (image if method is None else image.transpose(method)).getbbox() or (0, 0, 0, 0)
    return x0 + 1, y0 + 1, x1, y1


def _turned_set(root: Path, orientation: int, xml: str) -> Any:
    (root / "images/a.jpg").unlink()
    _save_turned(root / "images/a.png", orientation)
    (root / "annotations/a.xml").write_text(xml)
    return _open(root)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_made_in_the_upright_image_stay_where_they_are(orientation: int, root: Path) -> None:
    box = (MARK[0] + 1, MARK[1] + 1, MARK[2], MARK[3])
    dataset = _turned_set(root, orientation, _xml(box))
    sample = dataset.train.sample(0, 0)

    assert sample.boxes_M4.tolist() == [_mark_in(sample)] == [list(MARK)]
    message = f"EXIF orientation {orientation}: turned upright, 48 x 32; boxes are taken in the upright image"
    assert _found(dataset) == ([] if orientation == 1 else [("rotated", "a.png", message)])


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_made_in_the_unrotated_frame_are_turned_along_with_the_image(orientation: int, root: Path) -> None:
    dataset = _turned_set(root, orientation, _xml(_stored_box(orientation), size=(FRAME[1], FRAME[0])))
    sample = dataset.train.sample(0, 0)

    assert sample.boxes_M4.tolist() == [_mark_in(sample)] == [list(MARK)]
    assert [(kind, name) for kind, name, _ in _found(dataset)] == [("rotated", "a.png"), ("size_mismatch", "a.xml")]
    assert "states 32 x 48 pixels, the image has 48 x 32 upright; the labels seem to be made" in _found(dataset)[1][2]
    assert _found(dataset)[0][2].endswith("boxes are turned along with it")


def test_a_stated_size_that_fits_neither_frame_leaves_the_boxes(root: Path) -> None:
    dataset = _turned_set(root, 6, _xml((5, 7, 20, 14), size=(40, 40)))

    assert dataset.train.sample(0, 0).boxes_M4.tolist() == [[4, 6, 20, 14]]
    assert "states 40 x 40 pixels, the image has 48 x 32; the image's size is used" in _found(dataset)[1][2]


def test_of_a_square_image_nothing_more_is_told() -> None:
    audit = Audit()
    labelled = LabelledObject(label=0, box=(1.0, 2.0, 3.0, 4.0), line=1)
    entry = Entry(image=Path("a.png"), label_file=Path("a.xml"), objects=(labelled,), stated_size=(9, 9))
    kept = upright_entry(entry, (9, 9), 6, audit)

    assert kept == entry and [finding.kind for finding in audit.findings] == ["rotated"]


def test_yolo_boxes_are_taken_in_the_upright_image(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "images").mkdir(exist_ok=True)
        _noise(number).save(tmp_path / f"images/{number}.png")
        (tmp_path / f"labels/{number}.txt").write_text(f"0 {12 / 48} {10 / 32} {16 / 48} {8 / 32}\n")
    _save_turned(tmp_path / "images/0.png", 6)
    (tmp_path / "data.yaml").write_text("train: images\nval: images\nnames: [cat]\n")
    sample = _open(tmp_path).train.sample(0, 0)

    assert sample.boxes_M4.tolist() == [_mark_in(sample)] == [list(MARK)]


# Misspelt classes


@pytest.mark.parametrize(
    ("one", "other", "is_slip"),
    [
        ("racoon", "raccoon", True),
        ("raccoon", "racoon", True),
        ("racoons", "racoon", True),
        ("raccoon", "raccoom", True),
        ("xraccoon", "raccoon", True),
        ("racocon", "raccoon", True),
        ("rcoon", "raccoon", False),
        ("raccoon", "badger", False),
        ("cat", "bat", False),
        ("class1", "class2", False),
        ("type1", "type12", False),
    ],
)
def test_one_edit_makes_a_slip_unless_the_name_is_short_or_numbered(one: str, other: str, is_slip: bool) -> None:
    assert is_one_edit(one, other) == is_one_edit(other, one) == is_slip


def test_names_that_differ_in_case_and_blanks_are_the_same_folded() -> None:
    assert is_same_folded("Red Panda", "red_panda") and is_same_folded("cat ", "Cat")
    assert not is_same_folded("red panda", "red pandas")


def _entries(counts: dict[int, int]) -> list[Entry]:
    return [
        Entry(
            image=Path(f"{label}-{number}.jpg"),
            label_file=Path(f"{label}-{number}.xml"),
            objects=(LabelledObject(label=label, box=(0.0, 0.0, 1.0, 1.0), line=3),),
        )
        for label, count in counts.items()
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("rare", "counts", "message"),
    [
        ("racoon", (1, 20), "class racoon (1 label) is named almost like class raccoon (20 labels); in 0-0.xml"),
        (
            "racoon",
            (2, 20),
            "class racoon (2 labels) is named almost like class raccoon (20 labels); in 0-0.xml, 0-1.xml",
        ),
        ("racoon", (2, 19), None),
        ("racoon", (3, 90), None),
        ("racoon", (0, 90), None),
        ("badger", (1, 90), None),
        (
            "Raccoon",
            (5, 6),
            "class Raccoon (5 labels) is named almost like class raccoon (6 labels); in 0-0.xml, 0-1.xml and 3 more",
        ),
    ],
)
def test_a_rare_class_named_almost_like_a_frequent_one_is_told(
    rare: str, counts: tuple[int, int], message: str | None
) -> None:
    audit = Audit()
    note_misspelt((rare, "raccoon"), _entries(dict(enumerate(counts))), audit)

    expected = [] if message is None else [("rare_class", "0-0.xml", 3, message)]
    assert [(found.kind, found.file, found.line, found.message) for found in audit.findings] == expected


def test_a_misspelt_class_of_an_annotation_is_a_finding_of_the_data_set(root: Path) -> None:
    (root / "annotations/b.xml").write_text(_xml((5, 3, 20, 15), name="racoon"))
    for stem in "acdefgh":
        (root / f"annotations/{stem}.xml").write_text(_xml((5, 3, 20, 15), (1, 1, 9, 9), name="raccoon"))
    dataset = _open(root)

    assert _found(dataset) == [
        ("rare_class", "b.xml", "class racoon (1 label) is named almost like class raccoon (14 labels); in b.xml")
    ]
    assert dataset.summary()["splits"]["train"]["boxes_by_class"] == {"raccoon": 10, "racoon": 1}


# Messages


def test_a_message_has_one_line_even_where_a_name_has_two(root: Path) -> None:
    (root / "annotations/a.xml").write_text(
        _xml((5, 3, 20, 15), name="red\n  panda").replace("<bndbox>", "<difficult>1</difficult><bndbox>")
    )
    dataset = _open(root)

    assert ("difficult", "a.xml", "red panda is marked difficult; kept") in _found(dataset)


def test_a_finding_of_several_lines_is_refused() -> None:
    with pytest.raises(ValueError, match="has several lines; allowed: one"):
        Finding(kind="rotated", file="a", line=None, message="one\ntwo")
