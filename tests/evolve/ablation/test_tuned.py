"""What arms were tuned to, and what is said where the tuning stopped at an end of what was tried."""

from __future__ import annotations

from typing import Any

from evolve.ablation.trained import plan_of
from evolve.ablation.tuned import Tuned, tuned_of
from evolve.study import Study
from evolve.study.arms import ArmPlan

RATES = [0.001, 0.1, 0.01]
SECTION = {
    "one_factor": {"schedule": ["cosine"]},
    "seeds": 6,
    "nuisance": {"space": {"lr0": {"choices": RATES}}, "trials": 3},
}


def plan() -> ArmPlan:
    return plan_of(Study.from_mapping({"name": "s", "ablation": SECTION}, origin="test"))[1]


def params(*compared: float) -> dict[int, dict[str, Any]]:
    """Three settings for each of two arms, then what these are compared with."""
    tried = [rate for rate in RATES for _ in range(2)]
    return {number: {"lr0": rate} for number, rate in enumerate([*tried, *compared])}


def tuned(*compared: float) -> Tuned:
    (found,) = tuned_of(plan(), ["lr0"], params(*compared))
    return found


def test_the_values_of_arms_are_those_they_are_compared_with_and_what_was_tried_is_in_order() -> None:
    found = tuned(0.01, 0.1)

    assert found.chosen == {"baseline": 0.01, "schedule=cosine": 0.1}
    assert found.tried == (0.001, 0.01, 0.1)
    assert found.at_an_end == ("schedule=cosine",)
    assert found.text == "lr0 0.01 for baseline and 0.1 for schedule=cosine (the highest of 3 tried)"
    assert found.advice.startswith("lr0 of 1 arm is at an end of what was tried")


def test_where_all_arms_agree_that_is_said_once() -> None:
    assert tuned(0.001, 0.001).text == "lr0 0.001 for every arm (the lowest of 3 tried)"
    assert tuned(0.01, 0.01).text == "lr0 0.01 for every arm" and not tuned(0.01, 0.01).at_an_end


def test_names_have_no_end() -> None:
    found = Tuned(name="optimizer", chosen={"baseline": "sgd", "other": "adam"}, tried=("adam", "sgd"))

    assert not found.at_an_end and found.text == "optimizer sgd for baseline and adam for other"


def test_nothing_is_said_before_an_arm_is_compared() -> None:
    assert tuned_of(plan(), ["lr0"], params()) == ()
    assert tuned_of(plan(), [], params(0.01, 0.1)) == ()
