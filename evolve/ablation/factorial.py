"""Whose the gain is: exact Shapley values of up to four changes that were trained in every combination, and paths.

With N seeds and k changes there are N x 2^k runs; bit i of a combination says whether change i is made. The value of a
change is what it adds, averaged over all orders in which the changes could have been made, so the values of one seed
add up to the measured gain of that seed exactly. Nothing is fitted.

Source: Shapley 1953, A value for n-person games; Grabisch & Roubens 1999, An axiomatic approach to the concept of
interaction among players in cooperative games (pairs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import factorial, nan

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from evolve.ablation.paired_tests import LEAST_FOR_INTERVAL
from evolve.ablation.runs import ArmRun
from evolve.formatting import counted, listed

MOST_CHANGES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A part of a gain, as a mean over seeds.

    Attributes:
        names: Name of the change, of the two that interact, or of the step of a path; `all` for the whole gain.
        mean: Mean over the seeds, in units of the metric; NaN where there is no seed.
        low, high: Ends of Student's 95 % interval over seeds; NaN below three.
    """

    names: tuple[str, ...]
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """The gain of all changes together, shared out.

    Attributes:
        gain: Gain of all changes at once.
        shares: Share of each change, or of each step of a path; their means add up to the mean gain.
        interactions: Interaction of each pair of changes: what both bring beyond the sum of each alone, averaged over
            what else is changed; empty for a path.
        num_seeds: Number of seeds that were used: those with which every run finished.
        left_out: Other seeds, each with the arms that did not finish and how they ended.
        is_path: Whether the shares are steps of a path, each on top of those before.
    """

    gain: Share
    shares: tuple[Share, ...]
    interactions: tuple[Share, ...]
    num_seeds: int
    left_out: tuple[tuple[int, tuple[tuple[str, str], ...]], ...]
    is_path: bool = False

    @property
    def basis(self) -> str:
        """The seeds that it rests on, and which are left out and why, for people."""
        planned = counted(self.num_seeds + len(self.left_out), "seed")
        if not self.left_out:
            return f"over all {planned}"
        diverged = sum(any(outcome == "diverged" for _, outcome in lost) for _, lost in self.left_out)
        seeds = [
            f"seed {seed} ({listed([f'{arm} {outcome}' for arm, outcome in lost], limit=3)})"
            for seed, lost in self.left_out
        ]
        return (
            f"over {self.num_seeds} of {planned}, those with which every arm finished, which flatters what diverges; "
            f"{len(self.left_out)} left out, {diverged} of them for a divergence: {listed(seeds)}"
        )


def shapley_values(values: Sequence[float | Fraction]) -> tuple[Fraction, ...]:
    """What each change adds on average over all orders, as exact fractions that add up to last minus first value.

    Args:
        values: Value of the metric for each of 2^k combinations, k in 1..4, in the order of their bits.

    Raises:
        ValueError: The number of values is not 2, 4, 8 or 16.
    """
    num_changes = _num_changes(len(values))
    exact = [Fraction(value) for value in values]
    found = []
    for change in range(num_changes):
        without = [number for number in range(len(values)) if not number >> change & 1]
        added = [_weight(number, num_changes, 1) * (exact[number | 1 << change] - exact[number]) for number in without]
        found.append(sum(added, Fraction(0)))
    return tuple(found)


def pair_interactions(values: Sequence[float | Fraction]) -> dict[tuple[int, int], Fraction]:
    """Shapley's interaction index of each pair of changes, as exact fractions.

    Args:
        values: Value of the metric for each of 2^k combinations, k in 1..4, in the order of their bits.

    Raises:
        ValueError: The number of values is not 2, 4, 8 or 16.
    """
    num_changes = _num_changes(len(values))
    exact = [Fraction(value) for value in values]
    found = {}
    for first, second in combinations(range(num_changes), 2):
        both = 1 << first | 1 << second
        terms = [
            _weight(number, num_changes, 2)
            * (exact[number | both] - exact[number | 1 << first] - exact[number | 1 << second] + exact[number])
            for number in range(len(values))
            if not number & both
        ]
        found[first, second] = sum(terms, Fraction(0))
    return found


