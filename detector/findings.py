"""What the check of a data set finds: kinds with how much each matters, and findings with their place."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

Box = tuple[float, float, float, float]  # x0 y0 x1 y1 in pixels of the upright image, from its top left corner


class Severity(StrEnum):
    """How much a finding matters."""

    ERROR = "error"  # stops a training
    WARNING = "warning"  # a training goes on, and learns or measures something else than was meant
    NOTE = "note"  # worth knowing


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What can be found: how much it matters, and what it means, in a phrase."""

    severity: Severity
    meaning: str


def _kinds(severity: Severity, **meanings: str) -> dict[str, Kind]:
    return {name: Kind(severity=severity, meaning=meaning) for name, meaning in meanings.items()}


KINDS = {
    **_kinds(
        Severity.ERROR,
        unusable="data set as a whole cannot be trained on",
        bad_label="annotation cannot be understood",
        bad_class="class cannot be understood, or is given twice",
        unknown_class="object is of a class that the data set does not have",
        missing_image="annotation or list names an image that is not there",
        unreadable="image cannot be read; it is left out where that is asked for",
    ),
    **_kinds(
        Severity.WARNING,
        clipped="box reaches beyond its image and is cut to it",
        outside="box lies outside its image and is left out",
        no_area="box has no area and is left out",
        repeated_box="box is listed twice in one image and is kept once",
        double_box="two boxes of one class overlap almost wholly",
        contested_box="two boxes of different classes overlap almost wholly",
        no_label_file="image has no label file and counts as background",
        size_mismatch="annotation states another image size; the file's own is used",
        cut_short="image file is cut short and is used as far as it goes",
        listed_twice="image is listed twice in one split and is kept once",
        same_image="image has the same pixels as another of its split",
        leak="image has the same pixels as one of another split",
        similar_leak="image looks almost the same as one of another split",
        unused_class="class has no box in the training split",
        unmeasured_class="class has no box in the validation split",
        rare_class="class is rare and named almost like a more frequent one",
        small_boxes="boxes are smaller than a cell of the finest grid",
        few_images="split has too few images to learn or to measure much",
    ),
    **_kinds(
        Severity.NOTE,
        similar_image="image looks almost the same as another of its split",
        crowd="annotation outlines a crowd and is left out",
        difficult="object is marked difficult and is kept",
        no_objects="label file is empty and its image counts as background",
        bad_exif="EXIF block makes no sense; the pixels are used as they stand",
        several_frames="image file has several frames or pages and the first is used",
        rotated="image is turned upright by its EXIF orientation",
        unlisted="images are in no split",
        imbalance="one class has many times the boxes of another",
        anchor_recall="boxes differ much from every anchor",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something the check of a data set changed or noticed.

    Attributes:
        kind: What kind of thing was found, a key of `KINDS`.
        file: The file it was found in.
        line: Line of that file, or None where it concerns the whole file.
        message: What was found and what was done, in one line.
        images: Images it concerns: none in particular, one, or both of a pair.
        boxes: Boxes it concerns, as they are labelled, in pixels of the first of these images.
    """

    kind: str
    file: str
    line: int | None
    message: str
    images: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind: {self.kind!r} is not one of {list(KINDS)}")
        if len(self.message.splitlines()) > 1:
            raise ValueError(f"message: {self.message!r} has several lines; allowed: one")

    @property
    def severity(self) -> Severity:
        """How much it matters."""
        return KINDS[self.kind].severity

    @property
    def place(self) -> str:
        """File and line."""
        return self.file if self.line is None else f"{self.file}:{self.line}"
