"""Ways of the learning rate through a training, as fractions of lr0; standard library only."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from detector.hyperparameters import Hyperparameters

ONE_CYCLE_START = 1 / 25  # of lr0: torch's OneCycleLR, div_factor


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When in a training a rate is asked for.

    Attributes:
        progress: How far the training has come, 0 at its first step, 1 at its last.
        val_losses: Loss on the validation images after each epoch that is over.
    """

    progress: float
    val_losses: Sequence[float] = ()


def linear(moment: Moment, values: Hyperparameters) -> float:
    """Learning rate as a fraction of lr0, falling evenly to lrf.

    Args:
        moment: When in the training the rate is asked for.
        values: Hyperparameters of the lane, of which only those of the family are read.

    Source: ultralytics/yolov3 train.py.
    """
    return 1 - moment.progress * (1 - values.lrf)


def cosine(moment: Moment, values: Hyperparameters) -> float:
    """As `linear`, but along half a cosine.

    Source: Loshchilov & Hutter 2017, eq. 5 without restarts; ultralytics/yolov3 train.py, --cos-lr.
    """
    return _along_cosine(1.0, values.lrf, moment.progress)


def steps(moment: Moment, values: Hyperparameters) -> float:
    """As `linear`, but in two drops, at step_at_1 and step_at_2, the first to lrf ^ step_share.

    A place k/n of n steps is passed at step k, as it lies above (k-1)/(n-1) and not above k/(n-1). So steps=s1,s2 and
    scales=a,b of darknet are s1/max_batches, s2/max_batches, lrf = a b and step_share = log a / log lrf. Milestones of
    torch's MultiStepLR are the same with a = b = gamma, or with step_share 1 where there is one alone.

    Source: darknet network.c, get_current_rate, STEPS; yolov3.cfg has steps at 400000 and 450000 of 500200.
    """
    share = values.step_share
    fallen = share * (moment.progress >= values.step_at_1) + (1 - share) * (moment.progress >= values.step_at_2)
    return float(values.lrf**fallen)  # of lrf = 0 too: the first drop then is already to 0


def constant(moment: Moment, values: Hyperparameters) -> float:  # noqa: ARG001
    """1 at all times, whatever `lrf` is.

    Source: darknet's policy=constant.
    """
    return 1.0


def poly(moment: Moment, values: Hyperparameters) -> float:
    """As `linear`, but by a power of what is left of the training; a power of 1 is linear.

    Source: darknet network.c, get_current_rate, POLY, which falls to 0; the rate at the end as in
    tf.keras.optimizers.schedules.PolynomialDecay.
    """
    return float(values.lrf + (1 - values.lrf) * (1 - moment.progress) ** values.poly_power)


def exponential(moment: Moment, values: Hyperparameters) -> float:
    """As `linear`, but by the same factor in every step.

    Source: darknet network.c, get_current_rate, EXP, where the factor is gamma: lrf = gamma ^ (steps - 1).
    """
    return float(values.lrf**moment.progress)


def inverse_exponential(moment: Moment, values: Hyperparameters) -> float:
    """1 - 10 ^ (lrf_exponent (1 - progress)): high for long, and 0 at the end; lrf is not read.

    Source: ultralytics/yolov3 train.py of 2019, where lrf was the exponent.
    """
    return float(1 - 10 ** (values.lrf_exponent * (1 - moment.progress)))


def cosine_restarts(moment: Moment, values: Hyperparameters) -> float:
    """As `cosine`, but as often as restart_cycles says, from lr0 again in each cycle of the same length.

    Source: Loshchilov & Hutter 2017, eq. 5 with T_mult = 1.
    """
    cycles = moment.progress * values.restart_cycles
    # The last step ends the last cycle; it does not begin another.
    begun = min(math.floor(cycles), math.ceil(values.restart_cycles) - 1)
    return _along_cosine(1.0, values.lrf, cycles - begun)


def one_cycle(moment: Moment, values: Hyperparameters) -> float:
    """From `ONE_CYCLE_START` up to 1 in a share one_cycle_rise of the training and down to lrf, along cosines.

    Source: Smith & Topin 2018, section 3, for rates alone; torch.optim.lr_scheduler.OneCycleLR without momentum.
    """
    rise = values.one_cycle_rise
    if moment.progress < rise:
        return _along_cosine(ONE_CYCLE_START, 1.0, moment.progress / rise)
    return _along_cosine(1.0, values.lrf, (moment.progress - rise) / (1 - rise))


def plateau(moment: Moment, values: Hyperparameters) -> float:
    """Falls by plateau_factor, down to lrf, each time the validation loss was no better for long.

    Better is below the best by a share of plateau_threshold, which nothing is where that is 1; long is more epochs
    than plateau_patience.

    Source: torch.optim.lr_scheduler.ReduceLROnPlateau, of the lowest loss and a relative threshold.
    """
    rate, best, num_worse = 1.0, math.inf, 0
    for loss in moment.val_losses:
        if loss < best * (1 - values.plateau_threshold):
            best, num_worse = loss, 0
        else:
            num_worse += 1
        if num_worse > values.plateau_patience:
            rate, num_worse = rate * values.plateau_factor, 0
    return max(rate, values.lrf)


def _along_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


SCHEDULES: dict[str, Callable[[Moment, Hyperparameters], float]] = {
    "linear": linear,
    "cosine": cosine,
    "steps": steps,
    "poly": poly,
    "exponential": exponential,
    "cosine_restarts": cosine_restarts,
    "one_cycle": one_cycle,
    "plateau": plateau,
    "constant": constant,
    "inverse_exponential": inverse_exponential,
}
