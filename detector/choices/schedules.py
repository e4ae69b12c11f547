"""Ways from the first learning rate to the last; standard library only."""

from __future__ import annotations

import math
from collections.abc import Callable

# darknet yolov3.cfg: steps 400000 and 450000 of 500200.
STEPS_AT = (0.8, 0.9)


def linear(progress: float, lrf: float) -> float:
    """Learning rate as a fraction of lr0, falling evenly.

    Args:
        progress: 0 at the first step of a training, 1 at the last.
        lrf: Fraction of the learning rate at the end, 0 to 1.

    Source: ultralytics/yolov3 train.py.
    """
    return 1 - progress * (1 - lrf)


def cosine(progress: float, lrf: float) -> float:
    """As `linear`, but along half a cosine.

    Source: Loshchilov & Hutter 2017, eq. 5 without restarts; ultralytics/yolov3 train.py, --cos-lr.
    """
    return lrf + (1 - lrf) * (1 + math.cos(math.pi * progress)) / 2


def steps(progress: float, lrf: float) -> float:
    """As `linear`, but in two equal drops at `STEPS_AT`.

    Source: darknet's policy=steps, with equal scales.
    """
    # The root keeps lrf = 0 meaningful: the first drop then is already to 0.
    return float(lrf ** (sum(progress >= at for at in STEPS_AT) / len(STEPS_AT)))


def constant(progress: float, lrf: float) -> float:  # noqa: ARG001
    """1 at all times, whatever `lrf` is.

    Source: darknet's policy=constant.
    """
    return 1.0


SCHEDULES: dict[str, Callable[[float, float], float]] = {
    "linear": linear,
    "cosine": cosine,
    "steps": steps,
    "constant": constant,
}
