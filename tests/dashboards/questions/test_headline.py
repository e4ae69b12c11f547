"""The headline and the best trials."""

from __future__ import annotations

from dataclasses import replace

import pytest
from optuna.distributions import FloatDistribution

from dashboards.blocks import Empty, Prose, Tiles, VerdictCounts
from dashboards.data.filters import restricted
from dashboards.data.overview import load_overview
from dashboards.data.study_loading import load
from dashboards.data.trial_sets import VERDICTS
from dashboards.questions import headline, seeds, studies, trials
from evolve.storage import schema
from tests.dashboards.examples import MIXED, change, of_kind
from tests.synthetic import SPACE, Plan, add_study


def test_no_interval_is_told_of_two_seeds(own_engine):
    add_study(own_engine, Plan(num_trials=3, verdicts=["converged"] * 3, seeds=(0, 1)))
    view = load(own_engine, "digits-lr")
    tiles = {tile.label: tile.detail for tile in of_kind(headline.rows(view), Tiles)[0].tiles}
    rows = view.seed_results.query(f"number == {view.best['number']} and split == 'val'")["map50"]
    units = {column.title: column.unit for column in trials.rows(view).columns}

    assert tiles["mAP50, val"] == f"{rows.iloc[0]:.3f} and {rows.iloc[1]:.3f}, 2 seeds"
    assert units["fitness"] == "mean of 2 seeds"


def test_one_seed_is_no_mean(mixed):
    assert {column.title: column.unit for column in trials.rows(mixed).columns}["fitness"] == ""


def test_seeds_of_the_best_trials_come_with_their_interval(engine, view):
    found = seeds.rows(view)
    best = view.best
    raw = view.seed_results.query(f"number == {best['number']} and split == 'val'")["fitness"]

    assert found.numbers[0] == best["number"]
    assert found.values[0] == tuple(raw)
    assert found.intervals[0].mean == pytest.approx(best["fitness"])


def test_of_trials_that_filters_leave_beside_the_best_nothing_is_said_of_their_seeds(own_engine):
    add_study(own_engine, Plan(num_trials=14, verdicts=["converged"] * 14, seeds=(0, 1), log_steps=False))
    whole = load(own_engine, "digits-lr")
    view = restricted(whole, set(whole.trials["number"]) - set(whole.seed_results["number"]))

    told = seeds.rows(view)
    details = [tile.detail for tile in of_kind(headline.rows(view), Tiles)[0].tiles]

    assert told == Empty(
        "Seeds are read for the 12 best trials of the whole study alone, and the filters leave those out."
    )
    assert details[:3] == [f"trial {view.best['number']}", "", ""]


def test_of_equally_good_trials_the_earlier_stands_first(own_engine):
    add_study(own_engine, Plan(num_trials=20, verdicts=["converged"] * 20, seeds=(0, 1), log_steps=False))
    for number in range(20):
        change(own_engine, schema.trial, schema.trial.c.number == number, fitness=number % 2 / 2)

    view = load(own_engine, "digits-lr")

    assert list(seeds.rows(view).numbers) == [*range(1, 20, 2), 0, 2] and view.best["number"] == 1


def test_one_seed_is_told_to_be_one(mixed):
    found = seeds.rows(mixed)

    assert isinstance(found, Empty)
    assert "`seeds`" in found.text


def test_the_headline_names_the_best_trial_and_counts_the_verdicts(mixed):
    found = headline.rows(mixed)
    text = " ".join(each.text for each in of_kind(found, Prose))
    tiles = {tile.label: tile for tile in of_kind(found, Tiles)[0].tiles}

    assert dict(of_kind(found, VerdictCounts)[0].counts) == {
        verdict: MIXED.count(verdict) for verdict in VERDICTS if verdict in MIXED
    }
    assert f"best is trial {mixed.best['number']}" in text
    assert tiles["best fitness"].value == f"{mixed.best['fitness']:.3f}"
    assert tiles["mAP50, test"].value == f"{mixed.best['test_map50']:.3f}"
    assert tiles["diverged"].detail == "25% of 8"


def test_a_best_value_at_the_end_of_its_range_is_pointed_out(own_engine):
    space = {"lr0": FloatDistribution(0.099, 0.1), "box": SPACE["box"]}
    add_study(own_engine, Plan(num_trials=1, verdicts=["converged"], space=space))
    found = load(own_engine, "digits-lr")
    params = found.params.assign(lr0=0.09901)
    rows = {row[0]: row for row in headline.best_setting(replace(found, params=params)).rows}

    assert rows["lr0"][-1] == "at the lower end"
    assert rows["lr0"][1] == 0.09901


def test_the_best_fitness_stands_beside_its_interval_or_that_it_is_of_one_seed(own_engine):
    add_study(
        own_engine, Plan(name="three", num_trials=4, verdicts=["converged"] * 4, seeds=(0, 1, 2), log_steps=False)
    )
    add_study(own_engine, Plan(name="one", num_trials=4, verdicts=["converged"] * 4, log_steps=False))
    details = {
        name: of_kind(headline.rows(load(own_engine, name)), Tiles)[0].tiles[0].detail for name in ("three", "one")
    }
    listed = {study.name: study.spread for study in load_overview(own_engine, 0.0).studies}

    assert details["three"].endswith("(95 %, 3 seeds)") and details["one"].endswith(", one seed")
    assert details["three"].partition(", ")[2] == listed["three"] and listed["one"] == "one seed"


def test_a_studys_outcomes_are_one_cell_however_many_there_are(own_engine):
    add_study(own_engine, Plan(num_trials=4, verdicts=["diverged", "converged", "pruned", "converged"]))

    table = studies.rows(load_overview(own_engine, 0.0))

    row = dict(zip((column.title for column in table.columns), table.rows[0], strict=True))
    assert row["outcomes"] == "2 converged, 1 diverged, 1 pruned"
    assert not {*VERDICTS} & {*row}
