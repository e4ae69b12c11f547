"""What an ablation can find before it is run: the fewest seeds that can conclude at all, and the chance of finding.

The decision is that of `effects`: an exact sign-flip test of the paired differences, corrected by Holm as if this arm's
p were the smallest. Up to EXACT_SEEDS seeds the chance is that of simulated normal differences under the very test,
which is coarse for so few; beyond, Student's t is as good.

Source: Fisher 1935, The Design of Experiments (the test); Holm 1979, A simple sequentially rejective multiple test
procedure; Chow, Shao & Wang 2008, Sample Size Calculations in Clinical Research (seeds to show equivalence).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, isfinite, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from evolve.ablation.flips import sign_flip_p
from evolve.ablation.looks import ALPHA, LOOKS, levels
from evolve.formatting import counted, listed, number
from evolve.study.arms import least_seeds

DIFFERENCES = (0.01, 0.02, 0.03, 0.05)
POWER = 0.8
# More seeds than this are not asked for: nobody trains them.
MOST_SEEDS = 1000
EXACT_SEEDS = 12
_DRAWS = 4000


def check_plan(num_seeds: int, num_arms: int) -> None:
    """Refuses a plan that cannot conclude whatever it finds.

    Args:
        num_seeds: Seeds of each arm, at the last look if there are several.
        num_arms: Arms beside the baseline.

    Raises:
        ValueError: There are too few seeds; the text says how many could.
    """
    if num_seeds < (least := least_seeds(num_arms)):
        arms = f"{counted(num_arms, 'arm')} beside the baseline"
        smallest = f"the smallest p that they can reach, corrected for all arms, is {num_arms * 2 / 2**num_seeds:.2g}"
        raise ValueError(f"{counted(num_seeds, 'seed')} cannot decide between {arms}: {smallest}; at least {least} can")


def power(difference: float, *, spread: float, num_seeds: int, num_arms: int = 1, looks: int = 1) -> float:
    """Probability that an arm with this difference is found better, in 0..1; with several looks at the last of them.

    Args:
        difference: Of the arm from the baseline, in units of the metric, above 0.
        spread: Standard deviation of the paired differences over seeds, above 0.
        num_seeds: Seeds of each arm, at the last look.
        num_arms: Arms beside the baseline.
        looks: How many looks there are.

    Raises:
        ValueError: Difference or spread is not above 0.
    """
    if not (difference > 0 and spread > 0):
        raise ValueError(f"difference {difference:g}, spread {spread:g}; both must be above 0")
    level = levels(looks, ALPHA / num_arms)[-1]
    return _power(difference / spread, num_seeds, level)


def seeds_for(difference: float, *, spread: float, num_arms: int = 1, wanted: float = POWER) -> int | None:
    """The fewest seeds that find this difference with probability `wanted`; None if more than MOST_SEEDS.

    Args:
        difference: Of the arm from the baseline, above 0.
        spread: Standard deviation of the paired differences over seeds, above 0.
        num_arms: Arms beside the baseline.
        wanted: Power, in 0..1.

    Raises:
        ValueError: Difference or spread is not above 0.
    """
    for seeds in range(least_seeds(num_arms), EXACT_SEEDS + 1):
        if power(difference, spread=spread, num_seeds=seeds, num_arms=num_arms) >= wanted:
            return seeds
    if power(difference, spread=spread, num_seeds=MOST_SEEDS, num_arms=num_arms) < wanted:
        return None
    fewest, enough = EXACT_SEEDS, MOST_SEEDS
    while enough - fewest > 1:
        middle = (fewest + enough) // 2
        is_enough = power(difference, spread=spread, num_seeds=middle, num_arms=num_arms) >= wanted
        fewest, enough = (fewest, middle) if is_enough else (middle, enough)
    return enough


def more_seeds(differences: Sequence[float] | NDArray[np.float64], *, margin: float, num_arms: int) -> int | None:
    """How many more seeds would decide with probability 0.8, if what was seen so far were the truth.

    Either the mean would be told from 0, or shown to lie within the margin, whichever is sooner. It is as uncertain as
    the mean and the spread that it is made of, and normal differences are taken for granted.

    Args:
        differences: Arm minus baseline by seed.
        margin: Smallest difference of practical size, above 0.
        num_arms: Arms beside the baseline.

    Returns:
        At least 1; None if fewer than three differences, all the same ones, or more than MOST_SEEDS.
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


