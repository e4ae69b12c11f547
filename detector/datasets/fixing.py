"""A data set put right as far as that can be done without looking at it: what its images and boxes are then.

An opened data set already lacks boxes without area, those outside and repeated, and what cannot be read; and its boxes
are cut to their images. Here boxes that are hardly of two objects become one, and images that are there twice go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from detector.datasets.audit import overlapping
from detector.datasets.duplicates import Place, all_places, look_of, pixel_digest, similar_pairs
from detector.datasets.listing import Dataset, Original
from detector.findings import Box, Finding
from detector.text_files import printable

_KEPT_FIRST = ("test", "val", "train")  # what is measured on keeps its images, so that scores still compare
_LEFT_OUT = ("outside", "no_area", "repeated_box", "unreadable", "clipped", "size_mismatch", "listed_twice", "crowd")
_BROKEN = ("bad_label", "unknown_class")
_NOT_COPIED = ("missing_image", "unlisted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """A data set that was put right.

    Attributes:
        splits: Images with their boxes by split.
        done: Everything that was done: findings whose messages say so.
    """

    splits: Mapping[str, Sequence[Original]]
    done: tuple[Finding, ...]


def fixed(dataset: Dataset, findings: Sequence[Finding]) -> Fixed:
    """A data set put right, and what was done to it.

    Args:
        dataset: The data set as `audit_dataset` opened it.
        findings: What `audit_dataset` found in it.
    """
    places = all_places(dataset)
    gone = dict(_spare_images(places))
    splits: dict[str, list[Original]] = {name: [] for name in dataset.splits()}
    for number, place in enumerate(places):
        if number not in gone:
            splits[place.split].append(_merged(place.original))
    done = [*(found for finding in findings if (found := _done(finding, dataset.names))), *gone.values()]
    return Fixed(splits=splits, done=tuple(done))


def _done(finding: Finding, names: Sequence[str]) -> Finding | None:
    if finding.kind in _LEFT_OUT:
        return finding
    if finding.kind in _BROKEN:
        return replace(finding, message=f"{finding.message}; the image is left out")
    if finding.kind == "bad_class":
        return replace(finding, message=f"{finding.message}; the classes are {', '.join(names)}")
    if finding.kind in _NOT_COPIED:
        return replace(finding, message=f"{finding.message}; left out")
    if finding.kind == "difficult":
        return replace(finding, message=f"{finding.message} without the mark")
    if finding.kind == "double_box":
        return replace(finding, message=finding.message.replace("both kept", "merged into one"))
    return None


def _merged(original: Original) -> Original:
    boxes, labels = merged_boxes(original.boxes, original.labels)
    return replace(original, boxes=boxes, labels=labels)


def merged_boxes(boxes: Sequence[Box], labels: Sequence[int]) -> tuple[tuple[Box, ...], tuple[int, ...]]:
    """Boxes of one image with those of one class that overlap almost wholly made one, their mean.

    Args:
        boxes: Boxes of the image in pixels.
        labels: Class index of each box.
    """
    kept, classes = list(boxes), list(labels)
    while pairs := [(earlier, later) for earlier, later, _ in overlapping(kept) if classes[earlier] == classes[later]]:
        taken: set[int] = set()  # a box is merged once a round
        gone: set[int] = set()
        for earlier, later in pairs:
            if earlier not in taken and later not in taken:
                x0, y0, x1, y1 = ((a + b) / 2 for a, b in zip(kept[earlier], kept[later], strict=True))
                kept[earlier] = (x0, y0, x1, y1)
                taken |= {earlier, later}
                gone.add(later)
        kept = [box for place, box in enumerate(kept) if place not in gone]
        classes = [label for place, label in enumerate(classes) if place not in gone]
    return tuple(kept), tuple(classes)


def _spare_images(places: Sequence[Place]) -> Iterator[tuple[int, Finding]]:
    """Images to leave out, by number: of identical ones all but one, and those that look like one kept elsewhere."""
    order = sorted(range(len(places)), key=lambda number: _KEPT_FIRST.index(places[number].split))
    first: dict[bytes, int] = {}
    gone: set[int] = set()
    for number in order:
        kept = first.setdefault(pixel_digest(places[number].picture), number)
        if kept != number:
            gone.add(number)
            yield number, _left_out(places[number], places[kept], "the same pixels as")
    # Later in the order, so that of two alike the one that is less measured on goes.
    rest = [number for number in order if number not in gone]
    for earlier_index, later_index, _ in similar_pairs([look_of(places[number].picture) for number in rest]):
        earlier, later = rest[earlier_index], rest[later_index]
        if places[earlier].split != places[later].split and not {earlier, later} & gone:
            gone.add(later)
            yield later, _left_out(places[later], places[earlier], "almost the look of")


def _left_out(place: Place, kept: Place, what: str) -> Finding:
    image, other = str(place.original.image), str(kept.original.image)
    is_leak, is_same = place.split != kept.split, what.startswith("the same")
    kind = ("leak" if is_leak else "same_image") if is_same else "similar_leak"
    labels = "" if place.original.boxes == kept.original.boxes else "; their boxes differ, those of the other stay"
    message = f"in {place.split}: {what} {other} in {kept.split}{labels}; left out"
    return Finding(kind=kind, file=image, line=None, message=printable(message), images=(image, other))
