"""What the box term counts for a predicted box and its label.

Letters: T lanes, N images, K places (`detector.grid`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import distance_box_iou_loss, generalized_box_iou_loss

from detector.boxes import EPS, paired_overlap


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """The box that each place predicts, and the one that it is to predict.

    Attributes:
        corners_NTK4: Predicted boxes as corners (xyxy), fractions of the image.
        truth_NTK4: Boxes to predict, as corners.
        learned: Function that gives both as the coding learns them (`Grid.learned`), for losses that compare these.
    """

    corners_NTK4: Tensor
    truth_NTK4: Tensor
    learned: Callable[[], tuple[Tensor, Tensor]]


def giou(pairs: Pairs) -> Tensor:
    """1 - GIoU of each pair, 0..2.

    Args:
        pairs: Predicted boxes, each with the box that it is to predict.

    Returns:
        Losses of shape (N, T, K).

    Source: Rezatofighi et al. 2019, algorithm 1.
    """
    loss: Tensor = generalized_box_iou_loss(pairs.corners_NTK4, pairs.truth_NTK4)
    return loss


def iou(pairs: Pairs) -> Tensor:
    """1 - IoU of each pair, 0..1; no gradient where a pair does not overlap. Arguments as in `giou`.

    Source: Yu et al. 2016 (UnitBox), in the linear form of Rezatofighi et al. 2019, section 3.
    """
    return 1 - paired_overlap(pairs.corners_NTK4, pairs.truth_NTK4)


def diou(pairs: Pairs) -> Tensor:
    """1 - IoU and the squared distance of centres over the squared diagonal around both, 0..2. Arguments as in `giou`.

    Source: Zheng et al. 2020, eq. 7.
    """
    loss: Tensor = distance_box_iou_loss(pairs.corners_NTK4, pairs.truth_NTK4)
    return loss


def ciou(pairs: Pairs) -> Tensor:
    """As `diou`, and how much the aspect ratios differ. Arguments as in `giou`.

    torchvision's own is not a number where a box has no height, so the angles are taken from atan2 here.

    Source: Zheng et al. 2020, eq. 8 to 11; the trade-off alpha has no gradient, as there.
    """
    difference = _angle(pairs.truth_NTK4) - _angle(pairs.corners_NTK4)
    aspect = 4 / math.pi**2 * difference.square()
    with torch.no_grad():
        alpha = aspect / (iou(pairs) + aspect + EPS)
    return diou(pairs) + alpha * aspect


def squared_error(pairs: Pairs) -> Tensor:
    """Sum of the squared errors of centre and size, each in what the coding is nearest to. Arguments as in `giou`.

    The centre counts in cells: an error of the sigmoids within the cell. In a cell beside that of the label's centre
    the error is never smaller than what the coding cannot reach. The size counts as the coding has it: with `exp` as tw
    and th against log(label / anchor), which nothing bounds.

    What diverges: with `exp` the error of a size is linear in tw, so its gradient is finite up to outputs of 1e19 in
    float32, but grows with the error without a bound: a step that is too long is followed by a longer one. Losses of an
    overlap have bounded gradients, and are no numbers themselves from outputs of 89 on, where exp is infinite. So
    without clipping this one diverges first, and clipped it is the one that does not. Seen on 32 scenes of digits at 64
    pixels, one seed, lr0 0.03 to 10: at 0.03 with outputs of 1e15 before the end, where GIoU and CIoU do at 1; clipped
    at 10 it never did, GIoU at 1 and CIoU at 3. With the codings of sigmoids the error has a bound of its own: all
    three were finite up to 1, and clipped up to 10.

    Source: Redmon & Farhadi 2018, section 2.1; yolo_layer.c of pjreddie/darknet and AlexeyAB/darknet, delta_yolo_box.
    darknet's gradient is half of this one's, and for the centre it leaves out the slope of the sigmoid.
    """
    predicted_NTK4, truth_NTK4 = pairs.learned()
    return (predicted_NTK4 - truth_NTK4).square().sum(-1)


def _angle(boxes_4: Tensor) -> Tensor:
    """atan(width / height); sides below a ten-millionth of the image count as that much, which bounds the gradient."""
    width, height = (boxes_4[..., 2:] - boxes_4[..., :2]).clamp(min=EPS).unbind(-1)
    return torch.atan2(width, height)


BOX_LOSSES: dict[str, Callable[[Pairs], Tensor]] = {
    "ciou": ciou,
    "giou": giou,
    "iou": iou,
    "diou": diou,
    "squared_error": squared_error,
}
