"""The check that every annotation passes before training: problems stop it, findings are kept and told.

Problems are collected, so that one message names up to ten of them, and all images that cannot be read; a check that
goes on keeps them all as findings. Boxes here are x0 y0 x1 y1; B boxes of an image.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torchvision.ops import box_iou

from detector.datasets.listing import DataError, UnreadableImagesError
from detector.datasets.pictures import READABLE, TRANSPOSING
from detector.findings import Box, Finding
from detector.text_files import printable

MAX_PROBLEMS_SHOWN = 10
MAX_UNREADABLE_SHOWN = 50  # images: who has to mend or remove files needs all their names
MAX_OVERLAP = 0.8  # IoU above which two boxes are hardly of two objects
MAX_COMPARED = 2_000  # boxes of one image; with more, pairs by the million would be looked at
ROUNDING_PX = 0.5  # a box this little beyond its image is cut without a word: annotations are rounded


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledObject:
    """One object as its label file has it: class index, box, and line of the file.

    Where files have no lines, `place` says where in the file it is, such as `annotation 17`.
    """

    label: int
    box: Box
    line: int | None
    place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One image and what its label file says, before the image was looked at.

    Attributes:
        image: Image file.
        label_file: Label file of the image, or None where there is none.
        objects: Objects in the order of the label file.
        is_normalised: Whether boxes are fractions of the image's width and height rather than pixels.
        stated_size: Width and height in pixels as the label file states them; None where it does not.
        is_shared: Whether the label file has other images, too, and so does not tell which one is meant.
    """

    image: Path
    label_file: Path | None
    objects: tuple[LabelledObject, ...] = ()
    is_normalised: bool = False
    stated_size: tuple[int, int] | None = None
    is_shared: bool = False

    @property
    def told_of(self) -> Path:
        """The file that is named where a finding is of the image's labels as a whole."""
        return self.image if self.is_shared or self.label_file is None else self.label_file


class Audit:
    """Collects what a check finds.

    Args:
        skip_unreadable: Whether an image that cannot be read is left out with a finding rather than ending the check.
        goes_on: Whether nothing ends the check: problems become findings, and what they concern is left out.
    """

    def __init__(self, *, skip_unreadable: bool = False, goes_on: bool = False) -> None:
        self.findings: list[Finding] = []
        self.goes_on = goes_on
        self._problems: list[str] = []  # those that are shown; a long file may have one in each line
        self._problem_files: set[str] = set()
        self._told: set[int] = set()  # hashes: a long file may have a problem in each line
        self._broken: set[Path] = set()
        self._unreadable: dict[Path, str] = {}
        self._skip_unreadable = skip_unreadable or goes_on

    def problem(self, file: Path, line: int | None, message: str, *, kind: str = "bad_label") -> None:
        """Note something that prevents training, once; `message` says what was found and what is allowed."""
        finding = Finding(kind=kind, file=str(file), line=line, message=_one_line(message))
        if hash(finding) in self._told:  # splits may share a file
            return
        self._told.add(hash(finding))
        self._problem_files.add(finding.file)
        if self.goes_on:
            self.findings.append(finding)
        elif len(self._problems) < MAX_PROBLEMS_SHOWN:
            self._problems.append(f"{finding.place}: {finding.message}")

    def refused(self, source: str, error: DataError) -> None:
        """Note that a data set cannot be trained on as a whole.

        Raises:
            DataError: As given, unless the check goes on.
        """
        if not self.goes_on:
            raise error
        self.problem(Path(source), None, str(error).removeprefix(f"{source}: "), kind="unusable")

    def unreadable(self, image: Path, message: str) -> None:
        """Note an image that cannot be read; `message` says why, and is used once for an image in several splits."""
        if image in self._unreadable:
            return
        self._unreadable[image] = _one_line(message)
        if self._skip_unreadable:
            self.finding("unreadable", image, None, f"{message}; left out", images=[image])

    def is_unreadable(self, image: Path) -> bool:
        """Whether an image was noted as one that cannot be read."""
        return image in self._unreadable

    def finding(
        self,
        kind: str,
        file: Path,
        line: int | None,
        message: str,
        *,
        images: Iterable[Path] = (),
        boxes: Iterable[Box] = (),
    ) -> None:
        """Note something that was changed or is worth knowing; arguments as of `Finding`."""
        concerns, text = tuple(map(str, images)), _one_line(message)
        found = Finding(kind=kind, file=str(file), line=line, message=text, images=concerns, boxes=tuple(boxes))
        self.findings.append(found)

    def lacks_labels(self, image: Path) -> None:
        """Note that not all labels of an image, in a file with those of others, could be understood."""
        self._broken.add(image)

    def broken(self, entries: Iterable[Entry]) -> set[Path]:
        """Images whose labels are not all understood: without all its boxes one would teach that they are background.

        Problems in a label file of an image of its own are told of this image from then on.
        """
        images: dict[str, set[Path]] = {}
        for entry in entries:
            if not entry.is_shared:
                images.setdefault(str(entry.label_file), set()).add(entry.image)
        own = {file: next(iter(of)) for file, of in images.items() if len(of) == 1 and file in self._problem_files}
        for place, finding in enumerate(self.findings):
            if finding.file in own and not finding.images:
                self.findings[place] = replace(finding, images=(str(own[finding.file]),))
        return self._broken.union(own.values())

    def raise_problems(self) -> None:
        """End the check if anything prevents training, unless it goes on.

        Raises:
            UnreadableImagesError: Images cannot be read and are not to be left out; the first 50 are named.
            DataError: There are other problems; the first ten are named, and then the images that cannot be read.
        """
        if self.goes_on:
            return
        shown = _shown(self._problems, len(self._told))
        if self._unreadable and not self._skip_unreadable:
            count = len(self._unreadable)
            images = "images" if count > 1 else "image"
            shown.append(f"{count} {images} cannot be read; allowed: {READABLE}")
            named = [f"{image}: {message}" for image, message in self._unreadable.items()]
            shown.extend(_shown(named[:MAX_UNREADABLE_SHOWN], count))
        if shown:
            raise (DataError if self._problems else UnreadableImagesError)("\n".join(shown))


