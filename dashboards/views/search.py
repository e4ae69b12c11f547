"""Rows about the search: history, fitness against each hyperparameter, the map of divergence, importances, seeds."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, isfinite

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboards.views.blocks import Empty
from dashboards.views.study import Parameter, StudyView, drawn_numbers, finished, none_shown
from dashboards.views.wording import counted, number
from evolve import analysis
from evolve.analysis import Importances, Interval

NO_TRIALS = Empty("No trial has started yet. Start the study with `evolve run`; this page is written when it ends.")
LEAST_SEPARATION = 0.6
LEAST_DIVERGED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Every trial that has started, by number.

    Attributes:
        trials: Rows with number, verdict and fitness.
        params: Their hyperparameters by number.
        best: Best fitness up to each row.
        best_number: Trial of the best fitness, or None.
    """

    trials: pd.DataFrame
    params: pd.DataFrame
    best: NDArray[np.float64]
    best_number: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A value of one hyperparameter that parts the trials that diverged from the others.

    Attributes:
        name: The hyperparameter.
        value: Most trials at or beyond it diverged, in the hyperparameter's own unit.
        is_above: Whether beyond means larger.
        beyond, others: Trials on either side, and how many of them diverged.
        separation: Share of diverged trials beyond the value minus share of the others beyond it, in 0..1.
    """

    name: str
    value: float
    is_above: bool
    beyond: tuple[int, int]
    others: tuple[int, int]
    separation: float

    @property
    def label(self) -> str:
        """What stands beside its line: `above 0.29: 5 of 5 diverged`."""
        total, diverged = self.beyond
        return f"{'above' if self.is_above else 'below'} {number(self.value)}: {diverged:,} of {total:,} diverged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Fitness against one hyperparameter: rows with number, verdict, fitness and value, and where trials diverge."""

    parameter: Parameter
    rows: pd.DataFrame
    edge: Edge | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DivergenceMap:
    """Where in the space trainings diverge; `y` is None if the study has one axis.

    Attributes:
        x, y: Axes.
        rows: number, verdict, fitness, and the values x and y.
        params: All hyperparameters by number.
        sentences: What parts the diverged trials from the others.
        edges: The same as values, for each axis of the study that has one.
    """

    x: Parameter
    y: Parameter | None
    rows: pd.DataFrame
    params: pd.DataFrame
    sentences: tuple[str, ...]
    edges: tuple[Edge, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedSpread:
    """The best trials with the fitness of each seed, best first."""

    numbers: tuple[int, ...]
    values: tuple[tuple[float, ...], ...]
    intervals: tuple[Interval, ...]


def started(trials: pd.DataFrame) -> pd.DataFrame:
    """Trials that are not merely waiting."""
    return trials[trials["verdict"] != "waiting"]


def is_rated(trials: pd.DataFrame) -> pd.Series[bool]:
    """Whether a trial has a fitness that says something: not one that diverged or failed."""
    is_finite = trials["fitness"].map(isfinite).astype(bool)
    return is_finite & ~trials["verdict"].isin(["diverged", "failed"])


def none_started(view: StudyView) -> Empty:
    """Why no trial is shown: filters leave none, or none has started."""
    told = none_shown(view, "started", started)
    return Empty(told) if told else NO_TRIALS


def none_finished(view: StudyView, otherwise: str) -> Empty:
    """Why no trial is shown that ran to its end: what filters leave, or the text that is said otherwise."""
    return Empty(none_shown(view, "ran to its end", finished) or otherwise)


def history(view: StudyView) -> History | Empty:
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
        params=_ordered(view).reindex(trials[is_drawn]["number"]),
        best=so_far[is_drawn],
        best_number=None if best is None else int(best["number"]),
    )


def slices(view: StudyView) -> tuple[Slice, ...] | Empty:
    """Fitness against each hyperparameter that was searched."""
    trials = drawn_trials(view)
    if trials.empty:
        return none_started(view)
    axes = [each for each in view.space if each.name in view.params]
    if not axes:
        return Empty("No hyperparameter was searched. Name some under `space` in the study's file.")
    found = {edge.name: edge for edge in edges(view)}
    return tuple(
        Slice(parameter=axis, rows=_with_values(trials, view, {"value": axis}), edge=found.get(axis.name))
        for axis in axes
    )


def divergence_map(view: StudyView) -> DivergenceMap | Empty:
    """Fitness and divergence over the learning rate (or the first axis) and the next axis of the study."""
    trials = drawn_trials(view)
    axes = chosen_axes(view)
    if trials.empty or not axes:
        return none_started(view) if trials.empty else Empty("No hyperparameter was searched; there is nothing to map.")
    found = edges(view)
    x, y = axes[0], axes[1] if len(axes) > 1 else None
    return DivergenceMap(
        x=x,
        y=y,
        rows=_with_values(trials, view, {"x": x} if y is None else {"x": x, "y": y}),
        params=_ordered(view).reindex(trials["number"]),
        sentences=tuple(_edge_sentence(edge) for edge in found),
        edges=found,
    )


