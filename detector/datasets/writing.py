"""A data set written to a new folder, in one of four formats: whole, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from detector.datasets.audit import ROUNDING_PX
from detector.datasets.label_files import FORMATS, Format, Labelled
from detector.datasets.listing import DataError, Dataset, Original, Split
from detector.findings import Box


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a data set was written as.

    Attributes:
        folder: Path of the new folder.
        format: Name of its format, a key of `FORMATS`.
        images, boxes: Number of images and of boxes of each split, by its name.
        moved: Number of boxes that the format cannot hold as they are, with an edge moved by more than half a pixel.
    """

    folder: str
    format: str
    images: Mapping[str, int]
    boxes: Mapping[str, int]
    moved: int


def originals(dataset: Dataset) -> dict[str, Iterator[Original]]:
    """The images of a data set by split, as `write_dataset` takes them; one is made when it is asked for."""
    return {name: _originals(split) for name, split in dataset.splits().items()}


def _originals(split: Split) -> Iterator[Original]:
    return (split.original(index) for index in range(len(split)))


def write_dataset(
    out: Path, *, format_name: str, names: Sequence[str], splits: Mapping[str, Iterable[Original]]
) -> Written:
    """Write images and labels to a new folder, which `open_dataset` opens with the same classes and splits.

    Image files are copied byte for byte, pixels become PNG files. Boxes come back to within a thousandth of a pixel;
    in a listing, which has whole pixels, to within half of one. A box that would have no area after that, in a listing
    or in VOC's inclusive corners, is made a pixel wide. Everything is written beside `out` and moved there at the end.

    Args:
        out: Folder to write, which must not be there, or be empty.
        format_name: Name of the format, a key of `FORMATS`.
        names: Class names by index.
        splits: Images of train, val and test, whichever there are; splits without images are left out.

    Raises:
        DataError: The format is not known or cannot hold a class name, or `out` holds something or is no folder.
        OSError: A file cannot be read or written; nothing of the new folder is left then.
    """
    check_target(out, format_name)
    form = FORMATS[format_name]
    _check_names(names, format_name)
    with _new_folder(out) as folder:
        writer = _ImageWriter(folder, form)
        images = {split: [writer.write(original, split) for original in listed] for split, listed in splits.items()}
        images = {split: listed for split, listed in images.items() if listed}
        for path, text in form.texts(names, images):
            _made(folder / path).write_text(text, encoding="utf-8", newline="\n")
    return Written(
        folder=str(out),
        format=format_name,
        images={split: len(listed) for split, listed in images.items()},
        boxes={split: sum(len(image.boxes) for image in listed) for split, listed in images.items()},
        moved=writer.num_moved,
    )


def check_target(out: Path, format_name: str) -> None:
    """Makes sure that a data set can be written to a folder, before one is read.

    Raises:
        DataError: As of `write_dataset`, but for class names.
    """
    if format_name not in FORMATS:
        raise DataError(f"format {format_name!r:.80} is not known; allowed: {', '.join(FORMATS)}")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(f"{out}: is there already; allowed: a folder that is not there yet, or an empty one")


def _check_names(names: Sequence[str], format_name: str) -> None:
    if FORMATS[format_name].takes_any_name:
        return
    for name in names:
        if name.splitlines() != [name.strip()] or any(letter in name for letter in "\ufffe\uffff"):  # no XML has these
            allowed = ", ".join(key for key, form in FORMATS.items() if form.takes_any_name)
            raise DataError(
                f"class {name!r:.80} cannot be written as {format_name}, which has a class a line; allowed: names "
                f"without line breaks and blanks at their ends, or one of the formats {allowed}"
            )


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder that becomes `out` at the end, and is removed if that is not reached."""
    target = out.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    made = target.with_name(f".{target.name[:100]}.{os.getpid()}.part")
    made.mkdir()
    try:
        yield made
        made.rename(target)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


class _ImageWriter:
    """Puts images into a folder under names that differ, and keeps what their label files need."""

    def __init__(self, folder: Path, form: Format) -> None:
        self._folder, self._form = folder, form
        self._taken: set[str] = set()
        self.num_moved = 0

    def write(self, original: Original, split: str) -> Labelled:
        folder = self._folder / self._form.image_folder.format(split=split)
        if isinstance(original.image, Path):
            name = self._free_name(original.image.stem, original.image.suffix)
            shutil.copyfile(original.image, _made(folder / name))
        else:
            name = self._free_name(f"{split}_{len(self._taken):06}", ".png")
            Image.fromarray(original.image.permute(1, 2, 0).numpy()).save(_made(folder / name))
        boxes = tuple(self._form.fitted(box, original.size) for box in original.boxes)
        self.num_moved += sum(map(_is_moved, original.boxes, boxes))
        return Labelled(name=name, size=original.size, boxes=boxes, labels=original.labels)

    def _free_name(self, stem: str, suffix: str) -> str:
        """A name whose stem no other image has, on file systems that do not tell capitals apart either."""
        # Lists have a name a line.
        shown = "".join(letter if letter.isprintable() else "_" for letter in stem).strip()
        free, number = shown, 1
        while free.casefold() in self._taken:
            number += 1
            free = f"{shown}-{number}"
        self._taken.add(free.casefold())
        return f"{free}{suffix}"


def _is_moved(before: Box, after: Box) -> bool:
    return max(abs(old - new) for old, new in zip(before, after, strict=True)) > ROUNDING_PX


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
