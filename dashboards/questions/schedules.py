"""Learning rate and momentum as applied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from dashboards.blocks import Empty
from dashboards.data.measured import NUM_STEP_TRIALS
from dashboards.data.shown import none_read, none_started
from dashboards.data.study import StudyView
from dashboards.data.trial_sets import started
from dashboards.figures import theme
from dashboards.figures.curves import Curve, add_best, add_by_verdict, add_line
from dashboards.figures.downsampling import polyline
from dashboards.questions.panel import Panel

READ = f"Steps are read for {NUM_STEP_TRIALS} trials"
NO_STEPS = "No steps are stored yet; the curves appear with the first trial that is trained."


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedules:
    """Learning rate and momentum by step, each different curve once, and the biases' rate of the best trial."""

    lr: tuple[Curve, ...]
    momentum: tuple[Curve, ...]
    bias_lr: Curve | None
    best_number: int | None


def rows(view: StudyView) -> Schedules | Empty:
    """Learning rate and momentum as they were applied, from the steps of a few trials."""
    if view.steps.empty:
        return none_started(view) if started(view.trials).empty else Empty(none_read(view, READ) or NO_STEPS)
    best = view.best
    best_number = None if best is None else int(best["number"])
    bias = [curve for curve in _step_curves(view, "bias_lr") if curve.number == best_number]
    return Schedules(
        lr=_distinct(_step_curves(view, "lr"), best_number),
        momentum=_distinct(_step_curves(view, "momentum"), best_number),
        bias_lr=bias[0] if bias else None,
        best_number=best_number,
    )


def _step_curves(view: StudyView, column: str) -> list[Curve]:
    curves = []
    for number, rows in view.steps.groupby("number"):
        x, y = polyline(rows, column)
        curves.append(Curve(number=int(str(number)), verdict=str(rows["verdict"].iloc[0]), x=x, y=y))
    return curves


def _distinct(curves: list[Curve], best_number: int | None) -> tuple[Curve, ...]:
    kept: list[Curve] = []
    for curve in sorted(curves, key=lambda known: (known.number != best_number, -len(known.x), known.number)):
        if not any(_is_part_of(curve, other) for other in kept):
            kept.append(curve)
    return tuple(kept)


def _is_part_of(curve: Curve, other: Curve) -> bool:
    # A trial that stopped early repeats the beginning of one that went on.
    length = len(curve.x)
    return np.array_equal(curve.x, other.x[:length]) and np.allclose(curve.y, other.y[:length], equal_nan=True)


def draw(data: Schedules) -> tuple[go.Figure, ...]:
    """Learning rate and momentum by step, each in its own figure."""
    rate = theme.new_figure(height=330, x="step", y="learning rate", showlegend=True)
    rate.update_layout(yaxis=theme.log_axis_over(_all_values(data.lr)))
    momentum = theme.new_figure(height=330, x="step", y="momentum")
    for figure, curves in ((rate, data.lr), (momentum, data.momentum)):
        others = [curve for curve in curves if curve.number != data.best_number]
        add_by_verdict(figure, others, opacity=0.8)
        for curve in curves:
            if curve.number == data.best_number:
                add_best(figure, curve, f"best: trial {curve.number}")
    if data.bias_lr is not None:
        add_line(rate, data.bias_lr.x, data.bias_lr.y, "its biases", dash="dot", color=theme.ACCENT)
    return rate, momentum


def _all_values(curves: Sequence[Curve]) -> list[float]:
    return [float(value) for curve in curves for value in curve.y]


PANEL = Panel(
    key="schedule",
    title="Learning rate and momentum as applied",
    caption="What the optimizer was given at each step, warm-up included; each different curve is drawn once.",
    rows=rows,
    blocks=draw,
)
