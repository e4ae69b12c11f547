"""The four loss terms of YOLOv3, for every lane and scale.

Letters: T lanes, S scales (in `terms_TS4`), N images, A anchors of a scale, S cells a side, O = 5 + classes, K places
(`detector.grid`).
By default terms are in the units of ultralytics/yolov3, so that gains and learning rates mean the same there: means
over the places they count, times the images of the batch. What differs is said at each term. How a term is computed
may be chosen (`detector.choices`), and how terms become the loss (`reductions`); which terms there are may not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from detector.boxes import best_overlap, paired_overlap, xyxy
from detector.choices.box_losses import BOX_LOSSES, Pairs, squared_error
from detector.choices.class_losses import CLASS_LOSSES
from detector.choices.negatives import NEGATIVES
from detector.choices.objectness import OBJECTNESS
from detector.choices.reductions import REDUCTIONS, Sums
from detector.choices.smoothings import SMOOTHINGS
from detector.grid import Grid, in_row
from detector.lane_values import LaneValues
from detector.targets import Predicted, Targets, assign
from detector.telemetry import TERMS

# Weight of each scale's objectness, coarsest first (ultralytics/yolov3 utils/loss.py: 4, 1, 0.4 from fine to coarse).
OBJECTNESS_BALANCE = {2: (1.0, 4.0), 3: (0.4, 1.0, 4.0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class LossParts:
    """The loss of a batch, taken apart.

    Attributes:
        terms_TS4: box, obj, noobj, cls with gains, by lane and scale; a lane's sum is the loss it optimises.
        max_box_logit_T: Largest absolute raw box output over all scales.
        overlaps: For each scale the largest IoU of every prediction with any label of its image, (N, T, A, S, S).
        is_object: For each scale whether a prediction owns a label, of the same shape. Both are empty where nobody
            asked for them, or lanes were computed apart.
    """

    terms_TS4: Tensor
    max_box_logit_T: Tensor
    overlaps: tuple[Tensor, ...]
    is_object: tuple[Tensor, ...]


def in_slots(parts: Sequence[LossParts], groups: Sequence[Sequence[int]]) -> LossParts:
    """The loss of all lanes from that of groups of them, whose images may differ in size, and so have other places.

    Args:
        parts: Loss of each group of lanes.
        groups: Slots of the lanes of each group, all slots once.
    """
    order = torch.argsort(torch.tensor([slot for slots in groups for slot in slots])).to(parts[0].terms_TS4.device)
    return LossParts(
        terms_TS4=torch.cat([part.terms_TS4 for part in parts])[order],
        max_box_logit_T=torch.cat([part.max_box_logit_T for part in parts])[order],
        overlaps=(),
        is_object=(),
    )


def detection_loss(
    heads: Sequence[Tensor],
    labels_NM5: Tensor,
    anchors: Sequence[Tensor],
    values: LaneValues,
    pulls: Sequence[float] = (),
    *,
    has_places: bool = True,
) -> LossParts:
    """Loss terms of every lane.

    Args:
        heads: Raw outputs (N, T, A, S, S, O), coarsest scale first.
        labels_NM5: class, cx, cy, w, h; class -1 marks rows without a label.
        anchors: For each scale the sizes (A, 2) as fractions of the image.
        values: Hyperparameters of the lanes.
        pulls: For each lane the weight of what pulls predictions without a label to their anchors; empty for no pull.
        has_places: Whether `overlaps` and `is_object` are asked for, which an update has no use for.
    """
    grid = Grid.of(heads, anchors, coding=values.shared.coding)
    raw_NTKO = torch.cat([in_row(head) for head in heads], 2)
    with torch.no_grad():
        predicted = Predicted(raw_NTKO=raw_NTKO.detach(), boxes_NTK4=grid.boxes(raw_NTKO[..., :4]))
        overlap_NTK = best_overlap(predicted.boxes_NTK4, labels_NM5)
        truth = assign(labels_NM5, grid, values, predicted)
    box_NTK, target_NTK = _box_losses(raw_NTKO[..., :4], truth, grid, values)
    if any(pulls):
        box_NTK = box_NTK + _anchor_losses(raw_NTKO[..., :4], truth, grid, box_NTK.new_tensor(pulls))
    losses_4NTK = torch.stack(
        (
            box_NTK,
            *_objectness_losses(raw_NTKO[..., 4], truth, overlap_NTK, target_NTK, values),
            _class_losses(raw_NTKO[..., 5:], truth, values),
        )
    )
    return LossParts(
        terms_TS4=REDUCTIONS[values.shared.reduction](_sums(losses_4NTK, truth, grid, values)),
        max_box_logit_T=raw_NTKO[..., :4].detach().abs().amax((0, 2, 3)),
        overlaps=_of_scales(overlap_NTK, grid) if has_places else (),
        is_object=_of_scales(truth.is_object_NLK.expand_as(overlap_NTK), grid) if has_places else (),
    )


def _of_scales(values_NTK: Tensor, grid: Grid) -> tuple[Tensor, ...]:
    return tuple(part[..., 0] for part in grid.by_scale(values_NTK[..., None]))


def _sums(losses_4NTK: Tensor, truth: Targets, grid: Grid, values: LaneValues) -> Sums:
    balance = OBJECTNESS_BALANCE[len(grid.sides)]
    sums = [part.contiguous().sum((1, 3)) for part in losses_4NTK.split(grid.places, 3)]
    sums_TS4 = torch.stack(sums).permute(2, 0, 1)
    objects = [part.sum((0, 2)) for part in truth.is_object_NLK.split(grid.places, 2)]
    objects_TS = torch.stack(objects, -1).clamp(min=1).to(sums_TS4.dtype).expand_as(sums_TS4[..., 0])
    places = [len(truth.is_object_NLK) * num_places for num_places in grid.places]
    places_S, balance_S, one_S = sums_TS4.new_tensor([places, balance, [1.0] * len(balance)])
    places_TS = places_S.expand_as(objects_TS)
    return Sums(
        losses_TS4=sums_TS4,
        counts_TS4=torch.stack((objects_TS, places_TS, places_TS, objects_TS), -1),
        balance_TS4=torch.stack((one_S, balance_S, balance_S, one_S), -1),
        gains_T4=torch.stack([values.numbers_T[term] for term in TERMS], -1),
        num_images=losses_4NTK.shape[1],
    )


def _box_losses(raw_NTK4: Tensor, truth: Targets, grid: Grid, values: LaneValues) -> tuple[Tensor, Tensor]:
    """What the box term counts at each place, and what the objectness terms ask for there.

    Returns:
        The chosen loss where an object is, times 1 + g (1 - w h) by g the `small_box_gain`, and 0 elsewhere; and 1, or
        less by the share `obj_iou` of what the IoU lacks. Both of shape (N, T, K).

    Sources: the factor with g = 1, 2 - w h, is darknet's (yolo_layer.c, delta_yolo_box); IoU as the target of
    objectness is Redmon et al. 2016, section 2, and the share is gr of ultralytics/yolov3 (utils/loss.py).
    """
    is_object = truth.is_object_NLK
    # Masked before exp: what overflows where no object is must not become 0 * inf in the gradient.
    pairs = _pairs(torch.where(is_object[..., None], raw_NTK4, 0), truth.boxes_NLK4, grid)
    loss = BOX_LOSSES[values.shared.box_loss](pairs)
    label = truth.boxes_NLK4.to(loss.dtype)
    gain_T1 = values.numbers_T["small_box_gain"][:, None]
    weight = 1 + gain_T1 - gain_T1 * (label[..., 2] * label[..., 3])
    target = torch.ones_like(loss)
    if "obj_iou" in values.positive:
        overlap = paired_overlap(pairs.corners_NTK4.detach(), pairs.truth_NTK4)
        target = (1 - values.numbers_T["obj_iou"][:, None] * (1 - overlap)).clamp(0, 1)
    return torch.where(is_object, loss * weight, 0), target


def _pairs(raw_NTK4: Tensor, boxes_NLK4: Tensor, grid: Grid) -> Pairs:
    """Raw outputs, 0 where what they stand for does not count, with the boxes to predict (cxcywh)."""
    corners = xyxy(grid.boxes(raw_NTK4))
    return Pairs(
        corners_NTK4=corners,
        truth_NTK4=xyxy(boxes_NLK4.to(corners.dtype)).expand_as(corners),
        learned=lambda: grid.learned(raw_NTK4, boxes_NLK4),
    )


def _objectness_losses(
    logit_NTK: Tensor, truth: Targets, overlap_NTK: Tensor, target_NTK: Tensor, values: LaneValues
) -> tuple[Tensor, Tensor]:
    """What the objectness terms count where an object is, and where a place is asked to be background; 0 elsewhere."""
    is_background = ~truth.is_object_NLK & ~(overlap_NTK > values.numbers_T["ignore_iou"][:, None])
    as_object, as_background = OBJECTNESS[values.shared.objectness](logit_NTK, target_NTK, values.numbers_T)
    is_asked = NEGATIVES[values.shared.negatives](as_background, is_background, truth.is_object_NLK, values.numbers_T)
    return torch.where(truth.is_object_NLK, as_object, 0), torch.where(is_asked, as_background, 0)


def _anchor_losses(raw_NTK4: Tensor, truth: Targets, grid: Grid, pull_T: Tensor) -> Tensor:
    """What the box term counts besides, where a place owns no label: a squared error to its cell's centre and anchor.

    Its mean is over matches as that of the others, so the pull as a whole weighs more the fewer an image has.

    Source: as of `detector.schedule.anchor_pull_at`.
    """
    is_pulled = ~truth.is_object_NLK & (pull_T[:, None] > 0)
    raw_NTK4 = torch.where(is_pulled[..., None], raw_NTK4, 0)
    anchors_NLK4 = grid.boxes(torch.zeros_like(raw_NTK4[:1, :1]))  # what outputs of 0 mean in every coding
    loss = squared_error(_pairs(raw_NTK4, anchors_NLK4, grid))
    return torch.where(is_pulled, pull_T[:, None] * loss, 0)


def _class_losses(raw_NTKC: Tensor, truth: Targets, values: LaneValues) -> Tensor:
    """The chosen loss of the classes where an object is; 0 elsewhere, and with one class, as its peers have it.

    Weights are those of the label's class. They are 1 on average over the classes, not over the labels, so where rare
    ones weigh more the term as a whole is smaller.
    """
    num_classes = raw_NTKC.shape[-1]
    if num_classes == 1:
        return raw_NTKC.new_zeros(()).expand(raw_NTKC.shape[:-1])
    label = one_hot(truth.classes_NLK, num_classes).to(raw_NTKC.dtype)
    if "label_smoothing" in values.positive:
        label = SMOOTHINGS[values.shared.smoothing](label, values.numbers_T["label_smoothing"][:, None, None])
    loss = CLASS_LOSSES[values.shared.class_loss](raw_NTKC, label.expand_as(raw_NTKC))
    if "class_weights" in values.positive:
        weight_NTC = values.class_weight_TC.expand(len(loss), -1, -1)
        loss = loss * weight_NTC.gather(2, truth.classes_NLK.expand_as(loss))
    return torch.where(truth.is_object_NLK, loss, 0)
