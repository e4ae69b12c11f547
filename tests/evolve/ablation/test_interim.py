"""An ablation at its looks: who gets no more seeds, when, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from evolve.ablation.effects import EffectVerdict, compare
from evolve.ablation.interim import Standing, looks_ended, standing
from evolve.ablation.looks import levels
from evolve.ablation.runs import ArmRun
from evolve.study import Study
from evolve.study.arms import ArmPlan

RNG = np.random.default_rng(0)
BASE = 0.5 + 0.01 * RNG.standard_normal(24)
WORSE = BASE - 0.1 + 0.01 * RNG.standard_normal(24)
BETTER = BASE + 0.1 + 0.01 * RNG.standard_normal(24)
LITTLE = BASE + 0.008 + 0.02 * np.tile([1, -1], 12)


def plan_of(arms: Sequence[str], looks: Sequence[int] = (6, 10, 16, 24)) -> ArmPlan:
    values = {arm: {"lr0": 0.02 + 0.01 * place} for place, arm in enumerate(arms)}
    section: dict[str, Any] = {"arms": values, "looks": list(looks)}
    plan = Study.from_mapping({"name": "s", "ablation": section}, origin="test").arm_plan
    assert plan is not None
    return plan


def after(through: int, ends: Mapping[str, Sequence[float]]) -> Standing:
    """The standing of these arms, whose runs are there as far as their looks ask for them."""
    plan = plan_of([*ends])
    runs = [
        ArmRun(arm, seed, float(value), "finished")
        for arm, each in {"baseline": BASE, **ends}.items()
        for seed, value in enumerate(each)
    ]
    return standing(plan, runs, margin=0.01, through=through)


def test_trials_of_an_arm_add_the_seeds_of_each_look_and_wait_for_those_of_the_one_before() -> None:
    plan = plan_of(["a", "b"])

    assert [plan.seeds_of(number) for number in (0, 3, 6, 9)] == [
        (0, 1, 2, 3, 4, 5),
        (6, 7, 8, 9),
        tuple(range(10, 16)),
        tuple(range(16, 24)),
    ]
    assert (plan.num_trials, plan.num_trainings) == (12, 72)
    assert [plan.look_of(number) for number in (0, 2, 3, 11)] == [1, 1, 2, 4]
    assert [plan.arm_of(number).name for number in (3, 4, 5)] == ["baseline", "a", "b"]
    assert [looks_ended(plan, range(count)) for count in (0, 2, 3, 5, 6, 12)] == [0, 0, 1, 1, 2, 4]


def test_an_arm_that_cannot_win_is_given_up_at_the_first_look_and_one_that_has_won_stops_at_the_second() -> None:
    first, second = (after(look, {"bad": WORSE, "good": BETTER, "little": LITTLE}) for look in (1, 2))

    assert {end.arm: end.look for end in first.endings.values()} == {"bad": 1}
    assert {end.arm: end.look for end in second.endings.values()} == {"bad": 1, "good": 2}
    assert second.endings["bad"].text.startswith("no more seeds since look 1 (6 seeds): its chance to be better at the")
    assert second.endings["good"].text.startswith("no more seeds since look 2 (10 seeds): it is better, with p 0.0")
    assert {run.arm: run.seed for run in second.runs} == {"baseline": 23, "bad": 5, "good": 9, "little": 23}


def test_what_an_arm_showed_when_it_stopped_stays_what_is_said_of_it() -> None:
    second, last = (after(look, {"bad": WORSE, "good": BETTER, "little": LITTLE}) for look in (2, 4))

    effects = {effect.arm: effect for effect in last.effects}
    assert (effects["good"].look, effects["good"].num_seeds, effects["little"].num_seeds) == (2, 10, 24)
    assert effects["good"].verdict is EffectVerdict.BETTER and effects["good"].p_corrected < 0.05
    assert effects["good"].p == 2 / 2**10 == second.effects[1].p
    assert last.endings == second.endings and last.look == 4


def test_when_all_arms_have_stopped_the_baseline_does_and_nothing_more_is_due() -> None:
    found = after(4, {"bad": WORSE})

    assert {end.arm: end.look for end in found.endings.values()} == {"bad": 1, "baseline": 1}
    assert (found.look, len(found.runs), found.missing) == (1, 12, 0)


def test_a_look_that_is_not_complete_decides_nothing() -> None:
    found = after(0, {"bad": WORSE})

    assert not found.endings and found.look == 1 and found.effects[0].num_seeds == 6


def test_the_text_of_a_look_says_which_p_is_needed() -> None:
    text = after(2, {"good": BETTER, "little": LITTLE}).look_text

    assert text.startswith("look 2 of 4, which are after 6, 10, 16 and 24 seeds")
    assert f"below {levels(4)[1]:.4g} here" in text and levels(4)[1] == pytest.approx(0.0067, abs=1e-4)


def test_an_arm_that_ended_earlier_is_compared_over_its_own_seeds_and_corrected_with_the_others() -> None:
    runs = [
        ArmRun(arm, seed, float(value), "finished")
        for arm, each in {"baseline": BASE, "good": BETTER, "little": LITTLE}.items()
        for seed, value in enumerate(each)
    ]
    at = {"baseline": "baseline", "arms": ["good", "little"], "margin": 0.01, "looks": 4}

    both = compare(runs, seeds=range(16), look=3, ended={"good": 2}, **at)
    alone = compare(runs, seeds=range(10), look=2, **at)

    assert (both[0].mean, both[0].low, both[0].p) == (alone[0].mean, alone[0].low, alone[0].p)
    assert both[1].num_seeds == 16 and both[0].p_corrected == alone[0].p_corrected
