"""The last steps before divergence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from dashboards.blocks import Empty
from dashboards.data import queries
from dashboards.data.measured import NUM_LAST_STEP_TRIALS
from dashboards.data.shown import none_read
from dashboards.data.study import StudyView, number_in
from dashboards.figures import theme
from dashboards.questions import diverged
from dashboards.questions.panel import Panel
from evolve import formatting
from evolve.outcome.signs import LARGE_BOX_LOGIT, WARNING_UPDATE

HEIGHT, GAP = 640, 0.035
READ = f"Last steps are read for {NUM_LAST_STEP_TRIALS} diverged trials"
NOT_STORED = "No steps of the diverged trials are stored, so their last ones cannot be shown."


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A measurement over the last steps of a training.

    Attributes:
        name: Name of what was measured, such as gradient norm.
        values: The measurement at each step, shape (steps,); NaN where it was not finite.
        limit: Value above which training is in danger; NaN if there is none.
    """

    name: str
    values: NDArray[np.float64]
    limit: float = nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Approach:
    """The last steps of a trial that diverged.

    Attributes:
        number: Number of the trial within the study, from 0.
        setting: Name and value of the trial's first hyperparameter, as text.
        end: Step at which the trial diverged, counted from 0.
        steps: Steps relative to the end, rising to 0.
        traces: Largest box logit, update over weights, gradient norm, and the term of the loss that broke.
        first_warning: First step whose update was too large, relative to the end; NaN if unknown.
    """

    number: int
    setting: str
    end: int
    steps: NDArray[np.float64]
    traces: tuple[Trace, ...]
    first_warning: float


def rows(view: StudyView) -> tuple[Approach, ...] | Empty:
    """What was measured in the last steps of a few trials that diverged."""
    if diverged.diverged_trials(view.trials).empty:
        return diverged.none_diverged(view)
    if view.last_steps.empty:
        return Empty(none_read(view, READ) or NOT_STORED)
    found = [_approach_of(view, int(str(number)), rows) for number, rows in view.last_steps.groupby("number")]
    return tuple(sorted(found, key=lambda approach: (approach.end, approach.number)))


def _approach_of(view: StudyView, number: int, rows: pd.DataFrame) -> Approach:
    end = int(rows["end"].iloc[0])
    diagnosis = view.diagnoses.get(number, {})
    first_warning = number_in(diagnosis, "first_sign_step")
    return Approach(
        number=number,
        setting=", ".join(
            f"{column.title} {formatting.number(cell) if isinstance(cell, float) else cell}"
            for column, cell in zip(diverged.setting_columns(view), diverged.setting_cells(view, number), strict=True)
        ),
        end=end,
        steps=rows["step"].to_numpy(dtype=float) - end,
        traces=(
            Trace(name="largest box logit", values=_finite(rows["max_box_logit"]), limit=LARGE_BOX_LOGIT),
            Trace(name="update / weights", values=_finite(rows["update_ratio"]), limit=WARNING_UPDATE),
            Trace(name="gradient norm", values=_finite(rows["grad_norm"])),
            _broken_term(rows, diagnosis),
        ),
        first_warning=first_warning - end,
    )


def _broken_term(rows: pd.DataFrame, diagnosis: Mapping[str, Any]) -> Trace:
    column = f"{diagnosis.get('term')}_{diagnosis.get('scale')}"
    # Where no single term broke, their sum is what there is to see.
    if column not in queries.STEP_TERMS:
        return Trace(name="loss, all terms", values=_finite(rows["loss"]))
    return Trace(name=diverged.what_broke(diagnosis), values=_finite(rows[column]))


def _finite(values: pd.Series[float]) -> NDArray[np.float64]:
    numbers = values.to_numpy(dtype=float)
    return np.where([isfinite(number) for number in numbers], numbers, nan)


def draw(data: tuple[Approach, ...]) -> tuple[go.Figure, ...]:
    """What was measured before the end, one above the other, one figure for each trial."""
    return tuple(_draw(approach) for approach in data)


