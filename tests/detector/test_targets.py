"""Which anchor and cell learns which label."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.boxes import shape_overlap
from detector.targets import assign

ANCHORS = [
    torch.tensor([[0.5, 0.5], [0.6, 0.9], [0.9, 0.6]]),
    torch.tensor([[0.1, 0.1], [0.1, 0.2], [0.2, 0.1]]),
]
CELLS = (2, 4)


def labels(*rows: tuple[float, ...], pad: int = 0) -> torch.Tensor:
    return torch.tensor([[*rows, *[(-1.0, 0.0, 0.0, 0.0, 0.0)] * pad]])


def test_a_label_goes_to_its_best_anchor_in_the_cell_of_its_centre_and_nowhere_else() -> None:
    coarse, fine = assign(labels((1, 0.6, 0.3, 0.11, 0.21), pad=2), ANCHORS, CELLS, assign_iou=1.0)

    assert not coarse.is_object_NASS.any()
    assert fine.is_object_NASS.nonzero().tolist() == [[0, 1, 1, 2]]
    assert torch.allclose(fine.boxes_NASS4[0, 1, 1, 2], torch.tensor([0.6, 0.3, 0.11, 0.21]))
    assert fine.classes_NASS[0, 1, 1, 2] == 1


def test_a_lower_threshold_lets_more_anchors_learn_the_label_on_every_scale() -> None:
    one = labels((0, 0.5, 0.5, 0.5, 0.6))

    counts = [
        sum(int(each.is_object_NASS.sum()) for each in assign(one, ANCHORS, CELLS, assign_iou=threshold))
        for threshold in (1.0, 0.5, 0.0)
    ]

    assert counts == [1, 3, 6]


def test_where_two_labels_meet_the_one_with_the_better_claim_wins() -> None:
    best_first = labels((0, 0.55, 0.55, 0.5, 0.5), (1, 0.6, 0.6, 0.9, 0.6))

    coarse, _ = assign(best_first, ANCHORS, CELLS, assign_iou=0.3)

    assert coarse.classes_NASS[0, :, 1, 1].tolist() == [0, 1, 1]


def test_an_image_without_labels_has_no_targets() -> None:
    for target in assign(labels(pad=3), ANCHORS, CELLS, assign_iou=0.2):
        assert not target.is_object_NASS.any()


def test_a_centre_on_the_far_edge_stays_inside_the_grid() -> None:
    coarse, _ = assign(labels((0, 1.0, 1.0, 0.5, 0.5)), ANCHORS, CELLS, assign_iou=1.0)

    assert coarse.is_object_NASS.nonzero().tolist() == [[0, 0, 1, 1]]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), *(st.floats(0.01, 0.99) for _ in range(4))), min_size=1, max_size=6))
def test_every_label_is_learned_unless_another_takes_its_place(rows: list[tuple[float, ...]]) -> None:
    targets = assign(labels(*rows, pad=2), ANCHORS, CELLS, assign_iou=1.0)

    boxes = {tuple(box) for each in targets for box in each.boxes_NASS4[each.is_object_NASS].tolist()}
    own = {tuple(box) for box in labels(*rows)[0, :, 1:].tolist()}
    places = sum(int(each.is_object_NASS.sum()) for each in targets)
    assert boxes <= own
    assert 1 <= places <= len(rows)
    assert len(boxes) == places or len(own) < len(rows)


def test_shape_overlap_is_the_iou_of_centred_boxes() -> None:
    overlap = shape_overlap(torch.tensor([[0.2, 0.4]]), torch.tensor([[0.2, 0.4], [0.4, 0.2], [0.1, 0.1]]))

    assert torch.allclose(overlap, torch.tensor([[1.0, 0.04 / 0.12, 0.01 / 0.08]]))
