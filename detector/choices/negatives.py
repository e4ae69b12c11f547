"""Which places without an object are asked to be background.

Letters: T lanes, N images, L is T, or 1 where all lanes learn the same, K places (`detector.grid`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Numbers = Mapping[str, Tensor]


def every(loss_NTK: Tensor, is_background_NTK: Tensor, is_object_NLK: Tensor, numbers_T: Numbers) -> Tensor:  # noqa: ARG001
    """Whether each place is asked to be background: all that may be.

    Args:
        loss_NTK: What the objectness term counts for each place as background.
        is_background_NTK: Whether a place owns no label and does not overlap one too much.
        is_object_NLK: Whether a place owns a label.
        numbers_T: Numeric hyperparameters of the lanes, each of shape (T,).

    Source: Redmon & Farhadi 2018, section 2.1.
    """
    return is_background_NTK


def hardest(loss_NTK: Tensor, is_background_NTK: Tensor, is_object_NLK: Tensor, numbers_T: Numbers) -> Tensor:
    """As `every`, but of an image's places only the `negatives_per_object` that cost most, for each place that has one.

    They are ranked over all scales. An image without objects counts as having one, so that it is learned from, too.
    The term is the mean over all places all the same, so at one and the same `noobj` it is smaller than with `every`,
    and the balance to `obj` is that of the source.

    Source: Liu et al. 2016 (SSD), section 2.2, hard negative mining, at most 3 to 1.
    """
    objects_NL1 = is_object_NLK.sum(-1, keepdim=True).clamp(min=1)
    # A place that is no number costs most, wherever sorting would put it: a lane's loss must show it.
    cost_NTK = torch.where(is_background_NTK, loss_NTK.nan_to_num(torch.inf), -1.0)
    order_NTK = cost_NTK.argsort(dim=-1, descending=True, stable=True)
    place_K = torch.arange(order_NTK.shape[-1], device=order_NTK.device)
    rank_NTK = torch.empty_like(order_NTK).scatter_(2, order_NTK, place_K.expand_as(order_NTK))
    return is_background_NTK & (rank_NTK < numbers_T["negatives_per_object"][:, None] * objects_NL1)


NEGATIVES: dict[str, Callable[[Tensor, Tensor, Tensor, Numbers], Tensor]] = {"every": every, "hardest": hardest}
