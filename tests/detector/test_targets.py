"""Which anchor and cell learns which label."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.boxes import paired_overlap, shape_overlap, xyxy
from detector.grid import Grid
from detector.hyperparameters import Hyperparameters
from detector.lane_values import LaneValues
from detector.targets import Predicted, Targets, assign

ANCHORS = [
    torch.tensor([[0.5, 0.5], [0.6, 0.9], [0.9, 0.6]]),
    torch.tensor([[0.1, 0.1], [0.1, 0.2], [0.2, 0.1]]),
]
SIDES = (2, 4)
COARSE = 2 * 2 * 3  # places of the coarse scale, which come first


def labels(*rows: tuple[float, ...], pad: int = 0) -> torch.Tensor:
    return torch.tensor([[*rows, *[(-1.0, 0.0, 0.0, 0.0, 0.0)] * pad]])


def assigned(labels_NM5: torch.Tensor, *lanes: Hyperparameters, raw: torch.Tensor | None = None) -> Targets:
    """Targets where the lanes predict `raw`, or nothing in particular."""
    grid = Grid(sides=SIDES, anchors=ANCHORS, coding=lanes[0].coding)
    if raw is None:
        raw = torch.zeros(len(labels_NM5), len(lanes), sum(grid.places), 8)
    values = LaneValues.of(lanes, like=labels_NM5)
    return assign(labels_NM5, grid, values, Predicted(raw_NTKO=raw, boxes_NTK4=grid.boxes(raw[..., :4])))


def having(**values: object) -> Hyperparameters:
    papers = {"assignment": "shape_overlap", "assign_iou": 1.0, "cells": "centre", "coding": "exp"}
    return Hyperparameters.from_mapping({**papers, **values})


def places(targets: Targets, lane: int = 0) -> list[tuple[int, int, int, int]]:
    """Scale, row, column and anchor of each place that owns a label."""
    found = []
    for place in targets.is_object_NLK[0, lane].nonzero().flatten().tolist():
        scale, within = (0, place) if place < COARSE else (1, place - COARSE)
        cell, anchor = divmod(within, 3)
        found.append((scale, *divmod(cell, SIDES[scale]), anchor))
    return found


def test_a_label_goes_to_its_best_anchor_in_the_cell_of_its_centre_and_nowhere_else() -> None:
    targets = assigned(labels((1, 0.6, 0.3, 0.11, 0.21), pad=2), having())

    assert places(targets) == [(1, 1, 2, 1)]
    own = targets.is_object_NLK
    assert torch.allclose(targets.boxes_NLK4[own], torch.tensor([0.6, 0.3, 0.11, 0.21]))
    assert targets.classes_NLK[own].tolist() == [1] and not targets.classes_NLK[~own].any()


def test_a_lower_threshold_lets_more_anchors_learn_the_label_on_every_scale() -> None:
    one = labels((0, 0.5, 0.5, 0.5, 0.6))

    counts = [len(places(assigned(one, having(assign_iou=threshold)))) for threshold in (1.0, 0.5, 0.0)]

    assert counts == [1, 3, 6]


def test_anchors_within_a_factor_of_both_sides_learn_a_label_and_the_best_whatever_its_shape() -> None:
    one = labels((0, 0.4, 0.4, 0.25, 0.25))
    long = labels((0, 0.4, 0.4, 1.0, 0.01))

    counts = [len(places(assigned(one, having(assignment="shape_ratio", assign_ratio=at)))) for at in (2.1, 2.6, 4.0)]

    assert counts == [2, 4, 6]
    assert len(places(assigned(long, having(assignment="shape_ratio")))) == 1


def test_where_two_labels_meet_the_one_with_the_better_claim_wins() -> None:
    best_first = labels((0, 0.55, 0.55, 0.5, 0.5), (1, 0.6, 0.6, 0.9, 0.6))

    targets = assigned(best_first, having(assign_iou=0.3))

    assert targets.classes_NLK[0, 0, 9:12].tolist() == [0, 1, 1]


def test_an_image_without_labels_has_no_targets() -> None:
    for values in (having(assign_iou=0.2), having(assign_iou=0.2, cells="square", positives="aligned")):
        assert not assigned(labels(pad=3), values).is_object_NLK.any()


def test_a_centre_on_the_far_edge_stays_inside_the_grid() -> None:
    assert places(assigned(labels((0, 1.0, 1.0, 0.5, 0.5)), having())) == [(0, 1, 1, 0)]


@pytest.mark.parametrize(
    ("cells", "at", "expected"),
    [
        ("neighbours", (0.3, 0.3), [(0, 1), (1, 0), (1, 1)]),  # 1.2 cells: nearer to the left and to the top
        ("neighbours", (0.45, 0.45), [(1, 1), (1, 2), (2, 1)]),
        ("square", (0.45, 0.45), [(row, column) for row in range(3) for column in range(3)]),
        ("square", (0.05, 0.95), [(2, 0), (2, 1), (3, 0), (3, 1)]),
    ],
)
def test_cells_around_a_centre_learn_its_label_and_none_outside(
    cells: str, at: tuple[float, float], expected: list[tuple[int, int]]
) -> None:
    found = places(assigned(labels((0, *at, 0.1, 0.1)), having(cells=cells)))

    assert sorted((row, column) for _, row, column, _ in found) == sorted(expected)


def test_a_neighbouring_cell_yields_to_the_label_whose_centre_it_holds() -> None:
    two = labels((1, 0.3, 0.3, 0.1, 0.1), (0, 0.2, 0.3, 0.1, 0.1))

    targets = assigned(two, having(cells="square"))

    classes = {
        place: targets.classes_NLK[0, 0, COARSE + (place[1] * 4 + place[2]) * 3].item() for place in places(targets)
    }
    assert classes[(1, 1, 1, 0)] == 1 and classes[(1, 1, 0, 0)] == 0


def test_every_cell_that_learns_a_label_can_say_where_it_is() -> None:
    centre = (0.45, 0.3)
    for cells, coding in (("centre", "exp"), ("neighbours", "bounded"), ("square", "wide")):
        values = having(cells=cells, coding=coding)
        targets = assigned(labels((0, *centre, 0.1, 0.1)), values)
        grid = Grid(sides=SIDES, anchors=ANCHORS, coding=coding)
        extremes = torch.stack([torch.full((1, 1, sum(grid.places), 4), size) for size in (-40.0, 40.0)])
        low, high = (grid.boxes(each)[targets.is_object_NLK][:, :2] for each in extremes)

        assert (low <= torch.tensor(centre)).all() and (torch.tensor(centre) <= high).all()


def test_the_best_aligned_places_learn_a_label_and_each_lane_has_its_own() -> None:
    one = labels((1, 0.45, 0.45, 0.5, 0.5))
    raw = torch.zeros(1, 2, COARSE + 48, 8)
    raw[0, 0, 0, 4] = 9.0  # the first lane is sure of the first anchor
    raw[0, 1, 2, 4] = 9.0  # the second of the third
    values = having(positives="aligned", assign_iou=0.0, align_top=1.0, align_score=1.0, align_iou=0.0)

    targets = assigned(one, values, values, raw=raw)

    assert (places(targets), places(targets, 1)) == ([(0, 0, 0, 0)], [(0, 0, 0, 2)])


def test_the_score_by_which_places_are_ranked_is_that_of_the_class_loss() -> None:
    first, second = 0, 1  # anchors of the first coarse cell
    raw = torch.zeros(1, 1, COARSE + 48, 8)
    raw[..., 4] = -20.0
    raw[0, 0, first, 4:] = torch.tensor([3.0, 2.0, 2.0, 2.0])  # sure of every class: a third of each
    raw[0, 0, second, 4:] = torch.tensor([3.0, 0.0, -9.0, -9.0])

    def learned(class_loss: str) -> list[tuple[int, int, int, int]]:
        ranked = {"positives": "aligned", "align_top": 1.0, "align_score": 1.0, "align_iou": 0.0}
        values = having(assign_iou=0.0, class_loss=class_loss, **ranked)
        return places(assigned(labels((0, 0.2, 0.2, 0.5, 0.6)), values, raw=raw))

    assert learned("bce") == [(0, 0, 0, first)]
    assert learned("softmax") == [(0, 0, 0, second)]


def test_as_many_aligned_places_as_asked_for_learn_a_label_which_overlap_it_most() -> None:
    one = labels((1, 0.45, 0.42, 0.5, 0.46), pad=1)
    values = having(positives="aligned", cells="square", coding="wide", assign_iou=0.0, align_score=0.0, align_top=4.0)
    everywhere = assigned(one, having(cells="square", coding="wide", assign_iou=0.0)).is_object_NLK[0, 0]
    grid = Grid(sides=SIDES, anchors=ANCHORS, coding="wide")
    overlap_K = paired_overlap(xyxy(grid.boxes(torch.zeros(1, 1, COARSE + 48, 4))), xyxy(one[:, :1, None, 1:]))[0, 0]

    targets = assigned(one, values)

    best = torch.where(everywhere, overlap_K, -1.0).topk(4).indices
    assert targets.is_object_NLK[0, 0].nonzero().flatten().tolist() == sorted(best.tolist())


def test_a_label_that_nothing_overlaps_still_has_a_place() -> None:
    far = torch.zeros(1, 1, COARSE + 48, 8)
    far[..., 2:4] = -50.0  # boxes without a size

    assert (
        len(places(assigned(labels((0, 0.4, 0.4, 0.3, 0.3)), having(positives="aligned", assign_iou=0.0), raw=far)))
        == 1
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), *(st.floats(0.01, 0.99) for _ in range(4))), min_size=1, max_size=6))
def test_every_label_is_learned_unless_another_takes_its_place(rows: list[tuple[float, ...]]) -> None:
    targets = assigned(labels(*rows, pad=2), having())

    boxes = {tuple(box) for box in targets.boxes_NLK4[targets.is_object_NLK].tolist()}
    own = {tuple(box) for box in labels(*rows)[0, :, 1:].tolist()}
    count = int(targets.is_object_NLK.sum())
    assert boxes <= own
    assert 1 <= count <= len(rows)
    assert len(boxes) == count or len(own) < len(rows)


def test_shape_overlap_is_the_iou_of_centred_boxes() -> None:
    overlap = shape_overlap(torch.tensor([[0.2, 0.4]]), torch.tensor([[0.2, 0.4], [0.4, 0.2], [0.1, 0.1]]))

    assert torch.allclose(overlap, torch.tensor([[1.0, 0.04 / 0.12, 0.01 / 0.08]]))


def test_what_is_known_of_anchors_is_kept_by_size_and_never_that_of_another() -> None:
    first, larger = (
        Grid(sides=sides, anchors=ANCHORS, coding="exp").of_anchors(torch.zeros(1)) for sides in ((2, 4), (4, 8))
    )
    again = Grid(sides=(2, 4), anchors=ANCHORS, coding="exp").of_anchors(torch.zeros(1))
    fewer = Grid(sides=(2, 4), anchors=[each[:1] for each in ANCHORS], coding="exp").of_anchors(torch.zeros(1))

    assert [each.tolist() for each in first[:3]] == [[2] * 3 + [4] * 3, [0, 1, 2, 12, 13, 14], [3] * 6]
    assert [each.tolist() for each in larger[:2]] == [[4] * 3 + [8] * 3, [0, 1, 2, 48, 49, 50]]
    assert [each.tolist() for each in fewer[:3]] == [[2, 4], [0, 4], [1, 1]]
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(first, again, strict=True))
