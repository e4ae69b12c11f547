"""Does the network know where objects are, at which scale, and does it keep that?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from dashboards.blocks import Empty
from dashboards.data.shown import none_measured
from dashboards.data.trial import TrialView
from dashboards.data.trial_sets import spread_evenly
from dashboards.figures import theme
from dashboards.figures.choosing import add_choice
from dashboards.figures.curves import add_line
from dashboards.figures.series import COLORS
from dashboards.questions.panel import Panel
from detector.telemetry import STRIDES

MAX_EPOCHS = 24  # that can be chosen
NOT_RECORDED = "Objectness by scale is not recorded for this training: it was made before it was, or elsewhere."
SURE = "matched, objectness"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfScale:
    """Objectness at one scale, by epoch.

    Attributes:
        stride: Side of a cell of the scale's grid in pixels.
        matched, others: Predictions that the loss trains towards a label, and all others: a row an epoch, counted from
            1, with their number as places, and mean and spread of objectness and IoU.
    """

    stride: int
    matched: pd.DataFrame
    others: pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How objectness is spread over the matched predictions of a scale.

    Attributes:
        stride: Side of a cell of the scale's grid in pixels.
        epochs: Epochs that were validated, counted from 1, shape (epochs,).
        shares: Share of the predictions, 0..1, by objectness (row) and epoch (column).
        densities: For some of the epochs, the epoch and counts by objectness (row) and IoU (column).
    """

    stride: int
    epochs: NDArray[np.float64]
    shares: NDArray[np.float64]
    densities: tuple[tuple[int, NDArray[np.float64]], ...]


def rows(view: TrialView) -> tuple[OfScale, ...] | Empty:
    """Mean and spread of objectness and of IoU with the best label, by epoch and scale."""
    found = _validated(view)
    if found.empty:
        return none_measured(view, NOT_RECORDED)
    found = found.assign(epoch=found["epoch"] + 1)
    return tuple(
        OfScale(stride=STRIDES[int(str(scale))], matched=part[part["is_matched"]], others=part[~part["is_matched"]])
        for scale, part in found.groupby("scale")
    )


def spread_rows(view: TrialView) -> tuple[Spread, ...] | Empty:
    """Counts of the matched predictions by objectness and epoch, and by objectness and IoU."""
    found = _validated(view)
    found = found[found["is_matched"] & (found["places"] > 0)]
    if found.empty:
        return none_measured(view, NOT_RECORDED)
    return tuple(_spread(int(str(scale)), part) for scale, part in found.groupby("scale"))


def _validated(view: TrialView) -> pd.DataFrame:
    found = view.measured.frame("objectness")
    found = found.assign(is_matched=found["is_matched"].astype(bool))
    return found[found["split"] == "val"].sort_values(["scale", "epoch"])


def _spread(scale: int, part: pd.DataFrame) -> Spread:
    counts = np.array([json.loads(text) for text in part["histogram"]], dtype=float).T
    kept = spread_evenly(list(part.index), MAX_EPOCHS)
    densities = tuple(
        (int(row["epoch"]) + 1, np.array(json.loads(str(row["density"])), dtype=float))
        for row in part.loc[kept].to_dict("records")
    )
    return Spread(
        stride=STRIDES[scale],
        epochs=part["epoch"].to_numpy(dtype=float) + 1,
        shares=counts / counts.sum(0),
        densities=densities,
    )


def draw(data: tuple[OfScale, ...]) -> tuple[go.Figure, ...]:
    """One figure for each scale."""
    return tuple(_draw_scale(scale) for scale in data)


def _draw_scale(data: OfScale) -> go.Figure:
    figure = theme.new_figure(height=320, x="epochs trained", y=f"stride {data.stride}, 0 to 1", showlegend=True)
    figure.update_layout(xaxis=theme.integer_axis(data.matched["epoch"].max()), yaxis={"range": [0, 1.02]})
    _add_mean(figure, data.others, "objectness", "others, objectness", theme.NEUTRAL)
    _add_mean(figure, data.matched, "iou", "matched, IoU", COLORS[1])
    _add_mean(figure, data.matched, "objectness", SURE, COLORS[0])
    return figure


