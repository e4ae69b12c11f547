"""What the trials of a study say about its hyperparameters: pure functions of rows, higher fitness is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit  # scipy.stats takes half a second to import

from evolve.formatting import listed, score

# Student's t with one degree of freedom is 12.7: an interval of two values says nothing but that they are two.
LEAST_FOR_INTERVAL = 3
LEAST_FOR_RANKS = 5  # pairs before an order says anything of another one


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
        values: A value of each seed; those that are not finite are left out.
        confidence: Coverage of the interval, in 0..1.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class RankCorrelation:
    """How far two orders of the same things agree.

    Attributes:
        value: Spearman's rank correlation, -1..1; NaN where all of one order are equal.
        low, high: Ends of the value's confidence interval, in -1..1; NaN below five pairs or where the value is NaN.
        num_pairs: Number of things that have a place in both orders.
    """

    value: float
    low: float
    high: float
    num_pairs: int

    @property
    def text(self) -> str:
        """The correlation with its interval and the number of pairs, for people."""
        if not isfinite(self.value):
            return f"not known, n {self.num_pairs}"
        among = f"{self.low:.2f} to {self.high:.2f}, " if isfinite(self.low) else ""
        return f"{self.value:.2f} ({among}n {self.num_pairs})"


def rank_correlation(first: Sequence[float], second: Sequence[float], *, confidence: float = 0.95) -> RankCorrelation:
    """Spearman's rank correlation with its interval.

    Args:
        first, second: Values of the same things in two respects, finite, in the same order and equally many.
        confidence: Coverage of the interval, in 0..1.

    Source: Bonett & Wright 2000, Sample size requirements for estimating Pearson, Kendall and Spearman correlations.
    """
    count = len(first)
    if len(set(first)) < 2 or len(set(second)) < 2:
        return RankCorrelation(value=nan, low=nan, high=nan, num_pairs=count)
    from scipy.stats import spearmanr

    value = float(spearmanr(first, second).statistic)
    if count < LEAST_FOR_RANKS or abs(value) >= 1:
        is_known = count >= LEAST_FOR_RANKS
        return RankCorrelation(
            value=value, low=value if is_known else nan, high=value if is_known else nan, num_pairs=count
        )
    reach = float(ndtri((1 + confidence) / 2)) * sqrt((1 + value**2 / 2) / (count - 3))
    low, high = np.tanh(np.arctanh(value) + np.array([-reach, reach]))
    return RankCorrelation(value=value, low=float(low), high=float(high), num_pairs=count)


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
        at: Which quantiles, each in 0..1, such as 0.5 for the median.
    """
    values = np.asarray(table, dtype=np.float64)
    values = np.sort(np.where(np.isfinite(values), values, nan), axis=0)  # NaN comes last
    known = np.isfinite(values).sum(axis=0)
    found = np.full((len(at), values.shape[1]), nan)
    for num in np.unique(known[known > 0]):  # columns of as many values at once, where numpy goes one by one
        found[:, known == num] = np.quantile(values[:num, known == num], list(at), axis=0)
    return found


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


def _finite_sorted(values: ArrayLike, flags: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    x, marked = np.asarray(values, dtype=np.float64), np.asarray(flags, dtype=bool)
    keep = np.isfinite(x)
    x, marked = x[keep], marked[keep]
    order = np.argsort(x, kind="stable")
    return x[order], marked[order]
