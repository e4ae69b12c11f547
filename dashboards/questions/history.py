"""Did the search get better?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from dashboards.blocks import Empty
from dashboards.data.shown import drawn_numbers, none_started, ordered_params
from dashboards.data.study import StudyView
from dashboards.data.trial_sets import finished, started
from dashboards.figures import theme
from dashboards.figures.points import LEGEND, add_trials
from dashboards.questions.panel import Panel
from evolve import analysis


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Every trial that has started, by number.

    Attributes:
        trials: Trials, with the columns number, verdict and fitness.
        params: Hyperparameters by number of the trial, one column each.
        best: Best fitness of the study up to each of these trials, shape (trials,); NaN while there is none.
        best_number: Number of the trial with the best fitness; None where there is none.
        parents: Number of the trial that each child was changed from, by number of the child.
    """

    trials: pd.DataFrame
    params: pd.DataFrame
    best: NDArray[np.float64]
    best_number: int | None
    parents: Mapping[int, int]


def rows(view: StudyView) -> History | Empty:
    """Fitness by trial number, with the best so far."""
    trials = started(view.trials)
    if trials.empty:
        return none_started(view)
    is_finished = trials["number"].isin(finished(trials)["number"])
    so_far = analysis.best_so_far(trials["fitness"].where(is_finished))
    # Where the best changes the line has a step, whatever else is drawn.
    level = np.nan_to_num(so_far, nan=-np.inf)
    is_step = np.append(level[1:] > level[:-1], True)
    is_drawn = trials["number"].isin(drawn_numbers(view)).to_numpy() | is_step | np.roll(is_step, 1)
    best = view.best
    return History(
        trials=trials[is_drawn][["number", "verdict", "fitness"]].reset_index(drop=True),
        params=ordered_params(view).reindex(trials[is_drawn]["number"]),
        best=so_far[is_drawn],
        best_number=None if best is None else int(best["number"]),
        parents=view.parents,
    )


def draw(data: History) -> go.Figure:
    """Every trial by number, the best so far as a line, trials without a fitness in a strip beneath."""
    figure = theme.new_figure(height=400, x="trial", y="fitness", showlegend=True)
    figure.update_layout(xaxis=theme.integer_axis(data.trials["number"].max()), legend=LEGEND)
    _add_lineage(figure, data)
    if data.best_number is not None:
        _add_best_so_far(figure, data)
    hover = theme.hover_texts(data.trials, data.params)
    add_trials(figure, data.trials.assign(x=data.trials["number"], hover=hover), x_name="trial")
    best = data.trials[data.trials["number"] == data.best_number]
    if len(best):
        _ring(figure, best["number"], best["fitness"])
    return figure


def _add_best_so_far(figure: go.Figure, data: History) -> None:
    figure.add_scatter(
        x=data.trials["number"],
        y=data.best,
        mode="lines",
        line={"color": theme.ACCENT, "width": 2, "shape": "hv"},
        name="best so far",
        hoverinfo="skip",
    )


def _add_lineage(figure: go.Figure, data: History) -> None:
    """A thin line from each parent to its child, where both have a fitness, in colour along the descent of the best."""
    fitness = data.trials.set_index("number")["fitness"].dropna()
    pairs = [(parent, child) for child, parent in data.parents.items() if {parent, child} <= set(fitness.index)]
    if not pairs:
        return
    line = descent(data.parents, data.best_number)
    for name, own, look in (
        ("parent to child", pairs, {"color": theme.NEUTRAL, "width": 1}),
        ("descent of the best", [pair for pair in pairs if pair[1] in line], {"color": theme.ACCENT, "width": 1.5}),
    ):
        # One trace, in which a missing point ends each line.
        numbers = [number for pair in own for number in (*pair, None)]
        figure.add_scatter(
            x=numbers,
            y=[None if number is None else fitness[number] for number in numbers],
            mode="lines",
            line=look,
            name=name,
            hoverinfo="skip",
        )


def descent(parents: Mapping[int, int], child: int | None) -> set[int]:
    """A trial, its parent, that one's parent, and so on; none where there is no trial."""
    line: set[int] = set()
    while child is not None and child not in line:
        line.add(child)
        child = parents.get(child)
    return line


def _ring(figure: go.Figure, x: pd.Series[int], y: pd.Series[float]) -> None:
    figure.add_scatter(
        x=x,
        y=y,
        mode="markers",
        marker={"symbol": "circle-open", "size": 17, "color": theme.ACCENT, "line": {"width": 2.5}},
        name=f"best: trial {int(x.iloc[0])}",
        hoverinfo="skip",
    )


PANEL = Panel(
    key="history",
    title="Did the search get better?",
    caption="Every trial in the order it was asked for. The line is the best fitness of all trials so far that ran "
    "to their end; trials without a fitness stand in the rows beneath. Where trials are children of others, thin lines "
    "lead from parents to children, in colour along the descent of the best.",
    rows=rows,
    blocks=draw,
    has_points=True,
)
