"""Rows about the search: history, fitness against each hyperparameter, the map of divergence, importances, seeds."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, isfinite

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboards.views.blocks import Empty
from dashboards.views.study import Parameter, StudyView, drawn_numbers, finished
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
class Slice:
    """Fitness against one hyperparameter: rows with number, verdict, fitness and value."""

    parameter: Parameter
    rows: pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class DivergenceMap:
    """Where in the space trainings diverge; `y` is None if the study has one axis.

    Attributes:
        x, y: Axes.
        rows: number, verdict, fitness, and the values x and y.
        params: All hyperparameters by number.
        sentences: What parts the diverged trials from the others.
    """

    x: Parameter
    y: Parameter | None
    rows: pd.DataFrame
    params: pd.DataFrame
    sentences: tuple[str, ...]


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


def history(view: StudyView) -> History | Empty:
    """Fitness by trial number, with the best so far."""
    trials = started(view.trials)
    if trials.empty:
        return NO_TRIALS
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
        return NO_TRIALS
    axes = [each for each in view.space if each.name in view.params]
    if not axes:
        return Empty("No hyperparameter was searched. Name some under `space` in the study's file.")
    return tuple(Slice(parameter=axis, rows=_with_values(trials, view, {"value": axis})) for axis in axes)


def divergence_map(view: StudyView) -> DivergenceMap | Empty:
    """Fitness and divergence over the learning rate (or the first axis) and the next axis of the study."""
    trials = drawn_trials(view)
    axes = chosen_axes(view)
    if trials.empty or not axes:
        return NO_TRIALS if trials.empty else Empty("No hyperparameter was searched, so there is nothing to map.")
    x, y = axes[0], axes[1] if len(axes) > 1 else None
    return DivergenceMap(
        x=x,
        y=y,
        rows=_with_values(trials, view, {"x": x} if y is None else {"x": x, "y": y}),
        params=_ordered(view).reindex(trials["number"]),
        sentences=_thresholds(view),
    )


def importance(view: StudyView) -> Importances | Empty:
    """Shares of importance of the hyperparameters, over the trials that ran to their end."""
    trials = finished(view.trials)
    params = [
        {str(name): value for name, value in row.items() if not _is_missing(value)}
        for row in view.params.astype(object).reindex(trials["number"]).to_dict("records")
    ]
    found = analysis.importances(params, [float(value) for value in trials["fitness"]], view.distributions)
    if found.reason:
        return Empty(f"No importances yet: {found.reason}. Give the study a larger budget of trials and run it again.")
    return found


def seed_spread(view: StudyView) -> SeedSpread | Empty:
    """Fitness of each seed of the best trials, with intervals."""
    rows = view.seed_results[view.seed_results["split"] == "val"]
    best = [int(each) for each in finished(view.trials).sort_values("fitness", ascending=False)["number"]]
    numbers = [each for each in best if each in set(rows["number"])]
    values = [tuple(float(each) for each in rows[rows["number"] == trial]["fitness"]) for trial in numbers]
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


def _thresholds(view: StudyView) -> tuple[str, ...]:
    trials = started(view.trials)
    decided = trials[~trials["verdict"].isin(["running", "failed"])]
    numeric = [each for each in view.space if each.name in view.params and not each.is_categorical]
    sentences = (_threshold_sentence(view, decided, axis) for axis in numeric)
    return tuple(sentence for sentence in sentences if sentence)


def _threshold_sentence(view: StudyView, trials: pd.DataFrame, axis: Parameter) -> str:
    values = view.params[axis.name].reindex(trials["number"]).to_numpy(dtype=float)
    found = analysis.divergence_threshold(np.log(values) if axis.is_log else values, trials["verdict"] == "diverged")
    if found is None or found.num_diverged < LEAST_DIVERGED or found.separation < LEAST_SEPARATION:
        return ""
    edge = exp(found.value) if axis.is_log else found.value
    return (
        f"Of {counted(found.num_beyond, 'trial')} with {axis.name} {'above' if found.is_above else 'below'} "
        f"{number(edge)}, {found.num_diverged_beyond:,} diverged; of the {len(trials) - found.num_beyond:,} others, "
        f"{found.num_diverged - found.num_diverged_beyond:,}."
    )


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and value != value)
