"""Our scores against pycocotools' own evaluation of the same boxes."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detector import checkpoint
from detector.batches import Batch, evaluation_batches
from detector.boxes import xyxy
from detector.datasets import open_dataset
from detector.hyperparameters import Hyperparameters
from detector.metrics import MIN_SCORE, Detections, Evaluator
from detector.plan import TrainingPlan
from detector.predict import load_detector
from detector.scores import SIZES, Part
from detector.trainer import LaneSpec, Trainer
from detector.validation import validate
from tests.detector.test_metrics import found, labels
from tests.places import REAL

SIDE, CLASSES = 200, 3
box = st.tuples(
    st.integers(0, CLASSES - 1),
    *[st.integers(1, 9).map(lambda tenth: tenth / 10)] * 2,
    *[st.integers(1, 9).map(lambda tenth: tenth / 10)] * 2,
)


def rows_of(
    labels_NM5: torch.Tensor, detections: Detections, sides: list[float], first: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Labels and detections of a batch as COCO writes them, areas and boxes in pixels, images counted from `first`."""
    truth = [
        {"image_id": first + image, "category_id": int(row[0]), "bbox": _xywh(xyxy(row[None, 1:])[0] * sides[image])}
        for image, rows in enumerate(labels_NM5.double())
        for row in rows
        if row[0] >= 0
    ]
    columns = (detections.image_K, detections.boxes_K4.double(), detections.scores_K.double(), detections.classes_K)
    shown = [
        {
            "image_id": first + int(image),
            "category_id": int(klass),
            "bbox": _xywh(corners * sides[int(image)]),
            "score": float(score),
        }
        for image, corners, score, klass in zip(*columns, strict=True)
    ]
    return truth, shown


def _xywh(corners: torch.Tensor) -> list[float]:
    x0, y0, x1, y1 = corners.tolist()
    return [x0, y0, x1 - x0, y1 - y0]


def pycocotools_scores(
    truth: list[dict[str, Any]], shown: list[dict[str, Any]], images: int, classes: int
) -> dict[str, float]:
    """mAP50 and mAP50-95 over all, by class and by size; -1 where there is nothing to find."""
    coco = COCO()
    coco.dataset = {
        "images": [{"id": image} for image in range(images)],
        "categories": [{"id": klass} for klass in range(classes)],
        "annotations": [
            row | {"id": number, "area": row["bbox"][2] * row["bbox"][3], "iscrowd": 0}
            for number, row in enumerate(truth, 1)
        ],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(shown), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision_IRCA = evaluation.eval["precision"][..., -1]
    scores = _means("all", precision_IRCA[..., 0])
    for klass in range(classes):
        scores |= _means(f"class {klass}", precision_IRCA[:, :, klass, 0])
    for size, name in enumerate(SIZES, start=1):
        scores |= _means(name, precision_IRCA[..., size])
    return scores


def _means(name: str, precision: np.ndarray) -> dict[str, float]:
    def mean(values: np.ndarray) -> float:
        return float(values[values > -1].mean()) if (values > -1).any() else -1.0

    return {f"{name} map50": mean(precision[0]), f"{name} map50_95": mean(precision)}


def our_scores(overall: Any, classes: tuple[Part, ...], sizes: tuple[Part, ...]) -> dict[str, float]:
    parts = {"all": overall} | {f"class {index}": part.scores for index, part in enumerate(classes)}
    parts |= {name: part.scores for name, part in zip(SIZES, sizes, strict=True)}
    rows = ((f"{name} {key}", getattr(scores, key)) for name, scores in parts.items() for key in ("map50", "map50_95"))
    return {name: -1.0 if np.isnan(value) else value for name, value in rows}


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_boxes_score_as_pycocotools_scores_them(data: st.DataObject) -> None:
    images = data.draw(st.lists(st.lists(box, max_size=5), min_size=1, max_size=4))
    images[0] = images[0] or [(0, 0.5, 0.5, 0.2, 0.2)]
    truth = labels(*[rows or [(-1, 0.0, 0.0, 0.0, 0.0)] for rows in images])
    place = st.tuples(st.integers(0, len(images) - 1), box, st.integers(1, 20))
    drawn = data.draw(st.lists(place, min_size=1, max_size=12))
    detections = found(
        *[
            (image, x - w / 2, y - h / 2, x + w / 2, y + h / 2, score / 20, klass)
            for image, (klass, x, y, w, h), score in drawn
        ]
    )
    judge = Evaluator(num_classes=CLASSES, image_size=SIDE)
    judge.add(truth, detections)

    ours = judge.all_scores()

    expected = pycocotools_scores(*rows_of(truth, detections, [SIDE] * len(images), 0), len(images), CLASSES)
    assert our_scores(ours.overall, ours.classes, ours.sizes) == pytest.approx(expected, abs=1e-6)


def recorded(
    path: Path, batches: list[Batch], sides: list[float], nms_iou: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    detector = load_detector(path)
    truth, shown, first = [], [], 0
    for batch in batches:
        detections = detector.suppressed(detector.raw_outputs(batch.images), nms_iou, min_score=MIN_SCORE)
        more = rows_of(batch.labels_NM5, detections, sides[first : first + len(batch.images)], first)
        truth, shown, first = truth + more[0], shown + more[1], first + len(batch.images)
    return truth, shown


@pytest.mark.slow
@pytest.mark.parametrize("name", ["raccoon", "blood-cells"])
def test_weights_of_real_photographs_score_as_pycocotools_scores_them(name: str, tmp_path: Path) -> None:
    if not (REAL / name).is_dir():
        pytest.skip(f"the data set {name} is not there")
    plan = TrainingPlan(model="yolov3-tiny", image_size=160, epochs=8, nms_iou=0.6)
    data = open_dataset(str(REAL / name), image_size=plan.image_size)
    list(Trainer(plan, data, [LaneSpec(values=Hyperparameters(), checkpoint=tmp_path / "lane.pt")]).fit())
    checkpoint.save_weights(tmp_path / "lane.pt", tmp_path / "weights.pt")
    batches = list(evaluation_batches(data.val, batch_size=16, image_size=160, max_boxes=data.max_boxes))
    sizes = [data.val.size(index) for index in range(len(data.val))]

    ours = validate(load_detector(tmp_path / "weights.pt"), batches, sizes, nms_iou=0.6).scores

    squares, originals = [160.0] * len(sizes), [float(max(size)) for size in sizes]
    num_classes = len(data.names)
    of_squares = pycocotools_scores(*recorded(tmp_path / "weights.pt", batches, squares, 0.6), len(sizes), num_classes)
    of_originals = pycocotools_scores(
        *recorded(tmp_path / "weights.pt", batches, originals, 0.6), len(sizes), num_classes
    )
    expected = {key: (of_originals if key.split()[0] in SIZES else of_squares)[key] for key in of_squares}
    assert expected["all map50"] > 0.05
    assert our_scores(ours.overall, ours.classes, ours.sizes) == pytest.approx(expected, abs=1e-6)
