"""What the trials of a study say about its hyperparameters: pure functions of rows, higher fitness is better."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite, nan, sqrt

import numpy as np
import optuna
from numpy.typing import ArrayLike, NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, create_trial
from scipy.special import stdtrit  # scipy.stats takes half a second to import

from evolve.formatting import listed, score
from evolve.quiet import quiet_optuna

MIN_TRIALS_FOR_IMPORTANCES = 20
# Optuna asks for at least five trials above the quantile that PED-ANOVA compares with the rest.
TRIALS_ABOVE_QUANTILE = 5
# Student's t with one degree of freedom is 12.7: an interval of two values says nothing but that they are two.
LEAST_FOR_INTERVAL = 3
LEAST_QUANTILE, LARGEST_QUANTILE = 0.1, 0.5  # 0.1 is the default of Optuna's evaluator
RESAMPLES = 40
# Of more trials each resample would take as long as a page may; their order is what it is.
MOST_RESAMPLED = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Importances:
    """How much each hyperparameter mattered for being among the best trials, or for diverging.

    Attributes:
        shares: Name and share in 0..1, largest first, adding up to 1; empty if nothing can be said.
        intervals: For each of them the middle 90 % of its share over resamples of the trials; empty beyond 200 trials.
        unclear: Names whose rank another may have as well, by the middle 90 % of ranks over resamples.
        num_trials: Trials the shares rest on.
        quantile: Fraction of them that counts as best, or as diverged.
        reason: Why there are no shares; empty if there are.
    """

    shares: tuple[tuple[str, float], ...] = ()
    intervals: tuple[tuple[float, float], ...] = ()
    unclear: tuple[str, ...] = ()
    num_trials: int
    quantile: float = nan
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean with its confidence interval; the ends are not numbers when there are fewer than three values."""

    mean: float
    low: float
    high: float
    num_values: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A value of one hyperparameter that parts the trials that diverged from the others.

    Attributes:
        value: Trials at or beyond it are predicted to diverge; half-way between two trials.
        is_above: Whether "beyond" means larger.
        num_beyond, num_diverged_beyond: Trials beyond the value, and how many of them diverged.
        num_diverged: All trials that diverged.
        separation: Share of diverged trials beyond the value minus share of the others beyond it, in -1..1.
    """

    value: float
    is_above: bool
    num_beyond: int
    num_diverged_beyond: int
    num_diverged: int
    separation: float


def best_so_far(fitness: ArrayLike) -> NDArray[np.float64]:
    """The largest finite fitness up to each trial; not a number before the first one.

    Args:
        fitness: Fitness by trial number; values that are not finite count as no result.
    """
    values = np.asarray(fitness, dtype=np.float64)
    best = np.maximum.accumulate(np.where(np.isfinite(values), values, -inf))
    return np.where(np.isneginf(best), nan, best)


def mean_interval(values: Sequence[float], *, confidence: float = 0.95) -> Interval:
    """Mean over seeds with Student's t interval, the honest one for three to ten values.

    Args:
        values: One finite number a seed; others are left out.
        confidence: Coverage in 0..1.
    """
    kept = [value for value in values if isfinite(value)]
    if not kept:
        return Interval(mean=nan, low=nan, high=nan, num_values=0)
    mean = float(np.mean(kept))
    if len(kept) < LEAST_FOR_INTERVAL:
        return Interval(mean=mean, low=nan, high=nan, num_values=len(kept))
    spread = float(np.std(kept, ddof=1)) / sqrt(len(kept))
    reach = float(stdtrit(len(kept) - 1, (1 + confidence) / 2)) * spread
    return Interval(mean=mean, low=mean - reach, high=mean + reach, num_values=len(kept))


def spread_text(values: Sequence[float]) -> str:
    """How far a mean over seeds can be trusted: its 95 % interval, the values where there are two, or `one seed`.

    Args:
        values: A score in 0..1 of each seed; those that are not finite are left out. Empty where there is none.
    """
    known = [value for value in values if isfinite(value)]
    if len(known) < 2:
        return "one seed" if known else ""
    interval = mean_interval(known)
    if not isfinite(interval.low):
        return f"{listed([score(value) for value in known])}, {len(known)} seeds"
    low, high = score(max(interval.low, 0.0)), score(min(interval.high, 1.0))
    return f"{low} to {high} (95 %, {interval.num_values} seeds)"


def quantiles(table: ArrayLike, *, at: Sequence[float]) -> NDArray[np.float64]:
    """Quantiles of each column over its finite values, shape (len(at), columns).

    Args:
        table: Rows of equal length, one a trial; a trial that is shorter is padded with NaN.
        at: Quantiles in 0..1.
    """
    values = np.asarray(table, dtype=np.float64)
    values = np.where(np.isfinite(values), values, nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column without any number is NaN, as it should be
        return np.asarray(np.nanquantile(values, list(at), axis=0), dtype=np.float64)


def divergence_threshold(values: ArrayLike, is_diverged: ArrayLike) -> Threshold | None:
    """The cut through one hyperparameter that best parts diverged trials from the rest (Youden's index).

    Args:
        values: The hyperparameter of each trial; values that are not finite are left out.
        is_diverged: Whether each trial diverged.

    Returns:
        The cut, or None where all trials or none diverged, or all values are equal.
    """
    x, diverged = _finite_sorted(values, is_diverged)
    total, num_diverged = len(x), int(diverged.sum())
    cuts = np.flatnonzero(np.diff(x) > 0) + 1 if total else np.empty(0, dtype=np.intp)
    if num_diverged in (0, total) or not len(cuts):
        return None
    below = np.concatenate([[0], np.cumsum(diverged)])[cuts]
    separation_above = (num_diverged - below) / num_diverged - (total - cuts - num_diverged + below) / (
        total - num_diverged
    )
    best = int(np.argmax(np.abs(separation_above)))
    is_above = bool(separation_above[best] >= 0)
    cut, count_below = int(cuts[best]), int(below[best])
    return Threshold(
        value=float((x[cut - 1] + x[cut]) / 2),
        is_above=is_above,
        num_beyond=total - cut if is_above else cut,
        num_diverged_beyond=num_diverged - count_below if is_above else count_below,
        num_diverged=num_diverged,
        separation=abs(float(separation_above[best])),
    )


def importances(
    params: Sequence[Mapping[str, object]], fitness: Sequence[float], distributions: Mapping[str, Sequence[str]]
) -> Importances:
    """Shares of importance by PED-ANOVA, Optuna's default evaluator.

    Args:
        params: Hyperparameters of each completed, feasible trial, choices as text; a conditional one may be missing.
        fitness: Fitness of each of these trials; those whose fitness is not finite are left out.
        distributions: Optuna's JSON of each hyperparameter, all that were in use; the widest range counts.

    Source: Watanabe et al., PED-ANOVA, IJCAI 2023.
    """
    rows = [(param, value) for param, value in zip(params, fitness, strict=True) if isfinite(value)]
    if reason := _why_no_importances(rows):
        return Importances(num_trials=len(rows), reason=reason)
    quantile = min(max(TRIALS_ABOVE_QUANTILE / len(rows), LEAST_QUANTILE), LARGEST_QUANTILE)
    nothing = "no hyperparameter tells the best trials from the rest"
    return _shared_out(rows, distributions, quantile, nothing=nothing)


def divergence_importances(
    params: Sequence[Mapping[str, object]], is_diverged: Sequence[bool], distributions: Mapping[str, Sequence[str]]
) -> Importances:
    """Shares of importance for diverging, by PED-ANOVA of the trials that did against all.

    Args:
        params: Hyperparameters of each trial that diverged or ran to its end, as `importances` takes them.
        is_diverged: Whether each of them diverged.
        distributions: Optuna's JSON of each hyperparameter, all that were in use; the widest range counts.

    Source: Watanabe et al., PED-ANOVA, IJCAI 2023.
    """
    rows = [(param, float(diverged)) for param, diverged in zip(params, is_diverged, strict=True)]
    num_diverged = sum(is_diverged)
    reason = _too_few(len(rows), "trials")
    if not reason and min(num_diverged, len(rows) - num_diverged) < TRIALS_ABOVE_QUANTILE:
        reason = (
            f"{num_diverged} of {len(rows)} trials diverged; at least {TRIALS_ABOVE_QUANTILE} must, and as many not"
        )
    if reason:
        return Importances(num_trials=len(rows), reason=reason)
    nothing = "no hyperparameter tells the trials that diverged from the rest"
    # Ties with the first of them are taken with it: all that diverged, in each resample as well.
    found = _shared_out(rows, distributions, 1 / len(rows), nothing=nothing)
    return replace(found, quantile=num_diverged / len(rows))


def _shared_out(
    rows: Sequence[tuple[Mapping[str, object], float]],
    distributions: Mapping[str, Sequence[str]],
    quantile: float,
    *,
    nothing: str,
) -> Importances:
    """Shares for being among the trials of highest value."""
    widest = {name: _widest(texts) for name, texts in distributions.items()}
    varied = {name: drawn for name, drawn in widest.items() if len({repr(param.get(name)) for param, _ in rows}) > 1}
    if not varied:
        return Importances(num_trials=len(rows), reason="no hyperparameter took more than one value")
    trials = [_frozen(param, value, varied) for param, value in rows]
    shares = _ped_anova(trials, quantile)
    if not any(shares.values()):
        return Importances(num_trials=len(rows), reason=nothing)
    ordered = tuple(sorted(shares.items(), key=lambda item: (-item[1], item[0])))
    names = [name for name, _ in ordered]
    resampled_RK = _resampled(trials, names, quantile) if len(trials) <= MOST_RESAMPLED else np.empty((0, len(names)))
    return Importances(
        shares=ordered,
        intervals=_middle(resampled_RK),
        unclear=tuple(name for name, is_shared in zip(names, _shares_rank(resampled_RK), strict=True) if is_shared),
        num_trials=len(rows),
        quantile=quantile,
    )


def _resampled(trials: Sequence[FrozenTrial], names: Sequence[str], quantile: float) -> NDArray[np.float64]:
    """Shares of resamples with replacement, one a row, in the order of the names."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(RESAMPLES):
        shares = _ped_anova([trials[index] for index in rng.integers(0, len(trials), len(trials))], quantile)
        found.append([shares.get(name, 0.0) for name in names])
    return np.array(found)


def _middle(values_RK: NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
    if not len(values_RK):
        return ()
    low_K, high_K = np.quantile(values_RK, [0.05, 0.95], axis=0)
    return tuple(zip(low_K.tolist(), high_K.tolist(), strict=True))


def _shares_rank(shares_RK: NDArray[np.float64]) -> list[bool]:
    """Whether each column's middle 90 % of ranks overlaps with that of another."""
    ranges = _middle(np.argsort(np.argsort(-shares_RK, axis=1, kind="stable"), axis=1).astype(np.float64))
    if not ranges:
        return [False] * shares_RK.shape[1]
    return [
        any(
            low <= other_high and other_low <= high
            for place, (other_low, other_high) in enumerate(ranges)
            if place != own
        )
        for own, (low, high) in enumerate(ranges)
    ]


def _finite_sorted(values: ArrayLike, flags: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    x, marked = np.asarray(values, dtype=np.float64), np.asarray(flags, dtype=bool)
    keep = np.isfinite(x)
    x, marked = x[keep], marked[keep]
    order = np.argsort(x, kind="stable")
    return x[order], marked[order]


def _why_no_importances(rows: Sequence[tuple[Mapping[str, object], float]]) -> str:
    if reason := _too_few(len(rows), "completed trials"):
        return reason
    if len({value for _, value in rows}) == 1:
        return f"all {len(rows)} completed trials have the same fitness"
    return ""


def _too_few(count: int, noun: str) -> str:
    is_enough = count >= MIN_TRIALS_FOR_IMPORTANCES
    return "" if is_enough else f"{count} {noun}; importances need at least {MIN_TRIALS_FOR_IMPORTANCES}"


def _widest(texts: Sequence[str]) -> BaseDistribution:
    known = [optuna.distributions.json_to_distribution(text) for text in texts]
    categorical = [distribution for distribution in known if isinstance(distribution, CategoricalDistribution)]
    if categorical:
        return CategoricalDistribution(
            tuple(dict.fromkeys(str(value) for distribution in categorical for value in distribution.choices))
        )
    numeric = [distribution for distribution in known if isinstance(distribution, FloatDistribution | IntDistribution)]
    low, high = min(distribution.low for distribution in numeric), max(distribution.high for distribution in numeric)
    is_log = all(distribution.log for distribution in numeric)
    if all(isinstance(distribution, IntDistribution) for distribution in numeric):
        return IntDistribution(int(low), int(high), log=is_log)
    return FloatDistribution(low, high, log=is_log)


def _frozen(param: Mapping[str, object], value: float, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    present = {name: distribution for name, distribution in distributions.items() if param.get(name) is not None}
    return create_trial(params={name: param[name] for name in present}, distributions=present, value=value)


def _ped_anova(trials: Sequence[FrozenTrial], quantile: float) -> dict[str, float]:
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances  # loads scikit-learn

    with warnings.catch_warnings(), quiet_optuna():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.simplefilter("ignore", UserWarning)  # about rare branches of conditional spaces
        study = optuna.create_study(direction="maximize")
        study.add_trials(trials)
        shares = get_param_importances(
            study, evaluator=PedAnovaImportanceEvaluator(target_quantile=quantile), normalize=False
        )
    total = sum(shares.values())
    return {name: share / total if total > 0 else 0.0 for name, share in shares.items()}