def attribution(
    runs: Sequence[ArmRun], *, changes: Sequence[str], arms: Sequence[str], seeds: Sequence[int]
) -> Attribution:
    """The shares of all changes, from runs of all their combinations.

    Args:
        runs: Runs, one for each arm and seed; one that is not among them counts as missing.
        changes: Names of the changes, 1 to 4.
        arms: Name of the arm of each combination, in the order of its bits: first the baseline, last all changes.
        seeds: Every seed that was planned.

    Raises:
        ValueError: There are not 2^k arms for k changes.
    """
    if len(changes) != _num_changes(len(arms)):
        raise ValueError(f"{len(arms)} arms of {len(changes)} changes; allowed: 2 to the power of their number")
    values_SC, left_out = _finished(runs, arms, seeds)
    pairs = [*combinations(range(len(changes)), 2)]
    shares_SK = np.array([[float(share) for share in shapley_values(row)] for row in values_SC.tolist()])
    joint_SP = np.array([[float(pair_interactions(row)[pair]) for pair in pairs] for row in values_SC.tolist()])
    return Attribution(
        gain=_share(("all",), values_SC[:, -1] - values_SC[:, 0]),
        shares=_shares([(change,) for change in changes], shares_SK),
        interactions=_shares([(changes[first], changes[second]) for first, second in pairs], joint_SP),
        num_seeds=len(values_SC),
        left_out=left_out,
    )


def path(runs: Sequence[ArmRun], *, arms: Sequence[str], seeds: Sequence[int]) -> Attribution:
    """What each step of a path adds to the one before: the bars of a waterfall.

    Args:
        runs: Runs, one for each arm and seed; one that is not among them counts as missing.
        arms: Names of the arms in the order of the path, the baseline first; at least two.
        seeds: Every seed that was planned.

    Raises:
        ValueError: There are fewer than two arms.
    """
    if len(arms) < 2:
        raise ValueError(f"a path of {len(arms)} arms; at least 2 are needed")
    values_SC, left_out = _finished(runs, arms, seeds)
    return Attribution(
        gain=_share(("all",), values_SC[:, -1] - values_SC[:, 0]),
        shares=_shares([(arm,) for arm in arms[1:]], np.diff(values_SC, axis=1)),
        interactions=(),
        num_seeds=len(values_SC),
        left_out=left_out,
        is_path=True,
    )


def _num_changes(num_values: int) -> int:
    num_changes = num_values.bit_length() - 1
    if num_values != 1 << num_changes or not 1 <= num_changes <= MOST_CHANGES:
        allowed = [1 << number for number in range(1, MOST_CHANGES + 1)]
        raise ValueError(f"{num_values} combinations; allowed: {allowed}, all those of 1 to {MOST_CHANGES} changes")
    return num_changes


def _weight(number: int, num_changes: int, size: int) -> Fraction:
    """Share of the orders in which exactly the changes of `number` come before the `size` that are looked at."""
    before = number.bit_count()
    return Fraction(factorial(before) * factorial(num_changes - before - size), factorial(num_changes - size + 1))


def _finished(
    runs: Sequence[ArmRun], arms: Sequence[str], seeds: Sequence[int]
) -> tuple[NDArray[np.float64], tuple[tuple[int, tuple[tuple[str, str], ...]], ...]]:
    """Values by seed and arm where all arms finished; and what is missing elsewhere."""
    known: Mapping[tuple[str, int], ArmRun] = {(run.arm, run.seed): run for run in runs}
    rows, left_out = [], []
    for seed in seeds:
        ends = [known.get((arm, seed), ArmRun(arm, seed, None, "missing")) for arm in arms]
        lost = tuple((run.arm, run.outcome) for run in ends if run.value is None)
        if lost:
            left_out.append((seed, lost))
        else:
            rows.append([run.value for run in ends])
    return np.array(rows, dtype=np.float64).reshape(-1, len(arms)), tuple(left_out)


def _shares(names: Sequence[tuple[str, ...]], values_SK: NDArray[np.float64]) -> tuple[Share, ...]:
    columns = values_SK.reshape(-1, len(names)).T if len(names) else ()
    return tuple(_share(name, column) for name, column in zip(names, columns, strict=True))


def _share(names: tuple[str, ...], values: ArrayLike) -> Share:
    found = np.asarray(values, dtype=np.float64)
    mean = float(found.mean()) if len(found) else nan
    if len(found) < LEAST_FOR_INTERVAL:
        return Share(names=names, mean=mean, low=nan, high=nan)
    reach = float(stats.t.isf(0.025, len(found) - 1) * stats.sem(found))
    return Share(names=names, mean=mean, low=mean - reach, high=mean + reach)
