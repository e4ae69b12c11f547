"""How much larger an update could be before it raises the loss of its own batch: the distance to the edge of stability.

Letters: T lanes.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, inf, nan

import torch
from torch import Tensor

from detector.hyperparameters import Hyperparameters
from detector.schedule import warmup_length

PASSES = 9  # forward passes of a search
STRIDE = 4.0  # two doublings: what a factor grows or shrinks by until the edge is between two of them
# What a search can tell: no edge within them reads as one at their end.
SMALLEST, LARGEST = STRIDE ** (1 - PASSES), STRIDE ** (PASSES - 1)


def critical_ratios(loss_at: Callable[[Tensor], Tensor], loss_T: Tensor) -> Tensor:
    """Smallest factor by which each lane's update, made that much larger, raises the loss; all lanes at once.

    The factor grows, or shrinks, in strides from 1 until the loss rises on one side and not on the other; what is left
    of the passes halves that interval, on a logarithmic scale. A lane's search depends on no other lane.

    Args:
        loss_at: Function from factors of shape (T,) to the losses, of shape (T,), after each lane's update made so many
            times larger.
        loss_T: Loss of each lane without any update.

    Returns:
        Factors within `SMALLEST` and `LARGEST`, shape (T,): up to 5 % above the edge where that is between 1/64 and
        64; below 1 where the update itself raises the loss, NaN where the loss is no number.

    Source: the critical learning rate of arXiv:2601.16979, measured along the update: doubling, then bisection. On a
    quadratic loss of curvature h plain gradient descent with rate r has 2 / (r h).
    """
    factor_T, low_T, high_T = torch.ones_like(loss_T), torch.zeros_like(loss_T), torch.full_like(loss_T, inf)
    for _ in range(PASSES):
        is_raised_T = ~(loss_at(factor_T) <= loss_T)
        low_T = torch.where(is_raised_T, low_T, factor_T)
        high_T = torch.where(is_raised_T, factor_T, high_T)
        middle_T = (low_T * high_T).sqrt()
        factor_T = torch.where(low_T == 0, high_T / STRIDE, torch.where(high_T == inf, low_T * STRIDE, middle_T))
    return torch.where(loss_T.isfinite(), torch.minimum(high_T, loss_T.new_tensor(LARGEST)), nan)


def critical_steps(
    values: Hyperparameters, *, steps_per_epoch: int, total_steps: int, accumulation: int
) -> frozenset[int]:
    """Steps at which the critical ratio of a lane is measured, six at most.

    The first step shows a start that is too fast; the middle of the warm-up and the first step after it, whether the
    full rate will be; and quarters of the training, whether the edge comes nearer. Each is the next at which an update
    is made.

    Args:
        values: Hyperparameters of the lane, of which those of the warm-up are looked at.
        steps_per_epoch: Batches of an epoch.
        total_steps: Batches of the whole training.
        accumulation: Batches between two updates.
    """
    warmup = warmup_length(values, steps_per_epoch=steps_per_epoch)
    wanted = {0, ceil(warmup / 2), ceil(warmup), *(total_steps * quarter // 4 for quarter in (1, 2, 3))}
    updates = (_next_update(step, steps_per_epoch, accumulation) for step in wanted)
    return frozenset(step for step in updates if step < total_steps)


def _next_update(step: int, steps_per_epoch: int, accumulation: int) -> int:
    epoch, place = divmod(step, steps_per_epoch)
    # What is left at the end of an epoch makes an update of its own.
    due = min((place // accumulation + 1) * accumulation, steps_per_epoch) - 1
    return epoch * steps_per_epoch + due
