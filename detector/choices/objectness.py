"""What the objectness terms count for a logit.

Letters: T lanes, N images, K places: anchors of the cells of all scales.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import softplus

Numbers = Mapping[str, Tensor]


def bce(logit_NTK: Tensor, target_NTK: Tensor, numbers_T: Numbers) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    """Losses of answering with a logit where an object is, and where none is.

    Args:
        logit_NTK: Logits of the probability that a place has an object.
        target_NTK: What is asked for where an object is, 0 to 1, without a gradient.
        numbers_T: Numeric hyperparameters of the lanes, each of shape (T,).

    Returns:
        Two tensors of the shape of the logits, at least 0: binary cross-entropy against the target, and against 0. What
        no answer can avoid, the entropy of a target between 0 and 1, is left out: it has no gradient, and a loss that
        ends where it began would say that nothing was learned. Gains are apart: obj / noobj is BCE's positive weight.

    Source: Redmon & Farhadi 2018, section 2.1 (logistic regression).
    """
    unavoidable = torch.special.entr(target_NTK) + torch.special.entr(1 - target_NTK)
    background = softplus(logit_NTK)
    return background - target_NTK * logit_NTK - unavoidable, background


def focal(logit_NTK: Tensor, target_NTK: Tensor, numbers_T: Numbers) -> tuple[Tensor, Tensor]:
    """As `bce`, times (1 - p) ^ focal_gamma, where p is the probability given to the right answer.

    A target between is that share of an object and the rest of none.

    Source: Lin et al. 2017, eq. 4; their alpha is obj / noobj here. Written as exp(gamma log(1 - p)), whose gradient
    is finite for any logit and gamma.
    """
    against_1, against_0 = softplus(-logit_NTK), softplus(logit_NTK)
    gamma = numbers_T["focal_gamma"][:, None]
    # log(1 - p) of an object is minus what a background would cost there, and the other way round.
    as_object, as_background = (-gamma * against_0).exp() * against_1, (-gamma * against_1).exp() * against_0
    return target_NTK * as_object + (1 - target_NTK) * as_background, as_background


def squared_error(logit_NTK: Tensor, target_NTK: Tensor, numbers_T: Numbers) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    """As `bce`, but the square of what the probability lacks, 0..1; it learns little where it is surely wrong.

    Source: Redmon et al. 2016 (YOLO), eq. 3; darknet region_layer.c, whose gradient is half of this one's.
    """
    # Each from its own sigmoid: 1 - sigmoid(x) would round to 0 for large x.
    return ((-logit_NTK).sigmoid() - (1 - target_NTK)).square(), logit_NTK.sigmoid().square()


OBJECTNESS: dict[str, Callable[[Tensor, Tensor, Numbers], tuple[Tensor, Tensor]]] = {
    "bce": bce,
    "focal": focal,
    "squared_error": squared_error,
}
