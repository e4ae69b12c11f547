"""What do the layers of the network hold, and does it vanish or explode on its way through them?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboards.blocks import Empty
from dashboards.data.trial import TrialView
from dashboards.data.trial_sets import spread_evenly
from dashboards.figures import theme
from dashboards.figures.choosing import add_choice
from dashboards.figures.series import COLORS, curve_style
from dashboards.questions.panel import Panel
from detector.observations import REACH
from evolve.formatting import number

NOT_ASKED = Empty(
    "Nobody asked what the layers hold. With inspect: true in the study's file, or --inspect of evolve run and evolve "
    "train, activations, weights and gradients of each layer are recorded before the first epoch and after some others."
)
MAX_LINES = len(COLORS)  # epochs of which lines can be told apart
MAX_MAPS = 8  # epochs that can be chosen
PARTS = ("activations", "weights", "gradients")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """One number by layer, that a reader may choose to see.

    Attributes:
        label: Name by which the reader chooses it.
        title: Title of the y axis.
        rows: A row for each time and layer: `epoch`, the number of epochs that were over; `layer`, counted from 1 at
            the images; `value`, and all that is recorded.
        is_log: Whether the axis is logarithmic.
    """

    label: str
    title: str
    rows: pd.DataFrame
    is_log: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Histograms:
    """Histograms of all layers at several times.

    Attributes:
        part: Name of what is counted, such as weights.
        maps: For each time the number of epochs that were over, and shares of the values in 0..1 by distance from the
            mean (row) and layer (column); NaN for a layer without such values.
    """

    part: str
    maps: tuple[tuple[int, np.ndarray], ...]


def rows(view: TrialView) -> tuple[tuple[Chosen, ...], tuple[Histograms, ...]] | Empty:
    """Spreads and dead channels by layer and epoch, and the histograms of each part."""
    found = view.measured.frame("layers")
    if found.empty:
        return NOT_ASKED
    found = found.assign(layer=found["layer"] + 1).sort_values(["epoch", "layer"])
    of_part = {part: found[found["part"] == part] for part in PARTS}
    spreads = [
        Chosen(label=part, title=f"spread of {part}", rows=part_rows.assign(value=part_rows["spread"]))
        for part, part_rows in of_part.items()
    ]
    active = of_part["activations"]
    dead = Chosen(label="dead", title="dead channels, share", rows=active.assign(value=active["dead"]), is_log=False)
    histograms = tuple(
        Histograms(part=part, maps=tuple(_maps(part_rows))) for part, part_rows in of_part.items() if len(part_rows)
    )
    return (*spreads, dead), histograms


def _maps(of_part: pd.DataFrame) -> Iterator[tuple[int, np.ndarray]]:
    num_layers = int(of_part["layer"].max())
    for epoch in spread_evenly(sorted(of_part["epoch"].unique()), MAX_MAPS):
        at = of_part[of_part["epoch"] == epoch]
        counts = np.array([json.loads(text) for text in at["histogram"]], dtype=float)
        shares = np.full((counts.shape[1], num_layers), np.nan)  # a layer that is frozen has no gradients
        shares[:, at["layer"].to_numpy() - 1] = counts.T / 1000
        yield int(epoch), shares


def draw(data: tuple[tuple[Chosen, ...], tuple[Histograms, ...]]) -> tuple[go.Figure, ...]:
    """Lines over the layers, then a map of the histograms of each part."""
    chosen, histograms = data
    return _draw_lines(chosen), *map(_draw_maps, histograms)


def _draw_lines(chosen: tuple[Chosen, ...]) -> go.Figure:
    figure = theme.new_figure(height=400, x="layer, from the images on", y=chosen[0].title, showlegend=True)
    epochs = spread_evenly(sorted(chosen[0].rows["epoch"].unique()), MAX_LINES)
    num_layers = int(chosen[0].rows["layer"].max())
    axes = [theme.log_axis_over(what.rows["value"]) if what.is_log else {"rangemode": "tozero"} for what in chosen]
    for what in chosen:
        for slot, epoch in enumerate(epochs):
            _add_line(figure, what, int(epoch), slot)
    figure.update_layout(xaxis=theme.integer_axis(num_layers), yaxis=axes[0])
    layouts = [_paths(axis, what.title) for axis, what in zip(axes, chosen, strict=True)]
    add_choice(figure, [what.label for what in chosen], shown=0, layouts=layouts)
    return figure


def _paths(axis: dict[str, Any], title: str) -> dict[str, Any]:
    """Settings of the y axis by their paths, those of another choice taken back."""
    usual = {"type": "linear", "tickvals": None, "ticktext": None, "rangemode": "normal", "autorange": True}
    return {f"yaxis.{key}": value for key, value in {**usual, **axis, "title.text": title}.items()}


def _add_line(figure: go.Figure, what: Chosen, epoch: int, slot: int) -> None:
    at = what.rows[what.rows["epoch"] == epoch]
    color, _ = curve_style(slot)
    name = when(epoch)
    value = at["value"].to_numpy(dtype=float)
    figure.add_scatter(
        x=at["layer"],
        # On a logarithmic axis a line would fall out of the picture to a 0.
        y=np.where(value > 0, value, np.nan) if what.is_log else value,
        mode="lines+markers",
        line={"color": color, "width": 1.7},
        marker={"color": color, "size": 5},
        name=name,
        legendgroup=name,
        text=[
            f"mean {number(mean)}, norm {number(norm)}, zeros {zeros:.1%}"
            for mean, norm, zeros in at[["mean", "norm", "zeros"]].itertuples(index=False)
        ],
        hovertemplate=f"<b>layer %{{x}}</b> {name}<br>{what.title} %{{y:.4~g}}<br>%{{text}}<extra></extra>",
        connectgaps=False,
    )


def when(epoch: int) -> str:
    """How many epochs were over, in words."""
    return "before training" if epoch == 0 else f"after {epoch} epoch{'s' if epoch > 1 else ''}"


def _draw_maps(data: Histograms) -> go.Figure:
    figure = theme.new_figure(height=400, x="layer, from the images on", y=f"{data.part}, spreads from the mean")
    bins, num_layers = data.maps[0][1].shape
    largest = max(float(np.nanmax(shares, initial=0.0)) for _, shares in data.maps)
    for epoch, shares in data.maps:
        figure.add_heatmap(
            x=np.arange(num_layers) + 1,
            y=((np.arange(bins) + 0.5) / bins * 2 - 1) * REACH,
            z=shares,
            zmin=0,
            zmax=largest,
            colorscale=theme.SCALE,
            colorbar={"title": {"text": "share", "side": "right"}, "thickness": 12, "outlinewidth": 0, "x": 1.01},
            name=when(epoch),
            hovertemplate=f"<b>layer %{{x}}</b> {when(epoch)}<br>about %{{y:.1f}} spreads from the mean: %{{z:.1%}}"
            "<extra></extra>",
        )
    figure.update_layout(xaxis=theme.integer_axis(num_layers) | {"showgrid": False})
    labels = [str(epoch) for epoch, _ in data.maps]
    add_choice(figure, labels, shown=len(labels) - 1, prefix="epochs trained: ")
    return figure


PANEL = Panel(
    key="layers",
    title="What do the layers hold?",
    caption="On one batch of training images, before training and after some epochs. A spread of activations or "
    "gradients that falls from layer to layer vanishes, one that rises explodes; where a line breaks, a value was no "
    "number. A dead channel is above 0 nowhere in the batch. The maps count values by their distance from the layer's "
    "mean, in spreads (standard deviations); the outermost rows hold all that is farther away.",
    rows=rows,
    blocks=draw,
)
