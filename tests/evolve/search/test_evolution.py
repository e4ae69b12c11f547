"""Who becomes a parent, and what children are like."""

from __future__ import annotations

from math import log10
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from evolve.search.evolution import EvolutionSampler
from evolve.search.samplers import DIVERGED
from evolve.search.samplers.evolving import Classic, Evolution, ranked_parents
from evolve.search.samplers.unit_cube import to_unit

optuna.logging.set_verbosity(optuna.logging.WARNING)
SPACE: dict[str, BaseDistribution] = {
    "lr0": FloatDistribution(1e-5, 0.1, log=True),
    "mixup": FloatDistribution(0.0, 1.0),
    "schedule": CategoricalDistribution(["linear", "cosine"]),
}
NUMBERS = {name: SPACE[name] for name in ("lr0", "mixup")}


def trial(number: int, value: float | None, *, diverged: bool = False, **params: Any) -> FrozenTrial:
    given = {"lr0": 0.01, "mixup": 0.0, "schedule": "linear"} | params
    made = create_trial(
        state=TrialState.PRUNED if value is None else TrialState.COMPLETE,
        value=value,
        params={name: given[name] for name in SPACE},
        distributions=SPACE,
        constraints={DIVERGED: 1.0} if diverged else {},
    )
    made.number = number
    return made


def children(history: list[FrozenTrial], count: int = 60) -> list[dict[str, Any]]:
    """What each of many trials would be after the same history."""
    evolution = Evolution(distributions=SPACE, study_seed=0)
    return [dict(evolution(history, number)) for number in range(10, 10 + count)]


def test_parents_are_the_five_best_that_ended_and_never_one_that_diverged() -> None:
    history = [trial(number, number / 10) for number in range(7)]
    history += [trial(7, 0.95, diverged=True), trial(8, None)]

    assert [parent.number for parent in ranked_parents(history)] == [6, 5, 4, 3, 2]


def test_children_are_near_their_parent_on_each_parameters_own_scale() -> None:
    found = children([trial(0, 0.5, lr0=1e-4, mixup=0.5)])

    for child in found:
        away = [
            abs(a - b)
            for a, b in zip(
                to_unit(SPACE, child), to_unit(SPACE, trial(0, 0.5, lr0=1e-4, mixup=0.5).params), strict=True
            )
        ]
        assert away[0] < 0.8
    # As often to a tenth as to ten times of it, where steps of one size would leave the range.
    below = sum(child["lr0"] < 1e-4 for child in found if child["lr0"] != 1e-4)
    assert 0.25 < below / len(found) < 0.75


def test_a_value_of_zero_leaves_zero_and_in_the_classic_rule_it_never_does() -> None:
    history = [trial(0, 0.5, mixup=0.0)]
    classic = Classic(distributions=NUMBERS, study_seed=0)

    assert sum(child["mixup"] > 0 for child in children(history)) > 30
    assert all(classic(history, number)["mixup"] == 0 for number in range(1, 60))


def test_children_stay_away_from_what_diverged() -> None:
    history = [
        trial(0, 0.5, lr0=1e-3, mixup=0.5),
        *(trial(1 + k, None, diverged=True, lr0=4e-3, mixup=k / 4) for k in range(5)),
    ]

    nearer = sum(child["lr0"] > 2e-3 for child in children(history))

    assert nearer < sum(child["lr0"] > 2e-3 for child in children(history[:1])) / 2


def test_trials_that_run_are_not_tried_again() -> None:
    choices = {"schedule": CategoricalDistribution(["linear", "cosine", "steps"])}
    evolution, history = Evolution(distributions=choices, study_seed=3), []
    for number, name in enumerate(["linear", "cosine"]):
        ran = create_trial(state=TrialState.COMPLETE, value=0.5, params={"schedule": name}, distributions=choices)
        ran.number = number
        history.append(ran)

    assert {evolution(history, number)["schedule"] for number in range(10, 30)} == {"steps"}


def test_the_classic_rule_multiplies_a_parents_values_by_factors_from_0_3_to_3() -> None:
    classic = Classic(distributions=NUMBERS, study_seed=0)
    history = [trial(0, 0.5, lr0=0.01, mixup=0.2)]

    for number in range(1, 80):
        found = classic(history, number)
        assert found["lr0"] == round(found["lr0"], 5)
        assert all(0.3 - 1e-3 <= found[name] / history[0].params[name] <= 3 + 1e-3 for name in NUMBERS)
        assert found != {name: history[0].params[name] for name in NUMBERS}


def test_a_child_says_whose_it_is_and_is_nearer_to_its_parent_than_to_others() -> None:
    history = [trial(0, 0.5, lr0=1e-4, mixup=0.1), trial(1, 0.5, lr0=3e-2, mixup=0.9)]

    for sampler in (Evolution(distributions=SPACE, study_seed=0), Classic(distributions=NUMBERS, study_seed=0)):
        found = [sampler.suggestion(history, number) for number in range(10, 40)]
        assert {each.parent for each in found} == {0, 1}
        # Factors of one step and steps of a fifth of the range lead from one half of it to the other only rarely.
        assert sum((each.params["lr0"] > 2e-3) == bool(each.parent) for each in found) > 24


def test_the_first_trials_have_no_parent() -> None:
    assert Evolution(distributions=SPACE, study_seed=0).suggestion([], 0).parent is None
    assert Classic(distributions=NUMBERS, study_seed=0).suggestion([], 0).parent is None


@settings(max_examples=40, deadline=None)
@given(
    history=st.lists(
        st.tuples(st.floats(1e-5, 0.1), st.floats(0, 1), st.sampled_from([None, 0.1, 0.4, 0.8]), st.booleans()),
        max_size=12,
    ),
    number=st.integers(12, 1000),
)
def test_every_child_is_in_the_space_and_the_same_when_asked_again(
    history: list[tuple[float, float, float | None, bool]], number: int
) -> None:
    trials = [
        trial(place, value, diverged=diverged, lr0=lr0, mixup=mixup)
        for place, (lr0, mixup, value, diverged) in enumerate(history)
    ]

    found = Evolution(distributions=SPACE, study_seed=1)(trials, number)

    assert all(SPACE[name]._contains(SPACE[name].to_internal_repr(value)) for name, value in found.items())
    assert found == Evolution(distributions=SPACE, study_seed=1)(trials, number)


def test_plain_optuna_finds_a_better_learning_rate_than_it_began_with() -> None:
    study = optuna.create_study(direction="maximize", sampler=EvolutionSampler(NUMBERS, seed=0))

    def objective(asked: optuna.Trial) -> float:
        lr0 = asked.suggest_float("lr0", 1e-5, 0.1, log=True)
        return 1 - abs(log10(lr0) + 3) - asked.suggest_float("mixup", 0.0, 1.0)

    study.optimize(objective, n_trials=40)

    first = max(each.value for each in study.trials[:5])
    assert study.best_value > first
    assert study.best_params["lr0"] == pytest.approx(1e-3, rel=0.5)


def test_in_plain_optuna_a_parameter_may_have_a_single_value() -> None:
    space: dict[str, BaseDistribution] = {"lr0": SPACE["lr0"], "fixed": FloatDistribution(0.5, 0.5)}
    study = optuna.create_study(direction="maximize", sampler=EvolutionSampler(space, seed=0))

    study.optimize(
        lambda asked: asked.suggest_float("lr0", 1e-5, 0.1, log=True) * asked.suggest_float("fixed", 0.5, 0.5),
        n_trials=8,
    )

    assert {each.params["fixed"] for each in study.trials} == {0.5}
