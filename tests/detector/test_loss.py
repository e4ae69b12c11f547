"""The loss terms: what they are, that they add up, and that lanes keep to themselves."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from detector.boxes import paired_overlap, xyxy
from detector.choices.codings import exp
from detector.choices.negatives import hardest
from detector.grid import Grid
from detector.hyperparameters import Hyperparameters
from detector.lane_values import LaneValues
from detector.loss import LossParts, detection_loss
from detector.priors import LabelStatistics
from detector.telemetry import TERMS

ANCHORS = [torch.tensor([[0.5, 0.5], [0.6, 0.9], [0.9, 0.6]]), torch.tensor([[0.1, 0.1], [0.1, 0.2], [0.2, 0.1]])]
LABELS = torch.tensor(
    [
        [[0, 0.3, 0.3, 0.5, 0.4], [2, 0.8, 0.7, 0.12, 0.1], [-1, 0, 0, 0, 0]],
        [[1, 0.5, 0.5, 0.9, 0.7], [-1, 0, 0, 0, 0], [-1, 0, 0, 0, 0]],
    ]
)
CELLS = (2, 4)
# One place for each label, which says where it is by exp.
PAPERS = {
    **{"assignment": "shape_overlap", "assign_iou": 1.0, "cells": "centre", "coding": "exp"},
    **{"box_loss": "giou", "obj_iou": 0.0},
}


def raw_heads(lanes: int = 2, num_classes: int = 3, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(2, lanes, 3, side, side, 5 + num_classes) for side in CELLS]
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def loss_of(
    heads: list[torch.Tensor],
    *,
    gains: tuple[float, ...] = (1, 1, 1, 1),
    ignore: float = 0.7,
    pulls: tuple[float, ...] = (),
    **others: object,
) -> LossParts:
    lanes = heads[0].shape[1]
    labels = LABELS.double()
    anchors = [each.double() for each in ANCHORS]
    values = Hyperparameters.from_mapping(
        {**dict(zip(TERMS, gains, strict=True)), "ignore_iou": ignore, **PAPERS, **others}
    )
    return detection_loss(heads, labels, anchors, LaneValues.of([values] * lanes, like=labels), pulls)


def test_terms_scale_with_their_gains() -> None:
    plain = loss_of(raw_heads())
    weighted = loss_of(raw_heads(), gains=(2, 3, 5, 7))

    expected = plain.terms_TS4 * torch.tensor([2.0, 3, 5, 7], dtype=torch.float64)
    torch.testing.assert_close(weighted.terms_TS4, expected)


def test_object_and_background_terms_add_up_to_the_mean_bce_of_ultralytics() -> None:
    heads = raw_heads()

    parts = loss_of(heads, ignore=1.0)

    for scale, balance in enumerate((1.0, 4.0)):
        truth = parts.is_object[scale].double()
        bce = binary_cross_entropy_with_logits(heads[scale][..., 4], truth, reduction="none")
        mean_T = bce.mean((0, 2, 3, 4)) * balance * 2  # images
        torch.testing.assert_close(parts.terms_TS4[:, scale, 1] + parts.terms_TS4[:, scale, 2], mean_T)


def test_where_an_object_is_the_iou_is_asked_for_and_a_right_answer_costs_nothing() -> None:
    heads = raw_heads(lanes=1)
    overlap = paired_overlap(xyxy(exp(heads[1][..., :4], ANCHORS[1].double())), xyxy(LABELS.double()[0, 1, 1:]))
    (place,) = loss_of(heads).is_object[1].nonzero().tolist()

    costs = []
    for share in (0.0, 0.5, 1.0):
        asked = 1 - share * (1 - overlap[tuple(place)])
        heads[1][tuple(place)][4] = asked.clamp(max=1 - 1e-9).logit()
        costs.append(loss_of(heads, obj_iou=share).terms_TS4[0, 1, 1].item())

    assert 0 < overlap[tuple(place)] < 1
    assert costs == pytest.approx([0, 0, 0], abs=1e-6)


@pytest.mark.parametrize("gain", [0.0, 1.0, 2.5])
def test_the_box_term_is_one_minus_giou_and_weighs_small_boxes_more(gain: float) -> None:
    heads = raw_heads()

    parts = loss_of(heads, small_box_gain=gain)

    where = parts.is_object[1][:, :1].nonzero()
    assert len(where) == 1
    n, _, a, y, x = where[0].tolist()
    boxes = xyxy(exp(heads[1][..., :4], ANCHORS[1].double()))[n, 0, a, y, x]
    label = LABELS.double()[0, 1, 1:]
    truth, area = xyxy(label), float(label[2] * label[3])
    expected = (1 + gain * (1 - area)) * (1 - giou(boxes.tolist(), truth.tolist())) * 2  # images
    assert parts.terms_TS4[0, 1, 0].item() == pytest.approx(expected, rel=1e-5)


def giou(first: list[float], second: list[float]) -> float:
    """Generalised IoU by its definition (Rezatofighi et al. 2019, algorithm 1)."""
    width = max(0.0, min(first[2], second[2]) - max(first[0], second[0]))
    height = max(0.0, min(first[3], second[3]) - max(first[1], second[1]))
    areas = [(each[2] - each[0]) * (each[3] - each[1]) for each in (first, second)]
    union = sum(areas) - width * height
    around = (max(first[2], second[2]) - min(first[0], second[0])) * (
        max(first[3], second[3]) - min(first[1], second[1])
    )
    return width * height / union - (around - union) / around


def test_a_good_prediction_beside_its_label_is_not_asked_to_be_background() -> None:
    heads = raw_heads(lanes=1)
    for head in heads:
        head[..., :4] = 0  # anchors at cell centres: some overlap the labels well

    strict = loss_of(heads, ignore=1.0)
    lenient = loss_of(heads, ignore=0.2)

    assert lenient.terms_TS4[0, 0, 2] < strict.terms_TS4[0, 0, 2]
    assert torch.equal(lenient.terms_TS4[..., :2], strict.terms_TS4[..., :2])


def test_one_class_has_no_class_term() -> None:
    heads = raw_heads(num_classes=1)

    parts = loss_of(heads)

    assert torch.equal(parts.terms_TS4[..., 3], torch.zeros_like(parts.terms_TS4[..., 3]))


def test_a_batch_without_labels_still_has_a_finite_loss_and_gradient() -> None:
    heads = [head.requires_grad_() for head in raw_heads()]
    labels = torch.zeros(2, 3, 5, dtype=torch.float64)
    labels[..., 0] = -1
    anchors = [each.double() for each in ANCHORS]
    values = LaneValues.of([Hyperparameters()] * 2, like=labels)

    parts = detection_loss(heads, labels, anchors, values)
    parts.terms_TS4.sum().backward()

    assert torch.isfinite(parts.terms_TS4).all()
    assert parts.terms_TS4[..., [0, 1, 3]].abs().sum() == 0
    assert all(torch.isfinite(head.grad).all() for head in heads)


def test_a_lane_gives_no_gradient_to_another() -> None:
    heads = [head.requires_grad_() for head in raw_heads(lanes=3)]

    parts = loss_of(heads)
    parts.terms_TS4[1].sum().backward()

    for head in heads:
        assert head.grad[:, 1].abs().sum() > 0
        assert head.grad[:, [0, 2]].abs().sum() == 0


def test_an_overflow_where_no_object_is_leaves_the_gradient_finite() -> None:
    heads = raw_heads(lanes=1)
    empty = ~loss_of(heads).is_object[0]
    heads[0][empty] = heads[0][empty].index_fill(-1, torch.tensor([2]), 1e6)
    heads = [head.requires_grad_() for head in heads]

    parts = loss_of(heads)
    parts.terms_TS4.sum().backward()

    assert torch.isfinite(heads[0].grad).all()


def test_an_exploding_box_makes_its_own_lanes_loss_not_finite_and_no_others() -> None:
    heads = raw_heads(lanes=2)
    heads[0][:, 1, ..., 2] = 1e6

    parts = loss_of(heads)

    assert not math.isfinite(parts.terms_TS4[1].sum().item())
    assert torch.isfinite(parts.terms_TS4[0]).all()
    assert parts.max_box_logit_T[1] == 1e6


@pytest.mark.parametrize(
    ("coding", "expected"),
    [
        # The label (0.8, 0.7, 0.12, 0.1) is at (0.2, 0.8) in its cell of 4 x 4; its anchor is (0.1, 0.1).
        # Sigmoids of the raw outputs 0.4, -0.6, 0.3, -0.2 are 0.598688, 0.354344, 0.574443, 0.450166.
        ("exp", (0.598688 - 0.2) ** 2 + (0.354344 - 0.8) ** 2 + (0.3 - 0.182322) ** 2 + (-0.2 - 0.0) ** 2),
        ("bounded", (0.697376 - 0.2) ** 2 + (0.208688 - 0.8) ** 2 + (0.574443 - 0.547723) ** 2 + (0.450166 - 0.5) ** 2),
        ("wide", (0.796064 - 0.2) ** 2 + (0.063032 - 0.8) ** 2 + (0.574443 - 0.547723) ** 2 + (0.450166 - 0.5) ** 2),
    ],
)
def test_the_squared_error_is_darknets_in_what_the_coding_learns(coding: str, expected: float) -> None:
    heads = raw_heads(lanes=1)
    heads[1][..., :4] = torch.tensor([0.4, -0.6, 0.3, -0.2], dtype=torch.float64)

    parts = loss_of(heads, box_loss="squared_error", coding=coding)

    assert parts.is_object[1].nonzero().tolist() == [[0, 0, 0, 2, 3]]
    assert parts.terms_TS4[0, 1, 0].item() == pytest.approx((2 - 0.12 * 0.1) * expected * 2, rel=1e-5)  # images


def test_a_squared_error_counts_from_the_cell_that_learns_it_even_beside_that_of_the_centre() -> None:
    grid = Grid(sides=CELLS, anchors=[each.double() for each in ANCHORS], coding="exp")
    raw = torch.zeros(1, 1, sum(grid.places), 4, dtype=torch.float64)
    label = torch.tensor([0.8, 0.7, 0.1, 0.1], dtype=torch.float64).expand(raw.shape)
    place = 2 * 2 * 3 + (2 * 4 + 2) * 3  # of the cell to the left of the label's, its first anchor

    predicted, learned = grid.learned(raw, label)

    assert (predicted - learned)[0, 0, place].square().sum().item() == pytest.approx(
        (1.2 - 0.5) ** 2 + (0.8 - 0.5) ** 2
    )


def test_a_squared_error_has_a_gradient_where_an_overlap_has_overflowed() -> None:
    def gradient(box_loss: str) -> float:
        heads = [head.float() for head in raw_heads(lanes=1)]
        heads[1][..., 2] = 100.0
        heads = [head.requires_grad_() for head in heads]
        loss_of(heads, box_loss=box_loss).terms_TS4.sum().backward()
        return heads[1].grad[0, 0, 0, 2, 3, 2].item()

    assert math.isnan(gradient("giou"))
    assert gradient("squared_error") == pytest.approx((2 - 0.012) * 2 * (100 - math.log(1.2)) * 2, rel=1e-4)


def matched_classes(heads: list[torch.Tensor], parts: LossParts) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """For each scale the class logits of the places that own a label, and the class of that label."""
    found = []
    for head, is_object in zip(heads, parts.is_object, strict=True):
        image = is_object[:, 0].nonzero()[:, 0]
        classes = torch.tensor(
            [[0, 2], [1, -1]]
        )  # on the coarse scale the first label of an image, on the fine the other
        found.append((head[:, 0][is_object[:, 0]][:, 5:], classes[image, len(found)]))
    return found


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_a_softmax_with_evenly_smoothed_labels_is_torchs_cross_entropy(share: float) -> None:
    heads = raw_heads(lanes=1)

    parts = loss_of(heads, class_loss="softmax", label_smoothing=share, smoothing="uniform")

    for scale, (logits, classes) in enumerate(matched_classes(heads, parts)):
        expected = cross_entropy(logits, classes, label_smoothing=share) * 2  # images
        torch.testing.assert_close(parts.terms_TS4[0, scale, 3], expected)


def test_labels_smoothed_by_ultralytics_ask_for_half_of_the_share_in_each_class() -> None:
    heads = raw_heads(lanes=1)

    parts = loss_of(heads, label_smoothing=0.2, smoothing="binary")

    for scale, (logits, classes) in enumerate(matched_classes(heads, parts)):
        target = torch.full_like(logits, 0.1)
        target[torch.arange(len(classes)), classes] = 0.9
        torch.testing.assert_close(parts.terms_TS4[0, scale, 3], binary_cross_entropy_with_logits(logits, target) * 2)


def test_lanes_weigh_and_smooth_classes_each_by_numbers_of_its_own() -> None:
    heads, labels, anchors = raw_heads(lanes=2), LABELS.double(), [each.double() for each in ANCHORS]
    plain = Hyperparameters(class_loss="softmax", assign_iou=1.0, cls=1.0)
    lanes = [replace(plain, class_weights=0.5), replace(plain, label_smoothing=0.3)]
    rarity = (0.2, 0.7, 2.1)

    parts = detection_loss(heads, labels, anchors, LaneValues.of(lanes, like=labels, class_rarity=rarity))

    weights = torch.tensor([0.6, 0.85, 1.55], dtype=torch.float64)
    for scale, (logits, classes) in enumerate(matched_classes(heads, parts)):
        weighted = cross_entropy(logits, classes, weight=weights, reduction="none").mean() * 2
        torch.testing.assert_close(parts.terms_TS4[0, scale, 3], weighted)
    alone = detection_loss([head[:, 1:] for head in heads], labels, anchors, LaneValues.of(lanes[1:], like=labels))
    torch.testing.assert_close(parts.terms_TS4[1], alone.terms_TS4[0])


def test_a_class_is_rare_by_the_inverse_of_its_labels_and_one_without_counts_as_having_one() -> None:
    statistics = LabelStatistics(wh_M2=np.zeros((11, 2)), class_count=(10, 1, 0), num_images=4)

    assert statistics.class_rarity == pytest.approx((0.1 / 2.1 * 3, 1 / 2.1 * 3, 1 / 2.1 * 3))


def test_the_squared_error_of_objectness_is_that_of_the_probability() -> None:
    heads = raw_heads(lanes=1)

    parts = loss_of(heads, objectness="squared_error", ignore=1.0)

    for scale, balance in enumerate((1.0, 4.0)):
        truth = parts.is_object[scale].double()
        expected = mse_loss(heads[scale][..., 4].sigmoid(), truth) * balance * 2  # images
        torch.testing.assert_close(parts.terms_TS4[0, scale, 1:3].sum(), expected)


def test_the_hardest_places_of_an_image_count_by_the_ratio_of_each_lane_and_one_without_objects_has_some() -> None:
    cost = torch.tensor([[0.9, 0.1, 0.8, 0.7, 0.2, 0.6], [0.3, 0.5, 0.4, 0.1, 0.2, 0.6]])[:, None].expand(2, 2, 6)
    is_object = torch.tensor([[1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]], dtype=torch.bool)[:, None]
    numbers = {"negatives_per_object": torch.tensor([1.0, 1.5])}

    asked = hardest(cost, ~is_object.expand(2, 2, 6), is_object, numbers)

    found = [[lane.nonzero().flatten().tolist() for lane in image] for image in asked]
    assert found == [[[2, 3], [2, 3, 5]], [[5], [1, 5]]]


def test_with_the_hardest_places_easy_background_has_no_gradient() -> None:
    heads = [head.requires_grad_() for head in raw_heads(lanes=1)]

    parts = loss_of(heads, negatives="hardest", negatives_per_object=2.0, ignore=1.0)
    parts.terms_TS4[..., 2].sum().backward()

    learning = torch.cat([(head.grad[..., 4] != 0).flatten(1) for head in heads], 1)
    objects = torch.cat([each.flatten(1) for each in parts.is_object], 1)
    logits = torch.cat([head[..., 4].flatten(1) for head in heads], 1).detach().masked_fill(objects, -torch.inf)
    for image, count in enumerate(objects.sum(1).tolist()):
        assert learning[image].nonzero().flatten().tolist() == sorted(logits[image].topk(2 * count).indices.tolist())


def test_a_sum_is_the_mean_times_what_it_is_over_and_without_the_balance_of_scales() -> None:
    heads = raw_heads()

    means, sums = loss_of(heads), loss_of(heads, reduction="sum")

    for scale, (side, balance) in enumerate(zip(CELLS, (1.0, 4.0), strict=True)):
        matches, places = int(means.is_object[scale][:, 0].sum()), 3 * side * side
        images = torch.tensor([matches / 2, places / balance, places / balance, matches / 2], dtype=torch.float64)
        torch.testing.assert_close(sums.terms_TS4[:, scale], means.terms_TS4[:, scale] * images)


def test_a_root_is_that_of_each_lanes_own_total_of_an_image_with_the_gradient_of_one() -> None:
    heads = [head.requires_grad_() for head in raw_heads()]
    root_T = loss_of(heads, gains=(2, 3, 5, 7), reduction="root").terms_TS4.sum((1, 2))
    total_T = loss_of(heads, gains=(2, 3, 5, 7), reduction="sum").terms_TS4.sum((1, 2))

    torch.testing.assert_close(root_T, 2 * (total_T / 2).sqrt(), rtol=1e-5, atol=0.0)
    slopes = [torch.autograd.grad(loss_T[1], heads[0], retain_graph=True)[0] for loss_T in (root_T, total_T)]
    torch.testing.assert_close(slopes[0], slopes[1] / (2 * (total_T[1] / 2).sqrt()), rtol=1e-5, atol=1e-9)


def test_a_root_of_nothing_has_a_finite_gradient() -> None:
    heads = [head.requires_grad_() for head in raw_heads()]

    terms = loss_of(heads, gains=(0, 0, 0, 0), reduction="root").terms_TS4
    terms.sum().backward()

    assert terms.abs().sum() == 0
    assert all(torch.isfinite(head.grad).all() for head in heads)


@pytest.mark.parametrize(
    ("coding", "slope", "size"),
    [
        ("exp", 1, lambda raw: raw),
        ("bounded", 2, lambda raw: raw.sigmoid() - 0.5),
        ("wide", 3, lambda raw: raw.sigmoid() - 0.5),
    ],
)
def test_places_without_a_label_are_pulled_to_their_cells_centre_and_anchor_in_lanes_that_say_so(
    coding: str, slope: float, size: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    heads = raw_heads(lanes=3)

    plain = loss_of(heads, coding=coding).terms_TS4
    parts = loss_of(heads, coding=coding, pulls=(0.0, 0.01, 0.5))

    torch.testing.assert_close(parts.terms_TS4[0], plain[0])
    torch.testing.assert_close(parts.terms_TS4[..., 1:], plain[..., 1:])
    for scale, head in enumerate(heads):
        empty = ~parts.is_object[scale]
        error = torch.cat((slope * (head[..., :2].sigmoid() - 0.5), size(head[..., 2:4])), -1).square().sum(-1)
        pulled_T = torch.where(empty, error, 0).sum((0, 2, 3, 4)) / (~empty[:, 0]).sum() * 2  # images
        for lane, pull in ((1, 0.01), (2, 0.5)):
            more = parts.terms_TS4[lane, scale, 0] - plain[lane, scale, 0]
            torch.testing.assert_close(more, pull * pulled_T[lane])


def test_an_overflow_in_a_lane_that_is_not_pulled_gives_no_gradient_to_one_that_is() -> None:
    heads = raw_heads(lanes=2)
    heads[0][:, 0, ..., 2] = 1e6
    heads = [head.requires_grad_() for head in heads]

    loss_of(heads, pulls=(0.0, 0.01)).terms_TS4.sum().backward()

    assert all(torch.isfinite(head.grad[:, 1]).all() for head in heads)
