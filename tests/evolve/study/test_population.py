"""What a study says of a population, and which trial trains which member."""

from __future__ import annotations

from typing import Any

import pytest

from evolve.errors import StudyError
from evolve.study import Study
from evolve.study.checks import warnings
from evolve.study.population import PopulationPlan, lineage, lived_through

LR0 = {"lr0": {"low": 0.001, "high": 0.1, "log": True}}


def pbt_study(**changes: Any) -> Study:
    return Study.from_mapping(
        {"name": "fake", "sampler": "pbt", "space": LR0, "budget": {"trials": 40}} | changes, origin="test"
    )


def test_a_population_needs_no_more_than_its_name() -> None:
    study = pbt_study()

    assert study.pbt is not None and (study.pbt.members, study.pbt.interval, study.pbt.num_replaced) == (8, 2, 2)
    assert study.population is not None and study.population.num_trials == 40
    assert Study.from_json(study.to_json()) == study
    assert not warnings(study)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"pbt": {"share": 0.6}}, "pbt.share: 0.6 is above 0.5"),
        ({"pbt": {"members": 1}}, "pbt.members: 1 is not at least 2"),
        ({"pbt": {"interval": 0}}, "pbt.interval: 0 is not at least 1"),
        ({"pbt": {"factors": [0.8, 0]}}, r"pbt.factors: \[0.8, 0.0\] is not a list of numbers above 0"),
        ({"pbt": {"shares": 0.5}}, "pbt: unknown key 'shares'; did you mean 'share'"),
        ({"sampler": "tpe", "pbt": {}}, "pbt: is only looked at by the sampler 'pbt', and this one is 'tpe'"),
        ({"pruner": "median"}, "pruner: 'median' would stop members, and pbt replaces the weak ones itself"),
        ({"warm_start": ["other"]}, "warm_start: 'pbt' looks at no earlier trials"),
        (
            {"space": LR0 | {"cells": {"choices": ["centre", "square"]}}},
            "space.cells: is a choice: weights and optimizer mean something else under another one, and pbt changes",
        ),
        (
            {"space": LR0 | {"fliplr": {"low": 0, "high": 1}}},
            "space.fliplr: is shared by all lanes of a training, and pbt changes what it searches while one is",
        ),
        ({"space": LR0 | {"batch_size": {"choices": [8, 16]}}}, "space.batch_size: is shared by all lanes"),
        ({"from_epoch": {2: {"lr0": 0.1}}}, "from_epoch: lr0 is searched as well"),
    ],
)
def test_what_does_not_go_with_a_population_is_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(StudyError, match=text):
        pbt_study(**changes)


@pytest.mark.parametrize(
    ("later", "text"),
    [
        ({0: {"momentum": 0.5}}, "from_epoch: 0 is not an epoch from which on something changes, at least 1"),
        ({"x": {"momentum": 0.5}}, "from_epoch: 'x' is not an epoch"),
        ({2: {"moment": 0.5}}, "from_epoch.2.moment: unknown hyperparameter 'moment'"),
        ({2: {"momentum": 5}}, "from_epoch.2.momentum: 5"),
        ({2: {"optimizer": "adamw"}}, "from_epoch.2.optimizer: is a choice"),
        ({2: {"scale": 0.5}}, "from_epoch.2.scale: is shared by all lanes of a training; it cannot change"),
        ([2], r"from_epoch: \[2\] is not a mapping of epochs"),
    ],
)
def test_what_cannot_change_while_a_training_is_under_way_is_refused(later: Any, text: str) -> None:
    with pytest.raises(StudyError, match=text):
        pbt_study(from_epoch=later)


def test_changes_add_up_from_epoch_to_epoch() -> None:
    study = pbt_study(sampler="tpe", from_epoch={4: {"box": 2.0}, 2: {"momentum": 0.8, "box": 1.0}})

    later = study.later_hyperparameters({"lr0": 0.05})

    assert [(epoch, each.lr0, each.momentum, each.box) for epoch, each in later.items()] == [
        (2, 0.05, 0.8, 1.0),
        (4, 0.05, 0.8, 2.0),
    ]
    assert Study.from_json(study.to_json()) == study


def test_trials_are_members_through_parts_of_the_training_and_then_another_population_begins() -> None:
    plan = PopulationPlan(members=3, interval=2, epochs=5)

    assert (plan.num_generations, plan.num_trials) == (3, 9)
    assert [plan.generation_of(number) for number in range(10)] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 0]
    assert [(plan.begin_of(number), plan.end_of(number)) for number in (0, 4, 8, 9)] == [(0, 2), (2, 4), (4, 5), (0, 2)]
    assert [list(plan.generation_before(number)) for number in (2, 5, 9)] == [[], [0, 1, 2], []]
    assert [list(plan.generation_after(number)) for number in (2, 7)] == [[3, 4, 5], []]
    assert plan.epochs_in(9) == 3 * 5


def test_a_schedule_is_what_the_trials_of_a_line_were_trained_with_where_it_changed() -> None:
    plan = PopulationPlan(members=2, interval=2, epochs=6)
    line = lineage({2: 1, 3: 1, 4: 3, 5: 3}, 5)

    first, changes = lived_through(
        plan, line, {1: {"lr0": 0.1, "box": 1.0}, 3: {"lr0": 0.1, "box": 1.0}, 5: {"lr0": 0.08, "box": 1.0}}
    )

    assert line == [1, 3, 5]
    assert (first, changes) == ({"lr0": 0.1, "box": 1.0}, {4: {"lr0": 0.08}})


def test_budgets_that_cut_a_population_short_are_warned_of() -> None:
    (said,) = warnings(pbt_study(budget={"trials": 30}))
    (alone,) = warnings(pbt_study(epochs=2, budget={"trials": 8}))

    assert said.startswith("budget.trials: 30 are not whole populations of 40")
    assert alone == "pbt.interval: nothing is exchanged in a training of 2 epochs"
