"""Assignment of labelled boxes to anchors and grid cells, as dense tensors of fixed shape.

Letters: N images, M labels an image at most, A anchors of a scale, S cells a side, B anchors of all scales.
Built once a batch for all lanes. Nothing here depends on values for its shape, so nothing waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from detector.choices.assignments import ASSIGNMENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleTargets:
    """Targets of one head.

    Attributes:
        is_object_NASS: Whether an anchor and cell own a label.
        boxes_NASS4: The owned label as cxcywh fractions of the image; some finite box elsewhere.
        classes_NASS: Its class; 0 elsewhere.
    """

    is_object_NASS: Tensor
    boxes_NASS4: Tensor
    classes_NASS: Tensor


def assign(
    labels_NM5: Tensor,
    anchors: Sequence[Tensor],
    cells: Sequence[int],
    *,
    assign_iou: float,
    assignment: str = "shape_overlap",
) -> list[ScaleTargets]:
    """Targets of every head.

    A label belongs to the cell that holds its centre and to the anchors, over all scales, that the assignment gives
    it. Where two labels want the same place, the one that wants the anchor more wins, then the later one.

    Args:
        labels_NM5: class, cx, cy, w, h as fractions of the image; class -1 marks rows without a label.
        anchors: For each scale the sizes (A, 2) as fractions of the image.
        cells: For each scale the cells a side.
        assign_iou: Threshold (0..1) of the assignment.
        assignment: A key of `ASSIGNMENTS`.
    """
    wishes = ASSIGNMENTS[assignment](labels_NM5[..., 3:], torch.cat(list(anchors)), assign_iou)
    claims = _claims(labels_NM5, wishes)
    targets, first = [], 0
    for anchors_A2, side in zip(anchors, cells, strict=True):
        last = first + len(anchors_A2)
        targets.append(_scale_targets(labels_NM5, claims[..., first:last], side))
        first = last
    return targets


def _claims(labels_NM5: Tensor, wishes_NMB: Tensor) -> Tensor:
    """Strength of each label's claim on each anchor, 0 for none; unique within an image. Shape (N, M, B)."""
    num_labels = labels_NM5.shape[1]
    rank = torch.arange(1, num_labels + 1, device=labels_NM5.device)[None, :, None]
    is_claimed = (wishes_NMB > 0) & (labels_NM5[..., :1] >= 0)
    return torch.where(is_claimed, rank + num_labels * (wishes_NMB - 1), 0)


def _scale_targets(labels_NM5: Tensor, claims_NMA: Tensor, side: int) -> ScaleTargets:
    num_images, num_labels, num_anchors = claims_NMA.shape
    cell_NM2 = (labels_NM5[..., 1:3] * side).long().clamp(0, side - 1)
    cell_NM = cell_NM2[..., 1] * side + cell_NM2[..., 0]
    place_NMA = cell_NM[..., None] + torch.arange(num_anchors, device=claims_NMA.device) * side * side
    strongest = torch.zeros(num_images, num_anchors * side * side, dtype=torch.long, device=claims_NMA.device)
    strongest.scatter_reduce_(1, place_NMA.flatten(1), claims_NMA.flatten(1), "amax")
    owner = (strongest - 1).clamp(min=0) % num_labels
    owned = labels_NM5.gather(1, owner[..., None].expand(-1, -1, 5))
    shape = (num_images, num_anchors, side, side)
    is_object = strongest > 0
    return ScaleTargets(
        is_object_NASS=is_object.view(shape),
        boxes_NASS4=owned[..., 1:].reshape(*shape, 4),
        classes_NASS=torch.where(is_object, owned[..., 0], 0).long().view(shape),
    )
