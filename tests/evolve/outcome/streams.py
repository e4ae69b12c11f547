"""Streams of steps that were never trained."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan

from detector.telemetry import LossTerms, StepTelemetry


def step(number: int, loss: float = 1.0, **changes: float) -> StepTelemetry:
    """A step in which nothing is unusual but what is said; a quarter of the loss is each term's."""
    terms = changes.pop("box", loss / 4), *(3 * (loss / 4,))
    named = dict(zip(("box", "obj", "noobj", "cls"), terms, strict=True))
    usual = {"grad_norm": 1.0, "update_ratio": 0.01, "max_box_logit": 2.0, "critical_ratio": nan}
    return StepTelemetry(
        lane=0,
        step=number,
        epoch=number // 10,
        loss=loss,
        terms=LossTerms(**{name: (value,) for name, value in named.items()}),
        lr=0.01,
        bias_lr=0.01,
        momentum=0.9,
        in_warmup=False,
        seconds=0.0,
        images_per_second=0.0,
        **(usual | changes),
    )


def falling(count: int, **changes: Sequence[float]) -> list[StepTelemetry]:
    """Steps of a loss that falls by two percent each; changes by step."""
    return [
        step(number, **{"loss": 0.98**number, **{name: values[number] for name, values in changes.items()}})
        for number in range(count)
    ]
