"""All rules together: silent where a search is well placed, each with a key, evidence and a study that follows it."""

from __future__ import annotations

import json
from math import log10, nan
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evolve.findings import RULES, Search, findings_of
from evolve.findings.placing import _around, _wider
from evolve.findings.search import Losses, place, value_at
from evolve.study import Study
from evolve.study.following import following
from evolve.study.space import OF_PLAN, Range
from tests.evolve.findings.made import EPOCHS, hill, ridge, searched, study, with_outlier


@pytest.mark.parametrize("num_trials", [10, 20, 64])
def test_of_a_well_placed_study_nothing_is_said(num_trials: int) -> None:
    said = [finding.key for seed in range(30) for finding in findings_of(searched(num_trials=num_trials, seed=seed))]

    assert len(said) <= 1, said  # of thirty studies


@pytest.mark.parametrize("num_trials", [12, 30])
def test_where_nothing_matters_but_luck_hardly_anything_is_said_of_places(num_trials: int) -> None:
    names = ("lr0", "momentum", "box", "obj", "weight_decay")
    space = {name: {"low": 0.1, "high": 0.9} for name in names}
    of = study(space=space)
    said = [
        finding.key
        for seed in range(60)
        for finding in findings_of(searched(lambda _: 0.5, of=of, num_trials=num_trials, noise=0.05, seed=seed))
        if finding.key.startswith("edge")
    ]

    assert len(said) <= 4, said  # of 300 hyperparameters


def test_a_search_of_which_all_diverged_and_one_without_trials_are_taken() -> None:
    assert [each.key for each in findings_of(searched(lambda _: nan))] == ["infeasible"]
    assert findings_of(Search(study=study(), tried=())) == ()


def test_an_ablation_is_no_search() -> None:
    arms = Study.from_mapping({"name": "x", "ablation": {"arms": {"a": {"lr0": 0.3}}}}, origin="test")

    assert findings_of(Search(study=arms, tried=searched().tried)) == ()


def planted() -> dict[str, Search]:
    """A search for each rule in which it has something to find."""
    turned = [5.0, 3.0, 2.0, 1.5, 1.4, 1.6, 1.8, 2.0, 2.1, 2.2, 2.3, 2.4]
    falling = [5.0 / (epoch + 1) for epoch in range(EPOCHS)]
    idle = study(
        space={"lr0": {"low": 0.001, "high": 1, "log": True}, "focal_gamma": {"low": 0.5, "high": 3}},
    )
    space = {"lr0": {"choices": [0.01, 0.1]}, "momentum": {"choices": [0.937, 0.9]}}
    screening = study(space=space, sampler="screening")
    return {
        "screened": searched(lambda params: 0.3 + params["lr0"], of=screening),
        "edge": searched(lambda params: 0.5 + 0.1 * log10(params["lr0"])),
        "alone": with_outlier(),
        "longer": searched(curve=lambda last: [last * (epoch + 1) / EPOCHS for epoch in range(EPOCHS)]),
        "shorter": searched(curve=lambda last: [last * min((epoch + 1) / 3, 1) for epoch in range(EPOCHS)]),
        "overfitting": searched(
            curve=lambda last: [last * min((epoch + 1) / 5, 1) for epoch in range(EPOCHS)],
            losses={"obj": Losses(train=falling, val=turned)},
        ),
        "unstable": searched(lambda params: nan if params["lr0"] > 0.06 else ridge(params)),
        "infeasible": searched(lambda params: nan if params["lr0"] > 0.04 else hill(params)),
        "no-use": searched(lambda params: 0.5 + 0.01 * params["lr0"], of=idle),
        "no-effect": searched(lambda params: hill({**params, "momentum": 0.89}), num_trials=300),
    }


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_finds_what_was_planted_with_evidence_and_a_study_that_follows(rule: str) -> None:
    search = planted()[rule]
    found = list(RULES[rule](search))

    assert found
    for finding in found:
        assert finding.key.startswith(rule) and finding.text
        assert finding.evidence or rule == "no-use"
        assert json.loads(json.dumps(finding.as_mapping("hunt")))["next"].startswith("evolve ")
        if finding.changes:
            made = following(search.study, finding.key, changes=finding.changes, fixes=finding.fixes)
            assert made.name == f"hunt-{finding.key}" and set(made.differences(search.study)) != {"name"}
        else:
            assert finding.command


@pytest.mark.parametrize("name", OF_PLAN)
def test_a_batch_that_hardly_mattered_is_fixed_as_the_plans(name: str) -> None:
    of = study(space={"lr0": {"low": 0.001, "high": 1, "log": True}, name: {"choices": [8, 32]}})
    search = searched(ridge, of=of, num_trials=300)
    (found,) = RULES["no-effect"](search)

    made = following(of, found.key, changes=found.changes, fixes=found.fixes)

    assert list(made.space) == ["lr0"] and getattr(made, name) == search.best.params[name]


@given(low=st.floats(1e-6, 1e3), ratio=st.floats(1.5, 1e6), part=st.floats(-1, 2), is_log=st.booleans())
def test_a_place_in_a_range_and_the_value_there_are_each_others_reverse(
    low: float, ratio: float, part: float, is_log: bool
) -> None:
    axis = Range(low=low, high=low * ratio, log=is_log)

    assert place(axis, value_at(axis, part)) == pytest.approx(part, abs=1e-6)
    assert place(axis, axis.low) == 0 and place(axis, axis.high) == pytest.approx(1)


@given(low=st.floats(1e-3, 0.9), width=st.floats(1e-9, 1), is_log=st.booleans(), is_upper=st.booleans())
@example(low=0.936, width=0.0045, is_log=False, is_upper=True)
@example(low=0.936, width=0.0045, is_log=False, is_upper=False)
def test_a_wider_range_has_one_end_further_out(low: float, width: float, is_log: bool, is_upper: bool) -> None:
    axis = Range(low=low, high=low + width, log=is_log)

    wider = _wider("box", axis, is_upper=is_upper)

    assert wider is not None
    assert (wider["low"], wider["high"]) == (
        axis.low if is_upper else wider["low"],
        wider["high"] if is_upper else axis.high,
    )
    assert wider["high"] > axis.high if is_upper else wider["low"] < axis.low


@given(low=st.floats(1e-3, 0.9), width=st.floats(1e-9, 1), is_log=st.booleans(), at=st.floats(0, 1))
@example(low=0.936, width=0.0004, is_log=False, at=0.5)
def test_a_range_around_a_value_holds_it_and_lies_within_the_one_before(
    low: float, width: float, is_log: bool, at: float
) -> None:
    axis = Range(low=low, high=low + width, log=is_log)
    best = min(max(value_at(axis, at), axis.low), axis.high)

    around = _around(axis, best)

    assert axis.low <= around["low"] <= best <= around["high"] <= axis.high and around["low"] < around["high"]


@given(shift=st.floats(-5, 5), seed=st.integers(0, 20))
def test_what_is_said_of_places_does_not_depend_on_the_unit_of_fitness(shift: float, seed: int) -> None:
    rules: Any = [RULES["edge"], RULES["alone"]]
    plain = searched(lambda params: 0.1 * log10(params["lr0"]), num_trials=12, seed=seed)
    moved = searched(lambda params: 0.1 * log10(params["lr0"]) + shift, num_trials=12, seed=seed)

    assert [each.key for rule in rules for each in rule(plain)] == [each.key for rule in rules for each in rule(moved)]
