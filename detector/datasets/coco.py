"""Data sets in COCO's layout: a JSON file of images, annotations and categories for each split.

Boxes are x, y, width, height in pixels counted from 0. Source: Lin et al., Microsoft COCO, 2014, and the description of
the format beside it.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from math import isnan, nan
from pathlib import Path
from typing import Any

from detector.datasets.audit import Audit, Entry, LabelledObject
from detector.datasets.files import Listing
from detector.datasets.layout import IMAGE_FOLDERS, LABEL_FOLDERS, SPLITS, named_folders, split_of
from detector.datasets.listing import DataError
from detector.datasets.pictures import SUFFIXES
from detector.datasets.places import check_classes, is_there
from detector.text_files import TextFileError, read_text

MAX_BYTES = 2**29  # of a JSON file: that of COCO's 118,287 training images has 448 MB
MAX_OBJECTS = 10_000_000  # an empty one takes three bytes there, and 64 in memory
_LARGEST = 10**9  # px; no image is as large, and no float rounds below
_MAX_LOOKED_AT = 2**16  # bytes
_KINDS = ("images", "annotations", "categories")
# Everything else is forgotten while the file is read: outlines may be nine tenths of it.
KEYS = {
    *_KINDS,
    "id",
    "file_name",
    "width",
    "height",
    "image_id",
    "category_id",
    "bbox",
    "iscrowd",
    "name",
    "supercategory",
}
_ALLOWED = "allowed: COCO annotations"

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """One JSON file as written: the lists of its records, each an object with the keys that are known."""

    file: Path
    images: Sequence[Record]
    annotations: Sequence[Record]
    categories: Sequence[Record]


class _RecordError(ValueError):
    """A record cannot be used; the text says why, `kind` is that of the finding."""

    def __init__(self, message: str, *, kind: str = "bad_label") -> None:
        super().__init__(message)
        self.kind = kind


def coco_files(root: Path) -> dict[str, Path] | None:
    """The JSON file of each split in a folder, or None if it has none that tell their split.

    They lie in a folder of annotations, in a folder for each split, or in the folder itself; a single file is that of
    train. Files called instances come before others, which may hold captions or poses.

    Raises:
        DataError: Several files are of one split.
    """
    parts = [folder for folder in sorted(root.iterdir()) if folder.is_dir() and split_of(folder.name) is not None]
    for folders in (named_folders(root, LABEL_FOLDERS), parts, [root]):
        found = [file for folder in folders for file in sorted(folder.iterdir()) if file.suffix.lower() == ".json"]
        found = [file for file in found if file.stem.lower().startswith("instances")] or found
        by_split: dict[str, list[Path]] = defaultdict(list)
        for file in found:
            of_folder = split_of(file.parent.name) if file.parent in parts else None
            by_split[split_of(file.stem) or of_folder or ""].append(file)
        unnamed = [file for file in by_split.pop("", []) if _has_keys(file)]
        if len(unnamed) == 1 and not by_split:
            return {"train": unnamed[0]}
        for split, files in by_split.items():
            if len(files) > 1:
                shown = ", ".join(str(file.relative_to(root)) for file in files[:10])
                raise DataError(f"{root}: several JSON files of {split} ({shown}); allowed: one, or its path as data")
        if by_split:
            return {split: by_split[split][0] for split in SPLITS if split in by_split}
    return None


def _has_keys(file: Path) -> bool:
    """Whether a file has one of COCO's lists near its start; there are JSON files of many kinds."""
    try:
        with file.open("rb") as opened:
            start = opened.read(_MAX_LOOKED_AT)
    except OSError:
        return False
    return any(f'"{kind}"'.encode() in start for kind in _KINDS)


def read_coco(files: Mapping[str, Path], source: Path, audit: Audit) -> Listing:
    """Images and objects of COCO's JSON files.

    Args:
        files: JSON file of each split, by the name of the split.
        source: The folder or file that was asked for; images are looked for from there.
        audit: Collects what is wrong with records, which are named by their ids.

    Raises:
        DataError: A file is not COCO's, categories contradict one another, or there is none of train.
    """
    if "train" not in files:
        raise DataError(f"{source}: JSON files of {', '.join(files)} only; allowed: one of train among them")
    contents = {split: _content(file) for split, file in files.items()}
    names, labels, dropped = _categories(list(contents.values()), audit)
    audit.raise_problems()  # without categories every annotation would be wrong, too
    if not names:
        raise DataError(f"{source}: no categories; allowed: at least one")
    note = f"splits as {', '.join(file.name for file in files.values())} have them"
    note += f"; {', '.join(dropped)} groups categories and is no class" if dropped else ""
    entries = {
        split: _entries(content, labels, _finder(content.file, split, source), audit)
        for split, content in contents.items()
    }
    return Listing(source=str(source), names=names, entries=entries, note=note)


