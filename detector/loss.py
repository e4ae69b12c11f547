"""The four loss terms of YOLOv3, for every lane and scale.

Letters: T lanes, S scales (in `terms_TS4`), N images, A anchors of a scale, S cells a side, O = 5 + classes.
All terms are in the units of ultralytics/yolov3, so that gains and learning rates mean the same there: means over
the places they count, times the images of the batch. What differs is said at each term. How a term is computed may be
chosen (`detector.choices`), which terms there are may not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from detector.boxes import best_overlap, xyxy
from detector.choices.box_losses import BOX_LOSSES
from detector.choices.codings import CODINGS
from detector.choices.objectness import OBJECTNESS
from detector.hyperparameters import Hyperparameters, declarations
from detector.targets import ScaleTargets
from detector.telemetry import TERMS

# Weight of each scale's objectness, coarsest first (ultralytics/yolov3 utils/loss.py: 4, 1, 0.4 from fine to coarse).
OBJECTNESS_BALANCE = {2: (1.0, 4.0), 3: (0.4, 1.0, 4.0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneValues:
    """Hyperparameters of T lanes as the loss reads them.

    Attributes:
        shared: Hyperparameters of any lane, read only where lanes agree.
        numbers_T: Every numeric hyperparameter by name, one value a lane, each of shape (T,).
    """

    shared: Hyperparameters
    numbers_T: Mapping[str, Tensor]

    @classmethod
    def of(cls, values: Sequence[Hyperparameters], like: Tensor) -> LaneValues:
        """The values of lanes that agree on what they share, with the type and device of a tensor."""
        numeric = [name for name, declaration in declarations().items() if not declaration.choices]
        rows = [[getattr(lane, name) for lane in values] for name in numeric]
        return cls(shared=values[0], numbers_T=dict(zip(numeric, like.new_tensor(rows), strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class LossParts:
    """The loss of a batch, taken apart.

    Attributes:
        terms_TS4: box, obj, noobj, cls with gains, by lane and scale; a lane's sum is the loss it optimises.
        max_box_logit_T: Largest absolute raw box output over all scales.
        overlaps: For each scale the largest IoU of every prediction with any label of its image, (N, T, A, S, S).
    """

    terms_TS4: Tensor
    max_box_logit_T: Tensor
    overlaps: tuple[Tensor, ...]


def in_slots(parts: Sequence[LossParts], groups: Sequence[Sequence[int]]) -> LossParts:
    """The loss of all lanes from that of groups of them.

    Args:
        parts: One for each group.
        groups: Slots of the lanes of each group, all slots once.
    """
    order = torch.argsort(torch.tensor([slot for slots in groups for slot in slots])).to(parts[0].terms_TS4.device)
    scales = zip(*(part.overlaps for part in parts), strict=True)
    return LossParts(
        terms_TS4=torch.cat([part.terms_TS4 for part in parts])[order],
        max_box_logit_T=torch.cat([part.max_box_logit_T for part in parts])[order],
        overlaps=tuple(torch.cat(overlaps, 1)[:, order] for overlaps in scales),
    )


def detection_loss(
    heads: Sequence[Tensor],
    targets: Sequence[ScaleTargets],
    labels_NM5: Tensor,
    anchors: Sequence[Tensor],
    values: LaneValues,
) -> LossParts:
    """Loss terms of every lane.

    Args:
        heads: Raw outputs (N, T, A, S, S, O), coarsest scale first.
        targets: Targets of each head, the same for all lanes.
        labels_NM5: class, cx, cy, w, h; class -1 marks rows without a label.
        anchors: For each scale the sizes (A, 2) as fractions of the image.
        values: Hyperparameters of the lanes.
    """
    terms, logits, overlaps = [], [], []
    balance = OBJECTNESS_BALANCE[len(heads)]
    for scale, (raw, target, anchors_A2) in enumerate(zip(heads, targets, anchors, strict=True)):
        with torch.no_grad():
            overlaps.append(best_overlap(CODINGS[values.shared.coding](raw[..., :4], anchors_A2), labels_NM5))
        terms.append(_scale_terms(raw, target, overlaps[-1], anchors_A2, values, balance[scale]))
        logits.append(raw[..., :4].detach().abs().amax((0, 2, 3, 4, 5)))
    num_images = labels_NM5.shape[0]
    gains_T4 = torch.stack([values.numbers_T[term] for term in TERMS], -1)
    terms_TS4 = torch.stack(terms, 1) * gains_T4[:, None, :] * num_images
    largest_T = torch.stack(logits).amax(0)
    return LossParts(terms_TS4=terms_TS4, max_box_logit_T=largest_T, overlaps=tuple(overlaps))


def _scale_terms(
    raw: Tensor, target: ScaleTargets, overlap: Tensor, anchors_A2: Tensor, values: LaneValues, balance: float
) -> Tensor:
    """Terms box, obj, noobj, cls of one scale without gains, shape (T, 4)."""
    is_object = target.is_object_NASS[:, None]
    num_objects = target.is_object_NASS.sum().clamp(min=1)
    places = target.is_object_NASS.numel()
    is_background = ~is_object & ~(overlap > values.numbers_T["ignore_iou"][:, None, None, None])
    box = _box_term(raw[..., :4], target, anchors_A2, values.shared) / num_objects
    as_object, as_background = OBJECTNESS[values.shared.objectness](raw[..., 4], values.numbers_T)
    obj = _lane_sum(torch.where(is_object, as_object, 0)) / places * balance
    noobj = _lane_sum(torch.where(is_background, as_background, 0)) / places * balance
    return torch.stack((box, obj, noobj, _class_term(raw[..., 5:], target) / num_objects), -1)


def _box_term(raw_NTASS4: Tensor, target: ScaleTargets, anchors_A2: Tensor, shared: Hyperparameters) -> Tensor:
    """Sum of (2 - w h) times the chosen loss over the objects, shape (T,).

    Source: the factor 2 - w h is darknet's (yolo_layer.c, delta_yolo_box).
    """
    is_object = target.is_object_NASS[:, None, ..., None]
    # Masked before exp: what overflows where no object is must not become 0 * inf in the gradient.
    boxes = CODINGS[shared.coding](torch.where(is_object, raw_NTASS4, 0), anchors_A2)
    truth = target.boxes_NASS4[:, None].to(boxes.dtype)
    loss = BOX_LOSSES[shared.box_loss](xyxy(boxes), xyxy(truth).expand_as(boxes))
    weight = 2 - truth[..., 2] * truth[..., 3]
    return _lane_sum(torch.where(is_object[..., 0], loss * weight, 0))


def _class_term(raw_NTASSC: Tensor, target: ScaleTargets) -> Tensor:
    """Sum over the objects of the mean BCE over the classes, shape (T,); 0 with a single class, as its peers do."""
    num_classes = raw_NTASSC.shape[-1]
    if num_classes == 1:
        return raw_NTASSC.new_zeros(raw_NTASSC.shape[1])
    truth = one_hot(target.classes_NASS, num_classes)[:, None].to(raw_NTASSC.dtype).expand_as(raw_NTASSC)
    loss = binary_cross_entropy_with_logits(raw_NTASSC, truth, reduction="none").mean(-1)
    return _lane_sum(torch.where(target.is_object_NASS[:, None], loss, 0))


def _lane_sum(values_NTASS: Tensor) -> Tensor:
    return values_NTASS.sum((0, 2, 3, 4))
