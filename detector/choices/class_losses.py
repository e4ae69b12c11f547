"""What the class term counts for the logits of the classes, and the probabilities that these stand for.

The last dimension is that of the classes, C; those before it are of any shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

LEAST_SHARE = 1e-4  # of a class, as far as first biases know it


def bce(logit_C: Tensor, target_C: Tensor) -> Tensor:
    """Mean over the classes of binary cross-entropy: each class is asked for by itself, and several may be there.

    Args:
        logit_C: Logits of the classes.
        target_C: What is asked of each class, 0..1, of the same shape.

    Returns:
        Losses of the leading shape.

    Source: Redmon & Farhadi 2018, section 2.2; as a mean in ultralytics/yolov3 utils/loss.py.
    """
    return binary_cross_entropy_with_logits(logit_C, target_C, reduction="none").mean(-1)


def softmax(logit_C: Tensor, target_C: Tensor) -> Tensor:
    """As `bce`, but the cross-entropy of one distribution over the classes, of which one is there.

    Not divided by their number, so at one and the same `cls` it weighs more than `bce` the more classes there are.

    Source: Redmon & Farhadi 2017 (YOLO9000), section 4, softmax over the classes of COCO; darknet region_layer.c.
    """
    return -(target_C * logit_C.log_softmax(-1)).sum(-1)


def logit_of(share: float) -> float:
    """Logit whose sigmoid is a share, kept within `LEAST_SHARE` and 1/2."""
    share = min(max(share, LEAST_SHARE), 0.5)
    return math.log(share / (1 - share))


def _log_of(share: float) -> float:
    return math.log(max(share, LEAST_SHARE))


def _shares(logit_C: Tensor) -> Tensor:
    return logit_C.softmax(-1)


CLASS_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"bce": bce, "softmax": softmax}
# Probabilities of the classes from their logits, by the loss that these were learned with.
CLASS_PROBABILITIES: dict[str, Callable[[Tensor], Tensor]] = {"bce": torch.sigmoid, "softmax": _shares}
# A first logit for a class of which the share among all objects is known.
CLASS_BIASES: dict[str, Callable[[float], float]] = {"bce": logit_of, "softmax": _log_of}
