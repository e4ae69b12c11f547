"""What ended trials are worth to samplers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from evolve.search.samplers import DIVERGED
from evolve.search.samplers.adaptive import all_valued, full_length
from evolve.search.samplers.told import LEAST_CURVES, fitness_at_full_length, told

SPACE: dict[str, BaseDistribution] = {"a": FloatDistribution(0, 1)}


def trial(state: TrialState, value: float | None = None, *, margin: float | None = None, **fields: Any) -> FrozenTrial:
    made = create_trial(state=state, value=value, params={"a": 0.5}, distributions=SPACE, **fields)
    if margin is not None:
        made.set_constraint(DIVERGED, margin)
    return made


def finished(early: float, last: float) -> FrozenTrial:
    """One that reported after epoch 2 and ended."""
    return trial(TrialState.COMPLETE, last, intermediate_values={2: early, 9: last})


def stopped(early: float) -> FrozenTrial:
    return trial(TrialState.PRUNED, early, intermediate_values={2: early})


CURVES = [finished(place / 10, place / 5) for place in range(1, LEAST_CURVES + 1)]


def test_a_diverged_trial_is_worth_the_worst_that_did_not_diverge_whatever_value_was_stored_for_it() -> None:
    history = [
        trial(TrialState.COMPLETE, 0.4),
        trial(TrialState.COMPLETE, 0.0, margin=0.3),
        trial(TrialState.PRUNED, margin=2.0),
        trial(TrialState.COMPLETE, 0.7),
    ]

    assert [each.fitness for each in told(history)] == [0.4, 0.4, 0.4, 0.7]


def test_where_all_diverged_each_is_worth_nothing_and_they_differ_in_their_margin() -> None:
    found = told([trial(TrialState.PRUNED, margin=0.3), trial(TrialState.PRUNED, margin=2.0)])

    assert [(each.fitness, each.margin) for each in found] == [(0.0, 0.3), (0.0, 2.0)]


def test_trials_without_a_measured_margin_are_one_beyond_the_edge_or_one_before_it() -> None:
    history = [trial(TrialState.COMPLETE, 0.4), trial(TrialState.PRUNED, margin=1.0)]

    assert [each.margin for each in told(history)] == [-1.0, 1.0]


def test_a_pruned_trial_is_worth_what_finished_curves_of_its_height_came_to() -> None:
    history = [*CURVES, stopped(0.3), stopped(0.35)]

    assert [each.fitness for each in told(history)[-2:]] == pytest.approx([0.6, 0.7])


def test_below_the_lowest_finished_curve_a_pruned_trial_is_worth_as_much_as_that_one() -> None:
    assert fitness_at_full_length([*CURVES, stopped(0.01)])[-1] == pytest.approx(0.2)


def test_where_too_few_curves_are_finished_a_pruned_trial_is_left_out_and_its_early_value_is_nowhere() -> None:
    history = [*CURVES[1:], stopped(0.3)]

    assert len(told(history)) == len(CURVES) - 1
    assert {each.value for each in all_valued(history)} == {each.value for each in CURVES[1:]}
    assert full_length(history) == history  # which Optuna ranks behind all that are complete


def test_curves_that_did_not_report_at_the_epoch_and_those_that_diverged_say_nothing_about_it() -> None:
    others = [trial(TrialState.COMPLETE, 0.9, intermediate_values={1: 0.1}) for _ in range(5)]
    others += [trial(TrialState.COMPLETE, 0.0, margin=1.0, intermediate_values={2: 0.3}) for _ in range(5)]

    assert fitness_at_full_length([*CURVES[1:], *others, stopped(0.3)])[-1] is None
    assert fitness_at_full_length([*CURVES, *others, stopped(0.3)])[-1] == pytest.approx(0.6)


@given(
    curves=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=LEAST_CURVES, max_size=20),
    early=st.lists(st.floats(0, 1), min_size=2, max_size=6),
)
def test_a_higher_early_value_never_comes_to_less_and_none_leaves_what_was_seen(
    curves: list[tuple[float, float]], early: list[float]
) -> None:
    found = fitness_at_full_length([*(finished(*curve) for curve in curves), *map(stopped, sorted(early))])[
        len(curves) :
    ]

    values = [value for value in found if value is not None]
    assert len(values) == len(early)
    assert all(after >= before - 1e-12 for before, after in pairwise(values))
    lasts = [last for _, last in curves]
    assert min(lasts) - 1e-12 <= values[0] and values[-1] <= max(lasts) + 1e-12


def test_what_failed_or_runs_is_worth_nothing_yet() -> None:
    assert told([trial(TrialState.FAIL), trial(TrialState.RUNNING)]) == []
