"""Detections from raw outputs, and COCO's scores for them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.metrics import Detections, Evaluator, detect

ANCHORS = [torch.tensor([[0.4, 0.4], [0.6, 0.6], [0.8, 0.8]]), torch.tensor([[0.1, 0.1], [0.2, 0.2], [0.3, 0.3]])]


def labels(*images: list[tuple[float, ...]]) -> torch.Tensor:
    most = max(len(rows) for rows in images)
    pad = (-1.0, 0.0, 0.0, 0.0, 0.0)
    return torch.tensor([[*rows, *[pad] * (most - len(rows))] for rows in images])


def found(*rows: tuple[int, float, float, float, float, float, int]) -> Detections:
    """Rows of image, x0, y0, x1, y1, score, class."""
    table = torch.tensor(rows, dtype=torch.float64).reshape(-1, 7)
    return Detections(
        image_K=table[:, 0].long(), boxes_K4=table[:, 1:5], scores_K=table[:, 5], classes_K=table[:, 6].long()
    )


def evaluator(num_classes: int = 1) -> Evaluator:
    return Evaluator(num_classes=num_classes, image_size=100)


def test_perfect_detections_score_one_everywhere() -> None:
    judge = evaluator()
    judge.add(
        labels([(0, 0.3, 0.3, 0.2, 0.2)], [(0, 0.5, 0.5, 0.4, 0.6)]),
        found((0, 0.2, 0.2, 0.4, 0.4, 0.9, 0), (1, 0.3, 0.2, 0.7, 0.8, 0.8, 0)),
    )

    scores = judge.scores()

    assert (scores.precision, scores.recall, scores.map50, scores.map50_95) == pytest.approx((1, 1, 1, 1))


def test_half_of_the_objects_found_is_half_the_average_precision() -> None:
    judge = evaluator()
    judge.add(labels([(0, 0.3, 0.3, 0.2, 0.2), (0, 0.7, 0.7, 0.2, 0.2)]), found((0, 0.2, 0.2, 0.4, 0.4, 0.9, 0)))

    scores = judge.scores()

    assert scores.map50 == pytest.approx(51 / 101)  # COCO samples recall at 0, 0.01, ..., 1
    assert scores.recall == pytest.approx(0.5)
    assert scores.precision == pytest.approx(1.0)


def test_a_box_that_is_off_by_a_third_counts_at_iou_50_and_not_at_75() -> None:
    judge = evaluator()
    judge.add(labels([(0, 0.5, 0.5, 0.4, 0.4)]), found((0, 0.3, 0.3, 0.7, 0.55, 0.9, 0)))  # IoU 0.625

    scores = judge.scores()

    assert scores.map50 == pytest.approx(1.0)
    assert scores.map50_95 == pytest.approx(0.3)  # 0.5, 0.55 and 0.6 of ten thresholds


def test_a_class_without_labels_does_not_count() -> None:
    judge = evaluator(num_classes=3)
    judge.add(
        labels([(1, 0.3, 0.3, 0.2, 0.2)]), found((0, 0.2, 0.2, 0.4, 0.4, 0.9, 1), (0, 0.1, 0.1, 0.2, 0.2, 0.9, 2))
    )

    assert judge.scores().map50 == pytest.approx(1.0)


def test_batches_keep_their_images_apart() -> None:
    judge = evaluator()
    for _ in range(2):
        judge.add(labels([(0, 0.3, 0.3, 0.2, 0.2)]), found((0, 0.2, 0.2, 0.4, 0.4, 0.9, 0)))

    assert judge.scores().map50 == pytest.approx(1.0)


@pytest.mark.parametrize("rows", [[], [(0, 0.5, 0.5, 0.2, 0.2)]])
def test_nothing_found_or_nothing_to_find_scores_zero(rows: list[tuple[float, ...]]) -> None:
    judge = evaluator()
    judge.add(labels(rows or [(-1, 0, 0, 0, 0)]), found())

    assert judge.scores().map50 == 0


def heads(num_classes: int = 1) -> list[torch.Tensor]:
    raw = [torch.zeros(1, 1, 3, side, side, 5 + num_classes) for side in (2, 4)]
    for each in raw:
        each[..., 4] = -20
    return raw


def test_a_confident_output_becomes_the_box_of_its_anchor_and_cell() -> None:
    raw = heads(num_classes=2)
    raw[1][0, 0, 1, 2, 3] = torch.tensor([0.0, 0.0, 0.0, 0.0, 10.0, -10.0, 10.0])

    result = detect(raw, ANCHORS, nms_iou=0.45)

    assert result.classes_K.tolist() == [1]
    assert torch.allclose(result.boxes_K4, torch.tensor([[0.875 - 0.1, 0.625 - 0.1, 0.875 + 0.1, 0.625 + 0.1]]))
    assert result.scores_K.item() == pytest.approx(1.0, abs=1e-3)


def test_a_score_is_the_objectness_times_the_share_of_the_class_where_a_softmax_was_learned() -> None:
    raw = heads(num_classes=3)
    raw[1][0, 0, 1, 2, 3] = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 1.0, 0.0])

    independent = detect(raw, ANCHORS, nms_iou=0.45, min_score=0.01)
    shares = detect(raw, ANCHORS, nms_iou=0.45, min_score=0.01, class_loss="softmax")

    # sigmoid(1) is 0.731059; sigmoids and shares of 2, 1 and 0.
    assert independent.scores_K.tolist() == pytest.approx([0.643914, 0.534447, 0.365529], abs=1e-6)
    assert shares.scores_K.tolist() == pytest.approx([0.486330, 0.178911, 0.065818], abs=1e-6)


def test_of_overlapping_boxes_the_surest_is_kept_and_other_classes_are_left_alone() -> None:
    raw = heads(num_classes=2)
    raw[0][0, 0, 0, 0, 0] = torch.tensor([0.0, 0.0, 0.0, 0.0, 3.0, 8.0, -8.0])
    raw[0][0, 0, 1, 0, 0] = torch.tensor([0.0, 0.0, -0.4, -0.4, 2.0, 8.0, -8.0])
    raw[0][0, 0, 2, 0, 0] = torch.tensor([0.0, 0.0, -0.7, -0.7, 1.0, -8.0, 8.0])

    result = detect(raw, ANCHORS, nms_iou=0.45, min_score=0.1)

    assert result.classes_K.tolist() == [0, 1]


def test_a_faint_object_is_found_beside_a_crowd_that_many_places_see_at_once() -> None:
    crowd = torch.full((1, 1, 3, 12, 12, 6), -20.0)
    crowd[..., :4] = 0.0  # in the middle of a cell, as large as the anchor
    crowd[:, :, :, :10, :, 4] = 2.0  # 120 objects, each seen by three anchors
    crowd[:, :, 0, 11, 11, 4] = -2.0

    boxes = detect([crowd], [torch.full((3, 2), 1 / 12)], nms_iou=0.6)

    assert len(boxes.scores_K) == 121
    assert boxes.scores_K.min() == pytest.approx(1 / (1 + math.e**2))


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_what_is_found_in_an_image_is_the_same_whatever_its_place_in_the_batch_and_the_number_of_its_class(
    seed: int,
) -> None:
    torch.manual_seed(seed)
    crowd = torch.full((1, 1, 3, 12, 12, 85), -20.0)  # boxes that overlap more or less than 0.45
    crowd[..., :5] = torch.randn(1, 1, 3, 12, 12, 5)
    crowd[..., 5] = 3.0
    last = torch.full((16, *crowd.shape[1:]), -20.0)
    last[-1] = crowd[0]
    last[-1, ..., [5, 84]] = last[-1, ..., [84, 5]]
    sizes = [torch.rand(3, 2) / 12 + 1 / 12]

    alone, among = (detect([raw], sizes, nms_iou=0.45, min_score=0.3) for raw in (crowd, last))

    assert (set(alone.classes_K.tolist()), set(among.classes_K.tolist())) == ({0}, {79})
    torch.testing.assert_close(among.boxes_K4, alone.boxes_K4)


def test_a_network_that_answers_nan_detects_nothing() -> None:
    raw = [torch.full_like(each, float("nan")) for each in heads()]

    assert len(detect(raw, ANCHORS, nms_iou=0.45).scores_K) == 0
