"""How good a detector is on labelled images, and at which score and overlap it is best used.

Letters: N images of a batch, M labels and K detections of an image, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import nan

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou

from detector.batches import Batch
from detector.boxes import xyxy
from detector.metrics import MAX_DETECTIONS, MIN_SCORE, Detections, Evaluator
from detector.predict import Detector
from detector.scores import MATCH_IOU, MOST_WORST, AllScores, Mistakes, OperatingPoint, Validation

OVERLAPS = (0.3, 0.45, 0.6, 0.7)
THRESHOLDS = (0.01, *(step / 20 for step in range(1, 20)))
CURVE_THRESHOLDS = tuple(step / 100 for step in range(1, 100))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Image:
    """Labels and detections of an image, boxes as fractions of its square, best first."""

    boxes_K4: np.ndarray
    overlaps_KM: np.ndarray
    truth_M4: np.ndarray
    scores_K: np.ndarray
    found_K: np.ndarray
    labels_M: np.ndarray


def validate(
    detector: Detector, batches: Iterable[Batch], sizes: Sequence[tuple[int, int]], *, nms_iou: float
) -> Validation:
    """Measures a detector.

    Args:
        detector: Detector that is measured.
        batches: Letterboxed images with labels in the detector's classes, as `evaluation_batches` gives them.
        sizes: Width and height in pixels of each image before it was letterboxed, in the order of the batches.
        nms_iou: Overlap (0..1) of suppression for the scores; one of those that are swept over.
    """
    as_trained, by_size = (Evaluator(num_classes=len(detector.names), image_size=detector.image_size) for _ in "12")
    images: dict[float, list[_Image]] = {overlap: [] for overlap in sorted({*OVERLAPS, nms_iou})}
    num_images = 0
    for batch in batches:
        heads = detector.raw_outputs(batch.images)
        sides_N = torch.tensor([max(size) for size in sizes[num_images : num_images + len(batch.images)]])
        num_images += len(batch.images)
        for overlap, kept in images.items():
            found = detector.suppressed(heads, overlap, min_score=MIN_SCORE)
            kept += _images(batch.labels_NM5, found)
            if overlap == nms_iou:
                as_trained.add(batch.labels_NM5, found)
                by_size.add(batch.labels_NM5, found, sides_N)
    scores = as_trained.all_scores()
    matched = {overlap: _Matched.of(kept) for overlap, kept in images.items()}
    sweep = tuple(point for overlap, found in matched.items() for point in found.points(overlap, THRESHOLDS))
    scored = matched[nms_iou]
    best = max(sweep, key=lambda point: (point.f1, -point.false_positives_per_image))
    return Validation(
        images=num_images,
        objects=sum(part.objects for part in scores.classes),
        scores=AllScores(overall=scores.overall, classes=scores.classes, sizes=by_size.all_scores().sizes),
        sweep=sweep,
        best=best,
        curve=scored.points(nms_iou, CURVE_THRESHOLDS),
        class_curves=tuple(
            of_class.points(nms_iou, CURVE_THRESHOLDS) for of_class in scored.by_class(len(detector.names))
        ),
        confusion=_confusion(images[best.nms_iou], best.score, len(detector.names)),
        worst=_worst(images[best.nms_iou], best.score),
    )


def _images(labels_NM5: Tensor, found: Detections) -> list[_Image]:
    image_K, boxes_K4 = found.image_K.cpu(), found.boxes_K4.cpu()
    scores_K, classes_K = found.scores_K.cpu(), found.classes_K.cpu()
    images = []
    for number, labels_M5 in enumerate(labels_NM5.to(boxes_K4.dtype)):
        labels = labels_M5[labels_M5[:, 0] >= 0]
        truth_M4 = xyxy(labels[:, 1:])
        own = torch.nonzero((image_K == number) & (scores_K >= THRESHOLDS[0]))[:MAX_DETECTIONS, 0]
        images.append(
            _Image(
                boxes_K4=boxes_K4[own].numpy(),
                overlaps_KM=box_iou(boxes_K4[own], truth_M4).numpy(),
                truth_M4=truth_M4.numpy(),
                scores_K=scores_K[own].double().numpy(),
                found_K=classes_K[own].numpy(),
                labels_M=labels[:, 0].long().numpy(),
            )
        )
    return images


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Matched:
    """All detections of a split, and which of them found an object of their class.

    Attributes:
        images: Number of images.
        labels_L: Class of each label.
        found_K: Class of each detection.
        scores_K: Score of each detection, 0..1.
        hits_K: Whether each detection found an object.
    """

    images: int
    labels_L: np.ndarray
    found_K: np.ndarray
    scores_K: np.ndarray
    hits_K: np.ndarray

    @classmethod
    def of(cls, images: Sequence[_Image]) -> _Matched:
        return cls(
            images=len(images),
            labels_L=np.concatenate([image.labels_M for image in images]),
            found_K=np.concatenate([image.found_K for image in images]),
            scores_K=np.concatenate([image.scores_K for image in images]),
            hits_K=np.concatenate([_labels_found(image) >= 0 for image in images]),
        )

    def of_class(self, index: int) -> _Matched:
        """Labels and detections of one class: a box finds objects of its own class only."""
        own = self.found_K == index
        return replace(
            self,
            labels_L=self.labels_L[self.labels_L == index],
            found_K=self.found_K[own],
            scores_K=self.scores_K[own],
            hits_K=self.hits_K[own],
        )

    def by_class(self, num_classes: int) -> list[_Matched]:
        """Labels and detections of each class, by its index."""
        return [self.of_class(index) for index in range(num_classes)]

    def points(self, nms_iou: float, thresholds: Sequence[float]) -> tuple[OperatingPoint, ...]:
        """The operating point at each threshold of the score."""
        return tuple(self._point(nms_iou, threshold) for threshold in thresholds)

    def _point(self, nms_iou: float, threshold: float) -> OperatingPoint:
        is_shown, objects = self.scores_K >= threshold, len(self.labels_L)
        shown, right = int(is_shown.sum()), int((self.hits_K & is_shown).sum())
        return OperatingPoint(
            score=threshold,
            nms_iou=nms_iou,
            precision=right / shown if shown else nan,
            recall=right / objects if objects else nan,
            f1=2 * right / (shown + objects) if shown + objects else 0.0,
            false_positives_per_image=(shown - right) / self.images,
        )


def _labels_found(image: _Image) -> np.ndarray:
    """Index of the label that each detection, best first, finds of its class and none before it found; -1 of none.

    What lies below a threshold comes later, so that leaving it out changes nothing before it.
    """
    overlaps_KM = np.where(image.found_K[:, None] == image.labels_M, image.overlaps_KM, 0.0)
    labels_K = np.full(len(overlaps_KM), -1)
    for row in np.flatnonzero((overlaps_KM >= MATCH_IOU).any(1)):
        label = overlaps_KM[row].argmax()
        if overlaps_KM[row, label] >= MATCH_IOU:
            labels_K[row] = label
            overlaps_KM[:, label] = 0.0
    return labels_K


def _worst(images: Sequence[_Image], score: float) -> tuple[Mistakes, ...]:
    """Images with most mistakes where boxes from a score on are shown, the worst first."""
    found = (_mistakes(index, image, score) for index, image in enumerate(images))
    return tuple(sorted((mistakes for mistakes in found if len(mistakes)), key=len, reverse=True)[:MOST_WORST])


def _mistakes(index: int, image: _Image, score: float) -> Mistakes:
    num_shown = int((image.scores_K >= score).sum())  # the first ones: the best come first
    labels_K = _labels_found(image)[:num_shown]
    missed_M, false_K = np.ones(len(image.labels_M), dtype=bool), labels_K < 0
    missed_M[labels_K[~false_K]] = False
    truth_M5 = np.column_stack((image.truth_M4, image.labels_M))[missed_M]
    found_K6 = np.column_stack((image.boxes_K4, image.found_K, image.scores_K))[:num_shown][false_K]
    return Mistakes(
        index=index,
        labels=len(missed_M),
        missed=tuple(map(tuple, truth_M5.tolist())),
        false=tuple(map(tuple, found_K6.tolist())),
    )


def _confusion(images: Sequence[_Image], score: float, num_classes: int) -> tuple[tuple[int, ...], ...]:
    """Counts of pairs by class: boxes and labels pair off whatever their class, those that overlap most first."""
    counts = np.zeros((num_classes + 1, num_classes + 1), dtype=int)
    for image in images:
        shown = image.scores_K >= score
        overlaps_KM, found_K = image.overlaps_KM[shown].copy(), image.found_K[shown]
        free_K, free_M = np.ones(len(found_K), dtype=bool), np.ones(len(image.labels_M), dtype=bool)
        while overlaps_KM.size and overlaps_KM.max() >= MATCH_IOU:
            row, label = np.unravel_index(overlaps_KM.argmax(), overlaps_KM.shape)
            counts[image.labels_M[label], found_K[row]] += 1
            free_K[row] = free_M[label] = False
            overlaps_KM[row], overlaps_KM[:, label] = 0.0, 0.0
        counts[:-1, -1] += np.bincount(image.labels_M[free_M], minlength=num_classes)
        counts[-1, :-1] += np.bincount(found_K[free_K], minlength=num_classes)
    return tuple(tuple(row) for row in counts.tolist())
