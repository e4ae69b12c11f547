"""Which anchors learn a label, by shape alone.

Letters: N images, M labels an image, B anchors of all scales.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from detector.boxes import shape_overlap as overlap_of_shapes
from detector.hyperparameters import Hyperparameters


def shape_overlap(wh_NM2: Tensor, anchors_B2: Tensor, values: Hyperparameters) -> Tensor:
    """How much each label wants each anchor: 2 the one whose shape it overlaps most, 1 others above a threshold.

    Args:
        wh_NM2: Width and height of the labels, in the units of the anchors.
        anchors_B2: Width and height of the anchors.
        values: Hyperparameters, of which `assign_iou` is the overlap of shapes (0..1) from which an anchor is wanted;
            1 leaves the best alone.

    Returns:
        Whole numbers of shape (N, M, B), 0 for anchors that are not wanted.

    Source: Redmon & Farhadi 2018, section 2.1 (one prior for each object); the threshold is iou_thresh of later
    darknet cfg files.
    """
    overlap_NMB = overlap_of_shapes(wh_NM2, anchors_B2.to(wh_NM2.dtype))
    return torch.maximum(2 * _is_best(overlap_NMB), (overlap_NMB >= values.assign_iou).long())


def best_anchor(wh_NM2: Tensor, anchors_B2: Tensor, values: Hyperparameters) -> Tensor:  # noqa: ARG001
    """As `shape_overlap`, but the best anchor alone learns a label.

    Source: Redmon & Farhadi 2018, section 2.1.
    """
    return 2 * _is_best(overlap_of_shapes(wh_NM2, anchors_B2.to(wh_NM2.dtype)))


def shape_ratio(wh_NM2: Tensor, anchors_B2: Tensor, values: Hyperparameters) -> Tensor:
    """As `shape_overlap`, but every anchor whose sides are within a factor of `assign_ratio` of the label's.

    The best anchor learns the label in any case, which the source leaves out: a label that fits none is lost there.

    Source: ultralytics/yolov3 utils/loss.py, build_targets (anchor_t, 4 there).
    """
    ratio_NMB2 = wh_NM2[..., None, :] / anchors_B2.to(wh_NM2.dtype)
    worst_NMB = torch.maximum(ratio_NMB2, 1 / ratio_NMB2).amax(-1)
    best_NMB = best_anchor(wh_NM2, anchors_B2, values)
    return torch.maximum(best_NMB, (worst_NMB < values.assign_ratio).long())


def _is_best(overlap_NMB: Tensor) -> Tensor:
    best = torch.zeros_like(overlap_NMB, dtype=torch.long)
    return best.scatter_(2, overlap_NMB.argmax(-1, keepdim=True), value=1)


ASSIGNMENTS: dict[str, Callable[[Tensor, Tensor, Hyperparameters], Tensor]] = {
    "shape_ratio": shape_ratio,
    "shape_overlap": shape_overlap,
    "best_anchor": best_anchor,
}
