"""Learning rate, momentum and warm-up as pure functions of the step.

The warm-up is counted in steps across epochs, so a data set of few batches gets the warm-up it was asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from detector.hyperparameters import Hyperparameters

# darknet yolov3.cfg: steps 400000 and 450000 of 500200.
STEPS_AT = (0.8, 0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What an update applies.

    Attributes:
        lr: Learning rate of convolution weights and norm scales.
        bias_lr: Learning rate of biases.
        momentum: Momentum of all.
        in_warmup: Whether the step is part of the warm-up.
    """

    lr: float
    bias_lr: float
    momentum: float
    in_warmup: bool


def rates_at(step: int, *, total_steps: int, steps_per_epoch: int, values: Hyperparameters) -> Rates:
    """Rates at a step.

    Args:
        step: Batches seen before, 0 .. total_steps - 1.
        total_steps: Batches of the whole training.
        steps_per_epoch: Batches of an epoch.
        values: Of the lane.

    Source: warm-up of three kinds of parameter groups as in ultralytics/yolov3 train.py (weights from 0, biases from
    warmup_bias_lr, momentum from warmup_momentum, all linear), but of exactly the length that was asked for.
    """
    progress = step / max(total_steps - 1, 1)
    target = values.lr0 * lr_factor(values.schedule, progress, lrf=values.lrf)
    warmup_steps = values.warmup_epochs * steps_per_epoch
    if step >= warmup_steps:
        return Rates(lr=target, bias_lr=target, momentum=values.momentum, in_warmup=False)
    share = step / warmup_steps
    return Rates(
        lr=share * target,
        bias_lr=_between(values.warmup_bias_lr, target, share),
        momentum=_between(values.warmup_momentum, values.momentum, share),
        in_warmup=True,
    )


def lr_factor(schedule: str, progress: float, *, lrf: float) -> float:
    """Learning rate as a fraction of lr0.

    Args:
        schedule: linear, cosine or steps.
        progress: 0 at the first step, 1 at the last.
        lrf: The factor at the end, which every schedule reaches.

    Raises:
        ValueError: The schedule is not known.

    Source: linear and cosine as ultralytics/yolov3 train.py; steps as darknet's policy=steps, with equal scales.
    """
    if schedule == "linear":
        return 1 - progress * (1 - lrf)
    if schedule == "cosine":
        return lrf + (1 - lrf) * (1 + math.cos(math.pi * progress)) / 2
    if schedule == "steps":
        # The root keeps lrf = 0 meaningful: the first drop then is already to 0.
        return float(lrf ** (sum(progress >= at for at in STEPS_AT) / len(STEPS_AT)))
    raise ValueError(f"schedule: {schedule!r} is not one of ['linear', 'cosine', 'steps']")


def _between(start: float, end: float, share: float) -> float:
    return start + (end - start) * share