def _shown(messages: list[str], number: int) -> list[str]:
    more = number - len(messages)
    return [*messages, f"and {more} more"] if more else list(messages)


def _one_line(message: str) -> str:
    return printable(" ".join(line.strip() for line in message.splitlines()))


def upright_entry(entry: Entry, size: tuple[int, int], orientation: int, audit: Audit) -> Entry:
    """The entry with its boxes in the upright image.

    Annotation tools show images upright, so boxes are taken to be in the upright image; only if the label file states
    the size of the frame as it lies in the file, its boxes are turned along with the image.

    Args:
        entry: Image and objects as the label file has them.
        size: Width and height of the image in pixels, upright.
        orientation: EXIF orientation by which the image was turned, 1 to 8.
        audit: Collects images that were turned, and boxes that were.
    """
    if orientation == 1:
        return entry
    frame = (size[1], size[0])
    is_in_frame = (
        orientation in TRANSPOSING and frame != size and entry.stated_size == frame and not entry.is_normalised
    )
    boxes = "turned along with it" if is_in_frame else "taken in the upright image"
    message = f"EXIF orientation {orientation}: turned upright, {_times(size)}; boxes are {boxes}"
    audit.finding("rotated", entry.image, None, message, images=[entry.image])
    if not is_in_frame:
        return entry
    message = f"states {_times(frame)} pixels, the image has {_times(size)} upright; "
    message += (
        f"the labels seem to be made before EXIF orientation {orientation} was applied, so boxes are turned along"
    )
    audit.finding("size_mismatch", entry.told_of, None, message, images=[entry.image])
    objects = tuple(replace(labelled, box=_turned(labelled.box, frame, orientation)) for labelled in entry.objects)
    return replace(entry, objects=objects, stated_size=size)


def _turned(box: Box, frame: tuple[int, int], orientation: int) -> Box:
    """A box of a frame that is transposed; EXIF 2.3, orientation: 5 as it is, 6 a quarter to the right, 7, 8 left."""
    width, height = frame
    x0, y0, x1, y1 = box
    if orientation in (6, 7):
        y0, y1 = height - y1, height - y0
    if orientation in (7, 8):
        x0, x1 = width - x1, width - x0
    return y0, x0, y1, x1


