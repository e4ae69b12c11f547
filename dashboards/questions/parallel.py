"""What do good settings have in common?"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, log10

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.colors import sample_colorscale

from dashboards.blocks import Empty, Prose
from dashboards.data.shown import none_finished
from dashboards.data.study import Parameter, StudyView
from dashboards.data.trial_sets import finished, spread_evenly
from dashboards.figures import theme
from dashboards.figures.downsampling import joined
from dashboards.questions.panel import Block, Panel
from evolve import formatting

MAX_LINES = 300
MAX_AXES = 10
NUM_SHADES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel:
    """Trials as lines over their hyperparameters.

    Attributes:
        axes: Hyperparameters, left to right; the fitness follows as the last axis.
        places: Trials that are drawn, with number, verdict, fitness, and a column for each axis: place in its range,
            0..1.
        num_trials: Number of trials that ran to their end; the lines are a choice of them.
        fitness_range: Lowest and highest fitness that is drawn, the ends of the fitness axis.
        num_left_out: Number of hyperparameters that there was no room for.
        selected: Numbers of the trials that stand out because the reader selected them.
    """

    axes: tuple[Parameter, ...]
    places: pd.DataFrame
    num_trials: int
    fitness_range: tuple[float, float]
    num_left_out: int
    selected: frozenset[int]


def rows(view: StudyView) -> Parallel | Empty:
    """The trials that ran to their end over all hyperparameters, in the order of the space."""
    trials = finished(view.trials)[["number", "verdict", "fitness"]]
    axes = [axis for axis in view.space if axis.name in view.params and (axis.is_categorical or axis.has_range)]
    if trials.empty or not axes:
        waiting = "No trial has run to its end yet; lines over the hyperparameters are drawn once one has."
        return none_finished(view, waiting) if trials.empty else Empty(waiting)
    ranked = [int(number) for number in trials.sort_values(["fitness", "number"])["number"]]
    selected = frozenset(spread_evenly(sorted(view.options.selected & set(ranked)), MAX_LINES))
    kept = set(spread_evenly(ranked, min(MAX_LINES, view.options.max_points))) | selected
    rows = trials[trials["number"].isin(kept)].reset_index(drop=True)
    shown = axes[:MAX_AXES]
    values = view.params.reindex(rows["number"])
    places = {axis.name: places_on(axis, values[axis.name].to_numpy()) for axis in shown}
    return Parallel(
        axes=tuple(shown),
        places=rows.assign(**{f"axis {index}": place for index, place in enumerate(places.values())}),
        num_trials=len(trials),
        fitness_range=(float(rows["fitness"].min()), float(rows["fitness"].max())),
        num_left_out=len(axes) - len(shown),
        selected=selected,
    )


def places_on(axis: Parameter, values: object) -> NDArray[np.float64]:
    if axis.is_categorical:
        steps = max(len(axis.choices) - 1, 1)
        known = {choice: index / steps for index, choice in enumerate(axis.choices)}
        return np.array([known.get(str(value), np.nan) for value in np.asarray(values)])
    numbers = np.asarray(values, dtype=np.float64)
    if axis.is_log:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.log(numbers / axis.low) / log(axis.high / axis.low))
    return np.asarray((numbers - axis.low) / (axis.high - axis.low))


def draw(data: Parallel) -> go.Figure:
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
        # Four digits would run into the next axis on a telephone.
        ticks = [(place, formatting.number(float(f"{_value_at(axis, place):.3g}"))) for place in (0.0, 0.5, 1.0)]
    for place, text in ticks:
        figure.add_annotation(
            x=at, y=place, text=theme.label(text, most=theme.MAX_TICK), showarrow=False, xanchor="left", xshift=4,
            font={"size": 11}, yshift=8 if place == 0 else -8 if place == 1 else 0,
        )  # fmt: skip


def _value_at(axis: Parameter, place: float) -> float:
    if axis.is_log:
        return float(10 ** (log10(axis.low) + place * (log10(axis.high) - log10(axis.low))))
    return axis.low + place * (axis.high - axis.low)


def _blocks(found: Parallel) -> tuple[Block, ...]:
    shown = len(found.places)
    notes = [] if shown == found.num_trials else [f"{shown:,} of {found.num_trials:,} trials are drawn"]
    notes += [f"{found.num_left_out} more hyperparameters have no room here"] if found.num_left_out else []
    figure = draw(found)
    return (Prose(f"{'; '.join(notes).capitalize()}."), figure) if notes else (figure,)


PANEL = Panel(
    key="parallel",
    title="What do good settings have in common?",
    caption="A line is a trial that ran to its end, brighter where its fitness is higher. On the live page, drag "
    "over a part of an axis to select the trials that pass there.",
    rows=rows,
    blocks=_blocks,
    follows_selection=True,
)
