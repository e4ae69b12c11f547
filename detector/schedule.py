"""Learning rate, momentum and warm-ups as pure functions of the step.

The warm-up is counted in steps across epochs, so a data set of few batches gets the warm-up it was asked for.
"""

from __future__ import annotations

from detector.choices.schedules import SCHEDULES
from detector.choices.warmups import WARMUPS
from detector.hyperparameters import Hyperparameters
from detector.telemetry import Rates


def rates_at(step: int, *, total_steps: int, steps_per_epoch: int, values: Hyperparameters) -> Rates:
    """Rates at a step.

    Args:
        step: Batches seen before, 0 .. total_steps - 1.
        total_steps: Batches of the whole training.
        steps_per_epoch: Batches of an epoch.
        values: Hyperparameters of the lane.

    Source: warm-up of three kinds of parameter groups as in ultralytics/yolov3 train.py (weights from 0, biases from
    warmup_bias_lr, momentum from warmup_momentum), but of exactly the length that was asked for.
    """
    progress = step / max(total_steps - 1, 1)
    target = values.lr0 * SCHEDULES[values.schedule](progress, values.lrf)
    warmup_steps = values.warmup_epochs * steps_per_epoch
    if step >= warmup_steps:
        return Rates(lr=target, bias_lr=target, momentum=values.momentum, in_warmup=False)
    share = WARMUPS[values.warmup](step / warmup_steps)
    return Rates(
        lr=share * target,
        bias_lr=_between(values.warmup_bias_lr, target, share),
        momentum=_between(values.warmup_momentum, values.momentum, share),
        in_warmup=True,
    )


def anchor_pull_at(step: int, values: Hyperparameters) -> float:
    """Weight of what pulls predictions without a label to their anchors at a step; see `detector.loss`.

    Args:
        step: Batches seen before, counted across epochs.
        values: Hyperparameters of the lane.

    Source: darknet region_layer.c (seen < 12800, which is 200 batches of 64, and .01); experiencor/keras-yolo3 yolo.py
    (warmup_batches, where the weight is that of a match).
    """
    return values.anchor_gain if step < values.anchor_warmup else 0.0


def _between(start: float, end: float, share: float) -> float:
    return start + (end - start) * share
