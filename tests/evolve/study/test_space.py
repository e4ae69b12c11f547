"""Facts about search spaces: what they allow, their grids, and what Optuna is told."""

from __future__ import annotations

from itertools import pairwise
from math import log, prod
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution

from detector.hyperparameters import Hyperparameters
from evolve.errors import DefinitionError
from evolve.study.parameters import Prior
from evolve.study.space import Choices, Range, Space

LR = {"low": 1e-4, "high": 10, "log": True}


def test_a_space_is_told_to_optuna_as_it_was_written() -> None:
    space = Space.from_mapping(
        {"lr0": LR, "momentum": {"low": 0.5, "high": 0.9, "step": 0.1}, "schedule": {"choices": ["linear", "cosine"]}}
    )

    assert space.distributions() == {
        "lr0": FloatDistribution(1e-4, 10, log=True),
        "momentum": FloatDistribution(0.5, 0.9, step=0.1),
        "schedule": CategoricalDistribution(("linear", "cosine")),
    }
    assert [name for name, each in space.ranges().items() if each.log] == ["lr0"]


def test_what_a_person_thinks_of_a_parameter_is_written_with_it() -> None:
    raw = {
        "lr0": LR | {"prior": {"centre": 0.01, "confidence": "high"}},
        "schedule": {"choices": ["linear", "cosine"], "prior": {"centre": "cosine"}},
    }
    space = Space.from_mapping(raw)

    assert space["lr0"].prior == Prior(centre=0.01, confidence="high")
    assert space["schedule"].prior == Prior(centre="cosine", confidence="low")
    assert Space.from_mapping(space.to_mapping()) == space


@pytest.mark.parametrize(
    ("prior", "text"),
    [
        ({"centre": 50}, "lr0: centre 50.0 of the prior is outside 0.0001..10"),
        ({"centre": 0.1, "confidence": "some"}, "lr0.prior: confidence 'some' is not one of low, medium, high"),
        ({"center": 0.1}, "lr0.prior: unknown key 'center'; did you mean 'centre'?"),
        ({"confidence": "low"}, "lr0.prior: centre is missing"),
        (0.1, "lr0.prior: 0.1 is not {centre: ..., confidence: ...}"),
    ],
)
def test_a_prior_that_makes_no_sense_is_refused_with_its_place(prior: object, text: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        Space.from_mapping({"lr0": LR | {"prior": prior}})

    assert text in str(caught.value)


def test_a_space_written_and_read_again_is_the_same() -> None:
    space = Space.from_mapping(
        {"lr0": LR | {"points": 4}, "momentum": {"low": 0, "high": 0.9, "step": 0.3}, "nesterov": {"choices": [True]}}
    )

    assert Space.from_mapping(space.to_mapping()) == space


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (None, "None names no hyperparameter"),
        ({"lr_0": LR}, "lr_0: unknown hyperparameter 'lr_0'; did you mean 'lr0'? known:"),
        ({"lr0": {"low": 0.1, "high": 0.01}}, "lr0: low 0.1 is not below high 0.01"),
        ({"lr0": {"low": 1, "high": 1}}, "lr0: low 1 is not below high 1"),
        ({"lr0": {"low": 0, "high": 1, "log": True}}, "lr0: low 0 is not above 0, which log needs"),
        ({"momentum": {"low": 0, "high": 1}}, "momentum: high 1 is outside 0..0.9999"),
        ({"lr0": {"low": -1, "high": 1}}, "lr0: low -1 is outside 0..1e+06"),
        ({"lr0": {"low": 1}}, "lr0: high missing; a range has low and high"),
        ({"lr0": {"low": None, "high": None}}, "lr0: low and high missing"),
        ({"lr0": {"low": "x", "high": 1}}, "lr0.low: 'x' is not a finite number"),
        ({"lr0": {"low": True, "high": 2}}, "lr0.low: True is not a finite number"),
        ({"lr0": {"low": float("nan"), "high": 2}}, "lr0.low: nan is not a finite number"),
        ({"lr0": LR | {"log": "yes"}}, "lr0.log: 'yes' is not true or false"),
        ({"lr0": LR | {"points": 2.5}}, "lr0.points: 2.5 is not a whole number"),
        ({"lr0": LR | {"points": 1}}, "lr0: points 1 is not at least 2"),
        ({"lr0": LR | {"step": 0.1}}, "lr0: log and step exclude each other"),
        ({"momentum": {"low": 0, "high": 0.9, "step": 0.4}}, "momentum: step 0.4 does not lead from low 0 to high 0.9"),
        ({"momentum": {"low": 0, "high": 0.9, "step": -1}}, "momentum: step -1 is not above 0 and at most 0.9"),
        ({"momentum": {"low": 0, "high": 0.9, "step": 0.3, "points": 5}}, "momentum: points 5 is above 4"),
        ({"lr0": LR | {"lo": 1}}, "lr0: unknown key 'lo'; did you mean 'low'? known: ['low', 'high', 'log',"),
        ({"lr0": [1, 2]}, "lr0: [1, 2] is neither {low: ..., high: ...} nor {choices: [...]}"),
        ({"lr0": {"choices": [0.1], "low": 1}}, "lr0: unknown key 'low'"),
        ({"lr0": {"choices": []}}, "lr0: choices is empty"),
        ({"lr0": {"choices": "abc"}}, "lr0: choices 'abc' is not a list"),
        ({"lr0": {"choices": [0.1, -1]}}, "lr0: -1.0 is outside 0..1e+06"),
        ({"lr0": {"choices": [1, 1.0]}}, "lr0: choices [1.0, 1.0] repeats a value"),
        ({"schedule": {"choices": ["linear", "cos"]}}, "schedule: 'cos' is not one of ['linear', 'cosine', 'steps',"),
        ({"schedule": {"low": 0, "high": 1}}, "schedule: has no low and high; write choices: ['linear',"),
        ({"nesterov": {"choices": [1]}}, "nesterov: 1 is not one of [False, True]"),
    ],
)
def test_a_space_that_is_not_allowed_says_where_and_what(raw: Any, text: str) -> None:
    with pytest.raises(ValueError) as error:
        Space.from_mapping(raw)

    assert str(error.value).startswith(text)


