"""Operating points, confusion, and scores by class and size of detections made by hand."""

from __future__ import annotations

from dataclasses import astuple
from math import isnan

import numpy as np
import pytest
import torch

from detector.metrics import Evaluator
from detector.scores import OperatingPoint
from detector.validation import CURVE_THRESHOLDS, THRESHOLDS, _confusion, _Image, _images, _Matched, _worst
from tests.detector.test_metrics import found, labels

TWO = labels([(0, 0.3, 0.3, 0.2, 0.2), (1, 0.7, 0.7, 0.2, 0.2)], [(1, 0.5, 0.5, 0.4, 0.4)])
ROWS = (
    (0, 0.2, 0.2, 0.4, 0.4, 0.9, 0),  # right
    (0, 0.6, 0.6, 0.8, 0.8, 0.8, 0),  # on an object of the other class
    (0, 0.2, 0.2, 0.4, 0.41, 0.5, 0),  # the first one again
    (1, 0.0, 0.0, 0.1, 0.1, 0.3, 1),  # on background
)


def _points(nms_iou: float, images: list[_Image]) -> tuple[OperatingPoint, ...]:
    return _Matched.of(images).points(nms_iou, THRESHOLDS)


def test_each_object_is_found_once_by_the_best_box_of_its_class() -> None:
    points = {point.score: point for point in _points(0.45, _images(TWO, found(*ROWS)))}

    low, high = points[0.01], points[0.85]
    assert (low.precision, low.recall, low.false_positives_per_image) == pytest.approx((1 / 4, 1 / 3, 3 / 2))
    assert low.f1 == pytest.approx(2 / (2 + 3 + 2))
    assert (high.precision, high.recall, high.false_positives_per_image) == pytest.approx((1, 1 / 3, 0))
    assert isnan(points[0.95].precision)
    assert points[0.95].f1 == 0


def test_leaving_out_lower_scores_is_the_same_as_matching_what_is_left() -> None:
    generator = torch.Generator().manual_seed(3)
    corners = torch.rand(40, 2, generator=generator) * 0.6
    scores = torch.rand(40, generator=generator).sort(descending=True).values
    rows = [(0, x, y, x + 0.3, y + 0.3, s, 0) for (x, y), s in zip(corners.tolist(), scores.tolist(), strict=True)]
    truth = labels([(0, x + 0.15, y + 0.15, 0.3, 0.3) for x, y in corners[:9].tolist()])

    for point in _points(0.6, _images(truth, found(*rows))):
        alone = _points(0.6, _images(truth, found(*[row for row in rows if row[5] >= point.score])))
        assert astuple(alone[THRESHOLDS.index(point.score)]) == pytest.approx(astuple(point), nan_ok=True)


def test_confusion_has_rows_of_labels_columns_of_boxes_and_background_last() -> None:
    counts = _confusion(_images(TWO, found(*ROWS)), 0.01, 2)

    assert counts == ((1, 0, 0), (1, 0, 1), (1, 1, 0))


def test_confusion_counts_every_label_once_and_every_shown_box_once() -> None:
    counts = np.array(_confusion(_images(TWO, found(*ROWS)), 0.6, 2))

    assert counts[:-1].sum(1).tolist() == [1, 2]
    assert counts[:, :-1].sum() == 2


def test_the_worst_images_come_first_with_what_is_missed_and_what_is_false() -> None:
    images = _images(TWO, found(*ROWS))

    low, high = _worst(images, 0.01), _worst(images, 0.85)
    assert [(each.index, each.labels, len(each.missed), len(each.false)) for each in low] == [
        (0, 2, 1, 2),
        (1, 1, 1, 1),
    ]
    assert [(each.index, len(each.missed), len(each.false)) for each in high] == [(0, 1, 0), (1, 1, 0)]
    assert low[0].missed[0] == pytest.approx((0.6, 0.6, 0.8, 0.8, 1))
    assert [box[4:] for box in low[0].false] == [pytest.approx((0, 0.8)), pytest.approx((0, 0.5))]


def test_an_image_without_a_mistake_is_not_among_the_worst() -> None:
    right = _images(labels([(0, 0.3, 0.3, 0.2, 0.2)]), found(ROWS[0]))

    assert _worst(right, 0.5) == ()


def test_mistakes_of_all_images_are_those_of_the_operating_point() -> None:
    images = _images(TWO, found(*ROWS))

    for point in _points(0.45, images):
        worst = _worst(images, point.score)
        assert sum(len(each.missed) for each in worst) == pytest.approx(3 * (1 - point.recall))
        assert sum(len(each.false) for each in worst) == pytest.approx(2 * point.false_positives_per_image)


def test_images_without_labels_or_boxes_are_measured() -> None:
    nothing = _images(labels([(-1, 0.0, 0.0, 0.0, 0.0)]), found())

    point = _points(0.45, nothing)[0]
    assert (point.f1, point.false_positives_per_image) == (0, 0)
    assert isnan(point.recall)
    assert _confusion(nothing, 0.5, 1) == ((0, 0), (0, 0))


def test_the_curves_of_all_classes_add_up_to_the_whole_one() -> None:
    matched = _Matched.of(_images(TWO, found(*ROWS)))

    for threshold in CURVE_THRESHOLDS:
        whole, *classes = (each.points(0.45, [threshold])[0] for each in (matched, *map(matched.of_class, range(2))))
        wrong = sum(point.false_positives_per_image for point in classes)
        assert wrong == pytest.approx(whole.false_positives_per_image)
        assert 3 * whole.recall == pytest.approx(1 * classes[0].recall + 2 * classes[1].recall)


def test_scores_by_class_average_to_the_overall_ones() -> None:
    judge = Evaluator(num_classes=3, image_size=100)
    judge.add(TWO, found(*ROWS, (1, 0.3, 0.3, 0.7, 0.6, 0.2, 1)))

    scores = judge.all_scores()

    assert [part.objects for part in scores.classes] == [1, 2, 0]
    for name in ("precision", "recall", "map50", "map50_95"):
        by_class = [getattr(part.scores, name) for part in scores.classes]
        assert np.nanmean(by_class) == pytest.approx(getattr(scores.overall, name))
        assert isnan(by_class[2])


def test_sizes_are_counted_in_pixels_of_the_image_before_it_was_letterboxed() -> None:
    truth = labels([(0, 0.5, 0.5, 0.25, 0.25)], [(0, 0.5, 0.5, 0.25, 0.25)], [(0, 0.5, 0.5, 0.25, 0.25)])
    boxes = found(*[(image, 0.375, 0.375, 0.625, 0.625, 0.9, 0) for image in range(2)])
    judge = Evaluator(num_classes=1, image_size=64)
    judge.add(truth, boxes, torch.tensor([100, 200, 1000]))

    small, medium, large = judge.all_scores().sizes

    assert [part.objects for part in (small, medium, large)] == [1, 1, 1]
    assert [part.scores.map50 for part in (small, medium, large)] == pytest.approx([1, 1, 0])


def test_a_size_of_which_there_is_nothing_has_no_score_and_one_that_was_not_found_has_zero() -> None:
    judge = Evaluator(num_classes=1, image_size=64)
    judge.add(labels([(0, 0.5, 0.5, 0.25, 0.25)]), found())

    small, medium, _ = judge.all_scores().sizes

    assert small.scores.map50 == 0
    assert isnan(medium.scores.map50)
