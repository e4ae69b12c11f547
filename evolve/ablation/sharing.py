"""Which arms of an ablation share out its gain: the steps of a path, or all combinations of two to four changes."""

from __future__ import annotations

from collections.abc import Sequence

from evolve.ablation.factorial import MOST_CHANGES, Attribution, attribution, path
from evolve.ablation.runs import ArmRun
from evolve.study.ablation import Ablation
from evolve.study.arms import ArmPlan

LEAST_CHANGES = 2  # of one alone the share is its effect


def gain_shares(ablation: Ablation, plan: ArmPlan, runs: Sequence[ArmRun]) -> Attribution | None:
    """The gain of all changes, shared out: step by step along a path, else by Shapley's values.

    Args:
        ablation: The ablation whose gain is shared out.
        plan: Arms and seeds of the ablation.
        runs: Runs, one for each arm and seed; one that is not among them counts as missing.

    Returns:
        Shares of the gain; None where the arms are neither steps of a path nor all combinations of 2 to 4 changes.
    """
    if ablation.path is not None:
        return path(runs, arms=[arm.name for arm in plan.arms], seeds=plan.seeds)
    arms = combinations_of(ablation, plan)
    if not arms:
        return None
    alone = [arms[1 << place] for place in range(len(arms).bit_length() - 1)]
    return attribution(runs, changes=alone, arms=arms, seeds=plan.seeds)


def combinations_of(ablation: Ablation, plan: ArmPlan) -> tuple[str, ...]:
    """Names of the arms of a factorial of two values each, in the order of the bits that say which change is made.

    Args:
        ablation: The ablation whose arms are named.
        plan: Arms of the ablation, the baseline first.

    Returns:
        Names, the baseline first, then the first change alone; empty where the ablation is no such factorial of 2 to 4
        changes.
    """
    base = plan.arms[0].params
    others = {name: {arm.params[name] for arm in plan.arms} - {base[name]} for name in base}
    is_two_each = all(len(values) == 1 for values in others.values())
    if not ablation.factorial or not is_two_each or not LEAST_CHANGES <= len(base) <= MOST_CHANGES:
        return ()
    by_bits = {_bits([arm.params[name] != base[name] for name in base]): arm.name for arm in plan.arms}
    return tuple(by_bits[bits] for bits in range(1 << len(base)))


def _bits(flags: Sequence[bool]) -> int:
    return sum(is_set << place for place, is_set in enumerate(flags))