def test_all_problems_of_a_space_are_named_together() -> None:
    with pytest.raises(DefinitionError) as error:
        Space.from_mapping({"lr0": {"low": "a", "high": "b"}, "box": 3, "momentum": {"low": 0, "high": 0.9}})

    assert [each.path for each in error.value.problems] == ["lr0.low", "lr0.high", "box"]


def test_numbers_that_yaml_reads_as_text_are_numbers() -> None:
    space = Space.from_mapping({"lr0": {"low": "1e-4", "high": "1e1"}, "box": {"choices": ["1e-2", 1]}})

    assert space["lr0"] == Range(low=1e-4, high=10.0)
    assert space["box"] == Choices(choices=(0.01, 1.0))


def test_a_grid_under_log_has_equal_ratios_and_both_ends() -> None:
    grid = Space.from_mapping({"lr0": LR | {"points": 6}}).grid(6)

    assert grid == {"lr0": [1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0]}


def test_a_grid_without_points_fits_the_budget_and_shares_it_evenly() -> None:
    space = Space.from_mapping(
        {"lr0": LR, "momentum": {"low": 0, "high": 0.9}, "schedule": {"choices": ["linear", "cosine"]}}
    )

    counts = {trials: [len(values) for values in space.grid(trials).values()] for trials in (1, 8, 12, 17, 18, 100)}

    assert counts == {1: [2, 2, 2], 8: [2, 2, 2], 12: [3, 2, 2], 17: [4, 2, 2], 18: [3, 3, 2], 100: [7, 7, 2]}


def test_a_grid_has_no_more_values_than_a_stepped_range() -> None:
    grid = Space.from_mapping({"momentum": {"low": 0.5, "high": 0.8, "step": 0.1}}).grid(50)

    assert grid == {"momentum": [0.5, 0.6, 0.7, 0.8]}


@given(
    low=st.floats(1e-6, 1e3),
    ratio=st.floats(1.001, 1e3),
    log_scale=st.booleans(),
    trials=st.integers(2, 60),
)
def test_values_of_any_grid_rise_inside_the_range_and_can_be_trained(
    low: float, ratio: float, log_scale: bool, trials: int
) -> None:
    high = low * ratio

    values = Range(low=low, high=high, log=log_scale).values(trials)

    assert values[0] == low
    assert values[-1] == high
    assert all(low <= each <= high for each in values)
    assert values == sorted(values)
    assert all(Hyperparameters(lr0=each).lr0 == each for each in values)


def test_a_grid_of_a_small_budget_never_exceeds_it_if_two_points_each_do_not() -> None:
    space = Space.from_mapping({"lr0": LR, "momentum": {"low": 0, "high": 0.9}, "box": LR})

    sizes = {trials: prod(len(each) for each in space.grid(trials).values()) for trials in range(8, 200)}

    assert all(size <= trials for trials, size in sizes.items())
    assert all(size >= 0.6 * trials for trials, size in sizes.items())


def test_log_values_are_evenly_spaced_to_six_digits() -> None:
    values = Range(low=0.003, high=3.0, log=True).values(4)

    steps = [log(after) - log(before) for before, after in pairwise(values)]
    assert steps == pytest.approx([log(10)] * 3, abs=1e-5)
