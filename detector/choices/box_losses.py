"""What the box term counts for a predicted box and its label."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.ops import distance_box_iou_loss, generalized_box_iou_loss

from detector.boxes import EPS, paired_overlap


def giou(boxes_4: Tensor, truth_4: Tensor) -> Tensor:
    """1 - GIoU of each pair, 0..2.

    Args:
        boxes_4: Predicted boxes as corners (xyxy), of any leading shape.
        truth_4: Labels of the same shape.

    Returns:
        Losses of the leading shape.

    Source: Rezatofighi et al. 2019, algorithm 1.
    """
    loss: Tensor = generalized_box_iou_loss(boxes_4, truth_4)
    return loss


def iou(boxes_4: Tensor, truth_4: Tensor) -> Tensor:
    """1 - IoU of each pair, 0..1; no gradient where a pair does not overlap. Arguments as in `giou`.

    Source: Yu et al. 2016 (UnitBox), in the linear form of Rezatofighi et al. 2019, section 3.
    """
    return 1 - paired_overlap(boxes_4, truth_4)


def diou(boxes_4: Tensor, truth_4: Tensor) -> Tensor:
    """1 - IoU and the squared distance of centres over the squared diagonal around both, 0..2. Arguments as in `giou`.

    Source: Zheng et al. 2020, eq. 7.
    """
    loss: Tensor = distance_box_iou_loss(boxes_4, truth_4)
    return loss


def ciou(boxes_4: Tensor, truth_4: Tensor) -> Tensor:
    """As `diou`, and how much the aspect ratios differ. Arguments as in `giou`.

    torchvision's own is not a number where a box has no height, so the angles are taken from atan2 here.

    Source: Zheng et al. 2020, eq. 8 to 11; the trade-off alpha has no gradient, as there.
    """
    difference = _angle(truth_4) - _angle(boxes_4)
    aspect = 4 / math.pi**2 * difference.square()
    with torch.no_grad():
        alpha = aspect / (1 - paired_overlap(boxes_4, truth_4) + aspect + EPS)
    return diou(boxes_4, truth_4) + alpha * aspect


def _angle(boxes_4: Tensor) -> Tensor:
    """atan(width / height); sides below a ten-millionth of the image count as that much, which bounds the gradient."""
    width, height = (boxes_4[..., 2:] - boxes_4[..., :2]).clamp(min=EPS).unbind(-1)
    return torch.atan2(width, height)


BOX_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"ciou": ciou, "giou": giou, "iou": iou, "diou": diou}