def detectable(*, spread: float, num_seeds: int, num_arms: int = 1, looks: int = 1, wanted: float = POWER) -> float:
    """The smallest difference that a plan finds with probability `wanted`; infinite if it cannot conclude.

    Args:
        spread: Standard deviation of the paired differences over seeds, above 0.
        num_seeds: Seeds of each arm, at the last look.
        num_arms: Arms beside the baseline.
        looks: How many looks there are.
        wanted: Power, in 0..1.
    """
    low, high = 0.0, 16.0 * spread
    if power(high, spread=spread, num_seeds=num_seeds, num_arms=num_arms, looks=looks) < wanted:
        return float("inf")
    for _ in range(14):
        middle = (low + high) / 2
        is_found = power(middle, spread=spread, num_seeds=num_seeds, num_arms=num_arms, looks=looks) >= wanted
        low, high = (low, middle) if is_found else (middle, high)
    return high


def spread_of_differences(spread: float) -> float:
    """Standard deviation of the difference of two runs, if sharing a seed does not make them more alike.

    Args:
        spread: Standard deviation of runs of one arm over seeds.
    """
    return sqrt(2) * spread


def plan_sentence(num_seeds: int, num_arms: int, *, spread: float | None, looks: int = 1) -> str:
    """What a plan can find, for people.

    Args:
        num_seeds: Seeds of each arm, at the last look.
        num_arms: Arms beside the baseline.
        spread: Standard deviation of the paired differences over seeds; None if nothing is known of it.
        looks: How many looks there are.

    Raises:
        ValueError: The plan cannot conclude; the text says how many seeds could.
    """
    check_plan(num_seeds, num_arms)
    plan = f"with {counted(num_seeds, 'seed')} and {counted(num_arms, 'arm')} beside the baseline"
    if looks > 1:
        plan += f", looked at after {listed([str(seeds) for seeds in LOOKS[:looks]])}"
    if spread is None or not isfinite(spread) or spread <= 0:
        standard = detectable(spread=1.0, num_seeds=num_seeds, num_arms=num_arms, looks=looks)
        return f"{plan}, a difference of {standard:.1f} standard deviations between seeds is found with probability 0.8"
    smallest = detectable(spread=spread, num_seeds=num_seeds, num_arms=num_arms, looks=looks)
    wanted = [(gap, seeds_for(gap, spread=spread, num_arms=num_arms)) for gap in DIFFERENCES]
    needs = [f"{seeds or f'more than {MOST_SEEDS}'} for {gap:g}" for gap, seeds in wanted]
    return (
        f"{plan}, a difference of {number(round(smallest, 4))} is found with probability 0.8 if differences vary by "
        f"{number(spread)} from seed to seed; seeds that are needed: {listed(needs)}"
    )


@lru_cache(maxsize=4096)
def _power(size: float, num_seeds: int, level: float) -> float:
    """Of a difference of `size` standard deviations."""
    if 2 / 2**num_seeds >= level:
        return 0.0
    if num_seeds > EXACT_SEEDS:
        degrees = num_seeds - 1
        return float(stats.nct.sf(stats.t.isf(level / 2, degrees), degrees, size * sqrt(num_seeds)))
    draws_DN = np.random.default_rng(0).standard_normal((_DRAWS, num_seeds)) + size
    wins = (draws_DN > 0).sum(axis=1) * 2 >= num_seeds
    t_D = draws_DN.mean(axis=1) / draws_DN.std(axis=1, ddof=1) * sqrt(num_seeds)
    excludes = t_D > stats.t.isf(ALPHA / 2, num_seeds - 1)
    return float(np.mean((sign_flip_p(draws_DN) < level) & wins & excludes))
