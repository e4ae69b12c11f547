"""Learning rate, momentum and warm-ups as pure functions of the step, and of the validation losses before it.

The warm-up is counted in steps across epochs, so a data set of few batches gets the warm-up it was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from detector.choices.schedules import SCHEDULES, Moment
from detector.choices.warmups import OVER, WARMUPS
from detector.hyperparameters import Hyperparameters
from detector.telemetry import Rates


def rates_at(
    step: int, *, total_steps: int, steps_per_epoch: int, values: Hyperparameters, val_losses: Sequence[float] = ()
) -> Rates:
    """Rates at a step.

    Args:
        step: Batches seen before, 0 .. total_steps - 1.
        total_steps: Batches of the whole training.
        steps_per_epoch: Batches of an epoch.
        values: Hyperparameters of the lane.
        val_losses: Loss on the validation images after each epoch that is over.

    Source: warm-up of three kinds of parameter groups as in ultralytics/yolov3 train.py (weights from 0, biases from
    warmup_bias_lr, momentum from warmup_momentum), but of exactly the length that was asked for.
    """
    moment = Moment(progress=step / max(total_steps - 1, 1), val_losses=val_losses)
    target = values.lr0 * SCHEDULES[values.schedule](moment, values)
    length = warmup_length(values, steps_per_epoch=steps_per_epoch)
    warming = WARMUPS[values.warmup](step / length, step // steps_per_epoch) if step < length else OVER
    if warming == OVER:
        return Rates(lr=target, bias_lr=target, momentum=values.momentum, in_warmup=False)
    return Rates(
        lr=warming.lr * target,
        bias_lr=_between(values.warmup_bias_lr, target, warming.bias_lr),
        momentum=_between(values.warmup_momentum, values.momentum, warming.momentum),
        in_warmup=True,
    )


def values_at(epoch: int, values: Hyperparameters, later: Mapping[int, Hyperparameters]) -> Hyperparameters:
    """The hyperparameters of a training in an epoch, where they may change between two epochs.

    Args:
        epoch: Index of the epoch, from 0.
        values: Hyperparameters from the first epoch on.
        later: All hyperparameters that take their place, by the epoch from which on they do.
    """
    begun = [first_epoch for first_epoch in later if first_epoch <= epoch]
    return later[max(begun)] if begun else values


def anchor_pull_at(step: int, values: Hyperparameters) -> float:
    """Weight of what pulls predictions without a label to their anchors at a step; see `detector.loss`.

    Args:
        step: Batches seen before, counted across epochs.
        values: Hyperparameters of the lane.

    Source: darknet region_layer.c (seen < 12800, which is 200 batches of 64, and .01); experiencor/keras-yolo3 yolo.py
    (warmup_batches, where the weight is that of a match).
    """
    return values.anchor_gain if step < values.anchor_warmup else 0.0


def warmup_length(values: Hyperparameters, *, steps_per_epoch: int) -> float:
    """Length of the warm-up in steps: that of warmup_epochs, but at least warmup_steps.

    Source: ultralytics/yolov3 train.py, max(round(warmup_epochs * nb), 100); darknet's burn_in is the steps alone.
    """
    return max(values.warmup_epochs * steps_per_epoch, values.warmup_steps)


def _between(start: float, end: float, share: float) -> float:
    return start + (end - start) * share