def importance(view: StudyView) -> Importances | Empty:
    """Shares of importance of the hyperparameters, over the trials that ran to their end."""
    trials = finished(view.trials)
    params = [
        {str(name): value for name, value in row.items() if not _is_missing(value)}
        for row in view.params.astype(object).reindex(trials["number"]).to_dict("records")
    ]
    found = analysis.importances(params, [float(value) for value in trials["fitness"]], view.distributions)
    if trials.empty and not view.left_out.empty:
        return none_finished(view, "")
    if found.reason:
        return Empty(f"No importances yet: {found.reason}. Give the study a larger budget of trials and run it again.")
    return found


def seed_spread(view: StudyView) -> SeedSpread | Empty:
    """Fitness of each seed of the best trials, with intervals."""
    rows = view.seed_results[view.seed_results["split"] == "val"]
    best = [int(each) for each in finished(view.trials).sort_values("fitness", ascending=False)["number"]]
    numbers = [each for each in best if each in set(rows["number"])]
    values = [tuple(float(each) for each in rows[rows["number"] == trial]["fitness"]) for trial in numbers]
    if not values and not view.left_out.empty:
        return none_finished(view, "")
    if max((len(each) for each in values), default=0) < 2:
        return Empty(
            "Each trial ran with one seed, so luck and skill cannot be told apart. "
            "Name three or more under `seeds` in the study's file to see how far the best trials overlap."
        )
    return SeedSpread(
        numbers=tuple(numbers),
        values=tuple(values),
        intervals=tuple(analysis.mean_interval(each) for each in values),
    )


def _ordered(view: StudyView) -> pd.DataFrame:
    return view.params[[each.name for each in view.space if each.name in view.params]]


def _with_values(trials: pd.DataFrame, view: StudyView, axes: dict[str, Parameter]) -> pd.DataFrame:
    # A conditional hyperparameter has no value in some trials; they have no place in its picture.
    values = {column: view.params[axis.name].reindex(trials["number"]).to_numpy() for column, axis in axes.items()}
    return trials.assign(**values).dropna(subset=list(axes)).reset_index(drop=True)


def drawn_trials(view: StudyView) -> pd.DataFrame:
    """Number, verdict and fitness of the trials that pictures draw."""
    trials = started(view.trials)[["number", "verdict", "fitness"]]
    return trials[trials["number"].isin(drawn_numbers(view))]


def chosen_axes(view: StudyView) -> list[Parameter]:
    """The two axes the reader chose, or the learning rate (or the first axis) and the next one."""
    axes = {each.name: each for each in view.space if each.name in view.params}
    usual = sorted(axes.values(), key=lambda axis: (axis.name != "lr0", axis.is_categorical))
    chosen = [axes[name] for name in dict.fromkeys(view.focus.pair) if name in axes]
    return (chosen + [axis for axis in usual if axis not in chosen])[:2]


def edges(view: StudyView) -> tuple[Edge, ...]:
    """Where each numeric hyperparameter parts the trials that diverged from the others, the clearest first."""
    trials = started(view.trials)
    decided = trials[~trials["verdict"].isin(["running", "failed"])]
    numeric = [axis for axis in view.space if axis.name in view.params and not axis.is_categorical]
    found = [edge for axis in numeric if (edge := _edge(view, decided, axis)) is not None]
    return tuple(sorted(found, key=lambda edge: -edge.separation))


def answer(view: StudyView) -> str:
    """Where training diverges, in a sentence; empty while no trial has come to its end."""
    trials = started(view.trials)
    decided = trials[~trials["verdict"].isin(["running", "failed"])]
    diverged = int((decided["verdict"] == "diverged").sum())
    if decided.empty:
        return ""
    if found := edges(view):
        return _edge_sentence(found[0])
    if not diverged:
        return f"None of {counted(len(decided), 'trial')} diverged."
    if diverged == len(decided):
        return f"Every one of {counted(len(decided), 'trial')} diverged."
    told = f"{diverged:,} of {counted(len(decided), 'trial')} diverged"
    # Of one or two nobody can tell.
    return f"{told}; no single hyperparameter tells which." if diverged >= LEAST_DIVERGED else f"{told}."


def _edge(view: StudyView, trials: pd.DataFrame, axis: Parameter) -> Edge | None:
    values = view.params[axis.name].reindex(trials["number"]).to_numpy(dtype=float)
    found = analysis.divergence_threshold(np.log(values) if axis.is_log else values, trials["verdict"] == "diverged")
    if found is None or found.num_diverged < LEAST_DIVERGED or found.separation < LEAST_SEPARATION:
        return None
    num_known = int(np.isfinite(values).sum())
    return Edge(
        name=axis.name,
        value=exp(found.value) if axis.is_log else found.value,
        is_above=found.is_above,
        beyond=(found.num_beyond, found.num_diverged_beyond),
        others=(num_known - found.num_beyond, found.num_diverged - found.num_diverged_beyond),
        separation=found.separation,
    )


def _edge_sentence(edge: Edge) -> str:
    (num_beyond, lost_beyond), (num_others, lost_others) = edge.beyond, edge.others
    here, there = ("Above", "below") if edge.is_above else ("Below", "above")
    return (
        f"{here} {edge.name} {number(edge.value)}, {lost_beyond:,} of {counted(num_beyond, 'trial')} diverged; "
        f"{there}, {lost_others:,} of {num_others:,}."
    )


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and value != value)
