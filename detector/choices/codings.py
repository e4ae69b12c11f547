"""Ways from raw head outputs to boxes.

Letters: T lanes, N images, A anchors of a scale, S cells a side.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def exp(raw_NTASS4: Tensor, anchors_A2: Tensor) -> Tensor:
    """Boxes predicted by one head.

    Args:
        raw_NTASS4: The four box outputs tx, ty, tw, th of every anchor and cell.
        anchors_A2: Anchor width and height as fractions of the image.

    Returns:
        Boxes of the same shape as centre and size (cxcywh), fractions of the image. The size is not bounded: exp(tw)
        may overflow, and then is infinite.

    Source: Redmon & Farhadi 2018, section 2.1: bx = sigmoid(tx) + cx, bw = pw * exp(tw).
    """
    centre = (raw_NTASS4[..., :2].sigmoid() + _corners(raw_NTASS4)) / raw_NTASS4.shape[3]
    size = raw_NTASS4[..., 2:].exp() * _sizes(raw_NTASS4, anchors_A2)
    return torch.cat((centre, size), -1)


def bounded(raw_NTASS4: Tensor, anchors_A2: Tensor) -> Tensor:
    """As `exp`, but no box is larger than four anchors, and centres reach half a cell beyond their own.

    Source: ultralytics/yolov3 models/yolo.py (Detect): bx = 2 sigmoid(tx) - 0.5 + cx, bw = pw (2 sigmoid(tw))^2.
    """
    return _of_sigmoids(raw_NTASS4, anchors_A2, reach=0.5)


def wide(raw_NTASS4: Tensor, anchors_A2: Tensor) -> Tensor:
    """As `bounded`, but centres reach a whole cell beyond their own, so that all cells around a centre can say it.

    Source: Bochkovskiy et al. 2020 (YOLOv4), section 3.4, grid sensitivity; darknet's scale_x_y = 3.
    """
    return _of_sigmoids(raw_NTASS4, anchors_A2, reach=1.0)


def _of_sigmoids(raw_NTASS4: Tensor, anchors_A2: Tensor, *, reach: float) -> Tensor:
    share = raw_NTASS4.sigmoid()
    centre = (share[..., :2] * (1 + 2 * reach) - reach + _corners(raw_NTASS4)) / raw_NTASS4.shape[3]
    size = (share[..., 2:] * 2).square() * _sizes(raw_NTASS4, anchors_A2)
    return torch.cat((centre, size), -1)


def _corners(raw_NTASS4: Tensor) -> Tensor:
    """Column and row of every cell, shape (S, S, 2)."""
    steps = torch.arange(raw_NTASS4.shape[3], device=raw_NTASS4.device, dtype=raw_NTASS4.dtype)
    return torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)


def _sizes(raw_NTASS4: Tensor, anchors_A2: Tensor) -> Tensor:
    return anchors_A2.to(raw_NTASS4.dtype)[:, None, None, :]


CODINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"bounded": bounded, "exp": exp, "wide": wide}


def log_sizes(raw_2: Tensor, ratio_2: Tensor) -> tuple[Tensor, Tensor]:
    """Width and height as `exp` learns them by a squared error: predicted, and of the label.

    Args:
        raw_2: Raw outputs tw, th, of any leading shape.
        ratio_2: Width and height of the label over those of the anchor, above 0.

    Source: pjreddie/darknet yolo_layer.c, delta_yolo_box: the raw output against log(w / pw).
    """
    return raw_2, ratio_2.log()


def root_sizes(raw_2: Tensor, ratio_2: Tensor) -> tuple[Tensor, Tensor]:
    """As `log_sizes`, but for the codings of sigmoids: the sigmoid itself, 0..1, which is 1/2 for the anchor's size.

    Source: AlexeyAB/darknet yolo_layer.c, delta_yolo_box with new_coords: the sigmoid against sqrt(w / (4 pw)).
    """
    return raw_2.sigmoid(), ratio_2.sqrt() / 2


# What a squared error compares, by coding.
LEARNED_SIZES: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "exp": log_sizes,
    "bounded": root_sizes,
    "wide": root_sizes,
}
