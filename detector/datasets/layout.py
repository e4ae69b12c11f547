"""Where a folder of labelled images keeps its annotations and its images, and what to say if that cannot be told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from detector.datasets.pictures import SUFFIXES
from detector.text_files import TextFileError, read_bytes
from detector.written_numbers import is_whole

LABEL_FOLDERS = ("annotations", "annots", "ann", "xml", "labels", "label")  # in any case; the first that fits
IMAGE_FOLDERS = ("jpegimages", "images", "imgs", "img", "photos")
LABEL_LISTS = ("classes.txt", "labels.txt", "names.txt", "notes.txt", "readme.txt")  # found among labels, but none
SPLITS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}  # names of folders and files

_MAX_BYTES = 2**24
_MAX_NAMES = 10
_MAX_CLASSES = 100  # a slip may name a class of any number


def named_folders(root: Path, lower_names: tuple[str, ...]) -> list[Path]:
    """Folders in `root` with one of some names in any case, in the order of these names."""
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and path.name.lower() in lower_names]
    return sorted(folders, key=lambda folder: lower_names.index(folder.name.lower()))


def split_of(name: str) -> str | None:
    """train, val or test, whichever a name such as `instances_train2017` has as one of its words; None for others."""
    words = re.split("[^a-z]+", name.lower())
    found = [split for split, names in SPLITS.items() if any(word in names for word in words)]
    return found[0] if len(found) == 1 else None


def voc_folders(root: Path) -> tuple[Path, Path] | None:
    """The folders of XML annotations and of images in `root`, or None if it has no such two.

    Either may be `root` itself, and both may be one folder. Named folders come first.
    """
    labels, images = named_folders(root, LABEL_FOLDERS), named_folders(root, IMAGE_FOLDERS)
    annotations = next((folder for folder in (*labels, *images, root) if _has(folder, (".xml",))), None)
    if annotations is None:
        return None
    pictures = next((folder for folder in (*images, root, annotations) if _has(folder, SUFFIXES)), None)
    return None if pictures is None else (annotations, pictures)


def unknown_layout(root: Path) -> str:
    """Why `root` is no data set, in one line: what was looked for, and the first ten names of what is there."""
    there = [f"{path.name}/" if path.is_dir() else path.name for path in sorted(root.iterdir())]
    more = f" and {len(there) - _MAX_NAMES} more" if len(there) > _MAX_NAMES else ""
    listed = f"{', '.join(there[:_MAX_NAMES])}{more}" if there else "nothing"
    return (
        f"has no data.yaml and no annotations; looked for *.xml in {_slashed(LABEL_FOLDERS)}, for images in "
        f"{_slashed(IMAGE_FOLDERS)} (in any case), and for both in the folder itself; for COCO's *.json in the same "
        f"folders and those of splits; for lists of images with boxes such as train.txt; found {listed}"
    )


def missing_yaml(root: Path) -> str | None:
    """What to write into a data.yaml where `root` holds YOLO labels without one, else None."""
    if (found := _yolo_labels(root)) is None:
        return None
    labels, files = found
    images = next((folder for folder in named_folders(root, IMAGE_FOLDERS) if _has_below(folder)), None)
    config = {"path": str(root.resolve()), **_places(images), "names": _class_names(root, labels, files)}
    text = yaml.safe_dump(config, sort_keys=False, default_flow_style=None, allow_unicode=True, width=10_000)
    steps = [*_moves(labels, images), f"write into {root / 'data.yaml'}:\n{text.rstrip()}"]
    found_labels = f"has YOLO labels in {labels.name}/ (text files: {len(files)}) but no data.yaml"
    return f"{found_labels}; allowed: a folder with one; {', then '.join(steps)}"


def _slashed(names: tuple[str, ...]) -> str:
    return ", ".join(f"{name}/" for name in names)


def _has(folder: Path, suffixes: tuple[str, ...]) -> bool:
    return any(path.suffix.lower() in suffixes for path in folder.iterdir())


def _yolo_labels(root: Path) -> tuple[Path, list[Path]] | None:
    """The folder that holds YOLO's text files, and these; it may have a folder for each split."""
    for folder in (*named_folders(root, LABEL_FOLDERS), *named_folders(root, IMAGE_FOLDERS)):
        files = [
            file for file in sorted(folder.rglob("*.txt")) if file.is_file() and file.name.lower() not in LABEL_LISTS
        ]
        if any(True for file in files for _ in _class_indices(file)):
            return folder, files
    return None


def _class_indices(file: Path) -> Iterator[int]:
    for line in _any_text(file).splitlines():
        words = line.split()
        if len(words) == 5 and words[0].isdecimal() and is_whole(words[0]) and len(words[0]) < 10:
            yield int(words[0])


def _any_text(file: Path) -> str:
    """What can be read of a file; it is only looked at, to say what would have to be written."""
    try:
        return read_bytes(file, max_bytes=_MAX_BYTES).decode("utf-8-sig", "replace")
    except TextFileError:
        return ""


def _moves(labels: Path, images: Path | None) -> Iterator[str]:
    # The labels of images/a.jpg are read from labels/a.txt, by these very names.
    if labels == images:
        yield "move the .txt files to a folder labels"
    elif labels.name != "labels":
        yield f"rename {labels.name} to labels"
    if images is None:
        yield "put the images in a folder images"
    elif images.name != "images":
        yield f"rename {images.name} to images"


def _has_below(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES for path in folder.rglob("*"))


def _places(images: Path | None) -> dict[str, str]:
    splits = {}
    for split, names in SPLITS.items():
        folder = next((name for name in names if images is not None and (images / name).is_dir()), None)
        if folder is not None:
            splits[split] = f"images/{folder}"
    return splits if "train" in splits else {"train": "images"}


def _class_names(root: Path, labels: Path, files: list[Path]) -> list[str]:
    for file in (labels / "classes.txt", root / "classes.txt", root / "names.txt"):
        if file.is_file():
            return [line.strip() for line in _any_text(file).splitlines() if line.strip()]
    last = max(index for file in files for index in _class_indices(file))
    return [f"name of class {index}" for index in range(min(last, _MAX_CLASSES - 1) + 1)]
