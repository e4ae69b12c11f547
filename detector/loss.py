"""The four loss terms of YOLOv3, for every lane and scale.

Letters: T lanes, S scales (in `terms_TS4`), N images, A anchors of a scale, S cells a side, O = 5 + classes, K places:
anchors of the cells of all scales, in one row, so that what is computed at each of them is computed once.
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
    grid = _Grid(sides=tuple(head.shape[3] for head in heads), anchors=anchors, coding=values.shared.coding)
    raw_NTKO = torch.cat([_in_row(head) for head in heads], 2)
    truth = _Truth.of(targets)
    with torch.no_grad():
        overlap_NTK = best_overlap(grid.boxes(raw_NTKO[..., :4]), labels_NM5)
    is_object = truth.is_object_NK[:, None]
    is_background = ~is_object & ~(overlap_NTK > values.numbers_T["ignore_iou"][:, None])
    as_object, as_background = OBJECTNESS[values.shared.objectness](raw_NTKO[..., 4], values.numbers_T)
    losses_4NTK = torch.stack(
        (
            _box_losses(raw_NTKO[..., :4], truth, grid, values.shared),
            torch.where(is_object, as_object, 0),
            torch.where(is_background, as_background, 0),
            _class_losses(raw_NTKO[..., 5:], truth),
        )
    )
    gains_T4 = torch.stack([values.numbers_T[term] for term in TERMS], -1)
    num_images = labels_NM5.shape[0]
    return LossParts(
        terms_TS4=_means(losses_4NTK, truth, grid) * gains_T4[:, None, :] * num_images,
        max_box_logit_T=raw_NTKO[..., :4].detach().abs().amax((0, 2, 3)),
        overlaps=tuple(grid.by_scale(overlap_NTK[..., None])[scale][..., 0] for scale in range(len(heads))),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grid:
    """Places of all scales in a row: coarsest scale first, row of cells by row of cells, the anchors of a cell last.

    Attributes:
        sides: For each scale the cells a side.
        anchors: For each scale the sizes (A, 2) as fractions of the image.
        coding: A key of `CODINGS`.
    """

    sides: tuple[int, ...]
    anchors: Sequence[Tensor]
    coding: str

    @property
    def places(self) -> list[int]:
        """How many places each scale has."""
        return [side * side * len(anchors_A2) for side, anchors_A2 in zip(self.sides, self.anchors, strict=True)]

    def by_scale(self, values_NTKX: Tensor) -> list[Tensor]:
        """Views of values in a row as each head has them, (N, T, A, S, S, X)."""
        parts = values_NTKX.split(self.places, 2)
        return [
            part.unflatten(2, (side, side, -1)).permute(0, 1, 4, 2, 3, 5)
            for part, side in zip(parts, self.sides, strict=True)
        ]

    def boxes(self, raw_NTK4: Tensor) -> Tensor:
        """Boxes as centre and size, of the same shape."""
        heads = zip(self.by_scale(raw_NTK4), self.anchors, strict=True)
        return torch.cat([_in_row(CODINGS[self.coding](raw, anchors_A2)) for raw, anchors_A2 in heads], 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Truth:
    """Targets of all scales in a row, in the order of `_Grid`."""

    is_object_NK: Tensor
    boxes_NK4: Tensor
    classes_NK: Tensor

    @classmethod
    def of(cls, targets: Sequence[ScaleTargets]) -> _Truth:
        def joined(parts: Sequence[Tensor]) -> Tensor:
            return torch.cat([part.movedim(1, 3).flatten(1, 3) for part in parts], 1)

        return cls(
            is_object_NK=joined([target.is_object_NASS for target in targets]),
            boxes_NK4=joined([target.boxes_NASS4 for target in targets]),
            classes_NK=joined([target.classes_NASS for target in targets]),
        )


def _in_row(head_NTASSX: Tensor) -> Tensor:
    """The places of a head in the order of its memory, (N, T, K, X)."""
    return head_NTASSX.permute(0, 1, 3, 4, 2, 5).flatten(2, 4)


def _means(losses_4NTK: Tensor, truth: _Truth, grid: _Grid) -> Tensor:
    """Terms box, obj, noobj, cls by scale without gains, shape (T, S, 4): means over objects or over all places."""
    balance = OBJECTNESS_BALANCE[len(grid.sides)]
    sums = [part.contiguous().sum((1, 3)) for part in losses_4NTK.split(grid.places, 3)]
    sums_TS4 = torch.stack(sums).permute(2, 0, 1)
    objects = [part.sum() for part in truth.is_object_NK.split(grid.places, 1)]
    objects_S = torch.stack(objects).clamp(min=1).to(sums_TS4.dtype)
    places = [len(truth.is_object_NK) * num_places for num_places in grid.places]
    places_S, balance_S, one_S = sums_TS4.new_tensor([places, balance, [1.0] * len(balance)])
    counts_S4 = torch.stack((objects_S, places_S, places_S, objects_S), -1)
    return sums_TS4 / counts_S4 * torch.stack((one_S, balance_S, balance_S, one_S), -1)


def _box_losses(raw_NTK4: Tensor, truth: _Truth, grid: _Grid, shared: Hyperparameters) -> Tensor:
    """(2 - w h) times the chosen loss at each place that has an object, 0 elsewhere.

    Source: the factor 2 - w h is darknet's (yolo_layer.c, delta_yolo_box).
    """
    is_object = truth.is_object_NK[:, None, :, None]
    # Masked before exp: what overflows where no object is must not become 0 * inf in the gradient.
    boxes = grid.boxes(torch.where(is_object, raw_NTK4, 0))
    label = truth.boxes_NK4[:, None].to(boxes.dtype)
    loss = BOX_LOSSES[shared.box_loss](xyxy(boxes), xyxy(label).expand_as(boxes))
    weight = 2 - label[..., 2] * label[..., 3]
    return torch.where(is_object[..., 0], loss * weight, 0)


def _class_losses(raw_NTKC: Tensor, truth: _Truth) -> Tensor:
    """Mean BCE over the classes at each place that has an object; 0 elsewhere, and with one class, as its peers do."""
    num_classes = raw_NTKC.shape[-1]
    if num_classes == 1:
        return raw_NTKC.new_zeros(()).expand(raw_NTKC.shape[:-1])
    label = one_hot(truth.classes_NK, num_classes)[:, None].to(raw_NTKC.dtype).expand_as(raw_NTKC)
    loss = binary_cross_entropy_with_logits(raw_NTKC, label, reduction="none").mean(-1)
    return torch.where(truth.is_object_NK[:, None], loss, 0)