def _content(file: Path) -> Content:
    try:
        top = json.loads(read_text(file, max_bytes=MAX_BYTES), object_pairs_hook=_counted(_known))
    except TextFileError as error:
        raise DataError(f"{file}: {error}; {_ALLOWED}") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{file}:{error.lineno}: not readable as JSON ({error.msg}); {_ALLOWED}") from None
    except RecursionError:
        raise DataError(f"{file}: not readable as JSON (nested too deep); {_ALLOWED}") from None
    except ValueError as error:  # a key given twice, a number of thousands of digits
        raise DataError(f"{file}: not readable as JSON ({error}); {_ALLOWED}") from None
    return Content(file=file, **{kind: _list(top, kind, file) for kind in _KINDS})


def _list(top: object, kind: str, file: Path) -> list[Record]:
    found = top.get(kind) if isinstance(top, dict) else None
    if not isinstance(found, list) or not all(isinstance(record, dict) for record in found):
        raise DataError(f"{file}: {kind}: no list of objects; {_ALLOWED}, with lists {', '.join(_KINDS)}")
    return found


def _counted(made: Callable[[list[tuple[str, Any]]], Record]) -> Callable[[list[tuple[str, Any]]], Record]:
    numbers = count(1)

    def made_and_counted(pairs: list[tuple[str, Any]]) -> Record:
        if next(numbers) > MAX_OBJECTS:
            raise ValueError(f"more than {MAX_OBJECTS:,} objects")
        return made(pairs)

    return made_and_counted


