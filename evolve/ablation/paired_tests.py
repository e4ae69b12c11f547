"""Tests and intervals of paired runs, each from a library; differences are arm minus baseline.

Source: Student 1908 (the interval); Efron 1987, Better bootstrap confidence intervals (BCa); Holm 1979, A simple
sequentially rejective multiple test procedure; McNemar 1947 (shares of paired samples); Schuirmann 1987, A comparison
of the two one-sided tests procedure and the power approach (equivalence).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.weightstats import ttost_paired

from evolve.ablation.pairs import Pairs

# Below, BCa covers less than it says: 82 % instead of 95 % for five normal differences.
LEAST_FOR_BCA = 20
# Student's t with one degree of freedom is 12.7: an interval of two values says nothing but that they are two.
LEAST_FOR_INTERVAL = 3
_BOOTSTRAPS = 4999
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """The p values of an arm, as `Effect` has them."""

    p: float
    p_corrected: float
    divergence_p: float
    equivalence_p: float


def t_interval(pairs: Pairs, confidence: float) -> tuple[float, float]:
    """Student's interval of the mean difference of the pairs that finished; NaN below three.

    Args:
        pairs: Runs of an arm paired with those of the baseline, seed by seed.
        confidence: Coverage for normal differences, in 0..1.
    """
    differences = pairs.differences
    if len(differences) < LEAST_FOR_INTERVAL:
        return nan, nan
    if _are_equal(differences):
        return float(differences[0]), float(differences[0])
    found = stats.ttest_rel(pairs.arm_values, pairs.baseline_values).confidence_interval(confidence)
    return float(found.low), float(found.high)


def bca_interval(differences: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """The 95 % bootstrap interval of the mean, bias-corrected and accelerated; None below 20 or if all are equal.

    Args:
        differences: Difference of each pair that finished, arm minus baseline.
    """
    if len(differences) < LEAST_FOR_BCA or _are_equal(differences):
        return None, None
    found = stats.bootstrap(
        (differences,), np.mean, n_resamples=_BOOTSTRAPS, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    return (float(found.low), float(found.high)) if isfinite(found.low) and isfinite(found.high) else (None, None)


def divergence_p(pairs: Pairs) -> float:
    """McNemar's exact two-sided p that arm and baseline diverge equally often.

    Args:
        pairs: Runs of an arm paired with those of the baseline, seed by seed.
    """
    neither = len(pairs.scores) - pairs.only_arm - pairs.only_baseline - pairs.both_diverged
    table = [[pairs.both_diverged, pairs.only_arm], [pairs.only_baseline, neither]]
    return float(mcnemar(table, exact=True).pvalue)


def equivalence_p(pairs: Pairs, margin: float) -> float:
    """The p of two one-sided t tests that the mean difference is beyond the margin; 1 below three pairs.

    Args:
        pairs: Runs of an arm paired with those of the baseline, seed by seed.
        margin: Smallest difference of practical size, above 0.
    """
    differences = pairs.differences
    if len(differences) < LEAST_FOR_INTERVAL:
        return 1.0
    if _are_equal(differences):
        return float(abs(differences[0]) >= margin)
    return float(ttost_paired(pairs.arm_values, pairs.baseline_values, -margin, margin)[0])


def holm(values: Sequence[float]) -> list[float]:
    """p values corrected for all of them together.

    statsmodels' `multipletests` says the same, but collects the garbage of the whole process each time it is asked.

    Args:
        values: One p for each arm, in 0..1.
    """
    plain = np.asarray(values, dtype=np.float64)
    order = np.argsort(plain, kind="stable")
    stepped = np.maximum.accumulate(plain[order] * np.arange(len(plain), 0, -1))
    corrected = np.empty_like(plain)
    corrected[order] = np.minimum(stepped, 1.0)
    return [float(p) for p in corrected]


def _are_equal(differences: NDArray[np.float64]) -> bool:
    return bool(np.ptp(differences) <= _ROUNDING * max(1.0, np.abs(differences).max()))
