"""Rows about trainings that diverged."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import select

from dashboards.blocks import Empty, Prose
from dashboards.data.filters import narrowed
from dashboards.data.study_loading import load
from dashboards.questions import approaches, cured, diverged, foreseen, setup
from dashboards.state import Filters
from evolve.storage import schema
from tests.dashboards.examples import change
from tests.synthetic import Plan, add_study


def test_causes_are_counted_and_say_how_early_the_first_sign_was(engine):
    view = load(engine, "many")
    found = diverged.causes_table(view)
    diagnoses = view.diagnoses.values()
    counted = {row[0]: row[1:] for row in found.rows}
    late = [each for each in diagnoses if (each["term"], each["scale"], each["in_warmup"]) == ("obj", 1, False)]
    ahead = [each["steps_ahead"] for each in late if each["steps_ahead"] is not None]

    assert sum(row[1] for row in found.rows) == len(diagnoses)
    assert [row[1] for row in found.rows] == sorted((row[1] for row in found.rows), reverse=True)
    assert counted["obj loss at scale 1, after warm-up"] == (len(late), len(ahead), np.median(ahead))


def test_the_table_of_divergence_shows_what_the_diagnosis_says(mixed):
    found = diverged.diverged_table(mixed)
    titles = [column.title for column in found.columns]
    row = dict(zip(titles, found.rows[0], strict=True))
    diagnosis = mixed.diagnoses[2]

    assert len(found.rows) == 2
    assert (row["trial"], row["step"], row["epoch"]) == (2, diagnosis["step"], diagnosis["epoch"])
    assert (row["loss term"], row["learning rate"]) == (diagnosis["term"], diagnosis["lr"])
    assert row["scale"] == f"{diagnosis['scale']}, stride {32 >> diagnosis['scale']}"
    assert row["what happened"] == diagnosis["summary"]
    assert row["warm-up"] == ("in" if diagnosis["in_warmup"] else "after")


@pytest.mark.parametrize(
    "text", ["{}", "not json", '{"step": "nan", "scale": null, "lr": "inf", "epoch": null}', "[1]"]
)
def test_a_diagnosis_with_holes_is_shown_as_far_as_it_goes(own_engine, text):
    add_study(own_engine, Plan(num_trials=1, verdicts=["diverged"], reason="loss nan"))
    change(own_engine, schema.trial, schema.trial.c.number == 0, diagnosis=text)
    found = load(own_engine, "digits-lr")

    assert diverged.diverged_table(found).rows[0][:4] == (0, "", "", "loss nan")
    assert diverged.causes_table(found).rows[0][0] == "unknown"
    assert isinstance(approaches.rows(found), Empty)


def test_the_last_steps_end_at_zero_and_hold_the_gradient(engine, mixed):
    found = approaches.rows(mixed)
    raw = pd.read_sql(select(schema.step), engine)

    assert [each.end for each in found] == sorted(each.end for each in found)
    for each in found:
        own = raw[raw["trial_id"] == mixed.trial(each.number)["trial_id"]].tail(len(each.steps))
        assert each.steps[-1] == 0
        diagnosis = mixed.diagnoses[each.number]
        columns = ["max_box_logit", "update_ratio", "grad_norm", f"{diagnosis['term']}_{diagnosis['scale']}"]
        for column, trace in zip(columns, each.traces, strict=True):
            np.testing.assert_array_equal(trace.values, own[column].to_numpy(dtype=float))


@pytest.mark.parametrize("text", ['{"step": 9, "term": "gradient", "scale": null}', '{"step": 9}'])
def test_where_no_term_broke_the_whole_loss_is_shown(own_engine, text):
    add_study(own_engine, Plan(num_trials=1, verdicts=["diverged"]))
    change(own_engine, schema.trial, schema.trial.c.number == 0, diagnosis=text)

    assert approaches.rows(load(own_engine, "digits-lr"))[0].traces[-1].name == "loss, all terms"


def test_the_command_that_tries_remedies_finds_the_database_of_the_page(engine):
    found = cured.rows(load(engine, "many"))

    assert isinstance(found, Prose) and f"`evolve cure many --storage {engine.url}`" in found.text


def test_what_warned_stands_beside_what_became_of_it_and_nowhere_else(own_engine):
    verdicts = ["diverged", "converged", "diverged", "doomed", "undertrained", "running"]
    warned = {2: "update 3 above 1.4 at step 7", 3: "box 80 above 59 at step 4", 1: "rise 40 above 35 at step 9"}
    add_study(own_engine, Plan(num_trials=6, verdicts=verdicts, log_steps=False, warned=warned))
    view = load(own_engine, "digits-lr")

    said, table = foreseen.rows(view)

    counts = "1 of 2 trials that diverged, 1 that were stopped for it and 1 of 2 that trained through"
    assert said.text == f"Warned: {counts}."
    assert table.rows == (
        (2, "diverged", "update 3 above 1.4 at step 7"),
        (3, "doomed", "box 80 above 59 at step 4"),
        (1, "converged", "rise 40 above 35 at step 9"),
    )
    assert isinstance(setup.event_rows(view), Prose)  # none of those that are no warning
    few = foreseen.rows(narrowed(view, Filters(verdicts=("converged",))))
    assert few[0].text == "Warned: 0 of 0 trials that diverged and 1 of 1 that trained through."
    assert len(few[1].rows) == 1


def test_where_nothing_warned_there_is_nothing_to_show(mixed):
    assert isinstance(foreseen.rows(mixed), Empty)