def _known(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for key, value in pairs:
        if key in KEYS:
            if key in known:
                raise ValueError(f"key {key!r} is given twice in one object")
            known[key] = value
    return known


def _identity(record: Record, key: str) -> int:
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _RecordError(f"{key} {value!r:.80}; allowed: a whole number")
    return value


def _text(record: Record, key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str) or not value.strip():
        raise _RecordError(f"{key} {value!r:.80}; allowed: a text that is not empty")
    return value


def _pixels(value: object) -> float:
    """A number of pixels; nan if it is none, as NaN and Infinity, which Python's JSON has."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST:
        return nan
    return float(value)


def _records(
    content: Content, kind: str, audit: Audit, *, problem: str = "bad_label"
) -> tuple[dict[int, Record], list[Record]]:
    """Records by their ids, and those passed over: one without an id, or with that of another, is a problem."""
    found: dict[int, Record] = {}
    passed_over: list[Record] = []
    for place, record in enumerate(getattr(content, kind)):
        try:
            number = _identity(record, "id")
            if number in found:
                raise _RecordError(f"id {number} is given twice; allowed: once")
        except _RecordError as error:
            audit.problem(content.file, None, f"{kind}[{place}]: {error}", kind=problem)
            passed_over.append(record)
            continue
        found[number] = record
    return found, passed_over


def _categories(contents: Sequence[Content], audit: Audit) -> tuple[tuple[str, ...], dict[int, int], tuple[str, ...]]:
    """Class names by index in the order of categories' ids, the index of each id, and names that are no classes.

    A category that others name as their supercategory, and that no annotation has, is no class: annotation services
    put one at the head of their exports.
    """
    names: dict[int, str] = {}
    groups: set[object] = set()
    for content in contents:
        for number, record in _records(content, "categories", audit, problem="bad_class")[0].items():
            try:
                names[number] = _name(record, names.get(number))
            except _RecordError as error:
                audit.problem(content.file, None, f"category {number}: {error}", kind="bad_class")
                continue
            if (group := record.get("supercategory")) != names[number]:
                groups.add(repr(group))
    file = contents[0].file
    check_classes(names.values(), f"{file}: categories")
    used = {repr(record.get("category_id")) for content in contents for record in content.annotations}
    kept = {id_: names[id_] for id_ in sorted(names) if repr(id_) in used or repr(names[id_]) not in groups}
    for name, times in Counter(kept.values()).items():
        if times > 1:
            audit.problem(file, None, f"{times} categories are called {name!r:.80}; allowed: one", kind="bad_class")
    labels = {id_: label for label, id_ in enumerate(kept)}
    return tuple(kept.values()), labels, tuple(name for id_, name in names.items() if id_ not in kept)


def _name(record: Record, before: str | None) -> str:
    name = _text(record, "name")
    if before not in (None, name):
        raise _RecordError(f"{name!r:.80}; allowed: {before!r:.80}, as in the file before")
    return name


def _finder(file: Path, split: str, source: Path) -> Callable[[str], Path | None]:
    """Finds the image files of a split, whose folder its JSON file does not tell."""
    root = source if source.is_dir() else file.parent
    if root == file.parent and file.parent.name.lower() in LABEL_FOLDERS:
        root = root.parent
    beside = [root, *named_folders(root, IMAGE_FOLDERS)]
    named = [file.stem.removeprefix("instances_"), *SPLITS[split]]
    tried = [*(folder / name for name in named for folder in beside), file.parent, *reversed(beside)]
    folders = [folder for folder in tried if is_there(folder, Path.is_dir)]

    def find(name: str) -> Path | None:
        return next((folder / name for folder in folders if is_there(folder / name, Path.is_file)), None)

    return find


def _entries(
    content: Content, labels: Mapping[int, int], find: Callable[[str], Path | None], audit: Audit
) -> list[Entry]:
    images, unused = _records(content, "images", audit)
    annotations, lost = _records(content, "annotations", audit)
    # Of two images with one id nobody knows whose an annotation is.
    broken = {repr(record.get("id")) for record in unused} | {repr(record.get("image_id")) for record in lost}
    objects: dict[int, list[LabelledObject]] = {number: [] for number in images}
    for number, record in annotations.items():
        try:
            image, labelled = _object(number, record, objects, labels)
        except _RecordError as error:
            audit.problem(content.file, None, f"annotation {number}: {error}", kind=error.kind)
            broken.add(repr(record.get("image_id")))
            continue
        if labelled is None:
            audit.finding("crowd", content.file, None, f"annotation {number}: iscrowd 1; left out")
        else:
            objects[image].append(labelled)
    entries = []
    for number, record in images.items():
        try:
            entries.append(_entry(content.file, record, objects[number], find))
        except _RecordError as error:
            audit.problem(content.file, None, f"image {number}: {error}", kind=error.kind)
            continue
        if repr(number) in broken:
            audit.lacks_labels(entries[-1].image)
    return entries


def _object(
    number: int, record: Record, images: Container[int], labels: Mapping[int, int]
) -> tuple[int, LabelledObject | None]:
    """The image of an annotation, and its object; None for a crowd."""
    image, category, crowd = _identity(record, "image_id"), _identity(record, "category_id"), record.get("iscrowd", 0)
    if image not in images:
        raise _RecordError(
            f"image_id {image} is of no image; allowed: ids of images in this file", kind="missing_image"
        )
    if category not in labels:
        known = ", ".join(map(str, list(labels)[:10])) + (", ..." if len(labels) > 10 else "")
        raise _RecordError(f"category_id {category} is not known; allowed: {known}", kind="unknown_class")
    if isinstance(crowd, bool) or crowd not in (0, 1):
        raise _RecordError(f"iscrowd {crowd!r:.80}; allowed: 0 or 1")
    if crowd:
        return image, None
    found = record.get("bbox")
    numbers = [_pixels(value) for value in found] if isinstance(found, list) and len(found) == 4 else [nan]
    if any(map(isnan, numbers)):
        raise _RecordError(f"bbox {found!r:.80}; allowed: four numbers of pixels: x, y, width, height")
    x, y, width, height = numbers
    box = (x, y, x + width, y + height)
    return image, LabelledObject(label=labels[category], box=box, line=None, place=f"annotation {number}")


def _entry(file: Path, record: Record, objects: Sequence[LabelledObject], find: Callable[[str], Path | None]) -> Entry:
    name = _text(record, "file_name")
    if (image := find(name)) is None:
        allowed = "files in the folder of this split, or beside the JSON file"
        raise _RecordError(f"no file {name:.200}; allowed: {allowed}", kind="missing_image")
    if image.suffix.lower() not in SUFFIXES:
        raise _RecordError(f"{name:.200} is not an image; allowed: {', '.join(SUFFIXES)}")
    return Entry(
        image=image,
        label_file=file,
        objects=tuple(objects),
        stated_size=_size(record),
        is_shared=True,
    )


def _size(record: Record) -> tuple[int, int] | None:
    if record.get("width") is None or record.get("height") is None:
        return None
    width, height = _pixels(record["width"]), _pixels(record["height"])
    if not (width >= 1 and height >= 1):
        found = f"width {record['width']!r:.40}, height {record['height']!r:.40}"
        raise _RecordError(f"{found}; allowed: numbers of pixels")
    return int(width), int(height)
