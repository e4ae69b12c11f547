"""Figures about trainings that diverged: their last steps."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from dashboards.figures import theme
from dashboards.views.divergence import Approach


def approaches(data: tuple[Approach, ...]) -> tuple[go.Figure, ...]:
    """Gradient norm and update ratio before the end, one figure for each trial."""
    return tuple(_approach(each) for each in data)


def _approach(data: Approach) -> go.Figure:
    figure = theme.new_figure(height=330, x=f"steps, counted from step {data.end:,}", y="gradient norm")
    heading = f"<b>trial {data.number}</b>  {theme.label(data.setting)}"
    ratio = {"title": {"text": "update / weights"}, "automargin": True, "zeroline": False, "domain": [0, 0.45]}
    figure.update_layout(
        margin={"t": 34},
        title={"text": heading, "font": {"size": 13}, "x": 0, "xref": "container", "y": 0.985, "yanchor": "top"},
        xaxis={"anchor": "y2"},
        yaxis=theme.log_axis_over(data.grad_norm, most=4) | {"domain": [0.53, 1]},
        yaxis2=theme.log_axis_over(data.update_ratio, most=4) | ratio,
    )
    _add(figure, data, data.grad_norm, "gradient norm", "y")
    _add(figure, data, data.update_ratio, "update / weights", "y2")
    if np.isfinite(data.first_sign) and data.first_sign >= data.steps.min(initial=0):
        _mark_first_sign(figure, data.first_sign)
    return figure


def _add(figure: go.Figure, data: Approach, values: NDArray[np.float64], name: str, axis: str) -> None:
    look = theme.style("diverged")
    figure.add_scatter(
        x=data.steps,
        y=values,
        yaxis=axis,
        mode="lines+markers" if len(values) < 12 else "lines",
        line={"color": look.color, "width": 1.6},
        marker={"color": look.color, "size": 4},
        name=name,
        hovertemplate=f"<b>trial {data.number}</b> diverged<br>{name} %{{y:.3g}}<br>%{{x}} steps<extra></extra>",
    )


def _mark_first_sign(figure: go.Figure, at: float) -> None:
    theme.add_mark(figure, at)
    figure.add_annotation(
        x=at, y=1, xref="x", yref="paper", text="first sign", showarrow=False, xanchor="right", yanchor="top",
        xshift=-4, font={"size": 11, "color": theme.NEUTRAL},
    )  # fmt: skip
