"""Pictures and listings: formats, sizes, memory, held-out splits, duplicates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from detector.datasets import DataError, Sample, open_dataset
from detector.datasets.audit import MAX_PROBLEMS_SHOWN, Audit, Entry, LabelledObject, check_entry
from detector.datasets.files import Listing, with_held_out
from detector.datasets.picture_store import PictureStore
from detector.datasets.pictures import read_picture
from detector.findings import KINDS, Finding
from detector.letterbox import letterbox
from tests.places import RACCOON


def _halves(width: int = 40, height: int = 20) -> Image.Image:
    """Left half red, right half blue."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[:, : width // 2, 0] = 255
    pixels[:, width // 2 :, 2] = 255
    return Image.fromarray(pixels)


def _pixel(image: torch.Tensor, x: int, y: int) -> list[int]:
    return [int(value) for value in image[:, y, x]]


@pytest.mark.parametrize(
    ("mode", "suffix", "left"),
    [
        ("RGB", ".png", [255, 0, 0]),
        ("RGB", ".bmp", [255, 0, 0]),
        ("RGB", ".webp", [255, 0, 0]),
        ("RGB", ".tif", [255, 0, 0]),
        ("RGB", ".jpg", [255, 0, 0]),
        ("CMYK", ".jpg", [255, 0, 0]),
        ("P", ".png", [255, 0, 0]),
        ("P", ".gif", [255, 0, 0]),
        ("L", ".png", [76, 76, 76]),
        ("L", ".jpg", [76, 76, 76]),
        ("1", ".png", None),
        ("RGBA", ".png", [255, 0, 0]),
        ("LA", ".png", [76, 76, 76]),
    ],
)
def test_every_pixel_format_becomes_rgb(mode: str, suffix: str, left: list[int] | None, tmp_path: Path) -> None:
    file = tmp_path / f"picture{suffix}"
    _halves().convert(mode).save(file, **({"lossless": True} if suffix == ".webp" else {}))
    picture = read_picture(file, longest=100)

    assert picture.image.shape == (3, 20, 40) and picture.image.dtype == torch.uint8
    assert picture.size == (40, 20)
    if left is not None:
        assert _pixel(picture.image, 5, 10) == pytest.approx(left, abs=6)


def test_sixteen_bit_grey_keeps_its_upper_bits(tmp_path: Path) -> None:
    values = np.full((8, 8), 0x8123, dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")

    assert _pixel(read_picture(tmp_path / "deep.png", longest=8).image, 3, 3) == [0x81] * 3


def test_transparent_pixels_show_the_grey_of_borders(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 4), dtype=np.uint8)
    pixels[:, 4:] = (10, 20, 30, 255)
    Image.fromarray(pixels).save(tmp_path / "clear.png")
    image = read_picture(tmp_path / "clear.png", longest=8).image

    assert _pixel(image, 1, 1) == [114, 114, 114] and _pixel(image, 6, 1) == [10, 20, 30]


@pytest.mark.parametrize(("suffix", "mode"), [(".jpg", "RGB"), (".png", "RGB"), (".png", "RGBA"), (".jpg", "L")])
def test_the_exif_orientation_is_applied_to_pixels_and_size(suffix: str, mode: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it a quarter to the right
    plain, turned = tmp_path / f"plain{suffix}", tmp_path / f"turned{suffix}"
    _halves().convert(mode).save(plain)
    _halves().convert(mode).save(turned, exif=exif)
    upright, picture = read_picture(plain, longest=100), read_picture(turned, longest=100)

    assert picture.size == (20, 40) and picture.image.shape == (3, 40, 20)
    assert torch.equal(picture.image, torch.rot90(upright.image, -1, (1, 2)))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_large_pictures_are_shrunk_to_the_longest_side(suffix: str, tmp_path: Path) -> None:
    _halves(400, 300).save(tmp_path / f"large{suffix}")
    picture = read_picture(tmp_path / f"large{suffix}", longest=96)

    assert picture.image.shape == (3, 72, 96) and picture.size == (400, 300)
    assert _pixel(picture.image, 20, 30) == pytest.approx([255, 0, 0], abs=6)
    assert _pixel(picture.image, 80, 30) == pytest.approx([0, 0, 255], abs=6)


@pytest.mark.parametrize(("name", "keep"), [("cut.jpg", 0.6), ("cut.png", 0.6), ("stub.jpg", 0.02), ("empty.png", 0.0)])
def test_files_that_are_cut_short_are_refused_by_name(name: str, keep: float, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * keep)])

    with pytest.raises(DataError, match=rf"{name}: not a readable image .*allowed"):
        read_picture(tmp_path / name, longest=64)


