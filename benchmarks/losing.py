"""By how much a diverged run should lose its pair: thousands of simulated ablations at once, by several rules.

    python -m benchmarks.losing [--ablations 2000] [--tables rules,adverse,looks]

The ablations are those of `calibration.py`: four arms, the last of which has an effect. Runs diverge `rather` where the
arm is worse than the baseline (correlation 0.5), in the baseline as well (`both`), or `exactly` where it is worst. The
verdict is the project's, over all ablations at once: exact flips up to 12 seeds, Student's t beyond, Holm, the interval
above 0, half of the pairs won. With looks no arm is given up, which could only lower the share of false "better".

Shapes: M ablations, S seeds, L lanes of which the first is the baseline, A arms.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.calibration import EFFECTS, NUM_ARMS, TIE, WHERE_IT_SURVIVES, Noise, noise
from evolve.ablation.flips import sign_flip_p
from evolve.ablation.looks import LOOKS, levels, over_looks
from evolve.ablation.pairs import LOST_QUANTILE
from evolve.ablation.power import EXACT_SEEDS

OURS = f"{LOST_QUANTILE:.0%}"
RULES = {"largest": 1.0, OURS: LOST_QUANTILE, "median": 0.5}  # quantiles of the differences
KINDS = ("rather", "both", "exactly")
ALPHA = 0.05

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


def drawn(of: Noise, rng: np.random.Generator, ablations: int, seeds: int) -> Array:
    """Values without effects, shape (M, S, L)."""
    return np.stack([of.draw(rng, seeds) for _ in range(ablations)])


def diverged(values_MSL: Array, of: Noise, rng: np.random.Generator, kind: str, rate: float) -> Flags:
    """Which runs diverge, shape (M, S, L).

    Args:
        values_MSL: Values of the runs, without effects.
        of: Noise that the values vary by.
        rng: Random generator to draw from.
        kind: Which runs diverge rather than others, one of KINDS.
        rate: Share of an arm's runs that diverge, 0..1.
    """
    lost_MSL = np.zeros(values_MSL.shape, dtype=bool)
    worse_MSA = (values_MSL[:, :, :1] - values_MSL[:, :, 1:]) / of.spread
    if kind == "exactly":
        lost_MSL[:, :, 1:] = worse_MSA > np.quantile(worse_MSA, 1 - rate)
        return lost_MSL
    limit = stats.norm.isf(rate)
    lost_MSL[:, :, 1:] = TIE * worse_MSA + np.sqrt(1 - TIE**2) * rng.standard_normal(worse_MSA.shape) > limit
    if kind == "both":
        own_MS = (values_MSL[:, :, 1:].mean(axis=2) - values_MSL[:, :, 0]) / of.spread
        lost_MSL[:, :, 0] = TIE * own_MS + np.sqrt(1 - TIE**2) * rng.standard_normal(own_MS.shape) > limit
    return lost_MSL


def better(values_MSL: Array, lost_MSL: Flags, rule: str, *, look: int = 1, looks: int = 1) -> Flags:
    """Which arms are called better, shape (M, A).

    Args:
        values_MSL: Values of the runs, effects included; those of runs that diverged are not looked at.
        lost_MSL: Whether each run diverged.
        rule: By which rule a diverged run loses its pair, a key of RULES.
        look: Number of the look, counted from 1.
        looks: Number of looks in all.
    """
    gaps_MSA = values_MSL[:, :, 1:] - values_MSL[:, :, :1]
    lost_MSA, base_MS1 = lost_MSL[:, :, 1:], lost_MSL[:, :, :1]
    has_both_MSA = ~lost_MSA & ~base_MS1
    signs_MSA = np.where(has_both_MSA, np.sign(gaps_MSA), base_MS1.astype(int) - lost_MSA.astype(int))
    scores_MSA = np.where(has_both_MSA, gaps_MSA, signs_MSA * _sizes(gaps_MSA, has_both_MSA, rule)[:, None, :])
    p_MA = _corrected(np.vectorize(lambda p: over_looks(p, look=look, looks=looks))(_p(scores_MSA)))
    count_MA = has_both_MSA.sum(axis=1)
    mean_MA = np.where(has_both_MSA, gaps_MSA, 0).sum(axis=1) / np.maximum(count_MA, 1)
    apart_MSA = np.where(has_both_MSA, gaps_MSA - mean_MA[:, None, :], 0)
    error_MA = np.sqrt((apart_MSA**2).sum(axis=1) / np.maximum(count_MA - 1, 1) / np.maximum(count_MA, 1))
    reach_MA = stats.t.isf(levels(looks)[look - 1] / 2, np.maximum(count_MA - 1, 1)) * error_MA
    has_won_MA = 2 * (signs_MSA == 1).sum(axis=1) >= values_MSL.shape[1]
    found: Flags = (p_MA < ALPHA) & (count_MA >= 3) & (mean_MA > reach_MA) & has_won_MA
    return found


def _sizes(gaps_MSA: Array, has_both_MSA: Flags, rule: str) -> Array:
    """By how much a diverged run loses its pair, shape (M, A)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where no pair finished
        sizes_MA = np.nanquantile(np.where(has_both_MSA, np.abs(gaps_MSA), np.nan), RULES[rule], axis=1)
    return np.where(np.isfinite(sizes_MA), sizes_MA, 1.0)