def check_entry(entry: Entry, size: tuple[int, int], audit: Audit) -> list[LabelledObject]:
    """Objects of an entry that can be trained on, their boxes in pixels and inside the image.

    Args:
        entry: Image and objects, as `upright_entry` gives them.
        size: Width and height of the image file in pixels, upright.
        audit: Collects boxes that were cut or left out, pairs that overlap almost wholly, and images without boxes.
    """
    file, image = entry.label_file, entry.image
    if file is None:
        audit.finding("no_label_file", image, None, "no label file; the image counts as background", images=[image])
        return []
    if entry.stated_size not in (None, size):
        stated = f"{'labels state' if entry.is_shared else 'states'} {_times(entry.stated_size)} pixels"
        message = f"{stated}, the image has {_times(size)}; the image's size is used"
        audit.finding("size_mismatch", entry.told_of, None, message, images=[image])
    if not entry.objects:
        audit.finding("no_objects", entry.told_of, None, "no objects; the image counts as background", images=[image])
    kept: dict[tuple[int, Box], LabelledObject] = {}
    for labelled in entry.objects:
        if (earlier := kept.get((labelled.label, labelled.box))) is not None:
            _note(audit, "repeated_box", entry, labelled, "the same box again; left out", boxes=[earlier.box])
        elif (inside := _inside(labelled, entry, size, audit)) is not None:
            kept[labelled.label, labelled.box] = inside
    objects = list(kept.values())
    _note_overlaps(objects, entry, audit)
    return objects


def _inside(labelled: LabelledObject, entry: Entry, size: tuple[int, int], audit: Audit) -> LabelledObject | None:
    width, height = size
    x0, y0, x1, y1 = labelled.box
    if entry.is_normalised:
        x0, y0, x1, y1 = x0 * width, y0 * height, x1 * width, y1 * height
    shown = f"box {x0:g} {y0:g} {x1:g} {y1:g} in an image of {_times(size)} pixels"
    note = partial(_note, audit, entry=entry, labelled=labelled, boxes=[(x0, y0, x1, y1)])
    if x1 <= x0 or y1 <= y0:
        note("no_area", message=f"{shown} has no area; left out")
        return None
    cut = (max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))
    if cut[2] <= cut[0] or cut[3] <= cut[1]:
        note("outside", message=f"{shown} lies outside; left out")
        return None
    if max(cut[0] - x0, cut[1] - y0, x1 - cut[2], y1 - cut[3]) > ROUNDING_PX:
        note("clipped", message=f"{shown} reaches beyond it; cut to the image")
    return replace(labelled, box=cut)


def _note(
    audit: Audit, kind: str, entry: Entry, labelled: LabelledObject, message: str, *, boxes: Sequence[Box]
) -> None:
    place = f"{labelled.place}: " if labelled.place else ""
    file = entry.label_file or entry.image
    audit.finding(kind, file, labelled.line, f"{place}{message}", images=[entry.image], boxes=boxes)


def overlapping(boxes: Sequence[Box]) -> list[tuple[int, int, float]]:
    """Pairs of boxes that overlap by more than `MAX_OVERLAP`: index of the earlier, of the later, and their IoU.

    Of an image with more than `MAX_COMPARED` boxes the first so many are looked at.
    """
    if len(boxes) < 2:
        return []
    boxes_B4 = torch.tensor(boxes[:MAX_COMPARED], dtype=torch.float64)
    overlap_BB = box_iou(boxes_B4, boxes_B4).triu(diagonal=1)
    pairs = (overlap_BB > MAX_OVERLAP).nonzero().tolist()
    return [(earlier, later, float(overlap_BB[earlier, later])) for earlier, later in pairs]


def _note_overlaps(objects: Sequence[LabelledObject], entry: Entry, audit: Audit) -> None:
    closest: dict[int, tuple[float, int]] = {}  # of a heap of boxes each is told once
    for earlier, later, overlap in overlapping([labelled.box for labelled in objects]):
        closest[later] = max(closest.get(later, (0.0, 0)), (overlap, earlier))
    for later, (overlap, earlier) in sorted(closest.items()):
        first, second = objects[earlier], objects[later]
        is_same = first.label == second.label
        at = f"line {first.line}" if first.line is not None and first.line != second.line else first.place
        message = (
            f"box overlaps {f'that of {at}' if at else 'an earlier one'}, of {'the same' if is_same else 'another'} "
        )
        message += f"class, by {overlap:.2f}; both kept"
        kind = "double_box" if is_same else "contested_box"
        _note(audit, kind, entry, second, message, boxes=[first.box, second.box])


def _times(size: tuple[int, int] | None) -> str:
    return "unknown" if size is None else f"{size[0]} x {size[1]}"
