"""Files of a data set that would eat the machine, mean two things, or end in a traceback: refused, or told of."""

from __future__ import annotations

import resource
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detector.datasets.listing import UnreadableImagesError
from detector.datasets.pictures import read_picture
from tests.detector.datasets.photographs import opened, refusal
from tests.mutations.formats import DATA, XML, voc_folder, yolo_folder


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    """Two training images and one for validation, three classes."""
    yolo_folder(tmp_path)
    return tmp_path


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Three images, two of them for training, with classes.txt and ImageSets."""
    voc_folder(tmp_path)
    return tmp_path


def _png(width: int, height: int) -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(head, 13), (b"IDAT" + zlib.compress(bytes(3000)), None), (b"IEND", 0)]
    packed = [struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) for body, _ in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def _tiff(file: Path, side: int) -> Path:
    """A small file whose head states a large image."""
    Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(file)
    data = bytearray(file.read_bytes().ljust(4000, b"\0"))
    (start,) = struct.unpack_from("<I", data, 4)
    for entry in range(struct.unpack_from("<H", data, start)[0]):
        place = start + 2 + 12 * entry
        if struct.unpack_from("<H", data, place)[0] in (256, 257):  # width and height
            struct.pack_into("<HII", data, place + 2, 4, 1, side)
    file.write_bytes(data)
    return file


def test_a_small_file_that_states_a_large_picture_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnreadableImagesError, match=r"9000 x 9000 pixels cannot be in a file of 4,000 bytes"):
        read_picture(_tiff(tmp_path / "a.tif", 9000), longest=96)
    (tmp_path / "a.png").write_bytes(_png(9000, 9000))
    with pytest.raises(UnreadableImagesError, match=r"9000 x 9000 pixels cannot be in a file of \d+ bytes"):
        read_picture(tmp_path / "a.png", longest=96)
    for width in (12_000, 30_000):
        (tmp_path / "a.png").write_bytes(_png(width, 10_000))
        with pytest.raises(UnreadableImagesError, match=r"pixels (are more )?than 89,478,485"):
            read_picture(tmp_path / "a.png", longest=96)

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_a_file_that_would_start_a_program_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")

    with pytest.raises(UnreadableImagesError, match="its bytes are of no known image format"):
        read_picture(tmp_path / "a.png", longest=96)


def test_the_first_frame_of_an_animation_is_used_and_told(yolo: Path) -> None:
    frames = [Image.new("RGB", (40, 20), colour) for colour in ("red", "green", "blue")]
    frames[0].save(yolo / "images/train/0.gif", save_all=True, append_images=frames[1:])
    (yolo / "images/train/0.png").unlink()
    dataset = opened(yolo)

    assert [(finding.kind, Path(finding.file).name) for finding in dataset.findings] == [("several_frames", "0.gif")]
    assert dataset.train.sample(0, 0).image[:, 0, 0].tolist() == [255, 0, 0]


def test_class_names_are_what_is_written(yolo: Path) -> None:
    (yolo / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [yes, no, 1e3]\n")

    assert opened(yolo).names == ("yes", "no", "1e3")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("nc: 1000000000", "nc: 1000000000; allowed: a number of classes, 1 to 20,000"),
        ("nc: true", "nc: True; allowed: a number of classes"),
        ("nc: 03", "nc: '03'; allowed: a number of classes"),
        ("nc: 3\nnc: 3", "data.yaml:5: not readable as YAML: key 'nc' is given twice"),
        ("path: ~nosuchuser/x", "path: no user ~nosuchuser; allowed"),
        (f"path: {'a' * 300}", "path: no folder"),
        (f"train: {'../' * 40}", "data.yaml: train: / is the whole file system; allowed: a folder of images"),
        ("train: ~nosuchuser/x", "train: no user ~nosuchuser"),
        (f"train: {'a' * 300}", "train: no "),
        ("nc: 3\nmore: " + "[" * 5000, "data.yaml:5: not readable as YAML: is nested deeper than 20 levels"),
        ('train: "\\0"', "not readable as YAML: text has a NUL"),
    ],
)
def test_a_data_yaml_that_asks_too_much_or_names_no_path_is_refused(changed: str, expected: str, yolo: Path) -> None:
    key = changed.split(":")[0]
    lines = [changed if line.startswith(f"{key}:") else line for line in DATA.decode().splitlines()]
    (yolo / "data.yaml").write_text("\n".join(lines))

    assert expected in refusal(yolo)


def test_a_class_whose_name_nobody_sees_is_refused(voc: Path) -> None:
    (voc / "classes.txt").write_bytes(b"cat\x00\ndog\n")

    assert r"classes.txt: 'cat\x00' has control characters" in refusal(voc)


@pytest.mark.parametrize("token", ["0_1", "\u0661", "1e999", "00"])
def test_a_label_that_python_alone_takes_for_a_number_is_refused(token: str, yolo: Path) -> None:
    (yolo / "labels/train/0.txt").write_text(f"{token} 0.5 0.5 0.2 0.2\n", encoding="utf-8")

    assert "labels/train/0.txt:1: " in refusal(yolo)


def test_a_label_file_of_bad_lines_is_counted_and_ten_are_named(yolo: Path) -> None:
    (yolo / "labels/train/0.txt").write_text("0 0.5\n" * 100_000)
    told = refusal(yolo).splitlines()

    assert len(told) == 11 and told[-1] == "and 99990 more"


def test_a_list_of_names_that_no_file_can_have_is_refused_line_by_line(yolo: Path) -> None:
    (yolo / "data.yaml").write_text("train: train.txt\nval: images/val\nnc: 3\n")
    (yolo / "train.txt").write_bytes(b"images/train/0.png\n" + b"a" * 300 + b"\n" + b"b\0c\n")
    told = refusal(yolo)

    assert "train.txt:2: no image aaa" in told and "train.txt:3: no image b" in told


@pytest.mark.parametrize("source", ["~nosuchuser/photos", "a\0b", "a" * 5000])
def test_a_source_that_no_file_can_have_is_refused(source: str) -> None:
    assert "allowed: " in refusal(source)


@pytest.mark.parametrize("name", ["classes.txt", "ImageSets/Main/train.txt", "ImageSets/Main/val.txt"])
def test_voc_lists_that_are_not_utf_8_are_refused(name: str, voc: Path) -> None:
    (voc / name).write_bytes(b"caf\xe9\n")

    assert f"{Path(name).name}: not readable as text: is not text in UTF-8 (byte 3, line 1)" in refusal(voc)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b'<?xml version="1.0" encoding="no-such"?>', "not readable as XML (unknown encoding"),
        (b'<?xml version="1.0" encoding="shift_jis"?>', "not readable as XML ("),
        (b'<!DOCTYPE a [<!ENTITY x "xx"><!ENTITY y "&x;&x;">]>', ":1: document type or entity declared"),
        (b"<annotation>" + b"<a/>" * 100_001 + b"</annotation>", ":1: more than 100,000 elements"),
    ],
)
def test_xml_of_unknown_encodings_or_without_end_is_refused(head: bytes, expected: str, voc: Path) -> None:
    (voc / "Annotations/0.xml").write_bytes(head + XML.split(b"\n", 1)[1])
    told = refusal(voc)

    assert "Annotations/0.xml" in told and expected in told


@pytest.mark.parametrize("token", ["1_2", "\u0661\u0662", "0x1F", "1e999"])
def test_a_corner_that_python_alone_takes_for_a_number_is_refused(token: str, voc: Path) -> None:
    text = XML.decode().replace("<xmin>2<", f"<xmin>{token}<")
    (voc / "Annotations/0.xml").write_text(text, encoding="utf-8")

    assert "Annotations/0.xml:5: bndbox/xmin" in refusal(voc)
