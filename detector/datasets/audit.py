"""The check that every annotation passes before training: problems stop it, findings are kept and told.

Problems are collected, so that one message names up to ten of them. Boxes here are x0 y0 x1 y1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detector.datasets.listing import DataError, Finding

MAX_PROBLEMS_SHOWN = 10
ROUNDING_PX = 0.5  # a box this little beyond its image is cut without a word: annotations are rounded

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledObject:
    """One object as its label file has it: class index, box, line of the file."""

    label: int
    box: Box
    line: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One image and what its label file says, before the image was looked at.

    Attributes:
        image: Image file.
        label_file: Its label file, or None where there is none.
        objects: Objects in the order of the label file.
        is_normalised: Whether boxes are fractions of the image's width and height rather than pixels.
        stated_size: Width and height as the label file states them, if it does.
    """

    image: Path
    label_file: Path | None
    objects: tuple[LabelledObject, ...] = ()
    is_normalised: bool = False
    stated_size: tuple[int, int] | None = None


class Audit:
    """Collects what a check finds."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self._problems: list[str] = []

    def problem(self, file: Path, line: int | None, message: str) -> None:
        """Note something that prevents training; `message` says what was found and what is allowed."""
        self._problems.append(f"{file}: {message}" if line is None else f"{file}:{line}: {message}")

    def finding(self, kind: str, file: Path, line: int | None, message: str) -> None:
        """Note something that was changed or is worth knowing."""
        self.findings.append(Finding(kind=kind, file=str(file), line=line, message=message))

    def raise_problems(self) -> None:
        """End the check if anything prevents training.

        Raises:
            DataError: There are problems; the first ten are named.
        """
        if not self._problems:
            return
        shown = self._problems[:MAX_PROBLEMS_SHOWN]
        if more := len(self._problems) - len(shown):
            shown.append(f"and {more} more")
        raise DataError("\n".join(shown))


def check_entry(entry: Entry, size: tuple[int, int], audit: Audit) -> list[LabelledObject]:
    """Objects of an entry that can be trained on, their boxes in pixels and inside the image.

    Args:
        entry: Image and objects.
        size: Width and height of the image file, upright.
        audit: Is told about boxes that were cut or left out, and images without boxes.
    """
    if entry.label_file is None:
        audit.finding("no_label_file", entry.image, None, "no label file; the image counts as background")
        return []
    if entry.stated_size not in (None, size):
        message = f"states {_times(entry.stated_size)} pixels, the image has {_times(size)}; the image's size is used"
        audit.finding("size_mismatch", entry.label_file, None, message)
    if not entry.objects:
        audit.finding("no_objects", entry.label_file, None, "no objects; the image counts as background")
    kept: dict[tuple[int, Box], LabelledObject] = {}
    for each in entry.objects:
        if (each.label, each.box) in kept:
            audit.finding("repeated_box", entry.label_file, each.line, "the same box again; left out")
        elif (inside := _inside(each, entry, size, audit)) is not None:
            kept[each.label, each.box] = inside
    return list(kept.values())


def _inside(each: LabelledObject, entry: Entry, size: tuple[int, int], audit: Audit) -> LabelledObject | None:
    width, height = size
    x0, y0, x1, y1 = each.box
    if entry.is_normalised:
        x0, y0, x1, y1 = x0 * width, y0 * height, x1 * width, y1 * height
    shown = f"box {x0:g} {y0:g} {x1:g} {y1:g} in an image of {_times(size)} pixels"
    file = entry.label_file or entry.image
    if x1 <= x0 or y1 <= y0:
        audit.finding("no_area", file, each.line, f"{shown} has no area; left out")
        return None
    cut = (max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))
    if cut[2] <= cut[0] or cut[3] <= cut[1]:
        audit.finding("outside", file, each.line, f"{shown} lies outside; left out")
        return None
    if max(cut[0] - x0, cut[1] - y0, x1 - cut[2], y1 - cut[3]) > ROUNDING_PX:
        audit.finding("clipped", file, each.line, f"{shown} reaches beyond it; cut to the image")
    return LabelledObject(label=each.label, box=cut, line=each.line)


def _times(size: tuple[int, int] | None) -> str:
    return "unknown" if size is None else f"{size[0]} x {size[1]}"
