"""Rows about the shape of the search: parallel coordinates, a smoothed map of fitness, and who trained when."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from math import isfinite, log, nan

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboards.views.blocks import Empty
from dashboards.views.search import Edge, chosen_axes, drawn_trials, edges, none_finished, none_started, started
from dashboards.views.study import Parameter, StudyView, finished, spread_evenly

MAX_LINES = 300
MAX_AXES = 10
GRID = 40
# A kernel this wide, in shares of the range, smooths the noise of seeds and keeps a valley of a tenth of the range.
BANDWIDTH = 0.06
LEAST_RATED = 6
FAR = 0.3  # weight below which no trial is near enough to say anything: beyond one and a half widths


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel:
    """Trials as lines over their hyperparameters.

    Attributes:
        axes: Left to right; the fitness follows as the last one.
        places: number, verdict, fitness, and a column for each axis: place in its range, 0..1.
        num_trials: Trials with a fitness; the lines are a choice of them.
        fitness_range: Ends of the fitness axis.
        num_left_out: Hyperparameters there was no room for.
        selected: Trials that stand out because the reader selected them.
    """

    axes: tuple[Parameter, ...]
    places: pd.DataFrame
    num_trials: int
    fitness_range: tuple[float, float]
    num_left_out: int
    selected: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contour:
    """Fitness over two hyperparameters, smoothed.

    Attributes:
        x, y: Axes.
        x_values, y_values: Where the map is known, shape (GRID,) each.
        fitness: Shape (GRID, GRID), rows are y; NaN far from every trial, and where most of those near diverged.
        rows: number, verdict, fitness, and the values x and y of the trials behind it and of those that diverged.
        edges: Where training diverges, for each axis of the study that has such a value.
    """

    x: Parameter
    y: Parameter
    x_values: NDArray[np.float64]
    y_values: NDArray[np.float64]
    fitness: NDArray[np.float64]
    rows: pd.DataFrame
    edges: tuple[Edge, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """When each trial trained.

    Attributes:
        rows: number, verdict, start and end in seconds since the study's first trial, and place: counted from 1, the
            first that was free when the trial started, so that trials which ran at once stand beneath each other.
        first: When the study's first trial started, in seconds since 1970.
    """

    rows: pd.DataFrame
    first: float


def parallel(view: StudyView) -> Parallel | Empty:
    """The trials that ran to their end over all hyperparameters, the important ones first."""
    trials = finished(view.trials)[["number", "verdict", "fitness"]]
    axes = [each for each in view.space if each.name in view.params and (each.is_categorical or each.has_range)]
    if trials.empty or not axes:
        waiting = "No trial has run to its end yet; lines over the hyperparameters are drawn once one has."
        return none_finished(view, waiting) if trials.empty else Empty(waiting)
    ranked = [int(each) for each in trials.sort_values(["fitness", "number"])["number"]]
    selected = frozenset(spread_evenly(sorted(view.focus.selected & set(ranked)), MAX_LINES))
    kept = set(spread_evenly(ranked, min(MAX_LINES, view.focus.max_points))) | selected
    rows = trials[trials["number"].isin(kept)].reset_index(drop=True)
    shown = axes[:MAX_AXES]
    values = view.params.reindex(rows["number"])
    places = {axis.name: _places(axis, values[axis.name].to_numpy()) for axis in shown}
    return Parallel(
        axes=tuple(shown),
        places=rows.assign(**{f"axis {index}": place for index, place in enumerate(places.values())}),
        num_trials=len(trials),
        fitness_range=(float(rows["fitness"].min()), float(rows["fitness"].max())),
        num_left_out=len(axes) - len(shown),
        selected=selected,
    )


def contour(view: StudyView) -> Contour | Empty:
    """Fitness over the chosen pair, a weighted mean of the trials near each place."""
    axes = [axis for axis in chosen_axes(view) if not axis.is_categorical and axis.has_range]
    if len(axes) < 2:
        return Empty("A map needs two hyperparameters that are numbers; choose another pair, or search a second one.")
    x, y = axes
    trained = _placed(finished(view.trials), view, x, y)
    if len(trained) < LEAST_RATED:
        if trained.empty and not view.left_out.empty:
            return none_finished(view, "")
        return Empty(f"{len(trained)} trials ran to their end; a map of fitness needs at least {LEAST_RATED}.")
    diverged = _placed(view.trials[view.trials["verdict"] == "diverged"].assign(fitness=nan), view, x, y)
    rows = pd.concat([trained, diverged], ignore_index=True)
    grid = np.linspace(0, 1, GRID)
    return Contour(
        x=x,
        y=y,
        x_values=_values(x, grid),
        y_values=_values(y, grid),
        fitness=_smoothed(_places(x, rows["x"]), _places(y, rows["y"]), rows["fitness"].to_numpy(), grid),
        rows=rows[rows["number"].isin(set(drawn_trials(view)["number"]))].reset_index(drop=True),
        edges=edges(view),
    )


def _placed(trials: pd.DataFrame, view: StudyView, x: Parameter, y: Parameter) -> pd.DataFrame:
    values = view.params[[x.name, y.name]].reindex(trials["number"]).to_numpy(dtype=float)
    return trials[["number", "verdict", "fitness"]].assign(x=values[:, 0], y=values[:, 1]).dropna(subset=["x", "y"])


def timeline(view: StudyView) -> Timeline | Empty:
    """Start and end of each trial that has started."""
    trials = started(view.trials)
    known = trials[trials["started"].map(isfinite).astype(bool)]
    if known.empty:
        return (
            none_started(view)
            if trials.empty
            else Empty("No times are stored; trials of other programs have none here.")
        )
    first = float(view.trials["started"].min())
    now = float(np.nanmax(view.trials[["started", "ended"]].to_numpy()))
    # A trial that still runs reaches to the last thing that is known.
    rows = known[["number", "verdict"]].assign(
        start=known["started"] - first, end=known["ended"].fillna(now).clip(lower=known["started"]) - first
    )
    rows = rows.assign(place=_free_places(rows["start"].to_numpy(), rows["end"].to_numpy()))
    is_drawn = rows["number"].isin(drawn_trials(view)["number"])
    return Timeline(rows=rows[is_drawn].reset_index(drop=True), first=first)


def _free_places(starts: NDArray[np.float64], ends: NDArray[np.float64]) -> NDArray[np.intp]:
    places = np.zeros(len(starts), dtype=np.intp)
    free: list[int] = []
    taken: list[tuple[float, int]] = []
    for index in np.argsort(starts, kind="stable"):
        while taken and taken[0][0] <= starts[index]:
            heappush(free, heappop(taken)[1])
        place = heappop(free) if free else len(taken) + 1
        heappush(taken, (float(ends[index]), place))
        places[index] = place
    return places


def _places(axis: Parameter, values: object) -> NDArray[np.float64]:
    if axis.is_categorical:
        steps = max(len(axis.choices) - 1, 1)
        known = {choice: index / steps for index, choice in enumerate(axis.choices)}
        return np.array([known.get(str(each), np.nan) for each in np.asarray(values)])
    numbers = np.asarray(values, dtype=np.float64)
    if axis.is_log:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.log(numbers / axis.low) / log(axis.high / axis.low))
    return np.asarray((numbers - axis.low) / (axis.high - axis.low))


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
