"""What is read of a study."""

from __future__ import annotations

from math import isnan, nan

import optuna
import pandas as pd
import pytest
from sqlalchemy import event, insert, select

from dashboards.blocks import Prose
from dashboards.data.measured import NUM_LAST_STEPS, NUM_STEP_TRIALS, STEP_BUCKETS
from dashboards.data.study_loading import FINDINGS_PER_KIND, StudyNotFoundError, load
from dashboards.questions import data_check
from evolve.storage import schema
from tests.dashboards.examples import MIXED, change, of_kind
from tests.synthetic import SPACE, Plan, add_study


def test_trials_and_hyperparameters_are_those_that_optuna_reads(engine, view):
    theirs = optuna.load_study(study_name="digits-lr", storage=str(engine.url)).trials

    assert list(view.trials["number"]) == [trial.number for trial in theirs]
    assert list(view.trials["state"]) == [trial.state.name for trial in theirs]
    for trial in theirs:
        assert view.params_of(trial.number) == pytest.approx(trial.params)


def test_reading_takes_the_same_few_statements_for_a_large_study(engine):
    counts = []
    for name in ("digits-lr", "many"):
        statements = []
        listener = lambda *arguments, kept=statements: kept.append(arguments[2])  # noqa: E731
        event.listen(engine, "before_cursor_execute", listener)
        found = load(engine, name)
        first = len(statements)
        assert all("number" in found.measured.frame(each) for each in ("epochs", "seed_results", "steps", "last_steps"))
        assert len(statements) > first
        event.remove(engine, "before_cursor_execute", listener)
        counts.append(len([each for each in statements if each.lstrip().startswith("SELECT") and "evolve_" in each]))

    assert counts[0] == counts[1] <= 19


def test_a_study_that_is_not_there_is_named_with_those_that_are(engine):
    with pytest.raises(StudyNotFoundError, match=r"no study named 'digit-lr'; there are: \['digits-lr', 'many'"):
        load(engine, "digit-lr")


def test_a_database_without_our_tables_is_no_study(tmp_path):
    from sqlalchemy import create_engine

    with pytest.raises(LookupError, match=r"evolve_study.*are missing"):
        load(create_engine(f"sqlite:///{tmp_path / 'other.db'}"), "digits-lr")


def test_epochs_are_means_over_the_seeds(engine, view):
    raw = pd.read_sql(select(schema.epoch), engine)
    ours = raw[raw["trial_id"].isin(view.trials["trial_id"])]
    means = ours.groupby(["trial_id", "split", "epoch"])[["map50", "loss_obj"]].mean()
    found = view.epochs.set_index(["trial_id", "split", "epoch"])[["map50", "loss_obj"]]

    pd.testing.assert_frame_equal(found.sort_index(), means.sort_index(), check_index_type=False)
    assert set(view.epochs["num_seeds"]) == {3}


def test_one_seed_without_a_number_leaves_the_mean_without_one(own_engine):
    add_study(own_engine, Plan(num_trials=1, verdicts=["converged"], seeds=(0, 1)))
    is_second = (schema.epoch.c.seed == 1) & (schema.epoch.c.epoch == 4) & (schema.epoch.c.split == "val")
    change(own_engine, schema.epoch, is_second, map50=nan)
    found = load(own_engine, "digits-lr").epochs.query("split == 'val'").set_index("epoch")["map50"]

    assert isnan(found[4])
    assert found.drop(4).notna().all()


def test_a_last_epoch_without_a_number_is_not_replaced_by_an_older_one(own_engine):
    add_study(own_engine, Plan(num_trials=1, verdicts=["converged"]))
    change(own_engine, schema.epoch, schema.epoch.c.epoch == 9, map50=nan)
    trial = load(own_engine, "digits-lr").trial(0)

    assert isnan(trial["map50"])
    assert trial["map50_95"] > 0
    assert trial["epochs"] == 10


def test_verdicts_are_ours_and_where_there_is_none_follow_optunas_state(mixed):
    assert tuple(mixed.trials["verdict"]) == MIXED


