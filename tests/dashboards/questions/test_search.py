"""Rows about the search."""

from __future__ import annotations

from dataclasses import replace
from math import nan

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution

from dashboards.blocks import Empty
from dashboards.data.filters import narrowed, restricted
from dashboards.data.study_loading import load
from dashboards.questions import diverged, headline, history, importances, losses, parallel, slices, timeline
from dashboards.state import Filters
from evolve.storage import schema
from tests.dashboards.examples import change
from tests.synthetic import SPACE, Plan, add_study


def test_history_has_every_trial_that_started_and_never_falls(mixed):
    found = history.rows(mixed)

    assert list(found.trials["number"]) == [0, 1, 2, 3, 4, 5, 7, 8]
    assert (np.diff(found.best) >= 0).all()
    assert found.best[-1] == mixed.best["fitness"]


def test_lines_lead_from_parents_to_children_and_in_colour_to_the_best(mixed):
    numbers = mixed.trials.dropna(subset="fitness")["number"].tolist()
    best = int(mixed.best["number"])
    others = [number for number in numbers if number != best]
    first, second = others[0], others[1]
    # A child of an earlier study's trial, of whom nothing is drawn, and two of this one's.
    bred = replace(mixed, parents={first: -1, second: first, best: first})

    drawn = {trace.name: trace for trace in history.draw(history.rows(bred)).data}
    without = {trace.name for trace in history.draw(history.rows(mixed)).data}

    assert list(drawn["parent to child"].x) == [first, second, None, first, best, None]
    assert list(drawn["descent of the best"].x) == [first, best, None]
    assert drawn["descent of the best"].y[1] == mixed.best["fitness"]
    assert "parent to child" not in without


def test_slices_hold_the_values_that_were_drawn(mixed):
    found = {each.parameter.name: each.rows.set_index("number") for each in slices.rows(mixed)}

    assert list(found) == list(SPACE)
    for number in (0, 4, 7):
        assert found["lr0"]["value"][number] == mixed.params["lr0"][number]
        assert found["schedule"]["value"][number] == mixed.params["schedule"][number]


def test_a_conditional_hyperparameter_is_drawn_where_it_has_a_value(view):
    params = view.params.astype({"momentum": float}).copy()
    params.loc[[1, 2], "momentum"] = nan
    found = {each.parameter.name: each.rows for each in slices.rows(replace(view, params=params))}

    assert {1, 2}.isdisjoint(found["momentum"]["number"])
    assert {1, 2} <= set(found["lr0"]["number"])


def test_the_edge_is_in_the_slice_of_its_hyperparameter_and_in_no_other(engine):
    found = {each.parameter.name: each.edge for each in slices.rows(load(engine, "many"))}
    edge = found.pop("lr0")

    assert 0.3 < edge.value < 3
    assert edge.is_above
    assert set(found.values()) == {None}


def test_trials_that_ran_at_once_have_places_of_their_own(own_engine):
    add_study(own_engine, Plan(num_trials=4, verdicts=["converged"] * 4))
    for number, (start, end) in enumerate([(0.0, 10.0), (1.0, 4.0), (5.0, 9.0), (6.0, 8.0)]):
        change(own_engine, schema.trial, schema.trial.c.number == number, started=start, ended=end)

    assert timeline.rows(load(own_engine, "digits-lr")).rows["place"].tolist() == [1, 2, 2, 3]


@pytest.mark.parametrize(
    ("verdict", "rows", "text"),
    [
        ("diverged", parallel.rows, "None of the 2 trials shown ran to its end; 3 others did."),
        ("diverged", headline.best_setting, "None of the 2 trials shown ran to its end; 3 others did."),
        ("diverged", losses.rows, "None of the 2 trials shown ran to its end; 3 others did."),
        ("diverged", importances.rows, "None of the 2 trials shown ran to its end; 3 others did."),
        ("converged", diverged.rows, "None of the 2 trials shown diverged; 2 others did."),
        ("failed", headline.best_setting, "The one trial shown never ran to its end; 3 others did."),
        ("unjudged", history.rows, "No trial passes the filters; they leave out all 9."),
    ],
)
def test_a_filter_says_what_it_leaves(mixed, verdict, rows, text):
    narrow = narrowed(mixed, Filters(verdicts=(verdict,)))

    assert rows(narrow) == Empty(text)


def test_importance_is_over_trials_that_ran_to_their_end(engine):
    view = load(engine, "many")
    found = importances.rows(view)

    assert found.best.num_trials == view.trials["verdict"].isin(["converged", "undertrained"]).sum()
    assert found.best.shares[0][0] == "lr0"


def test_importances_are_worked_out_once_as_long_as_no_other_trial_ends(engine):
    first = importances.rows(load(engine, "many"))
    known = importances._worked_out.cache_info()
    again = importances.rows(load(engine, "many"))
    fewer = importances.rows(restricted(load(engine, "many"), set(range(30))))

    assert again is first and importances._worked_out.cache_info().misses == known.misses + 1
    assert fewer != first


def test_boolean_choices_have_importances_too(own_engine):
    space = {"lr0": SPACE["lr0"], "nesterov": CategoricalDistribution([False, True])}
    add_study(own_engine, Plan(num_trials=40, space=space, verdicts=["converged"] * 40))

    assert {name for name, _ in importances.rows(load(own_engine, "digits-lr")).best.shares} == {"lr0", "nesterov"}
