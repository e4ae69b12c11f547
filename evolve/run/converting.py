"""A data set written to a new folder in another format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evolve.errors import EvolveError
from evolve.run.data import survey_size
from evolve.run.detection import open_data

if TYPE_CHECKING:
    from detector.datasets.listing import Original

Watch = Callable[["Iterator[Original]", str, int], "Iterator[Original]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What was written when a data set was converted.

    Attributes:
        data: The data set that was converted.
        note: How the splits of the data set were made, and other things to know of it.
        folder: Path of the new folder.
        format: Name of the format in the new folder: yolo, voc, coco or listing.
        classes: Class names by index.
        splits: Number of images and of boxes that were written, by split.
        moved: Number of boxes with an edge moved by more than half a pixel, for the format cannot hold them.
        findings: Number of findings in the data by kind.
    """

    data: str
    note: str
    folder: str
    format: str
    classes: tuple[str, ...]
    splits: dict[str, dict[str, int]]
    moved: int
    findings: dict[str, int]

    def as_mapping(self) -> dict[str, Any]:
        """The conversion as plain values, for machines."""
        return asdict(self)


def convert_data(data: str, out: Path, *, format_name: str, skip_unreadable: bool, watch: Watch) -> Converted:
    """Check a data set from end to end and write it to a new folder.

    Args:
        data: Name of built-in data or a path, the same as `Study.data`. Of rendered data, epoch 0 is written.
        out: Folder to write to, which must not be there, or be empty.
        format_name: Format to write: yolo, voc, coco or listing.
        skip_unreadable: Whether images that cannot be read are left out.
        watch: Passes on the images of a split as they are asked for; gets them with the split's name and their number.

    Raises:
        EvolveError: The data cannot be trained on or cannot be written so, or the folder holds something.
        OSError: A file cannot be copied or written; nothing is left of the folder then.
    """
    from detector.datasets.listing import DataError
    from detector.datasets.writing import check_target, originals, write_dataset

    try:
        check_target(out, format_name)
        dataset = open_data(data, image_size=survey_size(data), skip_unreadable=skip_unreadable)
        sizes = {split: len(images) for split, images in dataset.splits().items()}
        splits = {split: watch(images, split, sizes[split]) for split, images in originals(dataset).items()}
        written = write_dataset(out, format_name=format_name, names=dataset.names, splits=splits)
    except DataError as error:
        raise EvolveError(str(error)) from error
    return Converted(
        data=data,
        note=dataset.note,
        folder=written.folder,
        format=written.format,
        classes=dataset.names,
        splits={split: {"images": written.images[split], "boxes": written.boxes[split]} for split in written.images},
        moved=written.moved,
        findings=dataset.summary()["findings"],
    )
