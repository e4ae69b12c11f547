"""Ways of learning rates and momentum through the warm-up; standard library only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Warming:
    """How far each rate has come from its start to the schedule's, 0 at the first step to 1.

    Attributes:
        lr: How far the learning rate has come, 0..1, from a start at 0.
        bias_lr: The same of the learning rate of biases, from a start at warmup_bias_lr.
        momentum: The same of the momentum, from a start at warmup_momentum.
    """

    lr: float
    bias_lr: float
    momentum: float


def linear(share: float, epoch: int) -> Warming:  # noqa: ARG001
    """Rates that have come as far as the warm-up has.

    Args:
        share: Part of the warm-up that is over, 0 to below 1.
        epoch: Index of the epoch under way, from 0.

    Source: ultralytics/yolov3 train.py.
    """
    return _alike(share)


def quartic(share: float, epoch: int) -> Warming:  # noqa: ARG001
    """As `linear`, but by the fourth power, so that most of the rise comes late.

    Source: darknet network.c, get_current_rate: (batch / burn_in) ^ power with power = 4 as parser.c has it.
    """
    return _alike(share**4)


def cut_off(share: float, epoch: int) -> Warming:
    """As `quartic`, but over when the first epoch is, however long it was to be: then the rates jump.

    A fault of early ports of darknet's burn-in, which few batches an epoch show.

    Source: ultralytics/yolov3 train.py of 2019, where the burn-in asks for epoch 0.
    """
    return OVER if epoch > 0 else _alike(share**4)


def prebias(share: float, epoch: int) -> Warming:  # noqa: ARG001
    """As `linear` for momentum and the biases of the outputs alone; all else has the schedule's rate from the start.

    So `linear` keeps weights still while biases learn, which prebias does not; and its high rate is of all biases.

    Source: ultralytics/yolov3 train.py of early 2020, prebias: there by whole epochs, for biases and their momentum;
    output biases alone as its prebias of 2019 has it.
    """
    return Warming(lr=1.0, bias_lr=share, momentum=share)


def _alike(share: float) -> Warming:
    return Warming(lr=share, bias_lr=share, momentum=share)


OVER = _alike(1.0)
WARMUPS: dict[str, Callable[[float, int], Warming]] = {
    "linear": linear,
    "quartic": quartic,
    "cut_off": cut_off,
    "prebias": prebias,
}
# Where warmup_bias_lr is of the outputs' biases alone, and other biases have the rate of the weights.
OF_OUTPUTS = frozenset({"prebias"})