def _add_mean(figure: go.Figure, rows: pd.DataFrame, what: str, name: str, color: str) -> None:
    x, mean, spread = (rows[column].to_numpy(dtype=float) for column in ("epoch", f"{what}_mean", f"{what}_spread"))
    known = np.isfinite(mean)  # Plotly cannot fill across a gap
    edge: dict[str, Any] = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    fill = {"fill": "tonexty", "fillcolor": f"rgba({red},{green},{blue},0.18)"}
    for end, more in ((-1, {}), (1, fill)):
        y = np.clip(mean + end * spread, 0, 1)[known]
        figure.add_scatter(x=x[known], y=y, legendgroup=name, name=f"{name}, spread", **edge, **more)
    add_line(figure, x, mean, name, color=color, dash="dash" if what == "iou" else "solid")
    figure.data[-1].update(legendgroup=name)


def draw_spread(data: tuple[Spread, ...]) -> tuple[go.Figure, ...]:
    """For each scale the shares over all epochs, then the counts of a chosen one."""
    return (*(_draw_shares(spread) for spread in data), *(_draw_density(spread) for spread in data))


def _draw_shares(data: Spread) -> go.Figure:
    figure = theme.new_figure(height=320, x="epochs trained", y=f"objectness, stride {data.stride}")
    figure.update_layout(xaxis=theme.integer_axis(data.epochs.max()) | {"showgrid": False}, yaxis={"range": [0, 1]})
    bins = len(data.shares)
    figure.add_heatmap(
        x=data.epochs,
        y=(np.arange(bins) + 0.5) / bins,
        z=np.round(data.shares, 4),
        zmin=0,
        colorscale=theme.SCALE,
        name="share",
        colorbar={"title": {"text": "share", "side": "right"}, "thickness": 12, "outlinewidth": 0, "x": 1.01},
        hovertemplate="epoch %{x}<br>objectness about %{y:.2f}: %{z:.1%}<extra></extra>",
    )
    return figure


def _draw_density(data: Spread) -> go.Figure:
    """A map for each epoch, one of them visible, chosen by a slider."""
    figure = theme.new_figure(height=400, x="IoU with the best label", y=f"objectness, stride {data.stride}")
    for epoch, counts in data.densities:
        bins = (np.arange(len(counts)) + 0.5) / len(counts)
        figure.add_heatmap(
            x=bins,
            y=bins,
            z=counts,
            zmin=0,
            colorscale=theme.SCALE,
            colorbar={"title": {"text": "predictions", "side": "right"}, "thickness": 12, "outlinewidth": 0, "x": 1.01},
            name=f"epoch {epoch}",
            hovertemplate="IoU about %{x:.2f}, objectness about %{y:.2f}: %{z}<extra></extra>",
        )
    labels = [str(epoch) for epoch, _ in data.densities]
    add_choice(figure, labels, shown=len(labels) - 1, prefix="after epoch ")
    return figure


PANEL = Panel(
    key="objectness",
    title="Does it know where objects are?",
    caption="Mean and spread (one standard deviation) over the validation images after each epoch, by scale. Matched "
    "predictions are those that the loss trains towards a label; their objectness should rise and stay, that of all "
    "others should stay near 0. IoU is that with the best label.",
    rows=rows,
    blocks=draw,
)

SPREAD = Panel(
    key="objectness-spread",
    title="How sure, and how right?",
    caption="Matched predictions by their objectness, over the epochs; then, for an epoch of your choice, by "
    "objectness and IoU: sure and right is the upper right corner.",
    rows=spread_rows,
    blocks=draw_spread,
)
