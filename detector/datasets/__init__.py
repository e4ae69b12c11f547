"""Labelled images from disk or made on the fly, behind one protocol."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from detector.datasets.audit import Audit
from detector.datasets.box_lists import box_lists, is_box_list, read_box_lists
from detector.datasets.coco import coco_files, read_coco
from detector.datasets.digits import CLASS_NAMES, open_digits
from detector.datasets.files import Listing, build
from detector.datasets.layout import missing_yaml, unknown_layout, voc_folders
from detector.datasets.listing import DataError, Dataset, Sample, Split, UnreadableImagesError
from detector.datasets.picture_store import PictureStore
from detector.datasets.pictures import longest_kept
from detector.datasets.places import expanded
from detector.datasets.voc import read_voc
from detector.datasets.yolo import read_yolo
from detector.findings import Finding

__all__ = [
    "DataError",
    "Dataset",
    "Finding",
    "Sample",
    "Split",
    "UnreadableImagesError",
    "audit_dataset",
    "format_of",
    "open_dataset",
]

_YAML = (".yaml", ".yml")
_ALLOWED = (
    f"{', '.join(CLASS_NAMES)}; a YOLO data.yaml or a folder with one; a Pascal VOC folder; COCO's JSON files or a "
    "folder with them; lists with an image and its boxes a line"
)


def open_dataset(
    source: str,
    *,
    image_size: int,
    seed: int = 0,
    cache_mb: int = 1024,
    skip_unreadable: bool = False,
    pictures: Path | None = None,
) -> Dataset:
    """The data set called `source`, checked as a whole before anything is trained on it.

    Args:
        source: digits, digits-1, digits-3 or digits-10; a YOLO data.yaml or a folder with one; a Pascal VOC folder; a
            JSON file of COCO or a folder with them; a list with an image and its boxes a line, or a folder with them.
        image_size: Side of the square images that will be trained on, in pixels.
        seed: Seed of rendered training scenes, and of the choice of images held out where no split is given.
        cache_mb: Memory for decoded pictures in MiB that are this process's alone; the rest is decoded when needed.
        skip_unreadable: Whether images that cannot be read are left out, each with a finding, instead of ending the
            check. The other images stay in the splits they would be in anyway.
        pictures: Folder for decoded pictures that the processes of a run share; what cannot be kept there is this
            process's alone.

    Raises:
        UnreadableImagesError: Images cannot be read, and nothing else is wrong: up to fifty are named.
        DataError: The source is not one of these, or its files cannot be trained on: up to ten places are named.
        ValueError: A number is not allowed.
    """
    if image_size < 32 or seed < 0 or cache_mb < 0:
        raise ValueError(
            f"image_size {image_size}, seed {seed}, cache_mb {cache_mb}: allowed are at least 32, and 0 or more"
        )
    if source in CLASS_NAMES:
        return open_digits(source, image_size=image_size, seed=seed)
    store = PictureStore(longest=longest_kept(image_size), max_bytes=cache_mb * 2**20, shared=pictures)
    return _opened(source, Audit(skip_unreadable=skip_unreadable), store, seed)


def audit_dataset(source: str, *, image_size: int, seed: int = 0) -> tuple[Dataset | None, tuple[Finding, ...]]:
    """What can be opened of a data set, and everything its check finds: what would end the check is an error among it.

    Args:
        source, image_size, seed: Name or path of the data set, side of its square images in pixels, and seed, as
            `open_dataset` takes them.

    Returns:
        The data set without what is wrong, its splits possibly empty; None where it cannot be read as a whole.

    Raises:
        ValueError: A number is not allowed.
    """
    if source in CLASS_NAMES:
        return (dataset := open_dataset(source, image_size=image_size, seed=seed)), dataset.findings
    audit = Audit(goes_on=True)
    store = PictureStore(longest=longest_kept(image_size), max_bytes=2**30)
    try:
        return (dataset := _opened(source, audit, store, seed)), dataset.findings
    except DataError as error:
        audit.refused(source, error)
    return None, tuple(audit.findings)


def _opened(source: str, audit: Audit, store: PictureStore, seed: int) -> Dataset:
    _, read = _reader(_existing(source))
    return build(read(audit), audit, store, seed)


def format_of(source: str) -> str:
    """Name of the format of a data set of files, one of `detector.datasets.label_files.FORMATS`.

    Raises:
        DataError: It is of none.
    """
    return _reader(_existing(source))[0]


def _reader(path: Path) -> tuple[str, Callable[[Audit], Listing]]:
    """The format of a file or folder, and what reads it."""
    return _reader_of_folder(path) if path.is_dir() else _reader_of_file(path)


def _reader_of_file(path: Path) -> tuple[str, Callable[[Audit], Listing]]:
    suffix = path.suffix.lower() if path.is_file() else ""
    if suffix in _YAML:
        return "yolo", partial(read_yolo, path)
    if suffix == ".json":
        return "coco", partial(read_coco, {"train": path}, path)
    if suffix == ".txt" and is_box_list(path):
        return "listing", partial(read_box_lists, {"train": path}, path)
    raise DataError(f"{path}: is no known data set; allowed: {_ALLOWED}")


def _reader_of_folder(path: Path) -> tuple[str, Callable[[Audit], Listing]]:
    if (config := _data_yaml(path)) is not None:
        return "yolo", partial(read_yolo, config)
    if voc_folders(path) is not None:
        return "voc", partial(read_voc, path)
    if (files := coco_files(path)) is not None:
        return "coco", partial(read_coco, files, path)
    if (files := box_lists(path)) is not None:
        return "listing", partial(read_box_lists, files, path)
    raise DataError(f"{path}: {missing_yaml(path) or f'{unknown_layout(path)}; allowed: {_ALLOWED}'}")


def _existing(source: str) -> Path:
    path = expanded(source, source[:200])
    try:
        path.stat()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{source[:200].replace(chr(0), '?')}: {reason}; allowed: {_ALLOWED}") from None
    return path


def _data_yaml(path: Path) -> Path | None:
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in _YAML)
    named = [file for file in files if file.stem in ("data", "dataset")]
    if len(named or files) > 1:
        listed = ", ".join(file.name for file in named or files)
        raise DataError(f"{path}: several YAML files ({listed}); allowed: one, or the path of the right one")
    return next(iter(named or files), None)
