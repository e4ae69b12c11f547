"""What a data set is: samples, splits, and what its check found; the same for files and for rendered scenes.

Boxes are float32 pixels of their own image, x0 y0 x1 y1, counted from the image's top left corner.
Shapes: M boxes of an image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from detector.findings import Box, Finding


class DataError(ValueError):
    """A data set cannot be trained on; the message names file and line, what was found and what is allowed."""


class UnreadableImagesError(DataError):
    """Images cannot be read, and nothing else is wrong: without them the data set could be trained on."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """One image and its boxes.

    Attributes:
        image: RGB, uint8, (3, height, width).
        boxes_M4: Boxes in pixels of `image`, float32.
        labels_M: Class indices, int64.

    Raises:
        ValueError: A shape is not as above.
    """

    image: Tensor
    boxes_M4: Tensor
    labels_M: Tensor

    def __post_init__(self) -> None:
        num_boxes = self.labels_M.shape[0]
        if self.image.dim() != 3 or self.image.shape[0] != 3:
            raise ValueError(f"image: shape {tuple(self.image.shape)} is not (3, height, width)")
        if self.boxes_M4.shape != (num_boxes, 4):
            raise ValueError(f"boxes_M4: shape {tuple(self.boxes_M4.shape)} is not ({num_boxes}, 4), one row a label")

    @property
    def height(self) -> int:
        """Height of the image in pixels."""
        return self.image.shape[1]

    @property
    def width(self) -> int:
        """Width of the image in pixels."""
        return self.image.shape[2]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Original:
    """An image as it came, before it was shrunk, and its objects.

    Attributes:
        image: Its file; where it has none, its pixels: RGB, uint8, (3, height, width).
        size: Width and height in pixels, upright.
        boxes: x0 y0 x1 y1 in pixels of the upright image.
        labels: Class indices, one for each box.
    """

    image: Path | Tensor
    size: tuple[int, int]
    boxes: tuple[Box, ...]
    labels: tuple[int, ...]


class Split(Protocol):
    """Images of one split of a data set, by index."""

    def __len__(self) -> int:
        """Number of images."""
        ...

    def sample(self, index: int, epoch: int) -> Sample:
        """The image at `index`; rendered training scenes differ from epoch to epoch, files do not."""
        ...

    def size(self, index: int) -> tuple[int, int]:
        """Width and height in pixels of the image at `index`, upright, before it was shrunk to what training needs."""
        ...

    def original(self, index: int) -> Original:
        """The image at `index` as it came; of rendered training scenes that of epoch 0."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """A checked data set.

    Attributes:
        source: Name or path that it was opened from.
        names: Class names by index.
        train, val, test: Images of each split; test may be missing.
        findings: What the check clipped, left out or noticed.
        note: How the splits were made, and other things to know.
        max_boxes: Largest number of boxes in any image of any split, at least 1.
        augments: Whether training images may be flipped, shifted, resized and recoloured.
        box_counts: Number of boxes of each class, by split; a split that is missing here is counted image by image.
        files: For each image file by its name, a text that tells whether it is as it was: its split, its size and its
            boxes. Empty for rendered scenes.
    """

    source: str
    names: tuple[str, ...]
    train: Split
    val: Split
    test: Split | None
    findings: tuple[Finding, ...]
    note: str
    max_boxes: int
    augments: bool
    box_counts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def splits(self) -> dict[str, Split]:
        """The splits that exist, by name."""
        splits = {"train": self.train, "val": self.val}
        return splits if self.test is None else {**splits, "test": self.test}

    def summary(self) -> dict[str, Any]:
        """Counts of images, boxes and findings, as JSON can hold them."""
        return {
            "source": self.source,
            "note": self.note,
            "classes": list(self.names),
            "max_boxes": self.max_boxes,
            "splits": {name: self._counts(name, split) for name, split in self.splits().items()},
            "findings": dict(sorted(Counter(finding.kind for finding in self.findings).items())),
        }

    def _counts(self, name: str, split: Split) -> dict[str, Any]:
        by_class = self.box_counts.get(name) or count_boxes(split, len(self.names))
        named = dict(zip(self.names, by_class, strict=True))
        return {"images": len(split), "boxes": sum(by_class), "boxes_by_class": named}


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """How the files of a data set differ from what they were, in a phrase for each kind of change; empty if they don't.

    Args:
        before, now: Split, size and boxes of each file by its name, as `Dataset.files` has them.
    """
    both = before.keys() & now.keys()
    moved = {name for name in both if before[name].partition(":")[0] != now[name].partition(":")[0]}
    other = {name for name in both if before[name].partition(":")[2] != now[name].partition(":")[2]}
    kinds = {
        "new": now.keys() - before.keys(),
        "removed": before.keys() - now.keys(),
        "with other boxes, classes or pixels": other,
        "in another split": moved,
    }
    return tuple(
        f"{len(names)} {kind} ({', '.join(sorted(names)[:3])}{', ...' if len(names) > 3 else ''})"
        for kind, names in kinds.items()
        if names
    )


def count_boxes(split: Split, num_classes: int) -> tuple[int, ...]:
    """Boxes by class over all images of a split, as they are in epoch 0."""
    counts = torch.zeros(num_classes, dtype=torch.int64)
    for index in range(len(split)):
        counts += torch.bincount(split.sample(index, 0).labels_M, minlength=num_classes)
    return tuple(counts.tolist())
