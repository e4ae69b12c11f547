"""Which of the places that may learn a label do.

Letters: T lanes, N images, M labels an image, C places that may learn a label.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """What lanes predict where a label may be learned; nothing here has a gradient.

    Attributes:
        overlap_NTMC: IoU of the predicted box and the label, 0 to 1.
        score_NTMC: Predicted objectness times probability of the label's class, 0 to 1.
    """

    overlap_NTMC: Tensor
    score_NTMC: Tensor


Rule = Callable[[Tensor, Callable[[], Candidates], Mapping[str, Tensor]], Tensor]


def every(strength_NMC: Tensor, predicted: Callable[[], Candidates], numbers_T: Mapping[str, Tensor]) -> Tensor:  # noqa: ARG001
    """How strongly each label wants each place, the same for all lanes: all that it claims.

    Args:
        strength_NMC: Strength of the claims, whole numbers, 0 for none.
        predicted: Function that gives what the lanes predict at these places, for rules that need it.
        numbers_T: Numeric hyperparameters of the lanes, each of shape (T,).

    Returns:
        Whole numbers of shape (N, T or 1, M, C), 0 for places that the label leaves.

    Source: Redmon & Farhadi 2018, section 2.1.
    """
    return strength_NMC[:, None]


def aligned(strength_NMC: Tensor, predicted: Callable[[], Candidates], numbers_T: Mapping[str, Tensor]) -> Tensor:
    """As `every`, but of a label's places those `align_top` whose score ^ align_score * IoU ^ align_iou is largest.

    The best one learns it whatever it predicts. Chosen anew for each lane and batch.

    Source: Feng et al. 2021 (TOOD), eq. 3, over the anchors of YOLOv3.
    """
    candidates, is_claimed = predicted(), (strength_NMC > 0)[:, None]
    power_score, power_iou, top = (numbers_T[name][:, None, None] for name in ("align_score", "align_iou", "align_top"))
    suits = candidates.score_NTMC.pow(power_score) * candidates.overlap_NTMC.pow(power_iou)
    # A lane that is no number has no best places; its loss is no number whichever it gets.
    suits = torch.where(is_claimed, suits.nan_to_num(0.0), -1.0)
    rank = suits.argsort(stable=True, dim=-1, descending=True).argsort(-1)
    is_kept = is_claimed & ((rank == 0) | ((rank < top) & (suits > 0)))
    # Numbered over all labels of an image, so that of two that want a place the one it suits more has it.
    number = suits.flatten(2).argsort(stable=True, dim=-1).argsort(-1).view_as(suits)
    return torch.where(is_kept, number + 1, 0)


POSITIVES: dict[str, Rule] = {"every": every, "aligned": aligned}
