"""What each arm of an ablation changes, how sure that is, and what follows: pure functions of its runs.

It fails closed. An arm is better only if its p, corrected for all arms and looks, is below 0.05, its interval excludes
0, and it wins at least half of all pairs, a diverged run losing its pair and one that failed or is missing winning
none. The mean and its interval are those of the seeds with which both finished; the p is of all seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from types import MappingProxyType
from typing import NamedTuple

from statsmodels.stats.proportion import proportion_confint

from evolve.ablation.flips import sign_flip_p
from evolve.ablation.looks import ALPHA, LEAST_CHANCE, chance_to_win, levels, over_looks, seeds_at
from evolve.ablation.paired_tests import Tested, bca_interval, divergence_p, equivalence_p, holm, t_interval
from evolve.ablation.pairs import Pairs, by_arm_and_seed, pair
from evolve.ablation.power import more_seeds
from evolve.ablation.runs import ArmRun
from evolve.ablation.verdicts import Effect, EffectVerdict, judged

__all__ = ["Effect", "EffectVerdict", "compare"]


def compare(
    runs: Sequence[ArmRun],
    *,
    baseline: str,
    arms: Sequence[str],
    seeds: Sequence[int],
    margin: float,
    looks: int = 1,
    look: int = 1,
    ended: Mapping[str, int] = MappingProxyType({}),
) -> tuple[Effect, ...]:
    """The effect of each arm, in the order of `arms`, the baseline left out.

    Args:
        runs: Runs, one for each arm and seed; one that is not among them counts as missing.
        baseline: Name of the arm that the others are compared with.
        arms: Names of all arms; the baseline may be among them.
        seeds: Every seed that was planned up to this look.
        margin: Smallest difference of practical size, in units of the metric, above 0.
        looks: Number of looks in the plan; 1 for one at the end.
        look: Which of them this is, from 1; with several looks it has as many seeds as `looks.LOOKS` says.
        ended: The look at which an arm got its last seeds, by the name of the arm, for those that get no more; what
            that look said counts.

    Raises:
        ValueError: There is no other arm, no seed, one twice, a margin not above 0, an arm with two runs of one seed,
            or other seeds than the look has.
    """
    others = [arm for arm in arms if arm != baseline]
    _check(others, seeds, margin, looks, look)
    known, asked = by_arm_and_seed(runs), _Asked(margin, looks, len(others))
    at = [min(ended.get(arm, look), look) for arm in others]
    found = [
        pair(known, arm, baseline, seeds[: seeds_at(own, looks)] if looks > 1 else seeds)
        for arm, own in zip(others, at, strict=True)
    ]
    planned = seeds_at(looks, looks) if looks > 1 else len(seeds)
    effects = []
    for arm, pairs, own, tested in zip(others, found, at, _tested(found, at, asked), strict=True):
        measured = _measured(pairs, tested, (arm, baseline), own, asked)
        more = more_seeds(pairs.scores, margin=margin, num_arms=len(others))
        effects.append(judged(measured, margin=margin, planned=planned, num_arms=len(others), more=more))
    return tuple(effects)


class _Asked(NamedTuple):
    """What is asked of all arms."""

    margin: float
    looks: int
    num_arms: int


def _check(arms: Sequence[str], seeds: Sequence[int], margin: float, looks: int, look: int) -> None:
    if not arms or len(set(arms)) < len(arms):
        raise ValueError(f"arms {list(arms)}; allowed: at least one beside the baseline, none twice")
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds {list(seeds)}; allowed: at least one, none twice")
    if not margin > 0:
        raise ValueError(f"margin {margin:g}; it must be above 0")
    expected = seeds_at(look, looks)
    if looks > 1 and len(seeds) != expected:
        raise ValueError(f"look {look} of {looks} with {len(seeds)} seeds; it has {expected}")


def _tested(found: Sequence[Pairs], at: Sequence[int], asked: _Asked) -> list[Tested]:
    """The p values of each arm, corrected for all looks and all arms."""

    def corrected(values: Sequence[float]) -> list[float]:
        return holm([over_looks(p, look=look, looks=asked.looks) for p, look in zip(values, at, strict=True)])

    plain = [float(sign_flip_p(pairs.scores[None])[0]) for pairs in found]
    columns = (
        plain,
        corrected(plain),
        corrected([divergence_p(pairs) for pairs in found]),
        corrected([equivalence_p(pairs, asked.margin) for pairs in found]),
    )
    return [
        Tested(p=p, p_corrected=of_mean, divergence_p=of_divergence, equivalence_p=of_equivalence)
        for p, of_mean, of_divergence, of_equivalence in zip(*columns, strict=True)
    ]


def _can_win(pairs: Pairs, look: int, asked: _Asked) -> bool:
    if look == asked.looks:
        return True
    chance = chance_to_win(pairs.scores, at_least=asked.margin, look=look, looks=asked.looks, num_arms=asked.num_arms)
    return chance >= LEAST_CHANCE


def _measured(pairs: Pairs, tested: Tested, names: tuple[str, str], look: int, asked: _Asked) -> Effect:
    """What there is to see, before it is judged."""
    differences, num_seeds, won = pairs.differences, len(pairs.scores), pairs.wins + pairs.ties / 2
    low, high = t_interval(pairs, 1 - levels(asked.looks)[look - 1])
    bca_low, bca_high = bca_interval(differences)
    win_low, win_high = proportion_confint(won, num_seeds, alpha=ALPHA, method="wilson")
    return Effect(
        arm=names[0],
        baseline=names[1],
        num_seeds=num_seeds,
        n_pairs=len(differences),
        mean=float(differences.mean()) if len(differences) else nan,
        low=low,
        high=high,
        bca_low=bca_low,
        bca_high=bca_high,
        p=tested.p,
        p_corrected=tested.p_corrected,
        wins=pairs.wins,
        losses=pairs.losses,
        ties=pairs.ties,
        unknown=pairs.unknown,
        win_share=won / num_seeds,
        win_low=float(win_low),
        win_high=float(win_high),
        diverged=pairs.arm.diverged,
        failed=pairs.arm.failed,
        missing=pairs.arm.missing,
        baseline_diverged=pairs.baseline.diverged,
        baseline_failed=pairs.baseline.failed,
        baseline_missing=pairs.baseline.missing,
        divergence_p=tested.divergence_p,
        equivalence_p=tested.equivalence_p,
        look=look,
        can_win=_can_win(pairs, look, asked),
        seeds_needed=None,
        verdict=EffectVerdict.UNCLEAR,
    )
