"""Weights measured on a split of a data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evolve.errors import EvolveError, shown
from evolve.run.detection import open_data

if TYPE_CHECKING:
    from detector.batches import Batch
    from detector.datasets import Dataset, Split
    from detector.predict import Detector
    from detector.validation import OperatingPoint, Validation

BACKGROUND = "background"


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated:
    """What a detector's measurement on a split came to.

    Attributes:
        weights: File of the weights.
        data: The data set.
        split: train, val or test.
        image_size: Side of the letterboxed images in pixels.
        nms_iou: Overlap of suppression for the scores.
        names: Class names by index.
        found: The measurement.
    """

    weights: str
    data: str
    split: str
    image_size: int
    nms_iou: float
    names: tuple[str, ...]
    found: Validation

    def by_class(self) -> dict[str, dict[str, float]]:
        """Number of objects and scores by class name; scores are NaN where there are no objects."""
        rows = zip(self.names, self.found.scores.classes, strict=True)
        return {name: {"objects": part.objects, **asdict(part.scores)} for name, part in rows}

    def by_size(self) -> dict[str, dict[str, float]]:
        """Number of objects and scores by size: small, medium, large."""
        from detector.metrics import SIZES

        rows = zip(SIZES, self.found.scores.sizes, strict=True)
        return {name: {"objects": part.objects, **asdict(part.scores)} for name, part in rows}

    def as_mapping(self) -> dict[str, Any]:
        """For machines."""
        found = self.found
        return {
            "weights": self.weights,
            "data": self.data,
            "split": self.split,
            "image_size": self.image_size,
            "nms_iou": self.nms_iou,
            "images": found.images,
            "objects": found.objects,
            **asdict(found.scores.overall),
            "classes": self.by_class(),
            "sizes": self.by_size(),
            "best": asdict(found.best),
            "confusion": {
                "score": found.best.score,
                "nms_iou": found.best.nms_iou,
                "labelled": [*self.names, BACKGROUND],
                "found": [*self.names, BACKGROUND],
                "counts": found.confusion,
            },
            "sweep": [asdict(point) for point in found.sweep],
            "curves": {
                "all": _curve(found.curve),
                "classes": dict(zip(self.names, map(_curve, found.class_curves), strict=True)),
            },
        }


def _curve(points: Sequence[OperatingPoint]) -> dict[str, list[float]]:
    """Columns over the score: precision, recall, f1."""
    return {name: [getattr(point, name) for point in points] for name in ("score", "precision", "recall", "f1")}


class Validating:
    """A split on which a detector is going to be measured.

    Args:
        detector: What is measured.
        data: Name of built-in data or a path.
        split: train, val or test.
        nms_iou: Overlap (0..1) of suppression for the scores; None for that of the training.
        skip_unreadable: Whether images that cannot be read are left out.

    Raises:
        EvolveError: The data cannot be used, have no such split, or have a class that the weights do not know.
    """

    def __init__(
        self, detector: Detector, data: str, *, split: str, nms_iou: float | None, skip_unreadable: bool
    ) -> None:
        self._detector, self._data, self._split_name = detector, data, split
        self._nms_iou = detector.source.plan.nms_iou if nms_iou is None else nms_iou
        self._dataset: Dataset = open_data(data, image_size=detector.image_size, skip_unreadable=skip_unreadable)
        splits = self._dataset.splits()
        if split not in splits:
            raise EvolveError(f"--split {shown(split)}: data {data} have no such split; allowed: {', '.join(splits)}")
        if not len(splits[split]):
            raise EvolveError(f"--split {split}: data {data} have no image in it; allowed: at least one")
        self._split: Split = splits[split]
        self._class_of = self._known_classes()

    @property
    def num_batches(self) -> int:
        """Number of items of `batches`."""
        from detector.batches import num_batches

        return num_batches(self._split, self._detector.source.plan.batch_size)

    def batches(self) -> Iterator[Batch]:
        """The split as training measures it, with the detector's classes."""
        from detector.batches import evaluation_batches

        plan = self._detector.source.plan
        found = evaluation_batches(
            self._split, batch_size=plan.batch_size, image_size=plan.image_size, max_boxes=self._dataset.max_boxes
        )
        for batch in found:
            labels_NM5 = batch.labels_NM5.clone()
            labels_NM5[..., 0].apply_(lambda index: self._class_of[int(index)] if index >= 0 else index)
            yield replace(batch, labels_NM5=labels_NM5)

    def result(self, weights: Path, batches: Iterable[Batch]) -> Validated:
        """Measures.

        Args:
            weights: File of the weights, for the record.
            batches: What `batches` gave.
        """
        from detector.validation import validate

        sizes = [self._split.size(index) for index in range(len(self._split))]
        return Validated(
            weights=str(weights),
            data=self._data,
            split=self._split_name,
            image_size=self._detector.image_size,
            nms_iou=self._nms_iou,
            names=self._detector.names,
            found=validate(self._detector, batches, sizes, nms_iou=self._nms_iou),
        )

    def _known_classes(self) -> list[int]:
        """The detector's index of each of the data's classes."""
        known = self._detector.names
        if unknown := [name for name in self._dataset.names if name not in known]:
            raise EvolveError(
                f"--data {self._data}: classes {shown(unknown)} are not among those of the weights; "
                f"allowed: {shown(list(known))}"
            )
        return [known.index(name) for name in self._dataset.names]
