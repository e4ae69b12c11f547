"""Figures about trainings that diverged: their last steps."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from dashboards.figures import theme
from dashboards.views.divergence import Approach, Trace

HEIGHT, GAP = 640, 0.035


def approaches(data: tuple[Approach, ...]) -> tuple[go.Figure, ...]:
    """What was measured before the end, one above the other, one figure for each trial."""
    return tuple(_approach(each) for each in data)


def _approach(data: Approach) -> go.Figure:
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
    if np.isfinite(data.first_sign) and data.first_sign >= data.steps.min(initial=0):
        _mark_first_sign(figure, data.first_sign)
    return figure


def _axis(trace: Trace) -> dict[str, object]:
    shown = [value for value in (*trace.values, trace.limit) if np.isfinite(value) and value > 0]
    title = {"text": theme.label(trace.name), "font": {"size": 12}}
    axis = {"title": title, "automargin": True, "zeroline": False, "type": "log"}
    if not shown:
        return axis | {"range": [-1, 1], "tickvals": []}
    low, high = np.log10(min(shown)), np.log10(max(shown))
    room = 0.12 * (high - low) or 0.3
    return axis | theme.log_axis(min(shown), max(shown), most=3) | {"range": [low - room, high + room]}


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


def _mark_first_sign(figure: go.Figure, at: float) -> None:
    theme.add_mark(figure, at)
    figure.add_annotation(
        x=at, y=0, xref="x", yref="paper", text="first sign", showarrow=False, xanchor="right", yanchor="bottom",
        xshift=-4, font={"size": 11},
    )  # fmt: skip
