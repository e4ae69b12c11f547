"""What overlaps what; formats and overlaps are torchvision's.

Letters: T lanes, N images, A anchors, M labels, K places: anchors of the cells of all scales.
Boxes are fractions of the square training image, as centre and size (cxcywh) unless a name says xyxy.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import box_convert, box_iou

EPS = 1e-7  # what torchvision's losses add to an area that is divided by


def xyxy(boxes_4: Tensor) -> Tensor:
    """Corner form of centre-and-size boxes of any leading shape."""
    corners: Tensor = box_convert(boxes_4, "cxcywh", "xyxy")
    return corners


def best_overlap(boxes_NTK4: Tensor, labels_NM5: Tensor) -> Tensor:
    """Largest IoU of every predicted box with any label of its image.

    Args:
        boxes_NTK4: Predicted boxes, cxcywh.
        labels_NM5: class, cx, cy, w, h; rows of class -1 are no labels.

    Returns:
        Overlaps of shape (N, T, K), 0 where an image has no label.
    """
    flat_NK4 = xyxy(boxes_NTK4.flatten(1, 2))
    overlap_NKM = box_iou(flat_NK4, xyxy(labels_NM5[..., 1:].to(flat_NK4.dtype)))
    # Padding rows have no area: against an empty prediction that is 0 / 0.
    overlap_NKM = torch.where((labels_NM5[..., 0] >= 0)[:, None, :], overlap_NKM, 0.0)
    return overlap_NKM.amax(-1).view(boxes_NTK4.shape[:-1])


def paired_overlap(boxes_4: Tensor, others_4: Tensor) -> Tensor:
    """IoU of each box with the one at its place, 0..1; both xyxy, of leading shapes that broadcast."""
    low = torch.maximum(boxes_4[..., :2], others_4[..., :2])
    high = torch.minimum(boxes_4[..., 2:], others_4[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    return shared / (_area(boxes_4) + _area(others_4) - shared + EPS)


def _area(boxes_4: Tensor) -> Tensor:
    return (boxes_4[..., 2:] - boxes_4[..., :2]).prod(-1)


def shape_overlap(wh_M2: Tensor, anchors_A2: Tensor) -> Tensor:
    """IoU of box sizes and anchor sizes when both are centred on the same point.

    Args:
        wh_M2: Width and height of the boxes, of any leading shape, in the units of the anchors.
        anchors_A2: Width and height of the anchors.

    Returns:
        Overlaps of shape (..., A); 0 for a box without area.

    Source: Redmon & Farhadi 2018, section 2.1 (choice of the bounding box prior).
    """
    shared = torch.minimum(wh_M2[..., None, :], anchors_A2).prod(-1)
    return shared / (wh_M2.prod(-1)[..., None] + anchors_A2.prod(-1) - shared)
