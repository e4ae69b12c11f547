"""Data sets in lists with an image and its boxes a line: `image x0,y0,x1,y1,class x0,y0,x1,y1,class ...`.

Corners are pixels counted from 0; classes are lines of a classes.txt, counted from 0. Source of the format: the
description of keras-yolo3's annotation files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isnan
from pathlib import Path

from detector.datasets.audit import Audit, Entry, LabelledObject
from detector.datasets.files import Listing
from detector.datasets.layout import SPLITS, split_of
from detector.datasets.listing import DataError
from detector.datasets.pictures import SUFFIXES
from detector.datasets.places import class_index, class_list, is_there, list_lines
from detector.written_numbers import as_float

_BOX = re.compile(rb"\s(?:-?[0-9.]+,){4}[0-9]+(?:\s|$)")
_ENDS = re.compile(rf"(?:{'|'.join(map(re.escape, SUFFIXES))})(?=\s|$)", re.IGNORECASE)
_MAX_ENDS = 20  # places where the name of an image may end
_MAX_LOOKED_AT = 2**20  # bytes


def box_lists(root: Path) -> dict[str, Path] | None:
    """The list of each split in a folder, such as train.txt or 2007_train.txt, or None if no list has a box.

    Raises:
        DataError: Several lists are of one split.
    """
    found: dict[str, Path] = {}
    for file in sorted(root.iterdir()):
        if file.suffix.lower() != ".txt" or (split := split_of(file.stem)) is None or not file.is_file():
            continue
        if split in found and (is_box_list(file) or is_box_list(found[split])):
            raise DataError(f"{root}: {found[split].name} and {file.name} are both of {split}; allowed: one of them")
        found[split] = file
    return (
        {split: found[split] for split in SPLITS if split in found} if any(map(is_box_list, found.values())) else None
    )


def is_box_list(file: Path) -> bool:
    """Whether a text file has a line with a box near its start."""
    try:
        with file.open("rb") as opened:
            return _BOX.search(opened.read(_MAX_LOOKED_AT)) is not None
    except OSError:
        return False


def read_box_lists(files: Mapping[str, Path], source: Path, audit: Audit) -> Listing:
    """Images and objects that lists name.

    Args:
        files: List file of each split, by the name of the split.
        source: The folder or file that was asked for.
        audit: Collects what is wrong with lines.

    Raises:
        DataError: A file cannot be read, there is none of train, or none with class names.
    """
    if "train" not in files:
        raise DataError(f"{source}: lists of {', '.join(files)} only; allowed: one of train among them")
    names = _names(files["train"].parent)
    entries = {split: _entries(file, names, audit) for split, file in files.items()}
    note = f"splits as {', '.join(file.name for file in files.values())} list them"
    return Listing(source=str(source), names=names, entries=entries, note=note)


def _names(folder: Path) -> tuple[str, ...]:
    files = [file for file in [folder / "classes.txt"] if is_there(file, Path.is_file)]
    files = files or sorted(folder.glob("*_classes.txt"))
    if len(files) != 1:
        found = f"several class lists ({', '.join(file.name for file in files)})" if files else "no class names"
        raise DataError(f"{folder}: {found}; allowed: a classes.txt beside the lists, with a name a line")
    return class_list(files[0])


def _entries(file: Path, names: tuple[str, ...], audit: Audit) -> list[Entry]:
    entries = []
    for number, line in enumerate(list_lines(file), start=1):
        if (text := line.strip()) and (found := _image(text, file, number, audit)) is not None:
            image, rest = found
            parsed = (_object(word, file, number, names, audit) for word in rest.split())
            objects = tuple(parsed)
            understood = tuple(labelled for labelled in objects if labelled is not None)
            if len(understood) < len(objects):
                audit.lacks_labels(image)
            entries.append(Entry(image=image, label_file=file, objects=understood, is_shared=True))
    return entries


def _image(text: str, file: Path, number: int, audit: Audit) -> tuple[Path, str] | None:
    """The image of a line and what follows it; names may have blanks, so it is the one that is there."""
    ends = [match.end() for match, _ in zip(_ENDS.finditer(text), range(_MAX_ENDS), strict=False)]
    there = [end for end in ends if is_there(file.parent / text[:end], Path.is_file)]
    if len(there) == 1:
        return file.parent / text[: there[0]], text[there[0] :]
    if there:
        shown = " and ".join(repr(text[:end]) for end in there[:2])
        audit.problem(file, number, f"{shown:.400} are both there; allowed: lines that name one image")
    elif ends:
        message = f"no image {text[: ends[0]]:.200}; allowed: image files, relative to this file"
        audit.problem(file, number, message, kind="missing_image")
    else:
        audit.problem(file, number, f"{text!r:.200} names no image; allowed: {', '.join(SUFFIXES)} files, then boxes")
    return None


def _object(word: str, file: Path, number: int, names: tuple[str, ...], audit: Audit) -> LabelledObject | None:
    words = word.split(",")
    numbers = tuple(map(as_float, words))
    if len(numbers) != 5 or any(map(isnan, numbers)):
        audit.problem(file, number, f"{word!r:.200}; allowed: five numbers with only commas between: x0,y0,x1,y1,class")
        return None
    x0, y0, x1, y1, label = numbers
    try:
        return LabelledObject(label=class_index(label, words[-1], names), box=(x0, y0, x1, y1), line=number)
    except ValueError as error:
        audit.problem(file, number, str(error), kind="unknown_class")
        return None
