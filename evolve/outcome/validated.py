"""What the measurement of weights on a split came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from detector.observations import Box, Picture
from detector.scores import SIZES, OperatingPoint, Validation

BACKGROUND = "background"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistaken:
    """An image with mistakes, to be looked at.

    Attributes:
        image: Path of the image file, or what the image is called where it has none.
        labels: Number of labels of the image.
        picture: The image with the labels that no shown box has found.
        false: Shown boxes that found nothing, or what a surer box had found, best first.
    """

    image: str
    labels: int
    picture: Picture
    false: tuple[Box, ...]

    @property
    def missed(self) -> tuple[Box, ...]:
        """Labels that no shown box has found."""
        return self.picture.boxes

    def counts(self) -> dict[str, int]:
        """How many labels it has, how many of them are missed, and how many boxes are false."""
        return {"labels": self.labels, "missed": len(self.missed), "false": len(self.false)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated:
    """What was measured of a detector on a split.

    Attributes:
        weights: File of the weights.
        data: Name or path of the data set.
        split: Name of the split: train, val or test.
        image_size: Side of the letterboxed images in pixels.
        nms_iou: Overlap (0..1) above which boxes were suppressed for the scores.
        names: Class names by index.
        found: Scores, operating points and confusion of classes that were measured.
        worst: Images with most mistakes at the best point, the worst first.
    """

    weights: str
    data: str
    split: str
    image_size: int
    nms_iou: float
    names: tuple[str, ...]
    found: Validation
    worst: tuple[Mistaken, ...] = ()

    def by_class(self) -> dict[str, dict[str, float]]:
        """Number of objects and scores by class name; scores are NaN where there are no objects."""
        rows = zip(self.names, self.found.scores.classes, strict=True)
        return {name: {"objects": part.objects, **asdict(part.scores)} for name, part in rows}

    def by_size(self) -> dict[str, dict[str, float]]:
        """Number of objects and scores by size: small, medium, large."""
        rows = zip(SIZES, self.found.scores.sizes, strict=True)
        return {name: {"objects": part.objects, **asdict(part.scores)} for name, part in rows}

    def as_mapping(self) -> dict[str, Any]:
        """The measurement as plain values, for machines."""
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
            "worst": [{"image": mistaken.image, **mistaken.counts()} for mistaken in self.worst],
            "sweep": [asdict(point) for point in found.sweep],
            "curves": {
                "all": _curve(found.curve),
                "classes": dict(zip(self.names, map(_curve, found.class_curves), strict=True)),
            },
        }


def _curve(points: Sequence[OperatingPoint]) -> dict[str, list[float]]:
    """Columns over the score: precision, recall, f1."""
    return {name: [getattr(point, name) for point in points] for name in ("score", "precision", "recall", "f1")}
