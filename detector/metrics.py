"""How well boxes were found: precision, recall and average precision, by COCO's rules (faster-coco-eval).

Letters: K detections, M labels. Boxes are in pixels of the letterboxed image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
import torch
from faster_coco_eval import COCO, COCOeval_faster
from torch import Tensor
from torchvision.ops import batched_nms

from detector.boxes import xyxy
from detector.choices.class_losses import CLASS_PROBABILITIES
from detector.choices.codings import CODINGS
from detector.scores import SIZES, AllScores, Part
from detector.telemetry import Scores

MIN_SCORE = 0.001  # conf-thres of ultralytics/yolov3 val.py
# Of an image, before suppression: an object may be seen by a dozen places, and a hundred objects are to be left.
MAX_CANDIDATES = 3000
MAX_DETECTIONS = 100  # COCO's largest
NOTHING_FOUND = Scores(precision=0.0, recall=0.0, map50=0.0, map50_95=0.0)
NOTHING_THERE = Scores(precision=nan, recall=nan, map50=nan, map50_95=nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """Boxes found in a batch, best first within each image.

    Attributes:
        image_K: Index of the image in the batch.
        boxes_K4: Corners xyxy as fractions of the image.
        scores_K: Objectness times class probability.
        classes_K: Class index of each box.
    """

    image_K: Tensor
    boxes_K4: Tensor
    scores_K: Tensor
    classes_K: Tensor


def detect(
    heads: Sequence[Tensor],
    anchors: Sequence[Tensor],
    *,
    nms_iou: float,
    coding: str = "exp",
    class_loss: str = "bce",
    min_score: float = MIN_SCORE,
) -> Detections:
    """Boxes of a one-lane network after non-maximum suppression within each class.

    Args:
        heads: Raw outputs (N, 1, A, S, S, O), coarsest scale first.
        anchors: Sizes (A, 2) of each scale as fractions of the image.
        nms_iou: Overlap (0..1) above which the lower of two boxes of a class is left out.
        coding: How raw outputs become boxes; a key of `CODINGS`.
        class_loss: What the classes were learned with; a key of `CLASS_PROBABILITIES`.
        min_score: Detections below are left out.
    """
    boxes_NK4, scores_NKC = decode(heads, anchors, coding=coding, class_loss=class_loss)
    return _suppress(boxes_NK4, scores_NKC, nms_iou, min_score)


def decode(
    heads: Sequence[Tensor], anchors: Sequence[Tensor], *, coding: str, class_loss: str
) -> tuple[Tensor, Tensor]:
    """Every box that a one-lane network predicts, and its score for each class; arguments as of `detect`.

    Returns:
        Corners xyxy as fractions of the image, not bounded, (N, K, 4); objectness times class probability, (N, K, C).
    """
    boxes, scores = [], []
    for raw, anchors_A2 in zip(heads, anchors, strict=True):
        boxes.append(xyxy(CODINGS[coding](raw[..., :4], anchors_A2)).flatten(1, 4))
        probability = CLASS_PROBABILITIES[class_loss](raw[..., 5:]) if raw.shape[-1] > 6 else 1.0
        scores.append((raw[..., 4:5].sigmoid() * probability).flatten(1, 4))
    return torch.cat(boxes, 1), torch.cat(scores, 1)


def _suppress(boxes_NK4: Tensor, scores_NKC: Tensor, nms_iou: float, min_score: float) -> Detections:
    num_images, _, num_classes = scores_NKC.shape
    # A diverging network gives NaN: no detection.
    flat = scores_NKC.flatten(1).nan_to_num(0.0)
    top = flat.topk(min(MAX_CANDIDATES, flat.shape[1]), 1)
    image = torch.arange(num_images, device=flat.device)[:, None].expand_as(top.indices)
    keep = top.values > min_score
    image, score, index = image[keep], top.values[keep], top.indices[keep]
    box = boxes_NK4[image, index // num_classes].nan_to_num(0.0).clamp(0, 1)
    klass = index % num_classes
    # Groups are told apart by large offsets, beside which float32 keeps too little of a fraction.
    kept = batched_nms(box.double(), score.double(), image * num_classes + klass, nms_iou)
    return Detections(image_K=image[kept], boxes_K4=box[kept], scores_K=score[kept], classes_K=klass[kept])


class Evaluator:
    """Collects the labels and detections of a split, then scores them."""

    def __init__(self, *, num_classes: int, image_size: int) -> None:
        self._num_classes, self._image_size = num_classes, image_size
        self._num_images = 0
        self._labels: list[np.ndarray] = []  # image, class, x, y, w, h
        self._detections: list[np.ndarray] = []  # image, x, y, w, h, score, class: COCO's result rows

    def add(self, labels_NM5: Tensor, detections: Detections, sides_N: Tensor | None = None) -> None:
        """Adds a batch.

        Args:
            labels_NM5: Class and box (cx, cy, w, h as fractions of the square); class -1 for none.
            detections: Boxes that were found in the images of the batch.
            sides_N: Side of each image's square in pixels of the image before it was letterboxed, where areas are to
                be counted in those; else the square's own.
        """
        labels = labels_NM5.double().cpu().numpy()
        sides = np.full(len(labels), self._image_size) if sides_N is None else sides_N.double().cpu().numpy()
        image, row = np.nonzero(labels[..., 0] >= 0)
        found = labels[image, row]
        corner = (found[:, 1:3] - found[:, 3:5] / 2) * sides[image, None]
        size = found[:, 3:5] * sides[image, None]
        self._labels.append(np.column_stack((image + self._num_images, found[:, 0], corner, size)))
        boxes = detections.boxes_K4.double().cpu().numpy() * sides[detections.image_K.cpu().numpy(), None]
        self._detections.append(
            np.column_stack(
                (
                    detections.image_K.cpu().numpy() + self._num_images,
                    boxes[:, :2],
                    boxes[:, 2:] - boxes[:, :2],
                    detections.scores_K.double().cpu().numpy(),
                    detections.classes_K.cpu().numpy(),
                )
            )
        )
        self._num_images += len(labels)

    def found_in(self, image: int) -> np.ndarray:
        """What was found in one image, best first: x, y, width, height in pixels of its square, score, class.

        Args:
            image: Place of the image among all that were added.
        """
        found = np.concatenate(self._detections)
        return found[found[:, 0] == image, 1:]

    def scores(self) -> Scores:
        """Scores over everything added; all 0 where there is nothing to find or nothing found."""
        return self.all_scores().overall

    def all_scores(self) -> AllScores:
        """Scores over everything, by class, and by size of the labelled object."""
        detections = np.concatenate(self._detections)
        truth = self._truth()
        areas = np.array([label["area"] for label in truth.anns.values()])
        classes = np.array([label["category_id"] for label in truth.anns.values()])
        by_class = np.bincount(classes.astype(int), minlength=self._num_classes).tolist()
        # As COCO counts them: an object of exactly 32 x 32 is both small and medium.
        by_size = [int(((areas >= low) & (areas <= high)).sum()) for low, high in SIZES.values()]
        if not len(detections) or not truth.anns:
            return AllScores(
                overall=NOTHING_FOUND,
                classes=tuple(Part(objects=count, scores=_part(None, count)) for count in by_class),
                sizes=tuple(Part(objects=count, scores=_part(None, count)) for count in by_size),
            )
        evaluation = COCOeval_faster(truth, truth.loadRes(detections), "bbox")
        evaluation.params.maxDets = [1, 10, MAX_DETECTIONS]
        evaluation.params.areaRng = [[0, 1e10], *SIZES.values()]
        evaluation.params.areaRngLbl = ["all", *SIZES]
        evaluation.evaluate()
        evaluation.accumulate()
        precision_IRCA, recall_R = evaluation.eval["precision"][..., -1], evaluation.params.recThrs
        precision_IRC = precision_IRCA[..., 0]
        return AllScores(
            overall=_summary(precision_IRC, recall_R),
            classes=tuple(
                Part(objects=count, scores=_part(_summary(precision_IRC[:, :, [klass]], recall_R), count))
                for klass, count in enumerate(by_class)
            ),
            sizes=tuple(
                Part(objects=count, scores=_part(_summary(precision_IRCA[..., size], recall_R), count))
                for size, count in enumerate(by_size, start=1)
            ),
        )

    def _truth(self) -> COCO:
        labels = np.concatenate(self._labels)
        annotations = [
            {
                "id": number + 1,
                "image_id": int(image),
                "category_id": int(klass),
                "bbox": [x, y, w, h],
                "area": w * h,
                "iscrowd": 0,
            }
            for number, (image, klass, x, y, w, h) in enumerate(labels.tolist())
        ]
        side = self._image_size
        return COCO(
            {
                "images": [{"id": image, "width": side, "height": side} for image in range(self._num_images)],
                "annotations": annotations,
                "categories": [{"id": klass, "name": str(klass)} for klass in range(self._num_classes)],
            }
        )


def _part(scores: Scores | None, objects: int) -> Scores:
    return NOTHING_THERE if not objects else scores or NOTHING_FOUND


def _summary(precision_IRC: np.ndarray, recall_R: np.ndarray) -> Scores:
    """Scores from COCO's precision by IoU threshold, recall threshold and class; -1 marks a class without labels."""
    has_labels = (precision_IRC >= 0).all((0, 1))
    if not has_labels.any():
        return NOTHING_FOUND
    precision_IRC = precision_IRC[:, :, has_labels]
    curve_RC = precision_IRC[0]
    f1_RC = 2 * curve_RC * recall_R[:, None] / np.maximum(curve_RC + recall_R[:, None], 1e-12)
    best = f1_RC.argmax(0)
    return Scores(
        precision=float(curve_RC[best, np.arange(len(best))].mean()),
        recall=float(np.where(f1_RC.max(0) > 0, recall_R[best], 0).mean()),
        map50=float(curve_RC.mean()),
        map50_95=float(precision_IRC.mean()),
    )
