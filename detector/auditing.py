"""A data set looked at as a whole: what only all its images, boxes and anchors together tell.

Boxes are seen as a training sees them, in images shrunk so that the longer side is the image size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

import numpy as np

from detector.audited import AnchorChoice, Audited, by_severity
from detector.datasets import Dataset, audit_dataset
from detector.datasets.duplicates import similar_images
from detector.findings import Finding
from detector.priors import LabelStatistics, anchor_fit, box_sides, choose_anchors
from detector.text_files import printable

FINEST_STRIDE = 8  # px, of yolov3's finest grid
LEAST_IMAGES = {"train": 100, "val": 20}  # below, more images help more than any hyperparameter; scores move by luck
MAX_IMBALANCE = 10  # boxes of the most frequent class for one of the rarest
MIN_RECALL = 0.98


def audit(source: str, *, image_size: int) -> tuple[Audited, Dataset | None]:
    """Everything that can be found out about a data set, and what could be opened of it.

    Args:
        source: Name or path of the data set, as `open_dataset` takes it.
        image_size: Side in pixels of the square images that would be trained on, at least 32.
    """
    dataset, findings = audit_dataset(source, image_size=image_size)
    if dataset is None:
        return Audited(source=source, image_size=image_size, findings=by_severity(list(findings))), None
    anchors, sides = anchor_choices(dataset), all_box_sides(dataset)
    found = [*findings, *findings_of_whole(dataset, anchors), *small_boxes(source, sides, image_size)]
    originals = [split.original(index) for split in dataset.splits().values() for index in range(len(split))]
    audited = Audited(
        source=source,
        image_size=image_size,
        summary=dataset.summary(),
        findings=by_severity(found),
        anchors=anchors,
        box_sides={name: tuple(listed) for name, listed in sides.items()},
        image_sizes=tuple(original.size for original in originals),
        boxes_by_image=tuple(len(original.boxes) for original in originals),
    )
    return audited, dataset


def findings_of_whole(dataset: Dataset, anchors: Sequence[AnchorChoice]) -> list[Finding]:
    """Images that look almost the same, splits and classes with too little in them, anchors that do not fit."""
    return [
        *similar_images(dataset),
        *_few_images(dataset),
        *_uneven_classes(dataset),
        *_poor_anchors(dataset, anchors),
    ]


def all_box_sides(dataset: Dataset) -> dict[str, list[float]]:
    """Sides of all boxes by class, over all splits; see `box_sides`."""
    by_split = [box_sides(split, dataset.names) for split in dataset.splits().values()]
    merged = {name: [side for sides in by_split for side in sides.get(name, ())] for name in dataset.names}
    return {name: sides for name, sides in merged.items() if sides}


def anchor_choices(dataset: Dataset) -> tuple[AnchorChoice, ...]:
    """How well the anchors of yolov3-tiny and yolov3 fit the training boxes, from kmeans and as published."""
    # Of the boxes as labelled: those of the shrunk images differ by a rounding, and want every image decoded.
    originals = [dataset.train.original(index) for index in range(len(dataset.train))]
    boxes = [(box, max(original.size)) for original in originals for box in original.boxes]
    sizes = [((x1 - x0) / side, (y1 - y0) / side) for (x0, y0, x1, y1), side in boxes]
    if not sizes:
        return ()
    statistics = LabelStatistics(wh_M2=np.array(sizes), class_count=(), num_images=len(originals))
    choices = []
    for model in ("yolov3-tiny", "yolov3"):
        for source in ("kmeans", "published"):
            anchors = choose_anchors(source, model=model, statistics=statistics)
            fit = anchor_fit(anchors, statistics.wh_M2)
            choices.append(AnchorChoice(source=source, number=sum(map(len, anchors)), **asdict(fit)))
    return tuple(choices)


def small_boxes(source: str, sides: Mapping[str, Sequence[float]], image_size: int) -> Iterator[Finding]:
    """A finding for each class with boxes smaller than a cell of the finest grid.

    Args:
        source: Name or path of the data set, which the findings give as their file.
        sides: For each class the square root of each box's area, as a fraction of the longer side of its image.
        image_size: Side in pixels of the square images that are trained on.
    """
    for name, listed in sides.items():
        small = sum(side * image_size < FINEST_STRIDE for side in listed)
        if small:
            message = f"class {name}: {small} of {len(listed)} boxes are below {FINEST_STRIDE} px at {image_size} px"
            yield _of(source, "small_boxes", f"{message}; a larger image size keeps them visible")


def _few_images(dataset: Dataset) -> Iterator[Finding]:
    for name, least in LEAST_IMAGES.items():
        if (count := len(dataset.splits()[name])) < least:
            yield _of(dataset.source, "few_images", f"{name} has {count} images; {least} or more are wanted")


def _uneven_classes(dataset: Dataset) -> Iterator[Finding]:
    counts = {split: dict(zip(dataset.names, found, strict=True)) for split, found in dataset.box_counts.items()}
    if not counts:
        return
    for name, count in counts["val"].items():
        if not count and counts["train"][name]:
            message = f"class {name} has no box in the validation split: how well it is found is not measured"
            yield _of(dataset.source, "unmeasured_class", message)
    known = {name: count for name, count in counts["train"].items() if count}
    most, least = max(known, key=known.__getitem__, default=""), min(known, key=known.__getitem__, default="")
    if known and known[most] > MAX_IMBALANCE * known[least]:
        message = f"training boxes: {known[most]} of class {most}, {known[least]} of class {least}"
        yield _of(dataset.source, "imbalance", f"{message}; more than {MAX_IMBALANCE} times as many")


def _poor_anchors(dataset: Dataset, anchors: Sequence[AnchorChoice]) -> Iterator[Finding]:
    poor = [choice for choice in anchors if choice.source == "kmeans" and choice.recall < MIN_RECALL]
    for choice in poor:
        message = f"{choice.number} kmeans anchors: {1 - choice.recall:.1%} of the training boxes differ from every one"
        yield _of(dataset.source, "anchor_recall", f"{message} by more than a factor of four in a side")


def _of(source: str, kind: str, message: str) -> Finding:
    return Finding(kind=kind, file=source, line=None, message=printable(message))
