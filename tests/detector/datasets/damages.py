"""Small data sets that are whole, in every format, and ways to break them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from detector.audited import Audited
from detector.auditing import audit
from detector.datasets.listing import Original
from tests.detector.datasets.photographs import cut, folder_of

YOLO, VOC, COCO, LISTING = "yolo", "voc", "coco", "listing"
SIZE = (96, 64)
Damage = Callable[[Path], object]


def scene(number: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """Soft patches of light, as photographs have them; another number is another picture."""
    patches = np.random.default_rng(number).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC)


def whole(folder: Path, format_name: str) -> Path:
    """Six pictures for training and three for validation, a box each, cats and dogs in turn; nothing is wrong."""
    splits: dict[str, list[Original]] = {"train": [], "val": []}
    (folder / "made").mkdir(parents=True)
    for number, stem in enumerate("abcdefghi"):
        scene(number).save(folder / f"made/{stem}.jpg", quality=95)
        original = Original(
            image=folder / f"made/{stem}.jpg", size=SIZE, boxes=((20, 10, 60, 50),), labels=(number % 2,)
        )
        splits["train" if number < 6 else "val"].append(original)
    return folder_of(folder / "data", format_name, splits, ("cat", "dog")).root


def audited(root: Path) -> Audited:
    return audit(str(root), image_size=64)[0]


# Ways to break it


def label(text: str | bytes, stem: str = "a") -> Damage:
    data = text if isinstance(text, bytes) else text.encode()
    return lambda root: (root / f"labels/train/{stem}.txt").write_bytes(data)


def remove(path: str) -> Damage:
    return lambda root: (root / path).unlink()


def write(path: str, text: str | bytes) -> Damage:
    return lambda root: (root / path).write_bytes(text if isinstance(text, bytes) else text.encode())


def edit(path: str, old: str, new: str) -> Damage:
    def damage(root: Path) -> None:
        text = (root / path).read_text()
        assert old in text
        (root / path).write_text(text.replace(old, new))

    return damage


def picture(path: str, image: Image.Image, **options: Any) -> Damage:
    return lambda root: image.save(root / path, **options)


def shorten(path: str, num_bytes: int) -> Damage:
    return lambda root: cut(root / path, num_bytes)


def copy(source: str, target: str) -> Damage:
    return lambda root: (root / target).write_bytes((root / source).read_bytes())


def record(kind: str, **changes: object) -> Damage:
    """Changes the first record of a COCO file."""

    def damage(root: Path) -> None:
        file = root / "annotations/instances_train.json"
        content = json.loads(file.read_text())
        content[kind][0] |= changes
        file.write_text(json.dumps(content))

    return damage


def every(*damages: Damage) -> Damage:
    return lambda root: [damage(root) for damage in damages]
