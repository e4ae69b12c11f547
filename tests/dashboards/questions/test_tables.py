"""Tables of trials, failures, data and environment."""

from __future__ import annotations

import pytest

from dashboards.blocks import Prose, Table
from dashboards.data.study_loading import load
from dashboards.questions import data_check, diverged, setup, time_spent, trials
from evolve.storage import schema
from tests.dashboards.examples import change
from tests.synthetic import SPACE, Plan, add_study


def test_what_is_read_first_stands_before_the_hyperparameters(mixed):
    of_trials = [column.title for column in trials.rows(mixed).columns]
    of_diverged = [column.title for column in diverged.diverged_table(mixed).columns]

    assert of_trials.index("reason") < of_trials.index("lr0")
    assert of_diverged[:4] == ["trial", "likely cause", "what to change", "what happened"]


def test_the_table_of_trials_has_all_parameters_and_the_last_line_of_a_traceback(mixed):
    found = trials.rows(mixed)
    titles = [column.title for column in found.columns]
    failed = dict(zip(titles, found.rows[4], strict=True))

    assert len(found.rows) == 8
    assert set(SPACE) <= set(titles)
    assert failed["reason"].startswith("RuntimeError: CUDA out of memory")
    assert failed["lr0"] == mixed.params["lr0"][4]


def test_the_same_failure_is_told_once(own_engine):
    add_study(own_engine, Plan(num_trials=3, verdicts=["failed"] * 3))
    change(own_engine, schema.trial, schema.trial.c.number == 1, traceback="Traceback\nKeyError: 'x'\n")
    found = trials.failure_rows(load(own_engine, "digits-lr"))

    assert [each.summary.split(":")[0] for each in found] == ["Trials 0 and 2", "Trial 1"]
    assert found[1].text == "Traceback\nKeyError: 'x'\n"


def test_no_failure_is_good_news(view):
    assert trials.failure_rows(view) == Prose("No trial failed.")


def test_the_data_is_counted_by_split(view):
    splits, facts = data_check.rows(view)[:2]

    assert splits.rows[0] == ("train", 640, 1893, "zero 640, one 620, two 633")
    assert ("source", "digits, rendered") in facts.rows


def test_the_environment_says_how_many_trials_ran_in_it(view):
    found = setup.environment_rows(view)

    assert found[0].columns[0].title == "16 trials"
    assert ("torch", "2.14.1") in found[0].rows


def test_a_table_with_a_ragged_row_is_refused(view):
    table = trials.rows(view)

    with pytest.raises(ValueError, match="row 0 has 1 cells for"):
        Table(name="trials", columns=table.columns, rows=((1,),))


def test_where_the_time_went_is_a_bar_for_each_thing_and_all_of_the_workers_time(mixed):
    found = time_spent.rows(mixed)
    said, figure, runs = time_spent.blocks(found)

    by_place = found.rows.groupby("went_into")["seconds"].sum()
    assert set(by_place.index) == {"training", "validating", "lost", "waiting"}
    assert by_place.sum() == pytest.approx(found.known.worker_seconds)
    drawn = sum(seconds for trace in figure.data for seconds in trace.x)
    assert drawn * 60 == pytest.approx(found.known.worker_seconds)  # in minutes
    assert "of workers in 1 run" in said.text and "waiting" in said.text and "% of training" in said.text
    assert [column.title for column in runs.columns][:3] == ["began", "took", "end"] and len(runs.rows) == 1


def test_where_no_run_is_recorded_the_time_that_trials_took_is_shown_without_waiting(own_engine):
    add_study(own_engine, Plan(num_trials=3, verdicts=["converged", "diverged", "pruned"]))
    with own_engine.begin() as connection:
        connection.execute(schema.run.delete())

    said, figure = time_spent.blocks(time_spent.rows(load(own_engine, "digits-lr")))

    assert "Waiting is not known" in said.text
    assert "waiting" not in {trace.name for trace in figure.data}


def test_a_study_of_others_has_no_time_to_show(own_engine):
    add_study(own_engine, Plan(num_trials=0))

    assert "No times are stored" in time_spent.rows(load(own_engine, "digits-lr")).text
