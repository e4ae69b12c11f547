"""Curves of trials, and the band most of them lie in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from dashboards.figures import theme
from dashboards.figures.downsampling import joined
from evolve import analysis

BAND = (0.1, 0.5, 0.9)
BAND_COLUMNS = ("low", "median", "high")


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A measurement of one trial over epochs or steps; NaN is a gap."""

    number: int
    verdict: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]


BAND_FILL = "rgba(138,143,152,0.22)"


def quantile_band(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    table = rows.pivot(index="number", columns="epoch", values=column)
    if table.empty:
        return pd.DataFrame({"epoch": [], **{name: [] for name in BAND_COLUMNS}}, dtype=float)
    levels = dict(zip(BAND_COLUMNS, analysis.quantiles(table, at=BAND), strict=True))
    return pd.DataFrame({"epoch": table.columns.to_numpy(dtype=float) + 1, **levels})


def add_by_verdict(figure: go.Figure, curves: Sequence[Curve], *, opacity: float, showlegend: bool = True) -> None:
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


def add_best(figure: go.Figure, curve: Curve, name: str) -> None:
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


def add_band(figure: go.Figure, band: pd.DataFrame, name: str) -> None:
    edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    kept = band[np.isfinite(band["low"]) & np.isfinite(band["high"])]  # Plotly cannot fill across a gap
    figure.add_scatter(x=kept["epoch"], y=kept["low"], showlegend=False, legendgroup=name, **edge)
    figure.add_scatter(
        x=kept["epoch"], y=kept["high"], fill="tonexty", fillcolor=BAND_FILL, name=name, legendgroup=name, **edge
    )


def add_line(figure: go.Figure, x: object, y: object, name: str, **line: Any) -> None:
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines+markers" if len(np.atleast_1d(np.asarray(x))) == 1 else "lines",
        line={"color": theme.NEUTRAL, "width": 1.8} | line,
        name=name,
        hovertemplate=f"{theme.label(name)}<br>%{{x:,.0f}}: %{{y:.4g}}<extra></extra>",
    )


def _verdict_rank(curve: Curve) -> int:
    known = list(theme.VERDICT_STYLES)
    return known.index(curve.verdict) if curve.verdict in known else len(known)