def _draw(data: Approach) -> go.Figure:
    figure = theme.new_figure(height=HEIGHT, x=f"steps, counted from step {data.end:,}", y="")
    heading = f"<b>trial {data.number}</b>  {theme.label(data.setting)}"
    figure.update_layout(
        margin={"t": 34},
        title={"text": heading, "font": {"size": 13}, "x": 0, "xref": "container", "y": 0.985, "yanchor": "top"},
        xaxis={"anchor": f"y{len(data.traces)}"},
    )
    for index, trace in enumerate(data.traces):
        axis = "y" if index == 0 else f"y{index + 1}"
        top = 1 - index * (1 + GAP) / len(data.traces)
        domain = [max(top - 1 / len(data.traces) + GAP, 0.0), top]
        figure.update_layout({f"yaxis{axis[1:]}": _axis(trace) | {"domain": domain}})
        _add(figure, data, trace, axis)
    if np.isfinite(data.first_warning) and data.first_warning >= data.steps.min(initial=0):
        _mark_first_warning(figure, data.first_warning)
    return figure


def _axis(trace: Trace) -> dict[str, object]:
    shown = [value for value in (*trace.values, trace.limit) if np.isfinite(value) and value > 0]
    title = {"text": theme.label(trace.name), "font": {"size": 12}}
    axis = {"title": title, "automargin": True, "zeroline": False, "type": "log"}
    if not shown:
        return axis | {"range": [-1, 1], "tickvals": []}
    low, high = np.log10(min(shown)), np.log10(max(shown))
    room = 0.12 * (high - low) or 0.3
    ticks = theme.log_axis_over(shown, most=3)
    if not ticks:  # no two round numbers lie between them
        ends = dict.fromkeys((min(shown), max(shown)))
        ticks = {"tickvals": list(ends), "ticktext": [formatting.number(end) for end in ends]}
    return axis | ticks | {"range": [low - room, high + room]}


def _add(figure: go.Figure, data: Approach, trace: Trace, axis: str) -> None:
    look = theme.style("diverged")
    figure.add_scatter(
        x=data.steps,
        y=trace.values,
        yaxis=axis,
        mode="lines+markers" if len(trace.values) < 12 else "lines",
        line={"color": look.color, "width": 1.6},
        marker={"color": look.color, "size": 4},
        name=trace.name,
        hovertemplate=f"<b>trial {data.number}</b> diverged<br>{trace.name} %{{y:.3g}}<br>%{{x}} steps<extra></extra>",
    )
    broken = data.steps[~np.isfinite(trace.values)]
    if len(broken):
        _add_broken(figure, data, trace, axis, broken)
    if np.isfinite(trace.limit):
        line = {"color": theme.NEUTRAL, "width": 1.2, "dash": "dash"}
        ends = {"x0": 0, "x1": 1, "xref": "paper", "y0": trace.limit, "y1": trace.limit, "yref": axis}
        figure.add_shape(type="line", **ends, line=line, layer="below")
        figure.add_annotation(
            x=0, y=np.log10(trace.limit), xref="paper", yref=axis, text=f"limit {trace.limit:g}", showarrow=False,
            xanchor="left", yanchor="top", font={"size": 11},
        )  # fmt: skip


def _add_broken(figure: go.Figure, data: Approach, trace: Trace, axis: str, steps: NDArray[np.float64]) -> None:
    # A number that is not finite has no height; the cross stands at the largest that has one.
    finite = trace.values[np.isfinite(trace.values)]
    figure.add_scatter(
        x=steps,
        y=np.full(len(steps), max(finite.max(initial=0.0), trace.limit if np.isfinite(trace.limit) else 0.0) or 1.0),
        yaxis=axis,
        mode="markers",
        marker=theme.marker("diverged", 1),
        name=f"{trace.name}, not finite",
        hovertemplate=f"<b>trial {data.number}</b><br>{trace.name} not finite<br>%{{x}} steps<extra></extra>",
    )


def _mark_first_warning(figure: go.Figure, at: float) -> None:
    theme.add_mark(figure, at)
    figure.add_annotation(
        x=at, y=0, xref="x", yref="paper", text="first sign", showarrow=False, xanchor="right", yanchor="bottom",
        xshift=-4, font={"size": 11},
    )  # fmt: skip


PANEL = Panel(
    key="approach",
    title="The last steps before divergence",
    caption="A few of those trials, from the earliest to the latest to diverge, all on logarithmic axes. Dashed: "
    "the limit above which trouble is near. Dotted: the first warning sign. A cross: not finite.",
    rows=rows,
    blocks=draw,
    is_optional=True,
)
