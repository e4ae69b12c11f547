"""Screenings: which studies are one, how many trials are laid out, and in what rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolve.errors import StudyError
from evolve.search.samplers.design import hadamard
from evolve.study import Study
from evolve.study.checks import warnings
from evolve.study.screening import is_size

CHANGES = {
    "lr0": [0.01, 0.1],
    "box": [1, 0.5],  # the study's own value last
    "schedule": ["linear", "cosine"],
    "nesterov": [True, False],
}
SIZES = [size for size in range(1, 200) if is_size(size)]


def screening(space: dict[str, Any] | None = None, **others: Any) -> Study:
    space = {name: {"choices": values} for name, values in CHANGES.items()} if space is None else space
    given = {"name": "s", "sampler": "screening", "space": space, "budget": {"trials": 9}} | others
    return Study.from_mapping(given, origin="test")


@pytest.mark.parametrize("size", SIZES)
def test_any_two_rows_and_any_two_columns_agree_in_half_of_their_places(size: int) -> None:
    matrix = np.array(hadamard(size))

    assert set(np.unique(matrix)) <= {-1, 1} and (matrix[0] == 1).all()
    assert (matrix @ matrix.T == size * np.eye(size)).all() and (matrix.T @ matrix == size * np.eye(size)).all()


@given(size=st.sampled_from([size for size in SIZES if size > 1 and is_size(size // 2)]), data=st.data())
def test_with_at_most_half_as_many_changes_as_rows_the_second_half_mirrors_the_first(
    size: int, data: st.DataObject
) -> None:
    changes = data.draw(st.integers(1, size // 2))
    rows = np.array(hadamard(size))[:, -changes:]

    assert (rows[size // 2 :] == -rows[: size // 2]).all()


def test_sizes_are_those_of_published_designs() -> None:
    assert SIZES[:14] == [1, 2, 4, 8, 12, 16, 20, 24, 32, 40, 44, 48, 60, 64]  # 28, 36, 52, 56 need other constructions


@pytest.mark.parametrize(("trials", "rows"), [(9, 8), (12, 8), (13, 12), (16, 12), (17, 16), (50, 48)])
def test_as_many_rows_as_the_budget_has_but_for_one_trial_that_follows(trials: int, rows: int) -> None:
    plan = screening(budget={"trials": trials}).screening

    assert plan is not None and plan.num_runs == rows


def test_a_change_is_from_the_studys_own_value_to_the_other_wherever_that_is_written() -> None:
    plan = screening(hyperparameters={"lr0": 0.1}).screening

    assert plan is not None
    assert [(change.name, change.own, change.other) for change in plan.changes] == [
        ("lr0", 0.1, 0.01),
        ("box", 0.5, 1.0),
        ("schedule", "linear", "cosine"),
        ("nesterov", True, False),
    ]


def test_other_samplers_screen_nothing() -> None:
    assert screening(sampler="tpe").screening is None


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"space": {"lr0": {"low": 0.01, "high": 0.1}}}, "space.lr0: a screening compares the study's own value with"),
        ({"space": {"lr0": {"choices": [0.01, 0.1, 1]}}}, r"space.lr0: .* one other; write choices: \[0.01, OTHER\]"),
        ({"space": {"lr0": {"choices": [0.02, 0.1]}}}, r"space.lr0: .* write choices: \[0.01, OTHER\]"),
        ({"pruner": "median"}, "pruner: 'median' stops trials"),
        ({"scheduler": "asha"}, "pruner: 'asha' stops trials"),
        ({"budget": {"trials": 8}}, "budget.trials: 8 trials cannot screen 4 changes; allowed: 9 and more"),
    ],
)
def test_what_is_no_screening_is_refused_with_what_is_allowed(given: dict[str, Any], text: str) -> None:
    with pytest.raises(StudyError, match=text):
        screening(**given)


def test_more_trials_than_points_are_warned_of() -> None:
    two = {name: {"choices": CHANGES[name]} for name in ("lr0", "schedule")}

    assert warnings(screening()) == []
    assert warnings(screening(two)) == ["budget.trials: 9 trials repeat some of the 4 points that 2 changes can make"]
