"""Fitness over two hyperparameters."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from dashboards.blocks import Empty
from dashboards.data.shown import chosen_axes, drawn_trials, none_finished
from dashboards.data.study import Parameter, StudyView
from dashboards.data.trial_sets import finished
from dashboards.figures import theme
from dashboards.questions import parallel
from dashboards.questions.edges import find_edges, mark_edges
from dashboards.questions.panel import Panel
from evolve.findings.edges import Edge
from evolve.formatting import counted

GRID = 40
# A kernel this wide, in shares of the range, smooths the noise of seeds and keeps a valley of a tenth of the range.
BANDWIDTH = 0.06
LEAST_RATED = 6
FAR = 0.3  # weight below which no trial is near enough to say anything: beyond one and a half widths


@dataclass(frozen=True, slots=True, kw_only=True)
class Contour:
    """Fitness over two hyperparameters, smoothed.

    Attributes:
        x, y: Hyperparameters on the two axes.
        x_values, y_values: Values of the hyperparameters at the places of the map, shape (GRID,) each.
        fitness: Smoothed fitness, shape (GRID, GRID), rows are y; NaN far from every trial, and where most of those
            near diverged.
        rows: Trials behind the map and those that diverged, with the columns number, verdict, fitness, and the values
            x and y.
        edges: Where training diverges, for each axis of the study that has such a value.
    """

    x: Parameter
    y: Parameter
    x_values: NDArray[np.float64]
    y_values: NDArray[np.float64]
    fitness: NDArray[np.float64]
    rows: pd.DataFrame
    edges: tuple[Edge, ...]


def rows(view: StudyView) -> Contour | Empty:
    """Fitness over the chosen pair, a weighted mean of the trials near each place."""
    axes = [axis for axis in chosen_axes(view) if not axis.is_categorical and axis.has_range]
    if len(axes) < 2:
        return Empty("A map needs two hyperparameters that are numbers; choose another pair, or search a second one.")
    x, y = axes
    trained = _placed(finished(view.trials), view, x, y)
    if len(trained) < LEAST_RATED:
        if trained.empty and not view.left_out.empty:
            return none_finished(view, "")
        ended = counted(len(trained), "trial ran to its end", "trials ran to their end")
        return Empty(f"{ended}; a map of fitness needs at least {LEAST_RATED}.")
    diverged = _placed(view.trials[view.trials["verdict"] == "diverged"].assign(fitness=nan), view, x, y)
    rows = pd.concat([trained, diverged], ignore_index=True)
    grid = np.linspace(0, 1, GRID)
    return Contour(
        x=x,
        y=y,
        x_values=_values(x, grid),
        y_values=_values(y, grid),
        fitness=_smoothed(
            parallel.places_on(x, rows["x"]), parallel.places_on(y, rows["y"]), rows["fitness"].to_numpy(), grid
        ),
        rows=rows[rows["number"].isin(set(drawn_trials(view)["number"]))].reset_index(drop=True),
        edges=find_edges(view),
    )


def _placed(trials: pd.DataFrame, view: StudyView, x: Parameter, y: Parameter) -> pd.DataFrame:
    values = view.params[[x.name, y.name]].reindex(trials["number"]).to_numpy(dtype=float)
    return trials[["number", "verdict", "fitness"]].assign(x=values[:, 0], y=values[:, 1]).dropna(subset=["x", "y"])


def _values(axis: Parameter, places: NDArray[np.float64]) -> NDArray[np.float64]:
    if axis.is_log:
        return np.asarray(axis.low * (axis.high / axis.low) ** places)
    return axis.low + (axis.high - axis.low) * places


def _smoothed(
    x: NDArray[np.float64], y: NDArray[np.float64], fitness: NDArray[np.float64], grid: NDArray[np.float64]
) -> NDArray[np.float64]:
    # Nadaraya and Watson's estimate (1964); the kernel is a product, so two small matrices replace one large one.
    has_fitness = np.isfinite(fitness)
    width = BANDWIDTH if has_fitness.sum() > 100 else 2 * BANDWIDTH
    near_x = np.exp(-0.5 * ((grid[:, None] - x[None, :]) / width) ** 2)
    near_y = np.exp(-0.5 * ((grid[:, None] - y[None, :]) / width) ** 2)
    weights = (near_y * has_fitness) @ near_x.T
    others = (near_y * ~has_fitness) @ near_x.T
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (near_y * np.where(has_fitness, fitness, 0.0)) @ near_x.T / weights
    return np.where((weights > FAR) & (weights > others), mean, np.nan)


def draw(data: Contour) -> go.Figure:
    """The smoothed fitness as filled steps, and the trials it rests on."""
    figure = theme.new_figure(height=440, x=data.x.name, y=data.y.name)
    figure.add_contour(
        x=data.x_values,
        y=data.y_values,
        z=np.round(data.fitness, 4),
        colorscale=theme.SCALE,
        connectgaps=False,
        line={"width": 0.5},
        colorbar={"title": {"text": "fitness", "side": "right"}, "thickness": 12, "outlinewidth": 0, "x": 1.01},
        hovertemplate=f"{theme.label(data.x.name)} %{{x:.4~g}}<br>{theme.label(data.y.name)} %{{y:.4~g}}"
        "<br>fitness about %{z:.3f}<extra></extra>",
    )
    for verdict, part in theme.by_verdict(data.rows):
        has_fitness = verdict != "diverged"
        look = theme.marker(verdict, len(data.rows))
        if has_fitness:
            look |= {"color": "rgba(255,255,255,0.75)", "line": {"width": 0.8}}
        fitness = "<br>fitness %{customdata[1]:.3f}" if has_fitness else ""
        figure.add_scatter(
            x=part["x"],
            y=part["y"],
            mode="markers",
            marker=look,
            name=verdict,
            customdata=np.stack([part["number"], part["fitness"]], axis=-1),
            hovertemplate=f"{theme.trial_title('%{customdata[0]}', verdict)}{fitness}<extra></extra>",
        )
    figure.update_layout(
        xaxis=theme.axis_layout(data.x, data.rows["x"]) | {"showgrid": False},
        yaxis=theme.axis_layout(data.y, data.rows["y"]) | {"showgrid": False},
    )
    mark_edges(figure, data.edges, x=data.x, y=data.y)
    return figure


PANEL = Panel(
    key="contour",
    title="Fitness over two hyperparameters",
    caption="A weighted mean of the trials nearby; empty where none is near or most of those diverged, marked by "
    "crosses. It hides what other hyperparameters did, so read it with the pictures above.",
    rows=rows,
    blocks=draw,
    has_points=True,
    is_optional=True,
)
