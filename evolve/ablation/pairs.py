"""Arm against baseline seed by seed: differences where both finished, and what becomes of the seeds where one did not.

A diverged run loses its pair by the size that LOST_QUANTILE of the differences stay below: by as much as a pair hardly
ever differs. By the median an arm that diverges with its worst seeds alone is called better too often, and by the
largest a run that diverged weighs the more, the more seeds there are (`benchmarks/losing.py`). A run that failed or is
missing could have been anything: its pair counts by the largest size against what the other pairs say. So no seed is
dropped, and none helps by not being there.

Source: Lachin 1999, Worst-rank score analysis with informatively missing observations in clinical trials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evolve.ablation.runs import ArmRun

LOST_QUANTILE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many runs of an arm ended without a value, by the reason."""

    diverged: int = 0
    failed: int = 0
    missing: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """The runs of an arm beside those of the baseline.

    Attributes:
        arm_values, baseline_values: Values of the metric for the seeds with which both finished, in the order of the
            seeds.
        scores: A difference for every seed, arm minus baseline; where a run did not finish, the one that the module
            says.
        wins, losses, ties: Number of pairs that the arm wins, loses or ties, a diverged run losing its pair.
        unknown: Number of pairs in which a run failed or is missing.
        only_arm, only_baseline: Number of pairs in which the arm alone, or the baseline alone, diverged.
        both_diverged: Number of pairs in which both diverged, which are ties.
        arm, baseline: How many runs of the arm, and of the baseline, ended without a value.
    """

    arm_values: NDArray[np.float64] = field(repr=False)
    baseline_values: NDArray[np.float64] = field(repr=False)
    scores: NDArray[np.float64] = field(repr=False)
    wins: int
    losses: int
    ties: int
    unknown: int
    only_arm: int
    only_baseline: int
    both_diverged: int
    arm: Counts
    baseline: Counts

    @property
    def differences(self) -> NDArray[np.float64]:
        """Arm minus baseline where both finished."""
        return self.arm_values - self.baseline_values


def by_arm_and_seed(runs: Sequence[ArmRun]) -> dict[tuple[str, int], ArmRun]:
    """Runs by arm and seed.

    Raises:
        ValueError: An arm was trained twice with one seed.
    """
    found: dict[tuple[str, int], ArmRun] = {}
    for run in runs:
        if (run.arm, run.seed) in found:
            raise ValueError(f"arm {run.arm}, seed {run.seed}: two runs; allowed is one for each arm and seed")
        found[run.arm, run.seed] = run
    return found


def pair(runs: Mapping[tuple[str, int], ArmRun], arm: str, baseline: str, seeds: Sequence[int]) -> Pairs:
    """The runs of an arm paired with those of the baseline, seed by seed.

    Args:
        runs: Runs by arm and seed; one that is not there counts as missing.
        arm: Name of the arm.
        baseline: Name of the arm that it is compared with.
        seeds: Seeds over which the two are paired.
    """
    missing = ArmRun(arm=arm, seed=0, value=None, outcome="missing")
    both = [(runs.get((arm, seed), missing), runs.get((baseline, seed), missing)) for seed in seeds]
    finished = [(own.value, other.value) for own, other in both if own.value is not None and other.value is not None]
    values_N2 = np.array(finished, dtype=np.float64).reshape(-1, 2)
    signs = [_winner(own, other) for own, other in both]
    ends = [(own.outcome == "diverged", other.outcome == "diverged") for own, other in both]
    return Pairs(
        arm_values=values_N2[:, 0],
        baseline_values=values_N2[:, 1],
        scores=_scores(both, signs),
        wins=signs.count(1),
        losses=signs.count(-1),
        ties=signs.count(0),
        unknown=signs.count(None),
        only_arm=ends.count((True, False)),
        only_baseline=ends.count((False, True)),
        both_diverged=ends.count((True, True)),
        arm=_counts([own for own, _ in both]),
        baseline=_counts([other for _, other in both]),
    )


def _winner(own: ArmRun, other: ArmRun) -> int | None:
    """1 if the arm wins, -1 if the baseline does, 0 for a tie, None if nobody knows."""
    if not {own.outcome, other.outcome} <= {"finished", "diverged"}:
        return None
    return int(np.sign(_at_worst(own) - _at_worst(other))) if own.value != other.value else 0


def _at_worst(run: ArmRun) -> float:
    return -np.inf if run.value is None else run.value


def _scores(both: Sequence[tuple[ArmRun, ArmRun]], signs: Sequence[int | None]) -> NDArray[np.float64]:
    values = [(own.value, other.value) for own, other in both]
    gaps = [None if own is None or other is None else own - other for own, other in values]
    sizes = [abs(gap) for gap in gaps if gap is not None]
    largest = max(sizes, default=0.0) or 1.0
    # Nothing is the quantile where almost all pairs are ties, and by nothing no run could lose.
    lost = (float(np.quantile(sizes, LOST_QUANTILE)) if sizes else 0.0) or largest
    known = [
        None if sign is None else sign * lost if gap is None else gap for sign, gap in zip(signs, gaps, strict=True)
    ]
    against = -largest if sum(score for score in known if score is not None) >= 0 else largest
    return np.array([against if score is None else score for score in known], dtype=np.float64)


def _counts(runs: Sequence[ArmRun]) -> Counts:
    outcomes = [run.outcome for run in runs]
    return Counts(**{name: outcomes.count(name) for name in ("diverged", "failed", "missing")})
