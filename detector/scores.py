"""What is measured of a detector on a split: scores by class and size, operating points; standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from detector.telemetry import Scores

# Areas in pixels, from and to: COCO's (pycocotools, cocoeval.py, Params).
SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
MATCH_IOU = 0.5  # a detection with this overlap has found its object
MOST_WORST = 12  # images whose mistakes are listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Scores of some of the objects; NaN where there are none.

    Attributes:
        objects: Number of these objects that are labelled.
        scores: Scores by COCO's rules: what is found of other classes or sizes counts neither way.
    """

    objects: int
    scores: Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class AllScores:
    """Scores of a split.

    Attributes:
        overall: Scores of all objects: means over classes that have labels.
        classes: Scores of each class, by its index.
        sizes: Scores of small, medium and large objects, in the order of `SIZES`.
    """

    overall: Scores
    classes: tuple[Part, ...]
    sizes: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """How a detector does when it shows only some boxes.

    Attributes:
        score: Least score that is shown, 0..1.
        nms_iou: Overlap above which suppression takes two boxes of a class for one, 0..1.
        precision: Share of the shown boxes that have found an object of their class at IoU 0.5; NaN if none is shown.
        recall: Share of the objects that were found; NaN if there are none.
        f1: 2 TP / (2 TP + FP + FN), 0..1.
        false_positives_per_image: Shown boxes that found nothing, per image.
    """

    score: float
    nms_iou: float
    precision: float
    recall: float
    f1: float
    false_positives_per_image: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistakes:
    """What a detector has wrong in one image at an operating point.

    Rows begin with corners xyxy as fractions of the letterboxed square, then the class index.

    Attributes:
        index: Place of the image in its split, from 0.
        labels: Number of labels of the image.
        missed: Labels that no shown box has found.
        false: Shown boxes that found no object of their class that no surer box had found, best first; their rows end
            with the score, 0..1.
    """

    index: int
    labels: int
    missed: tuple[tuple[float, ...], ...]
    false: tuple[tuple[float, ...], ...]

    def __len__(self) -> int:
        return len(self.missed) + len(self.false)


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """What was measured on a split.

    Attributes:
        images: Number of images.
        objects: Number of labels.
        scores: Scores by COCO's rules, as in training; sizes are areas in pixels of the images before letterboxing.
        sweep: Operating points, by overlap and score.
        best: The operating point of the highest F1; of equals the one with the fewest false positives.
        curve: Operating points at `CURVE_THRESHOLDS` and the overlap that `scores` are of, over all classes.
        class_curves: The same by class index, of that class's objects and boxes alone.
        confusion: Counts at the best point, row the labelled class, column the class found; the last of each is
            background.
        worst: Images with most mistakes at the best point, the worst first, at most `MOST_WORST`; none without a
            mistake.
    """

    images: int
    objects: int
    scores: AllScores
    sweep: tuple[OperatingPoint, ...]
    best: OperatingPoint
    curve: tuple[OperatingPoint, ...]
    class_curves: tuple[tuple[OperatingPoint, ...], ...]
    confusion: tuple[tuple[int, ...], ...]
    worst: tuple[Mistakes, ...] = ()
