"""Photographs to make data sets of: those beside the repository, and noise, in every format that is written."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detector.datasets import DataError, open_dataset
from detector.datasets.listing import Original
from detector.datasets.writing import write_dataset

FRAME = (48, 32)  # width and height of images as they lie in the file
BOX = (4.0, 2.0, 20.0, 15.0)


def noise(number: int = 0, *, mode: str = "RGB", size: tuple[int, int] = FRAME) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def noise_image(file: Path, number: int = 0, *, size: tuple[int, int] = (40, 20)) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    noise(number, size=size).save(file)
    return file


def opened(source: Path | str) -> Any:
    return open_dataset(str(source), image_size=64)


def refusal(source: Path | str) -> str:
    """What a person is told of a data set that cannot be trained on."""
    with pytest.raises(DataError) as caught:
        opened(source)
    return str(caught.value)


def cut(file: Path, num_bytes: int) -> Path:
    file.write_bytes(file.read_bytes()[:-num_bytes])
    return file


def noise_file(folder: Path, stem: str) -> Original:
    """A JPEG of noise with one box of the first class; another letter is another image."""
    file = folder / f"{stem}.jpg"
    folder.mkdir(exist_ok=True)
    noise(ord(stem)).save(file, quality=95)
    return Original(image=file, size=FRAME, boxes=(BOX,), labels=(0,))


def exif_block(value: int | bytes, *, kind: int = 3) -> bytes:
    """An EXIF block with an orientation as a value of some TIFF type."""
    packed = value if isinstance(value, bytes) else struct.pack("<I", value)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHI", 1, 0x0112, kind, 1) + packed + b"\0\0\0\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A data set of files in some format, to be damaged."""

    root: Path
    format_name: str

    def open(self, **options: Any) -> Any:
        return open_dataset(str(self.root), image_size=64, **options)

    def image(self, stem: str) -> Path:
        return next(file for file in self.root.rglob(f"{stem}.*") if file.suffix in (".jpg", ".png"))

    def break_labels(self, stem: str) -> str:
        """Makes the labels of a training image unreadable, and says how a person is told."""
        file = next(file for file in self.root.rglob(_LABELS[self.format_name].format(stem)))
        text, said = _BROKEN[self.format_name]
        if self.format_name == "coco":
            content = json.loads(file.read_text())
            image = next(record["id"] for record in content["images"] if Path(record["file_name"]).stem == stem)
            record = next(record for record in content["annotations"] if record["image_id"] == image)
            record["bbox"] = None
            file.write_text(json.dumps(content))
            return f"{file}: annotation {record['id']}: {said}"
        lines = file.read_text().splitlines() if self.format_name == "listing" else [stem]
        place = next(number for number, line in enumerate(lines) if stem in line)
        lines[place] = text.format(f"images/{stem}.jpg")
        file.write_text("\n".join(lines))
        return f"{file}:{place + 1}: {said}"


_LABELS = {"yolo": "{}.txt", "voc": "{}.xml", "coco": "instances_train.json", "listing": "train.txt"}
_BROKEN = {
    "yolo": ("0 0.5", "'0 0.5'; allowed: five numbers"),
    "voc": ("<annotation>", "not readable as XML"),
    "coco": ("", "bbox None; allowed: four numbers"),
    "listing": ("{} 0,1", "'0,1'; allowed: five numbers"),
}


def folder_of(
    root: Path, format_name: str, splits: Mapping[str, Sequence[Original]], names: Sequence[str] = ("cat",)
) -> Folder:
    write_dataset(root, format_name=format_name, names=names, splits=splits)
    return Folder(root=root, format_name=format_name)


def found(dataset: Any) -> list[tuple[str, str, str]]:
    """Kind, name of the file, and message of every finding."""
    return [(finding.kind, Path(finding.file).name, finding.message) for finding in dataset.findings]
