"""What is done with weights that are there: objects found in pictures."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evolve.errors import EvolveError, shown

if TYPE_CHECKING:
    from detector.predict import Detector, Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One object that was found.

    Attributes:
        name: Name of the object's class.
        klass: Index of that class among those of the detector, from 0.
        score: How sure the detector is of the object, 0..1.
        box: Corners x0 y0 x1 y1 in pixels of the image, upright.
    """

    name: str
    klass: int
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageResult:
    """What was found in one image file.

    Attributes:
        image: Path of the image file.
        picture: Path of the picture that was written, with the boxes drawn.
        labels: Path of the YOLO label file that was written; None where none was asked for.
        width, height: Size of the upright image in pixels.
        boxes: Objects that were found, the best first.
    """

    image: str
    picture: str
    labels: str | None
    width: int
    height: int
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """An image file that was passed over: its name, and why."""

    image: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """What was found in some image files, and which of them could not be read.

    Attributes:
        weights: File of the weights.
        output: Folder that was written to.
        images: What was found in each image that could be read.
        unreadable: Files that were passed over.
    """

    weights: str
    output: str
    images: tuple[ImageResult, ...]
    unreadable: tuple[Unreadable, ...]

    def counts(self) -> dict[str, int]:
        """Number of objects by class name, most frequent first."""
        return dict(Counter(box.name for image in self.images for box in image.boxes).most_common())

    def as_mapping(self) -> dict[str, Any]:
        """The result as plain values, for machines, with the number of objects by class name."""
        return asdict(self) | {"objects": self.counts()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How pictures are looked at, and what is written.

    Attributes:
        output: Folder of the pictures; it may hold none of the images, nor, with label files, labels of theirs.
        score: Least score (0..1) of what is shown.
        nms_iou: Overlap (0..1) above which boxes are suppressed; None for that of the training.
        saves_txt: Whether YOLO label files are written, into `labels/` of the folder.
    """

    output: Path
    score: float
    nms_iou: float | None
    saves_txt: bool


def opened_detector(weights: Path, device: str) -> Detector:
    """The detector in a file of weights.

    Raises:
        EvolveError: The file has no detector that can be used.
    """
    from detector import load_detector
    from detector.checkpoint import CheckpointError

    try:
        return load_detector(weights, device)
    except CheckpointError as error:
        raise EvolveError(f"weights {error}") from error


def find_images(words: Sequence[str]) -> list[Path]:
    """Image files that words of the command line mean, in order, each once.

    Args:
        words: Files, folders (the images directly in them) and patterns such as `photos/**/*.jpg`.

    Raises:
        EvolveError: A folder or pattern has no image.
    """
    return list(dict.fromkeys(path for word in words for path in _images_of(word)))


def _images_of(word: str) -> list[Path]:
    from detector.datasets.pictures import SUFFIXES

    if os.path.isdir(word):  # noqa: PTH112  what is no path at all is no folder
        found, what = sorted(Path(word).iterdir()), "folder"
    elif not os.path.exists(word) and glob.has_magic(word):  # noqa: PTH110
        found, what = sorted(map(Path, glob.glob(word, recursive=True))), "pattern"  # noqa: PTH207
    else:
        return [Path(word)]
    images = [path for path in found if path.suffix.lower() in SUFFIXES and path.is_file()]
    if not images:
        raise EvolveError(f"{shown(word)}: the {what} has no images; allowed: {', '.join(SUFFIXES)} files")
    return images


def detect_images(detector: Detector, images: Sequence[Path], wanted: Wanted) -> Iterator[ImageResult | Unreadable]:
    """Looks at image files and writes them with boxes drawn, one after another.

    Raises:
        EvolveError: The output folder holds an image that is looked at or is where labels of one belong, or cannot be
            made.
        OSError: A picture cannot be written.
    """
    _check_spares(images, wanted)
    _make_folders(wanted)
    taken: set[str] = set()
    for path in images:
        name = _free_name(path.stem, taken)
        try:
            yield _detect_image(detector, path, name, wanted)
        except ValueError as error:  # an UnreadableImagesError begins with the file's name
            yield Unreadable(image=str(path), reason=str(error).removeprefix(f"{path}: "))


def _check_spares(images: Sequence[Path], wanted: Wanted) -> None:
    """Makes sure that nothing is written where images that are looked at, or labels of theirs, may be."""
    folder, of_labels = wanted.output.resolve(), (wanted.output / "labels").resolve()
    for path in images:
        places = [path.absolute(), path.parent.resolve() / path.name, path.resolve()]
        own = {place.parent.resolve() for place in places}
        if folder in own:
            raise EvolveError(
                f"-o {wanted.output}: holds the image {shown(path.name)}, which could be overwritten; "
                "allowed: a folder without images that are looked at"
            )
        if wanted.saves_txt and of_labels in own | {_label_folder(place) for place in places}:
            raise EvolveError(
                f"-o {wanted.output}: its labels/ is where labels of the image {shown(path.name)} belong, which could "
                "be overwritten; allowed with --save-txt: a folder outside the data set"
            )


def _label_folder(image: Path) -> Path:
    from detector.datasets.yolo import label_path

    return label_path(image).parent.resolve()


def _make_folders(wanted: Wanted) -> None:
    folders = [wanted.output, wanted.output / "labels"] if wanted.saves_txt else [wanted.output]
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EvolveError(f"-o {folder}: cannot be made a folder: {error.strerror or error}") from None


def _free_name(stem: str, taken: set[str]) -> str:
    """A name that no picture of this run has, on file systems that do not tell capitals apart either."""
    name, number = stem, 1
    while name.casefold() in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name.casefold())
    return name


def _detect_image(detector: Detector, path: Path, name: str, wanted: Wanted) -> ImageResult:
    from detector.drawing import drawn, write_picture

    (found,) = detector([path], min_score=wanted.score, nms_iou=wanted.nms_iou)
    picture, labels = wanted.output / f"{name}.jpg", None
    write_picture(drawn(path, found, detector.names), picture)
    if wanted.saves_txt:
        labels = wanted.output / "labels" / f"{name}.txt"
        labels.unlink(missing_ok=True)  # what may be a link is not written through
        labels.write_text(_yolo_labels(found), encoding="utf-8")
    return ImageResult(
        image=str(path),
        picture=str(picture),
        labels=None if labels is None else str(labels),
        width=found.size[0],
        height=found.size[1],
        boxes=tuple(_boxes(found, detector.names)),
    )


def _boxes(found: Prediction, names: Sequence[str]) -> Iterator[Box]:
    rows = zip(found.boxes_K4.tolist(), found.scores_K.tolist(), found.classes_K.tolist(), strict=True)
    for (x0, y0, x1, y1), score, klass in rows:
        yield Box(name=names[klass], klass=klass, score=score, box=(x0, y0, x1, y1))


def _yolo_labels(found: Prediction) -> str:
    """A line a box: class, centre and size as fractions of the image."""
    width, height = found.size
    return "".join(
        f"{klass} {(x0 + x1) / 2 / width:.6f} {(y0 + y1) / 2 / height:.6f} "
        f"{(x1 - x0) / width:.6f} {(y1 - y0) / height:.6f}\n"
        for (x0, y0, x1, y1), klass in zip(found.boxes_K4.tolist(), found.classes_K.tolist(), strict=True)
    )