def test_text_and_floating_point_pictures_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    Image.fromarray(np.zeros((4, 4), dtype=np.float32)).save(tmp_path / "float.tif")

    for name in ("text.jpg", "float.tif", "missing.png"):
        with pytest.raises(DataError, match=name):
            read_picture(tmp_path / name, longest=64)


def test_the_store_keeps_what_fits_and_reads_the_rest_again(tmp_path: Path) -> None:
    for number in range(3):
        _halves(32, 32).save(tmp_path / f"{number}.png")
    store = PictureStore(longest=32, max_bytes=2 * 3 * 32 * 32)
    first = [store.read(tmp_path / f"{number}.png") for number in range(3)]
    second = [store.read(tmp_path / f"{number}.png") for number in range(3)]

    assert len(store) == 2
    assert [a is b for a, b in zip(first, second, strict=True)] == [True, True, False]
    assert all(torch.equal(a.image, b.image) for a, b in zip(first, second, strict=True))


def _listing(**counts: int) -> Listing:
    entries = {
        part: [Entry(image=Path(f"{part}{n}.png"), label_file=None) for n in range(count)]
        for part, count in counts.items()
    }
    return Listing(source="somewhere", names=("cat",), entries=entries, note="as listed")


def test_parts_that_are_listed_are_used_as_they_are() -> None:
    listing = _listing(train=5, val=2)
    entries, note = with_held_out(listing, seed=0)

    assert {part: list(listed) for part, listed in entries.items()} == {k: list(v) for k, v in listing.entries.items()}
    assert note == "as listed"


@pytest.mark.parametrize(("count", "sizes"), [(20, (16, 2, 2)), (3, (1, 1, 1)), (25, (21, 2, 2))])
def test_without_val_and_test_a_tenth_each_is_held_out_by_seed(count: int, sizes: tuple[int, int, int]) -> None:
    entries, note = with_held_out(_listing(train=count), seed=1)
    again, _ = with_held_out(_listing(train=count), seed=1)
    images = {part: {entry.image for entry in listed} for part, listed in entries.items()}

    assert tuple(len(images[part]) for part in ("train", "val", "test")) == sizes
    assert len(set.union(*images.values())) == count
    assert entries == again
    assert "by seed 1" in note and f"of {count} images" in note


def test_another_seed_holds_out_other_images_and_a_given_test_part_stays() -> None:
    one, other = (with_held_out(_listing(train=50, test=4), seed=seed)[0] for seed in (0, 1))

    assert [len(one[part]) for part in ("train", "val", "test")] == [45, 5, 4]
    assert one["val"] != other["val"] and one["test"] == other["test"]


def test_too_few_images_or_an_empty_part_are_refused() -> None:
    with pytest.raises(DataError, match="2 images and no val part; allowed"):
        with_held_out(_listing(train=2), seed=0)
    with pytest.raises(DataError, match="no images in val"):
        with_held_out(_listing(train=2, val=0), seed=0)


@pytest.mark.parametrize(
    ("box", "kinds", "kept"),
    [
        ((1.0, 2.0, 30.0, 18.0), [], (1.0, 2.0, 30.0, 18.0)),
        ((-5.0, 2.0, 30.0, 25.0), ["clipped"], (0.0, 2.0, 30.0, 20.0)),
        ((-0.3, 2.0, 40.4, 18.0), [], (0.0, 2.0, 40.0, 18.0)),
        ((5.0, 2.0, 5.0, 18.0), ["no_area"], None),
        ((9.0, 2.0, 5.0, 18.0), ["no_area"], None),
        ((41.0, 2.0, 50.0, 18.0), ["outside"], None),
        ((40.0, 2.0, 50.0, 18.0), ["outside"], None),
    ],
)
def test_a_box_is_kept_cut_or_left_out_and_that_is_told(
    box: tuple[float, float, float, float], kinds: list[str], kept: tuple[float, float, float, float] | None
) -> None:
    audit = Audit()
    entry = Entry(image=Path("a.png"), label_file=Path("a.txt"), objects=(LabelledObject(label=0, box=box, line=3),))
    objects = check_entry(entry, (40, 20), audit)

    assert [each.box for each in objects] == ([] if kept is None else [kept])
    assert [finding.kind for finding in audit.findings] == kinds
    assert all((finding.file, finding.line) == ("a.txt", 3) for finding in audit.findings)


