"""Looking at an ablation before its last seed without believing chance: alpha spending, and arms past winning.

Each look may spend part of the 5 %: of the share t of the seeds, t squared of it by then. So little is spent early, and
almost all is left for the last look. Boundaries are those of a Brownian motion, by integrating over what earlier looks
left open.

Source: Lan & DeMets 1983, Discrete sequential boundaries for clinical trials (spending); Kim & DeMets 1987, Design and
analysis of group sequential tests based on the type I error spending rate function (the power family, here with
exponent 2); Armitage, McPherson & Rowe 1969, Repeated significance tests on accumulating data (the integration); Liu &
Anderson 2008, On adaptive extensions of group sequential trials (a p value of all looks, which Holm may correct);
Lan & Wittes 1988, The B-value: a tool for monitoring data (the chance that is left).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import norm
from scipy.stats import t as student

from evolve.study.ablation import LOOKS as LOOKS
from evolve.study.arms import LEVEL

EXPONENT = 2.0
ALPHA = LEVEL
# An arm whose chance is below this gives its lanes away.
LEAST_CHANCE = 0.1
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)
_FARTHEST = 9.0  # standard deviations; beyond lies less than 1e-18
_ALPHAS = np.geomspace(1e-9, 0.999, 64)


def seeds_at(look: int, looks: int) -> int:
    """Number of seeds at a look.

    Args:
        look: Number of the look, from 1.
        looks: Number of looks in all; the seeds at them are the first of LOOKS.

    Raises:
        ValueError: There is no such look.
    """
    if not 1 <= look <= looks <= len(LOOKS):
        raise ValueError(f"look {look} of {looks}; allowed: 1 to {len(LOOKS)} looks, and one of them")
    return LOOKS[look - 1]


@lru_cache(maxsize=256)
def levels(looks: int, alpha: float = ALPHA) -> tuple[float, ...]:
    """Two-sided p that each look must stay below, so that all together are wrong in `alpha` of all cases at most.

    Args:
        looks: Number of looks in all, 1 to 4.
        alpha: Probability of a false finding that all looks together may spend, in 0..1.

    Raises:
        ValueError: There are no such looks.
    """
    times = np.array([seeds_at(look, looks) for look in range(1, looks + 1)]) / LOOKS[looks - 1]
    spent = np.diff(alpha * times**EXPONENT, prepend=0.0)
    found, at_S, density_S = [], np.zeros(1), np.ones(1)  # the motion starts at 0, surely
    for step, time, share in zip(np.diff(times, prepend=0.0), times, spent, strict=True):
        scale = sqrt(step)
        bound = _bound(at_S, density_S, scale, share)
        found.append(float(2 * ndtr(-bound / sqrt(time))))
        at_S, density_S = _left(at_S, density_S, scale, bound)
    return tuple(found)


def over_looks(p: float, *, look: int, looks: int) -> float:
    """The smallest alpha at which this look would conclude: a p value that is right although there were other looks.

    Args:
        p: Two-sided p of the data up to this look, in 0..1.
        look: Number of that look, from 1.
        looks: Number of looks in all.

    Raises:
        ValueError: There is no such look.
    """
    seeds_at(look, looks)
    if looks == 1:
        return p
    table = _table(looks)[:, look - 1]
    if p >= table[-1]:
        return 1.0
    found = float(np.exp(np.interp(np.log(max(p, table[0])), np.log(table), np.log(_ALPHAS))))
    return max(p, found)


def chance_to_win(
    differences: Sequence[float] | NDArray[np.float64], *, at_least: float, look: int, looks: int, num_arms: int
) -> float:
    """Probability that an arm will be better at the last look, in 0..1, given the pairs up to this one.

    The seeds to come are taken to differ by as much as those so far allow, the end of their one-sided 95 % interval,
    and by `at_least` if that is more, so that an arm is given up only if even that would not save it.

    Args:
        differences: Arm minus baseline, seed by seed; at least two.
        at_least: The smallest difference of practical size.
        look: Which look this is, from 1.
        looks: Number of looks in all.
        num_arms: Arms beside the baseline.

    Raises:
        ValueError: There is no such look, or fewer than two differences.
    """
    found = np.asarray(differences, dtype=np.float64)
    seeds_at(look, looks)
    if len(found) < 2:
        raise ValueError(f"{len(found)} differences; a chance needs at least 2")
    time, mean, spread = len(found) / LOOKS[looks - 1], float(found.mean()), float(found.std(ddof=1))
    hoped = mean + float(student.isf(ALPHA, len(found) - 1)) * spread / sqrt(len(found))
    expected = max(hoped, at_least)
    needed = float(norm.isf(levels(looks, ALPHA / num_arms)[-1] / 2))
    if spread == 0 or time >= 1:
        is_won = mean > 0 and (spread == 0 or mean * sqrt(len(found)) / spread >= needed)
        return float(is_won)
    b_value = mean / spread * sqrt(len(found)) * sqrt(time)
    drift = expected / spread * sqrt(LOOKS[looks - 1])
    return float(norm.sf((needed - b_value - drift * (1 - time)) / sqrt(1 - time)))


@lru_cache(maxsize=len(LOOKS))
def _table(looks: int) -> NDArray[np.float64]:
    """Levels of each look (columns) for each of _ALPHAS (rows)."""
    return np.array([levels(looks, float(alpha)) for alpha in _ALPHAS])


def _bound(at_S: NDArray[np.float64], density_S: NDArray[np.float64], scale: float, share: float) -> float:
    """Where the motion is outside with probability `share` after a step."""

    def outside(bound: float) -> float:
        beyond_S = ndtr((at_S - bound) / scale) + ndtr((-bound - at_S) / scale)
        return float(density_S @ beyond_S) - share

    return float(brentq(outside, 0.0, _FARTHEST, xtol=1e-12)) if outside(0.0) > 0 else 0.0


def _left(
    at_S: NDArray[np.float64], density_S: NDArray[np.float64], scale: float, bound: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points inside the bound, and the probability mass at each after a step."""
    to_S = _NODES * bound
    moved_SS = norm.pdf((to_S[:, None] - at_S[None, :]) / scale) / scale
    return to_S, (moved_SS @ density_S) * _WEIGHTS * bound
