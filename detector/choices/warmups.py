"""Ways of learning rates and momentum through the warm-up; standard library only."""

from __future__ import annotations

from collections.abc import Callable


def linear(share: float) -> float:
    """How far the rates have come from their start to the schedule's, 0..1.

    Args:
        share: Part of the warm-up that is over, 0..1.

    Source: ultralytics/yolov3 train.py.
    """
    return share


def quartic(share: float) -> float:
    """As `linear`, but by the fourth power, so that most of the rise comes late.

    Source: darknet network.c, get_current_rate: (batch / burn_in) ^ power with power = 4 as parser.c has it.
    """
    return share**4


WARMUPS: dict[str, Callable[[float], float]] = {"linear": linear, "quartic": quartic}