def test_a_trial_of_another_program_keeps_its_value_and_is_unjudged(own_engine):
    study_id = add_study(own_engine, Plan(num_trials=2, verdicts=["converged"] * 2))
    with own_engine.begin() as connection:
        connection.execute(schema.trial.delete().where(schema.trial.c.study_id == study_id))
    found = load(own_engine, "digits-lr")
    theirs = optuna.load_study(study_name="digits-lr", storage=str(own_engine.url)).trials

    assert list(found.trials["verdict"]) == ["unjudged"] * 2
    assert list(found.trials["fitness"]) == [trial.value for trial in theirs]


def test_the_worst_case_that_optuna_is_told_of_a_diverged_trial_is_not_its_fitness(mixed):
    diverged = mixed.trials.query("verdict == 'diverged'")

    assert diverged["fitness"].isna().all()


def test_the_space_keeps_the_order_and_the_ranges_of_the_study(view):
    assert [axis.name for axis in view.space] == list(SPACE)
    assert (view.space[0].low, view.space[0].high, view.space[0].is_log) == (1e-4, 10.0, True)
    assert view.space[4].choices == ("linear", "cosine")


def test_a_study_without_trials_still_knows_its_space(own_engine):
    add_study(own_engine, Plan(num_trials=0))
    found = load(own_engine, "digits-lr")

    assert [axis.name for axis in found.space] == list(SPACE)
    assert found.trials.empty
    assert found.best is None


def test_the_best_trial_is_the_highest_of_those_that_ran_to_their_end(own_engine):
    add_study(own_engine, Plan(num_trials=4, verdicts=["converged", "converged", "pruned", "undertrained"]))
    for number, fitness in enumerate((0.4, 0.6, 0.9, 0.6)):
        change(own_engine, schema.trial, schema.trial.c.number == number, fitness=fitness)

    assert load(own_engine, "digits-lr").best["number"] == 1


def test_steps_of_few_trials_are_read_in_buckets_that_keep_the_extremes(own_engine):
    plan = Plan(num_trials=30, verdicts=["converged"] * 30, epochs=2, steps_per_epoch=450, space={"lr0": SPACE["lr0"]})
    add_study(own_engine, plan)
    found = load(own_engine, "digits-lr")
    with own_engine.connect() as connection:
        raw = pd.DataFrame(connection.execute(select(schema.step)).all())
    width = -(-900 // STEP_BUCKETS)
    for number, rows in found.steps.groupby("number"):
        own = raw[raw["trial_id"] == found.trial(number)["trial_id"]]
        grouped = own.groupby(own["step"] // width)["loss"]
        assert rows["loss_low"].tolist() == grouped.min().tolist()
        assert rows["loss_high"].tolist() == grouped.max().tolist()

    assert found.steps["number"].nunique() == NUM_STEP_TRIALS
    assert len(found.steps) <= NUM_STEP_TRIALS * (STEP_BUCKETS + 1)
    assert found.best["number"] in set(found.steps["number"])


def test_the_last_steps_are_those_of_the_seed_that_diverged(own_engine):
    add_study(own_engine, Plan(num_trials=1, verdicts=["diverged"], seeds=(0, 1)))
    found = load(own_engine, "digits-lr")
    end = found.diagnoses[0]["step"]
    is_end = (schema.step.c.seed == 0) & (schema.step.c.step == end)
    change(own_engine, schema.step, is_end, loss=1.0, grad_norm=1.0)
    found = load(own_engine, "digits-lr")

    assert set(found.last_steps["seed"]) == {1}
    assert found.last_steps["step"].max() == end
    assert found.last_steps["step"].min() == max(end - NUM_LAST_STEPS + 1, 0)


def test_findings_are_counted_in_full_and_listed_in_part(own_engine):
    study_id = add_study(own_engine, Plan(num_trials=0))
    rows = [{"study_id": study_id, "kind": "outside", "file": f"{n}.txt", "message": "no"} for n in range(120)]
    with own_engine.begin() as connection:
        connection.execute(insert(schema.data_finding), rows)
    found = load(own_engine, "digits-lr")

    assert found.finding_counts == {"clipped": 7, "empty_image": 1, "outside": 120}
    assert found.findings["kind"].value_counts()["outside"] == FINDINGS_PER_KIND
    said = " ".join(sentence.text for sentence in of_kind(data_check.rows(found), Prose))
    assert "128 findings" in said
    assert "The first 58 are listed" in said
