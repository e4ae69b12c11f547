"""What the objectness terms count for a logit.

Letters: T lanes, N images, K places: anchors of the cells of all scales.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor
from torch.nn.functional import softplus

Numbers = Mapping[str, Tensor]


def bce(logit_NTK: Tensor, numbers_T: Numbers) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    """Losses of answering with a logit where an object is, and where none is.

    Args:
        logit_NTK: Of the probability that a place has an object.
        numbers_T: Numeric hyperparameters of the lanes, each of shape (T,).

    Returns:
        Two tensors of the shape of the logits, at least 0: binary cross-entropy against 1, and against 0. Their gains
        are apart, so obj / noobj is BCE's positive weight.

    Source: Redmon & Farhadi 2018, section 2.1 (logistic regression).
    """
    return softplus(-logit_NTK), softplus(logit_NTK)


def focal(logit_NTK: Tensor, numbers_T: Numbers) -> tuple[Tensor, Tensor]:
    """As `bce`, times (1 - p) ^ focal_gamma, where p is the probability given to the right answer.

    Source: Lin et al. 2017, eq. 4; their alpha is obj / noobj here. Written as exp(gamma log(1 - p)), whose gradient
    is finite for any logit and gamma.
    """
    object_loss, background_loss = bce(logit_NTK, numbers_T)
    gamma = numbers_T["focal_gamma"][:, None]
    # log(1 - p) of an object is minus what a background would cost there, and the other way round.
    return (-gamma * background_loss).exp() * object_loss, (-gamma * object_loss).exp() * background_loss


OBJECTNESS: dict[str, Callable[[Tensor, Numbers], tuple[Tensor, Tensor]]] = {"bce": bce, "focal": focal}
