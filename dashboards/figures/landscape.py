"""Figures about the shape of the search: parallel coordinates, a map of fitness, a timeline."""

from __future__ import annotations

from math import log10

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.colors import sample_colorscale

from dashboards.figures import theme
from dashboards.figures.search import mark_edges
from dashboards.views import wording
from dashboards.views.landscape import Contour, Parallel, Timeline
from dashboards.views.study import Parameter
from dashboards.views.thinning import joined

NUM_SHADES = 8
# Heights in pixels: of a trial's own row, of a row that trials share, and of all rows together.
MAX_ROWS, ROW_PIXELS, PLACE_PIXELS, MAX_HEIGHT = 60, 8, 26, 520
UNITS = ((2 * 86400.0, 86400.0, "days"), (2 * 3600.0, 3600.0, "hours"), (120.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))


def parallel(data: Parallel) -> go.Figure:
    """Trials as lines from axis to axis, brighter where better; a few traces, however many trials there are."""
    names = [axis.name for axis in data.axes]
    figure = theme.new_figure(height=430, x="", y="")
    ends = [*range(len(names) + 1)]
    titles = [f"<b>{theme.label(name, most=theme.MAX_TICK)}</b>" for name in names] + ["<b>fitness</b>"]
    figure.update_layout(
        margin={"t": 30, "l": 28, "r": 40},
        xaxis={"tickvals": ends, "ticktext": titles, "side": "top", "range": [-0.2, len(names) + 0.3], "ticklen": 0},
        yaxis={"visible": False, "range": [-0.06, 1.06]},
    )
    low, high = data.fitness_range
    fitness = (data.places["fitness"] - low) / ((high - low) or 1.0)
    _add_lines(figure, data, fitness.to_numpy(dtype=float))
    for index, axis in enumerate([*data.axes, Parameter(name="fitness", low=low, high=high)]):
        _add_axis(figure, index, axis)
    return figure


def contour(data: Contour) -> go.Figure:
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


def timeline(data: Timeline) -> go.Figure:
    """A bar from start to end for each trial, in the colour of its verdict.

    Few trials have a row each; many would be a thread, and share the rows of those that ran at once.
    """
    longest = float(data.rows["end"].max())
    _, unit, name = next(each for each in UNITS if longest >= each[0])
    has_own_rows = len(data.rows) <= MAX_ROWS
    column, title = ("number", "trial") if has_own_rows else ("place", "trials at once")
    num_rows = len(data.rows) if has_own_rows else int(data.rows["place"].max())
    row_pixels = ROW_PIXELS if has_own_rows else min(PLACE_PIXELS, MAX_HEIGHT / num_rows)
    height = int(min(max(130 + row_pixels * num_rows, 190), 130 + MAX_HEIGHT))
    figure = theme.new_figure(height=height, x=f"{name} since {wording.moment(data.first)}", y=title, showlegend=True)
    width = round(0.7 * row_pixels, 1)
    # A bar is as long as can be seen, but never so long that it hides the trial after it.
    least = longest / 400 if has_own_rows else 0.0
    for verdict, part in theme.by_verdict(data.rows):
        curves = [
            (np.asarray([start, max(end, start + least)]) / unit, np.asarray([row, row], dtype=float))
            for row, start, end in part[[column, "start", "end"]].itertuples(index=False)
        ]
        x, y, owners = joined(curves)
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines+markers",
            line={"color": theme.style(verdict).color, "width": width},
            marker={"size": width if has_own_rows else 2, "color": theme.style(verdict).color, "symbol": "square"},
            name=verdict,
            customdata=part["number"].to_numpy()[owners],
            text=[wording.duration(float(each)) for each in (part["end"] - part["start"]).to_numpy()[owners]],
            hovertemplate=f"{theme.trial_title('%{customdata}', verdict)}<br>%{{text}}<extra></extra>",
            connectgaps=False,
        )
    last = float(data.rows[column].max())
    axis = theme.integer_axis(last)
    axis |= {"autorange": "reversed"} if has_own_rows else {"range": [last + 0.6, 0.4], "showgrid": False}
    figure.update_layout(yaxis=axis)
    return figure


def _add_lines(figure: go.Figure, data: Parallel, fitness: NDArray[np.float64]) -> None:
    columns = [f"axis {index}" for index in range(len(data.axes))]
    heights = np.column_stack([data.places[columns].to_numpy(dtype=float), fitness])
    shades = np.minimum((fitness * NUM_SHADES).astype(int), NUM_SHADES - 1)
    is_selected = data.places["number"].isin(data.selected).to_numpy()
    x = np.arange(len(columns) + 1, dtype=float)
    for stands_out in (False, True) if data.selected else (True,):
        for shade in range(NUM_SHADES):
            chosen = np.flatnonzero((shades == shade) & (is_selected == stands_out if data.selected else True))
            if len(chosen):
                opacity = (0.3 + 0.6 * (shade + 1) / NUM_SHADES) if stands_out else 0.08
                curves = [(x, heights[row]) for row in chosen]
                _add_shade(figure, data.places.iloc[chosen], curves, shade=shade, opacity=opacity)


def _add_shade(
    figure: go.Figure,
    rows: pd.DataFrame,
    curves: list[tuple[NDArray[np.float64], NDArray[np.float64]]],
    *,
    shade: int,
    opacity: float,
) -> None:
    x, y, owners = joined(curves)
    color = str(sample_colorscale(theme.SCALE, [(shade + 0.5) / NUM_SHADES])[0])
    figure.add_scatter(
        x=x,
        y=np.round(y, 4),
        mode="lines+markers",
        line={"color": color, "width": 1.3},
        marker={"size": 3, "color": color},
        opacity=opacity,
        customdata=np.stack([rows["number"].to_numpy()[owners], rows["fitness"].round(4).to_numpy()[owners]], axis=-1),
        hovertemplate="<b>trial %{customdata[0]}</b><br>fitness %{customdata[1]:.3f}<extra></extra>",
        connectgaps=False,
    )


def _add_axis(figure: go.Figure, at: int, axis: Parameter) -> None:
    line = {"color": theme.NEUTRAL, "width": 1}
    figure.add_shape(type="line", x0=at, x1=at, y0=0, y1=1, line=line, layer="below")
    if axis.is_categorical:
        steps = max(len(axis.choices) - 1, 1)
        ticks = [(index / steps, str(choice)) for index, choice in enumerate(axis.choices)]
    else:
        ticks = [(place, wording.number(_value_at(axis, place))) for place in (0.0, 0.5, 1.0)]
    for place, text in ticks:
        figure.add_annotation(
            x=at, y=place, text=theme.label(text, most=theme.MAX_TICK), showarrow=False, xanchor="left", xshift=4,
            font={"size": 11}, yshift=8 if place == 0 else -8 if place == 1 else 0,
        )  # fmt: skip


def _value_at(axis: Parameter, place: float) -> float:
    if axis.is_log:
        return float(10 ** (log10(axis.low) + place * (log10(axis.high) - log10(axis.low))))
    return axis.low + place * (axis.high - axis.low)
