"""Rows about training: convergence, losses, rates."""

from __future__ import annotations

from math import nan

import numpy as np
import pandas as pd
from optuna.distributions import CategoricalDistribution, FloatDistribution
from sqlalchemy import select

from dashboards.blocks import Empty
from dashboards.data.filters import restricted
from dashboards.data.study_loading import load
from dashboards.questions import approaches, convergence, losses, schedules
from dashboards.questions.convergence import MAX_CURVES
from evolve.storage import schema
from tests.dashboards.examples import change
from tests.synthetic import Plan, add_study


def test_every_divergence_has_a_place_also_in_the_first_epoch(engine, mixed):
    view = load(engine, "many")
    ends = convergence.rows(view).ends
    diverged = view.trials.query("verdict == 'diverged'")
    own = convergence.rows(mixed).ends.set_index("number")["x"]

    assert ends["number"].tolist() == diverged["number"].tolist()
    assert ends["x"].tolist() == [view.diagnoses[number]["step"] / 20 for number in ends["number"]]
    assert (diverged["epochs"] == 0).any()
    assert own[2] == mixed.diagnoses[2]["step"] / 20


def test_where_the_batch_is_searched_a_divergence_is_at_its_own_trials_epoch(own_engine):
    add_study(own_engine, Plan(num_trials=5, verdicts=["converged"] * 3 + ["diverged"] * 2, log_steps=False))
    trial, epoch = schema.trial.c, schema.epoch.c
    ids = select(trial.trial_id).where(trial.number == 3).scalar_subquery()
    none = select(trial.trial_id).where(trial.number == 4).scalar_subquery()
    with own_engine.begin() as connection:
        row = dict(connection.execute(select(schema.epoch).limit(1)).mappings().one())
        connection.execute(schema.epoch.delete().where(epoch.trial_id.in_([ids, none])))
        own = {"trial_id": connection.scalar(select(ids)), "epoch": 0, "step": 160, "split": "val"}
        connection.execute(schema.epoch.insert().values(row | own))
    change(own_engine, schema.trial, trial.number == 3, diagnosis='{"step": 240, "epoch": 1}')
    change(own_engine, schema.trial, trial.number == 4, diagnosis='{"step": 300, "epoch": 2}')

    ends = convergence.rows(load(own_engine, "digits-lr")).ends

    assert ends["x"].tolist() == [240 / 160, 2.5]


def test_trials_that_all_diverged_in_their_first_epoch_are_drawn(own_engine):
    add_study(own_engine, Plan(num_trials=2, verdicts=["diverged"] * 2))
    change(own_engine, schema.trial, schema.trial.c.number == 0, diagnosis="{}")
    change(own_engine, schema.trial, schema.trial.c.number == 1, diagnosis='{"step": 3, "epoch": 0}')
    with own_engine.begin() as connection:
        connection.execute(schema.epoch.delete())
    found = convergence.rows(load(own_engine, "digits-lr"))

    assert found.curves == ()
    assert found.ends["x"].tolist() == [0.5, 0.5]


def test_validation_losses_that_are_no_numbers_are_named(own_engine):
    add_study(own_engine, Plan(num_trials=3, verdicts=["converged", "converged", "diverged"]))
    rows = select(schema.trial.c.trial_id).where(schema.trial.c.number == 1).scalar_subquery()
    late = (schema.epoch.c.trial_id == rows) & (schema.epoch.c.epoch >= 7) & (schema.epoch.c.split == "val")
    change(own_engine, schema.epoch, late, loss_obj=nan)
    found = losses.rows(load(own_engine, "digits-lr"))

    told = "Validation loss was not finite in 1 trial: trial 1 after epochs 8 to 10."
    assert losses.not_finite_text(found.not_finite) == told
    assert losses.not_finite_text(()) == ""


def test_few_curves_are_all_drawn_and_equal_the_epochs(view):
    found = convergence.rows(view)
    rows = view.epochs.query("split == 'val'")

    assert found.num_curves == len(found.curves) == rows["number"].nunique()
    assert found.band.empty
    for curve in found.curves:
        assert curve.y.tolist() == rows[rows["number"] == curve.number]["map50"].tolist()


