"""Curves of trials as figures, those that share an axis in one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from dashboards.figures import theme
from dashboards.figures.brush import hidden_values
from dashboards.figures.curves import Curve


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Curves that share an axis.

    Attributes:
        title: Title of the y axis, with its unit.
        curves: Name and points of each curve, by step unless `by_epoch`.
        is_log: Whether the axis is logarithmic where the values are positive.
        by_epoch: Whether x counts epochs.
        points: The same of what has fewer values and is drawn as points.
        slots: Place of each curve's colour, the same in all pictures of a page; in order where there are none.
        is_overlay: Whether each curve is another trial, named by a key outside the picture: a cross in its own colour
            marks where it diverged, and an early one gets room on a logarithmic x axis.
    """

    title: str
    curves: tuple[tuple[str, Curve], ...]
    is_log: bool = False
    by_epoch: bool = False
    points: tuple[tuple[str, Curve], ...] = ()
    slots: tuple[int, ...] = ()
    is_overlay: bool = False


# Okabe and Ito's colours in the order in which neighbours differ most; a second round is dashed.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("solid", "dash", "dot")
# Of as many as have no common divisor, so that arms with the same dashes have another symbol.
ARM_DASHES = (*DASHES, "dashdot", "longdash")
ARM_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "star")
GAPS = "A gap without a cross is a zero, which a logarithmic axis has no place for."
EARLY = 0.1  # of the longest curve: one that diverged before would be a line straight up
LOWER_EDGE = {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}


def series(data: tuple[Series, ...], *, x: str = "step") -> tuple[go.Figure, ...]:
    """One figure for each group of curves that share an axis, curves named in its legend.

    Args:
        data: Curves of each figure.
        x: Title of the x axis of curves that are not by epoch.
    """
    return tuple(_figure(axis_series, "epochs trained" if axis_series.by_epoch else x) for axis_series in data)


def _figure(data: Series, x: str) -> go.Figure:
    has_legend = len(data.curves) + len(data.points) > 1 and not data.is_overlay
    figure = theme.new_figure(height=300, x=x, y=data.title, showlegend=has_legend)
    shown = [curve for _, curve in (*data.curves, *data.points)]
    figure.update_layout(xaxis=_x_axis(data, shown))
    axis = theme.log_axis_over([float(value) for curve in shown for value in curve.y]) if data.is_log else {}
    data = replace(data, is_log=bool(axis))  # values close to each other have a linear axis, with a place for 0
    figure.update_layout(yaxis=axis)
    slots = data.slots or range(len(data.curves))
    for slot, (name, curve) in zip(slots, data.curves, strict=True):
        _add(figure, name, curve, slot=slot, is_points=False, is_log=data.is_log)
    for slot, (name, curve) in enumerate(data.points, start=len(data.curves)):
        _add(figure, name, curve, slot=slot, is_points=True, is_log=data.is_log)
    if data.is_overlay:
        for slot, (name, curve) in zip(slots, data.curves, strict=True):
            if curve.verdict == "diverged":
                _mark_end(figure, name, curve, slot=slot, is_log=data.is_log)
    else:
        _mark_gaps(figure, [curve for _, curve in data.curves])
    return figure


def _x_axis(data: Series, shown: list[Curve]) -> dict[str, Any]:
    ends = {id(curve): float(curve.x.max()) for curve in shown if len(curve.x)}
    longest = max(ends.values(), default=0.0)
    early = [end for curve in shown if curve.verdict == "diverged" and (end := ends.get(id(curve))) is not None]
    if data.is_overlay and min(early, default=longest) < EARLY * longest:
        return theme.log_axis(1, longest)
    return theme.integer_axis(longest)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmStyle:
    """How an arm looks: a colour, and Plotly's names of its dashes and of the symbol of its points."""

    color: str
    dash: str
    symbol: str


def arm_style(slot: int) -> ArmStyle:
    """Look of an arm of a comparison, by its place; the first is the baseline, a solid line in grey."""
    return ArmStyle(
        color=curve_style(slot - 1)[0] if slot else theme.NEUTRAL,
        dash=ARM_DASHES[slot % len(ARM_DASHES)],
        symbol=ARM_SYMBOLS[slot % len(ARM_SYMBOLS)],
    )


def curve_style(slot: int) -> tuple[str, str]:
    """Colour of the curve in a place, counted from 0, and Plotly's name of its dashes."""
    return COLORS[slot % len(COLORS)], DASHES[slot // len(COLORS) % len(DASHES)]


def _add(figure: go.Figure, name: str, curve: Curve, *, slot: int, is_points: bool, is_log: bool) -> None:
    color, dash = curve_style(slot)
    is_short = len(curve.x) < 12
    # Plotly draws a line down to a zero, such as the rate at the start of warm-up, which has no place on the axis.
    is_hidden = (curve.y <= 0) & np.isfinite(curve.y) & is_log
    figure.add_scatter(
        x=curve.x,
        y=_rounded(np.where(is_hidden, np.nan, curve.y)),
        meta=hidden_values(curve.y, is_hidden),
        mode="markers" if is_points else "lines+markers" if is_short else "lines",
        line={"color": color, "width": 1.7, "dash": dash},
        marker={"color": color, "size": 7 if is_points else 5, "symbol": "diamond" if is_points else "circle"},
        name=theme.label(name),
        legendgroup=theme.label(name),
        hovertemplate=f"<b>{theme.label(name)}</b><br>%{{x:,}}: %{{y:.4~g}}<extra></extra>",
        connectgaps=False,
    )


def _mark_end(figure: go.Figure, name: str, curve: Curve, *, slot: int, is_log: bool) -> None:
    if not len(curve.x):
        return
    color, dash = curve_style(slot)
    drawn = np.flatnonzero(np.isfinite(curve.y) & ((curve.y > 0) | (not is_log)))
    # Without a single number it has no height, so that the cross stands on the lower edge.
    x, y = (curve.x[drawn[-1]], curve.y[drawn[-1]]) if len(drawn) else (curve.x[-1], 0.02)
    figure.add_scatter(
        x=[float(x)],
        y=[float(y)],
        yaxis="y" if len(drawn) else "y2",
        mode="markers",
        marker={"color": color, "symbol": "x" if dash == "solid" else "x-open", "size": 10},
        name=f"{theme.label(name)} diverged",
        legendgroup=theme.label(name),
        showlegend=False,
        hovertemplate=f"<b>{theme.label(name)}</b> diverged<br>%{{x:,}}: %{{y:.4~g}}<extra></extra>",
    )
    if not len(drawn):
        figure.update_layout(yaxis2=LOWER_EDGE)


def _mark_gaps(figure: go.Figure, curves: list[Curve]) -> None:
    # A number that is not finite has no height; a cross on the lower edge says where it was.
    places = sorted({float(x) for curve in curves for x, y in zip(curve.x, curve.y, strict=True) if not np.isfinite(y)})
    if places:
        figure.add_scatter(
            x=places,
            y=[0.02] * len(places),
            yaxis="y2",
            mode="markers",
            marker=theme.marker("diverged", 1),
            name="not finite",
            showlegend=False,
            hovertemplate="not finite at %{x:,}<extra></extra>",
        )
        figure.update_layout(yaxis2=LOWER_EDGE)


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    # Single precision halves what is sent and is far finer than a pixel.
    return np.asarray(values, dtype=np.float32)
