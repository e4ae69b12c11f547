"""Figures about training: convergence, losses, learning rate and momentum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from dashboards.figures import theme
from dashboards.views.curves import Convergence, Curve, Losses, Schedules
from dashboards.views.thinning import joined

BAND_FILL = "rgba(138,143,152,0.22)"


def convergence(data: Convergence) -> go.Figure:
    """Average precision by epoch, one trace for each verdict, the best trial in front, a cross for each divergence."""
    figure = theme.new_figure(height=420, x="epochs trained", y="mAP50, validation", showlegend=True)
    last = max([*(curve.x[-1] for curve in data.curves), *data.ends["x"]])
    figure.update_layout(xaxis=theme.integer_axis(last) | {"range": [0, 1.02 * last or 1.0]})
    if len(data.band):
        _add_band(figure, data.band, "10 to 90 % of trained trials")
        _add_line(figure, data.band["epoch"], data.band["median"], "median of trained trials", dash="dash")
    others = [curve for curve in data.curves if curve.number != data.best_number]
    if data.selected:
        _add_by_verdict(
            figure, [curve for curve in others if curve.number not in data.selected], opacity=0.12, showlegend=False
        )
        others = [curve for curve in others if curve.number in data.selected]
    _add_by_verdict(figure, others, opacity=0.75 if len(others) <= 40 else 0.5)
    for curve in data.curves:
        if curve.number == data.best_number:
            _add_best(figure, curve, f"best: trial {curve.number}")
    _add_ends(figure, [curve for curve in others if curve.verdict == "diverged"])
    if len(data.ends):
        _add_divergences(figure, data)
    return figure


def losses(data: Losses) -> go.Figure:
    """Training and validation loss of the best trial, and of the median trial with its band."""
    return _losses(data, height=380, y="loss, sum of all terms", showlegend=True)


def loss_terms(data: tuple[Losses, ...]) -> tuple[go.Figure, ...]:
    """The same for each term, one small figure each."""
    return tuple(_losses(each, height=250, y=f"{each.name} loss", showlegend=False) for each in data)


def schedules(data: Schedules) -> tuple[go.Figure, ...]:
    """Learning rate and momentum by step, each in its own figure."""
    rate = theme.new_figure(height=330, x="step", y="learning rate", showlegend=True)
    rate.update_layout(yaxis=theme.log_axis_over(_all_values(data.lr)))
    momentum = theme.new_figure(height=330, x="step", y="momentum")
    for figure, curves in ((rate, data.lr), (momentum, data.momentum)):
        others = [curve for curve in curves if curve.number != data.best_number]
        _add_by_verdict(figure, others, opacity=0.8)
        for curve in curves:
            if curve.number == data.best_number:
                _add_best(figure, curve, f"best: trial {curve.number}")
    if data.bias_lr is not None:
        _add_line(rate, data.bias_lr.x, data.bias_lr.y, "its biases", dash="dot", color=theme.ACCENT)
    return rate, momentum


def _all_values(curves: Sequence[Curve]) -> list[float]:
    return [float(value) for curve in curves for value in curve.y]


def _add_by_verdict(figure: go.Figure, curves: Sequence[Curve], *, opacity: float, showlegend: bool = True) -> None:
    for verdict in dict.fromkeys(curve.verdict for curve in sorted(curves, key=_verdict_rank)):
        members = [curve for curve in curves if curve.verdict == verdict]
        x, y, owners = joined([(curve.x, curve.y) for curve in members])
        single = all(len(curve.x) == 1 for curve in members)
        figure.add_scatter(
            x=x,
            y=y,
            mode="markers" if single else "lines",
            line={"color": theme.style(verdict).color, "width": 1.4},
            marker={"color": theme.style(verdict).color, "symbol": theme.style(verdict).symbol},
            opacity=opacity,
            name=verdict,
            customdata=np.asarray([members[owner].number for owner in owners]),
            legendgroup=verdict,
            showlegend=showlegend,
            hovertemplate=f"<b>trial %{{customdata}}</b> {verdict}<br>%{{x:,.0f}}: %{{y:.4g}}<extra></extra>",
            connectgaps=False,
        )


def _verdict_rank(curve: Curve) -> int:
    known = list(theme.VERDICT_STYLES)
    return known.index(curve.verdict) if curve.verdict in known else len(known)


def _add_best(figure: go.Figure, curve: Curve, name: str) -> None:
    figure.add_scatter(
        x=curve.x,
        y=curve.y,
        mode="lines" if len(curve.x) > 1 else "markers",
        line={"color": theme.ACCENT, "width": 3},
        marker={"color": theme.ACCENT, "size": 9},
        name=name,
        hovertemplate=f"<b>trial {curve.number}</b> best, {theme.label(curve.verdict)}"
        "<br>%{x:,.0f}: %{y:.4g}<extra></extra>",
    )


def _add_ends(figure: go.Figure, curves: Sequence[Curve]) -> None:
    ends = [(curve, np.flatnonzero(np.isfinite(curve.y))) for curve in curves]
    points = [(curve.x[finite[-1]], curve.y[finite[-1]], curve.number) for curve, finite in ends if len(finite)]
    if not points:
        return
    x, y, numbers = zip(*points, strict=True)
    figure.add_scatter(
        x=x,
        y=y,
        mode="markers",
        marker=theme.marker("diverged", 1),
        name="last epoch before divergence",
        customdata=numbers,
        hovertemplate="<b>trial %{customdata}</b> diverged after this epoch<br>%{x}: %{y:.3f}<extra></extra>",
    )


def _add_divergences(figure: go.Figure, data: Convergence) -> None:
    # Every one, also of trials that finished no epoch and so have no curve.
    strip = theme.add_strip(figure, ["diverged"], is_alone=not data.curves)
    figure.add_scatter(
        x=data.ends["x"],
        y=[strip["diverged"]] * len(data.ends),
        yaxis="y2",
        mode="markers",
        marker=theme.marker("diverged", len(data.ends)),
        name=f"diverged: {len(data.ends):,}",
        customdata=data.ends["number"],
        hovertemplate="<b>trial %{customdata}</b> diverged<br>after %{x:.2f} epochs<extra></extra>",
    )


def _losses(data: Losses, *, height: int, y: str, showlegend: bool) -> go.Figure:
    figure = theme.new_figure(height=height, x="epochs trained", y=y, showlegend=showlegend)
    figure.update_layout(xaxis=theme.integer_axis(data.train["epoch"].max()))
    if data.num_trials > 2:
        _add_band(figure, data.val, f"10 to 90 % of {data.num_trials:,} trials, validation")
        _add_line(figure, data.train["epoch"], data.train["median"], "median, training")
        _add_line(figure, data.val["epoch"], data.val["median"], "median, validation", dash="dash")
    if len(data.best):
        name = f"trial {data.best_number}"
        _add_line(figure, data.best["epoch"], data.best["train"], f"{name}, training", color=theme.ACCENT, width=2.5)
        _add_line(
            figure,
            data.best["epoch"],
            data.best["val"],
            f"{name}, validation",
            color=theme.ACCENT,
            width=2.5,
            dash="dash",
        )
    if _spans_decades(data):
        figure.update_layout(yaxis=theme.log_axis_over(_shown(data)))
    else:
        figure.update_layout(yaxis={"rangemode": "tozero"})
    return figure


def _spans_decades(data: Losses) -> bool:
    shown = _shown(data)
    positive = shown[np.isfinite(shown) & (shown > 0)]
    return bool(len(positive)) and bool(positive.max() > 30 * positive.min())


def _shown(data: Losses) -> NDArray[np.float64]:
    shown = pd.concat([data.best["train"], data.best["val"], data.val["high"], data.val["low"]])
    return np.asarray(shown, dtype=np.float64)


def _add_band(figure: go.Figure, band: pd.DataFrame, name: str) -> None:
    edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    kept = band[np.isfinite(band["low"]) & np.isfinite(band["high"])]  # Plotly cannot fill across a gap
    figure.add_scatter(x=kept["epoch"], y=kept["low"], showlegend=False, legendgroup=name, **edge)
    figure.add_scatter(
        x=kept["epoch"], y=kept["high"], fill="tonexty", fillcolor=BAND_FILL, name=name, legendgroup=name, **edge
    )


def _add_line(figure: go.Figure, x: object, y: object, name: str, **line: Any) -> None:
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines+markers" if len(np.atleast_1d(np.asarray(x))) == 1 else "lines",
        line={"color": theme.NEUTRAL, "width": 1.8} | line,
        name=name,
        hovertemplate=f"{theme.label(name)}<br>%{{x:,.0f}}: %{{y:.4g}}<extra></extra>",
    )
