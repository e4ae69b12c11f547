"""Data sets in YOLO's layout: a data.yaml, images, and one text file of normalised boxes for each.

Source of the layout: ultralytics' documentation of detection data sets; `labels` replaces `images` in a path.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isnan
from pathlib import Path
from typing import Any

from detector.datasets.audit import Audit, Entry, LabelledObject
from detector.datasets.files import Listing
from detector.datasets.layout import LABEL_LISTS
from detector.datasets.listing import DataError
from detector.datasets.pictures import SUFFIXES
from detector.datasets.places import (
    MAX_CLASSES,
    both_there,
    check_classes,
    class_index,
    expanded,
    is_there,
    label_lines,
    list_lines,
)
from detector.text_files import TextFileError, read_text
from detector.written_numbers import as_float
from detector.yaml_text import YamlError, load

_SPLITS = ("train", "val", "test")
_NUMBERS = ("class", "centre x", "centre y", "width", "height")
_MAX_NODES = 20_000  # a list of as many names, or a mapping of half
_MAX_PATH = 300  # characters of one that are shown
_LARGEST = 2.0  # a normalised number beyond this is a number of pixels


def read_yolo(file: Path, audit: Audit) -> Listing:
    """Images and objects that a data.yaml lists.

    Args:
        file: Path of the data.yaml.
        audit: Collects what is wrong with label files and listings.

    Raises:
        DataError: The data.yaml itself cannot be used.
    """
    config = _load(file)
    names = _names(config, file)
    root = _root(config, file)
    entries: dict[str, list[Entry]] = {}
    for split in _SPLITS:
        if places := _places(config, split, file):
            images = [image for place in places for image in _images(_resolved(place, root, file, split), root, audit)]
            entries[split] = [_entry(image, names, audit) for image in images]
    if "train" not in entries:
        raise DataError(
            f"{file}: train: missing; allowed: a folder, a list of folders, or a .txt file that lists images"
        )
    _note_orphans({entry.image for listed in entries.values() for entry in listed}, audit)
    return Listing(source=str(file), names=names, entries=entries, note=f"splits as {file.name} lists them")


def _load(file: Path) -> Mapping[str, Any]:
    try:
        config = load(read_text(file), as_text=("names", "path"), max_nodes=_MAX_NODES)
    except TextFileError as error:
        raise DataError(f"{file}: {error}") from None
    except YamlError as error:
        where = f"{file}:{error.line}" if error.line else f"{file}"
        raise DataError(f"{where}: not readable as YAML: {error.problem}") from None
    if not isinstance(config, dict):
        raise DataError(f"{file}: {type(config).__name__} at the top; allowed: keys path, train, val, test, names, nc")
    return config


def _names(config: Mapping[str, Any], file: Path) -> tuple[str, ...]:
    names, count = config.get("names"), config.get("nc")
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or not 0 < count <= MAX_CLASSES):
        raise DataError(f"{file}: nc: {count!r:.80}; allowed: a number of classes, 1 to {MAX_CLASSES:,}")
    if names is None and count is not None:
        names = [f"class{index}" for index in range(count)]
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise DataError(f"{file}: names: keys {list(names)!r:.80}; allowed: 0 to {len(names) - 1}, each once")
        names = [names[index] for index in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{file}: names: {names!r:.80}; allowed: a list of class names, or a mapping from 0, 1, ...")
    if wrong := [name for name in names if not isinstance(name, str) or not name.strip()]:
        raise DataError(f"{file}: names: {wrong[0]!r:.80} among them; allowed: a name for each class")
    texts = tuple(names)
    check_classes(texts, f"{file}: names")
    if len(set(texts)) < len(texts):
        raise DataError(f"{file}: names: {list(texts)!r:.80} has a name twice; allowed: different names")
    if count is not None and count != len(texts):
        raise DataError(f"{file}: nc: {count!r} with {len(texts)} names; allowed: {len(texts)}")
    return texts


def _root(config: Mapping[str, Any], file: Path) -> Path:
    path = config.get("path")
    if not isinstance(path, str | None):
        raise DataError(f"{file}: path: {path!r:.80}; allowed: a folder, relative to this file or absolute")
    root = file.parent / expanded(path or ".", f"{file}: path")
    if not is_there(root, Path.is_dir):
        raise DataError(
            f"{file}: path: no folder {str(root)[:_MAX_PATH]}; allowed: a folder, relative to this file or absolute"
        )
    return root


def _places(config: Mapping[str, Any], split: str, file: Path) -> list[str]:
    value = config.get(split)
    places = [value] if isinstance(value, str) else value or []
    if not isinstance(places, list) or not all(isinstance(place, str) and place for place in places):
        allowed = "a folder, a list of folders, or a .txt file of images"
        raise DataError(f"{file}: {split}: {value!r:.80}; allowed: {allowed}")
    return places


def _resolved(place: str, root: Path, file: Path, split: str) -> Path:
    # Exports of annotation services say ../train/images for a folder beside data.yaml.
    tried = [root / expanded(place, f"{file}: {split}"), *([root / place[3:]] if place.startswith("../") else [])]
    for path in tried:
        if is_there(path, Path.exists):
            if path.resolve() == Path(path.resolve().anchor):
                raise DataError(
                    f"{file}: {split}: {path.resolve()} is the whole file system; allowed: a folder of images"
                )
            return path
    raise DataError(
        f"{file}: {split}: no {tried[0]!s:.{_MAX_PATH}}; allowed: an existing folder, or a .txt file that lists images"
    )


def _images(place: Path, root: Path, audit: Audit) -> list[Path]:
    if place.is_dir():
        return _with_own_labels(_images_below(place), audit)
    if place.suffix.lower() != ".txt":
        raise DataError(f"{place}: neither a folder nor a .txt file; allowed: either, listing images")
    images = []
    for number, line in enumerate(list_lines(place), start=1):
        if not (text := line.strip()):
            continue
        found = next((path for path in (place.parent / text, root / text) if is_there(path, Path.is_file)), None)
        if found is None:
            audit.problem(
                place,
                number,
                f"no image {text:.200}; allowed: image files, relative to this file or the data set",
                kind="missing_image",
            )
        elif found.suffix.lower() not in SUFFIXES:
            audit.problem(place, number, f"{text:.200} is not an image; allowed: {', '.join(SUFFIXES)}")
        else:
            images.append(found)
    return images


def _images_below(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    except OSError as error:  # a folder went away, or may not be looked into
        raise DataError(f"{folder}: cannot be looked through: {error.strerror}; allowed: a folder of images") from None


def _with_own_labels(images: list[Path], audit: Audit) -> list[Path]:
    """Images of a folder but for those that have one label file: it does not tell which of them it is of."""
    by_labels: dict[Path, list[Path]] = {}
    for image in images:
        by_labels.setdefault(label_path(image), []).append(image)
    shared = {file: of for file, of in by_labels.items() if len(of) > 1 and file.is_file()}
    for file, of in shared.items():
        message = f"{both_there(of)}; allowed: one image for a label file, or a .txt file that lists images"
        audit.problem(file, None, message)
    return [image for image in images if label_path(image) not in shared]


def label_path(image: Path) -> Path:
    """Where the labels of an image are: `labels` for the last folder called `images`, else beside it."""
    parts = list(image.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == "images":
            parts[index] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _entry(image: Path, names: tuple[str, ...], audit: Audit) -> Entry:
    file = label_path(image)
    if not file.is_file():
        return Entry(image=image, label_file=None)
    parsed = (
        _object(line, number, file, names, audit) for number, line in enumerate(label_lines(file, audit), start=1)
    )
    objects = tuple(labelled for labelled in parsed if labelled is not None)
    return Entry(image=image, label_file=file, objects=objects, is_normalised=True)


def _object(line: str, number: int, file: Path, names: tuple[str, ...], audit: Audit) -> LabelledObject | None:
    if not (words := line.split()):
        return None
    numbers = tuple(map(as_float, words)) if len(words) == len(_NUMBERS) else ()
    if not numbers or any(map(isnan, numbers)):
        audit.problem(file, number, f"{line.strip()!r:.200}; allowed: five numbers: {', '.join(_NUMBERS)}")
        return None
    _, cx, cy, width, height = numbers
    try:
        label = class_index(numbers[0], words[0], names)
    except ValueError as error:
        audit.problem(file, number, str(error), kind="unknown_class")
        return None
    if max(abs(value) for value in numbers[1:]) > _LARGEST:
        audit.problem(file, number, f"{line.strip()!r:.200} counts pixels; allowed: fractions of the image, 0 to 1")
        return None
    box = (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
    return LabelledObject(label=label, box=box, line=number)


def _note_orphans(images: Iterable[Path], audit: Audit) -> None:
    folders = sorted({(image.parent, label_path(image).parent) for image in images})
    for image_folder, label_folder in folders:
        if image_folder == label_folder or not label_folder.is_dir():
            continue  # beside images, a text file without an image may be a listing or a note
        stems = {path.stem for path in image_folder.iterdir() if path.suffix.lower() in SUFFIXES}
        for file in sorted(label_folder.glob("*.txt")):
            if file.stem not in stems and file.name.lower() not in LABEL_LISTS:
                message = f"labels without an image; allowed: one of {file.stem}.* in {image_folder}"
                audit.problem(file, None, message, kind="missing_image")