def _p(scores_MSA: Array) -> Array:
    """Two-sided p of each arm, shape (M, A); 1 where it is far above any level."""
    ablations, seeds, arms = scores_MSA.shape
    rows_RS = np.ascontiguousarray(scores_MSA.transpose(0, 2, 1).reshape(-1, seeds))
    t_R = np.abs(stats.ttest_1samp(rows_RS, 0, axis=1).statistic)
    near_R, p_R = t_R > 1.5, np.ones(len(rows_RS))
    is_exact = seeds <= EXACT_SEEDS
    p_R[near_R] = sign_flip_p(rows_RS[near_R]) if is_exact else 2 * stats.t.sf(t_R[near_R], seeds - 1)
    return p_R.reshape(ablations, arms)


def _corrected(p_MA: Array) -> Array:
    """The p corrected by Holm over the arms of each ablation, shape (M, A)."""
    order_MA, found_MA = np.argsort(p_MA, axis=1), np.empty_like(p_MA)
    steps_MA = np.take_along_axis(p_MA, order_MA, axis=1) * np.arange(p_MA.shape[1], 0, -1)
    np.put_along_axis(found_MA, order_MA, np.minimum(np.maximum.accumulate(steps_MA, axis=1), 1), axis=1)
    return found_MA


def shares(of: Noise, kind: str, rate: float, seeds: int, ablations: int, rule: str) -> list[float]:
    """False "better" where the last arm has the larger effect, and how often each of EFFECTS is found."""
    found = []
    for effect in EFFECTS:
        rng = np.random.default_rng([seeds, round(100 * rate), round(100 * effect)])
        values_MSL = drawn(of, rng, ablations, seeds)
        lost_MSL = diverged(values_MSL, of, rng, kind, rate)
        values_MSL[:, :, NUM_ARMS] += effect
        found.append(better(values_MSL, lost_MSL, rule))
    return [float(found[-1][:, :-1].any(axis=1).mean()), *(float(better_MA[:, -1].mean()) for better_MA in found)]


def adverse(of: Noise, effect: float, seeds: int, ablations: int, rule: str) -> tuple[float, float]:
    """Share of runs that diverge where every arm loses half of its pairs, and of ablations with a "better" arm."""
    rng = np.random.default_rng([seeds, round(100 * effect)])
    values_MSL = drawn(of, rng, ablations, seeds)
    values_MSL[:, :, 1:] += effect
    rate = 1 - 0.5 / float((values_MSL[:, :, 1:] > values_MSL[:, :, :1]).mean())
    lost_MSL = (rng.random(values_MSL.shape) < rate) & (np.arange(NUM_ARMS + 1) > 0)
    return rate, float(better(values_MSL, lost_MSL, rule).any(axis=1).mean())


def looked_at(of: Noise, kind: str, rate: float, ablations: int) -> list[float]:
    """As `shares`, by the project's rule, at any of all looks."""
    rng = np.random.default_rng([*LOOKS, round(100 * rate)])
    values_MSL = drawn(of, rng, ablations, LOOKS[-1])
    lost_MSL = diverged(values_MSL, of, rng, kind, rate)
    found = []
    for effect in EFFECTS:
        own_MSL = values_MSL + effect * (np.arange(NUM_ARMS + 1) == NUM_ARMS)
        at_looks = [
            better(own_MSL[:, :seeds], lost_MSL[:, :seeds], OURS, look=look, looks=len(LOOKS))
            for look, seeds in enumerate(LOOKS, start=1)
        ]
        found.append(np.any(at_looks, axis=0))
    return [float(found[-1][:, :-1].any(axis=1).mean()), *(float(better_MA[:, -1].mean()) for better_MA in found)]


def _row(*cells: object) -> None:
    print(f"| {' | '.join(f'{cell:.3f}' if isinstance(cell, float) else str(cell) for cell in cells)} |", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ablations", type=int, default=2000)
    parser.add_argument("--tables", default="rules,adverse,looks")
    parser.add_argument("--noise", default="normal,t3,recorded")
    parser.add_argument("--seeds", default="10,12")
    asked = parser.parse_args(arguments)
    all_noise = {name: noise(name) for name in asked.noise.split(",")}
    all_seeds, tables, count = (
        [int(seeds) for seeds in asked.seeds.split(",")],
        asked.tables.split(","),
        asked.ablations,
    )
    if "rules" in tables:
        _row(
            "noise",
            "seeds",
            "diverged",
            "where",
            *(f"{what}, {rule}" for rule in RULES for what in ("false", *EFFECTS)),
        )
        for (name, of), seeds, rate, kind in product(all_noise.items(), all_seeds, (0.1, 0.3), KINDS):
            _row(
                name,
                seeds,
                f"{rate:.0%}",
                kind,
                *(share for rule in RULES for share in shares(of, kind, rate, seeds, count, rule)),
            )
    if "adverse" in tables:
        _row("noise", "seeds", "better where it survives", "diverged", "called better")
        for (name, of), seeds, effect in product(all_noise.items(), all_seeds, WHERE_IT_SURVIVES):
            rate, false = adverse(of, effect, seeds, count, OURS)
            _row(name, seeds, str(effect), f"{rate:.0%}", false)
    if "looks" in tables:
        _row("noise", "diverged", "where", "false better", *(f"{effect} found" for effect in EFFECTS))
        for (name, of), (rate, kind) in product(
            all_noise.items(), ((0.0, "rather"), (0.3, "rather"), (0.3, "exactly"))
        ):
            _row(name, f"{rate:.0%}", kind, *looked_at(of, kind, rate, count))


if __name__ == "__main__":
    main()