def test_a_box_listed_twice_is_kept_once() -> None:
    audit = Audit()
    objects = tuple(
        LabelledObject(label=label, box=(1.0, 1.0, 5.0, 5.0), line=line) for line, label in enumerate((0, 0, 1))
    )
    kept = check_entry(Entry(image=Path("a.png"), label_file=Path("a.txt"), objects=objects), (40, 20), audit)

    assert [each.label for each in kept] == [0, 1]
    assert [(finding.kind, finding.line) for finding in audit.findings] == [("repeated_box", 1), ("contested_box", 2)]


def test_ten_problems_are_named_and_the_rest_counted() -> None:
    audit = Audit()
    audit.raise_problems()
    for line in range(1, 14):
        audit.problem(Path("a.txt"), line, "wrong; allowed: right")

    with pytest.raises(DataError) as caught:
        audit.raise_problems()
    lines = str(caught.value).splitlines()
    assert len(lines) == MAX_PROBLEMS_SHOWN + 1
    assert lines[0] == "a.txt:1: wrong; allowed: right" and lines[-1] == "and 3 more"


def test_a_finding_has_a_known_kind() -> None:
    with pytest.raises(ValueError, match="'odd' is not one of"):
        Finding(kind="odd", file="a", line=None, message="")
    assert all(len(kind) <= 32 for kind in KINDS)  # as wide as the column that stores it


def test_samples_check_their_shapes() -> None:
    image, boxes_M4, labels_M = torch.zeros(3, 4, 4, dtype=torch.uint8), torch.zeros(2, 4), torch.zeros(2)

    with pytest.raises(ValueError, match=r"image: shape \(1, 4, 4\)"):
        Sample(image=image[:1], boxes_M4=boxes_M4, labels_M=labels_M)
    with pytest.raises(ValueError, match=r"boxes_M4: shape \(1, 4\) is not \(2, 4\)"):
        Sample(image=image, boxes_M4=boxes_M4[:1], labels_M=labels_M)


@pytest.mark.parametrize("name", ["no_such_set", "set.txt", "."])
def test_any_other_source_is_refused_with_what_is_allowed(name: str, tmp_path: Path) -> None:
    (tmp_path / "set.txt").write_text("images/a.png")

    with pytest.raises(DataError, match="allowed: digits, digits-1, digits-3, digits-10; a YOLO"):
        open_dataset(str(tmp_path / name), image_size=64)


@pytest.mark.parametrize("numbers", [{"image_size": 31}, {"seed": -1}, {"cache_mb": -1}])
def test_numbers_out_of_range_are_refused(numbers: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="allowed are at least 32, and 0 or more"):
        open_dataset("digits", **{"image_size": 64, **numbers})


@pytest.mark.skipif(not RACCOON.is_dir(), reason="the raccoon photographs are not beside the repository")
def test_the_raccoon_photographs_load_with_their_twins_named() -> None:
    dataset = open_dataset(str(RACCOON), image_size=96)
    summary = dataset.summary()

    assert dataset.names == ("raccoon",) and dataset.augments and dataset.test is None
    assert {part: counts["images"] for part, counts in summary["splits"].items()} == {"train": 160, "val": 40}
    assert sum(counts["boxes"] for counts in summary["splits"].values()) == 217
    assert summary["findings"] == {"leak": 2, "same_image": 2}
    for split in dataset.splits().values():
        for index in range(len(split)):
            sample = split.sample(index, 0)
            assert max(sample.height, sample.width) <= 144
            assert bool((sample.boxes_M4[:, 2:] > sample.boxes_M4[:, :2]).all())
            assert letterbox(sample, 96).image.shape == (3, 96, 96)


@pytest.mark.skipif(not RACCOON.is_dir(), reason="the raccoon photographs are not beside the repository")
def test_photographs_are_the_same_from_memory_and_from_disk() -> None:
    kept, decoded = (open_dataset(str(RACCOON), image_size=64, cache_mb=size) for size in (64, 0))

    for index in (0, 50, 159):
        one, other = kept.train.sample(index, 0), decoded.train.sample(index, 3)
        assert torch.equal(one.image, other.image) and torch.equal(one.boxes_M4, other.boxes_M4)
    assert kept.train.sample(0, 0).image is kept.train.sample(0, 1).image
    assert decoded.train.sample(0, 0).image is not decoded.train.sample(0, 0).image
