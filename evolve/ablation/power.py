"""What an ablation can find before it is run: the fewest seeds that can conclude at all, and the chance of finding.

The decision is that of `effects`: an exact sign-flip test of the paired differences, corrected by Holm as if this arm's
p were the smallest, in simulated ablations whose runs vary and diverge as was seen before. Up to EXACT_SEEDS seeds it
is the very test, which is coarse for so few; beyond, Student's t is as good.

Source: Fisher 1935, The Design of Experiments (the test); Holm 1979, A simple sequentially rejective multiple test
procedure; Chow, Shao & Wang 2008, Sample Size Calculations in Clinical Research (seeds to show equivalence).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, isfinite, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from evolve.ablation.flips import sign_flip_p
from evolve.ablation.looks import ALPHA, LOOKS, levels
from evolve.ablation.paired_tests import LEAST_FOR_INTERVAL
from evolve.ablation.pairs import LOST_QUANTILE
from evolve.formatting import counted, listed, number
from evolve.study.arms import least_seeds

DIFFERENCES = (0.01, 0.02, 0.03, 0.05)
POWER = 0.8
# More seeds than this are not asked for: nobody trains them.
MOST_SEEDS = 1000
EXACT_SEEDS = 12
_DRAWS = 4000
_MOST_DRAWN = 400_000  # differences in all, so that a plan of a thousand seeds takes no longer


def check_plan(num_seeds: int, num_arms: int) -> None:
    """Refuses a plan that cannot conclude whatever it finds.

    Args:
        num_seeds: Number of seeds of each arm, at the last look if there are several.
        num_arms: Arms beside the baseline.

    Raises:
        ValueError: There are too few seeds; the text says how many could.
    """
    if num_seeds < (least := least_seeds(num_arms)):
        arms = f"{counted(num_arms, 'arm')} beside the baseline"
        smallest = f"the smallest p that they can reach, corrected for all arms, is {num_arms * 2 / 2**num_seeds:.2g}"
        raise ValueError(f"{counted(num_seeds, 'seed')} cannot decide between {arms}: {smallest}; at least {least} can")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """How differences of paired runs vary from seed to seed.

    Attributes:
        spread: Standard deviation of the differences, above 0, in units of the metric.
        divergence: Share of an arm's runs that diverge, 0 to below 1; taken to be whatever the difference would be.
        shape: Differences that were seen, less their means and in units of the spread; those of a plan are drawn from
            them. Normal ones where there are none.

    Raises:
        ValueError: The spread is not above 0, or the divergence is not in 0 to below 1.
    """

    spread: float
    divergence: float = 0.0
    shape: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not (self.spread > 0 and isfinite(self.spread) and 0 <= self.divergence < 1):
            allowed = "a spread above 0, and a share of 0 to below 1"
            raise ValueError(f"spread {self.spread:g}, divergence {self.divergence:g}; allowed: {allowed}")


def power(difference: float, varying: Variation, *, num_seeds: int, num_arms: int = 1, looks: int = 1) -> float:
    """Probability that an arm with this difference is found better, in 0..1; with several looks at the last of them.

    Args:
        difference: Difference of the arm from the baseline, in units of the metric, above 0; between runs that finish,
            as the effects of an ablation are.
        varying: How differences vary, and how many runs diverge.
        num_seeds: Number of seeds of each arm, at the last look.
        num_arms: Arms beside the baseline.
        looks: Number of looks in the plan; 1 for one at the end.

    Raises:
        ValueError: The difference is not above 0.
    """
    if not difference > 0:
        raise ValueError(f"difference {difference:g}; it must be above 0")
    level = levels(looks, ALPHA / num_arms)[-1]
    return _power(difference / varying.spread, num_seeds, level, varying.divergence, varying.shape)


def seeds_for(difference: float, varying: Variation, *, num_arms: int = 1, wanted: float = POWER) -> int | None:
    """The fewest seeds that find this difference with probability `wanted`; None if more than MOST_SEEDS.

    Args:
        difference: Difference of the arm from the baseline, in units of the metric, above 0.
        varying: How differences vary, and how many runs diverge.
        num_arms: Arms beside the baseline.
        wanted: Probability with which the difference is to be found, in 0..1.

    Raises:
        ValueError: The difference is not above 0.
    """

    def finds(seeds: int) -> bool:
        return power(difference, varying, num_seeds=seeds, num_arms=num_arms) >= wanted

    for seeds in range(least_seeds(num_arms), EXACT_SEEDS + 1):
        if finds(seeds):
            return seeds
    if not finds(MOST_SEEDS):
        return None
    fewest, enough = EXACT_SEEDS, MOST_SEEDS
    while enough - fewest > 1:
        middle = (fewest + enough) // 2
        fewest, enough = (fewest, middle) if finds(middle) else (middle, enough)
    return enough


def more_seeds(differences: Sequence[float] | NDArray[np.float64], *, margin: float, num_arms: int) -> int | None:
    """How many more seeds would decide with probability 0.8, if what was seen so far were the truth.

    Either the mean would be told from 0, or shown to lie within the margin, whichever is sooner. It is as uncertain as
    the mean and the spread that it is made of, and normal differences are taken for granted.

    Args:
        differences: Difference of each seed so far, arm minus baseline, in units of the metric.
        margin: Smallest difference of practical size, above 0.
        num_arms: Arms beside the baseline.

    Returns:
        Number of further seeds, at least 1; None if there are fewer than three differences, all are the same, or more
        than MOST_SEEDS seeds would be needed.
    """
    found = np.asarray(differences, dtype=np.float64)
    if len(found) < 3 or (spread := float(found.std(ddof=1))) == 0:
        return None
    mean = abs(float(found.mean()))
    reach = stats.norm.isf(ALPHA / num_arms / 2) + stats.norm.isf(1 - POWER)
    enough = [] if mean == 0 else [ceil((reach * spread / mean) ** 2)]
    if mean < margin:
        reach = stats.norm.isf(ALPHA / num_arms) + stats.norm.isf((1 - POWER) / 2)
        enough.append(ceil((reach * spread / (margin - mean)) ** 2))
    possible = [max(seeds, least_seeds(num_arms)) for seeds in enough if seeds <= MOST_SEEDS]
    return max(min(possible) - len(found), 1) if possible else None


def detectable(
    varying: Variation, *, num_seeds: int, num_arms: int = 1, looks: int = 1, wanted: float = POWER
) -> float:
    """The smallest difference that a plan finds with probability `wanted`; infinite if it cannot find any so often.

    Args:
        varying: How differences vary, and how many runs diverge.
        num_seeds: Number of seeds of each arm, at the last look.
        num_arms: Arms beside the baseline.
        looks: Number of looks in the plan; 1 for one at the end.
        wanted: Probability with which the difference is to be found, in 0..1.
    """

    def finds(difference: float) -> bool:
        return power(difference, varying, num_seeds=num_seeds, num_arms=num_arms, looks=looks) >= wanted

    low, high = 0.0, 16.0 * varying.spread
    if not finds(high):
        return float("inf")
    for _ in range(14):
        middle = (low + high) / 2
        low, high = (low, middle) if finds(middle) else (middle, high)
    return high


def spread_of_differences(spread: float) -> float:
    """Standard deviation of the difference of two runs, if sharing a seed does not make them more alike.

    Args:
        spread: Standard deviation of runs of one arm over seeds.
    """
    return sqrt(2) * spread


def plan_sentence(num_seeds: int, num_arms: int, varying: Variation | None, *, looks: int = 1) -> str:
    """What a plan can find, for people.

    Args:
        num_seeds: Number of seeds of each arm, at the last look.
        num_arms: Arms beside the baseline.
        varying: How differences vary, and how many runs diverge; None if nothing is known of it.
        looks: Number of looks in the plan; 1 for one at the end.

    Raises:
        ValueError: The plan cannot conclude; the text says how many seeds could.
    """
    check_plan(num_seeds, num_arms)
    plan = f"with {counted(num_seeds, 'seed')} and {counted(num_arms, 'arm')} beside the baseline"
    if looks > 1:
        plan += f", looked at after {listed([str(seeds) for seeds in LOOKS[:looks]])}"
    if varying is None:
        standard = detectable(Variation(spread=1.0), num_seeds=num_seeds, num_arms=num_arms, looks=looks)
        return f"{plan}, a difference of {standard:.1f} standard deviations between seeds is found with probability 0.8"
    smallest = detectable(varying, num_seeds=num_seeds, num_arms=num_arms, looks=looks)
    wanted = [(gap, seeds_for(gap, varying, num_arms=num_arms)) for gap in DIFFERENCES]
    needs = [f"{seeds or f'more than {MOST_SEEDS}'} for {gap:g}" for gap, seeds in wanted]
    found = f"a difference of {number(round(smallest, 4))}" if isfinite(smallest) else "no difference"
    diverging = f" and {varying.divergence:.0%} of runs diverge" if varying.divergence else ""
    return (
        f"{plan}, {found} is found with probability 0.8 if differences vary by {number(varying.spread)} from seed to "
        f"seed{diverging}; seeds that are needed: {listed(needs)}"
    )


@lru_cache(maxsize=4096)
def _power(size: float, num_seeds: int, level: float, divergence: float, shape: tuple[float, ...]) -> float:
    """Probability of finding a difference of `size` standard deviations."""
    if 2 / 2**num_seeds >= level:
        return 0.0
    is_exact, degrees = num_seeds <= EXACT_SEEDS, num_seeds - 1
    if not is_exact and not divergence and not shape:
        return float(stats.nct.sf(stats.t.isf(level / 2, degrees), degrees, size * sqrt(num_seeds)))
    draws_DN, lost_DN = _drawn(num_seeds, divergence, shape)
    gaps_DN = np.where(lost_DN, np.nan, draws_DN + size)
    kept_DN = gaps_DN[(~lost_DN).sum(axis=1) >= LEAST_FOR_INTERVAL]  # the others have no interval, so nothing is found
    if not len(kept_DN):
        return 0.0
    scores_DN = np.where(np.isnan(kept_DN), -_sizes_of_lost(kept_DN)[:, None], kept_DN)
    wins_D = (scores_DN > 0).sum(axis=1) * 2 >= num_seeds
    num_D = np.isfinite(kept_DN).sum(axis=1)
    with np.errstate(divide="ignore"):  # drawn from a shape all may be equal
        t_D = np.nanmean(kept_DN, axis=1) / np.nanstd(kept_DN, axis=1, ddof=1) * np.sqrt(num_D)
    excludes_D = t_D > stats.t.isf(ALPHA / 2, num_D - 1)
    p_D = sign_flip_p(scores_DN) if is_exact else stats.ttest_1samp(scores_DN, 0, axis=1).pvalue
    return float(((p_D < level) & wins_D & excludes_D).sum() / len(gaps_DN))


def _sizes_of_lost(kept_DN: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a diverged run counts as, a number an ablation; all at once, where numpy.nanquantile goes row by row."""
    ordered_DN, num_D = np.sort(np.abs(kept_DN), axis=1), np.isfinite(kept_DN).sum(axis=1)  # NaN comes last
    sizes_D = np.empty(len(kept_DN))
    for num in np.unique(num_D):
        rows_D = num_D == num
        sizes_D[rows_D] = np.quantile(ordered_DN[rows_D, :num], LOST_QUANTILE, axis=1)
    return sizes_D


@lru_cache(maxsize=8)
def _drawn(
    num_seeds: int, divergence: float, shape: tuple[float, ...]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Differences without an effect in units of their spread, a row an ablation, and which runs diverged."""
    rng, size = np.random.default_rng(0), (min(_DRAWS, _MOST_DRAWN // num_seeds), num_seeds)
    draws_DN = rng.choice(shape, size) if shape else rng.standard_normal(size)
    return draws_DN, rng.random(size) < divergence