def test_many_curves_are_thinned_to_a_choice_with_the_best_and_every_verdict(engine):
    view = load(engine, "many")
    found = convergence.rows(view)
    table = view.epochs.query("split == 'val' and verdict in ['converged', 'undertrained']").pivot(
        index="number", columns="epoch", values="map50"
    )

    assert len(found.curves) <= MAX_CURVES + 1 < found.num_curves
    assert found.best_number in {curve.number for curve in found.curves}
    assert {curve.verdict for curve in found.curves} == set(view.epochs["verdict"])
    np.testing.assert_allclose(found.band["median"], np.nanquantile(table, 0.5, axis=0))


def test_the_loss_is_the_sum_of_its_terms(view):
    total, terms = losses.rows(view), losses.term_rows(view)

    assert [each.name for each in terms] == list(schema.TERMS)
    np.testing.assert_allclose(total.best["val"], sum(each.best["val"] for each in terms))
    raw = view.epochs.query(f"split == 'val' and number == {total.best_number}")
    np.testing.assert_allclose(terms[0].best["train"], raw["train_box"])


def test_where_their_number_is_searched_losses_stand_over_the_training_images(own_engine, view):
    space = {"train_share": CategoricalDistribution([0.1, 0.5, 1.0])}
    add_study(own_engine, Plan(num_trials=6, space=space, verdicts=["converged"] * 5 + ["diverged"], seeds=(0, 1)))
    searched = load(own_engine, "digits-lr")
    found = losses.rows(searched)
    ends = searched.epochs.query("split == 'val' and epoch == 9 and verdict == 'converged'")
    loss = sum(ends[f"loss_{term}"] for term in schema.TERMS)
    shares = ends["number"].map(searched.params["train_share"].astype(float))

    expected = loss.groupby(shares * 640).mean()
    assert found.by_images["images"].tolist() == expected.index.tolist()
    np.testing.assert_allclose(found.by_images["val"], expected)
    _, figure = losses.draw(found)
    assert [trace.name for trace in figure.data] == ["training", "validation"]
    assert len(losses.draw_terms(losses.term_rows(searched))) == 8
    assert len(losses.draw(losses.rows(view))) == 1


def test_equal_schedules_are_drawn_once(own_engine):
    space = {"lr0": FloatDistribution(0.1, 0.1)}
    add_study(own_engine, Plan(num_trials=6, space=space, verdicts=["converged", "pruned", "converged"] * 2))
    found = schedules.rows(load(own_engine, "digits-lr"))

    assert [curve.number for curve in found.lr] == [found.best_number]
    assert found.bias_lr is not None


def test_steps_that_are_read_for_other_trials_than_the_filters_show_are_said_to_be(own_engine):
    add_study(own_engine, Plan(num_trials=19, verdicts=["diverged"] * 18 + ["waiting"], epochs=2))
    view = load(own_engine, "digits-lr")
    started = set(range(18))

    rates = schedules.rows(restricted(view, started - set(view.steps["number"])))
    last = approaches.rows(restricted(view, started - set(view.last_steps["number"])))
    none = schedules.rows(restricted(view, {18}))

    others = "of the whole study alone, and the filters leave those out."
    assert rates == Empty(f"Steps are read for 16 trials {others}")
    assert last == Empty(f"Last steps are read for 6 diverged trials {others}")
    assert none == Empty("The one trial shown never started; 18 others did.")


def test_the_rate_is_the_one_that_was_applied(engine, view):
    found = {curve.number: curve for curve in schedules.rows(view).lr}
    raw = pd.read_sql(select(schema.step.c.trial_id, schema.step.c.seed, schema.step.c.lr), engine)
    best = view.best
    own = raw[(raw["trial_id"] == best["trial_id"]) & (raw["seed"] == 0)]["lr"]

    assert found[best["number"]].y.tolist() == own.tolist()
