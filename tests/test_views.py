"""What is read of a study, and the rows behind each picture."""

from __future__ import annotations

from dataclasses import replace
from math import inf, isnan, nan

import numpy as np
import optuna
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution
from sqlalchemy import event, insert, select, update
from sqlalchemy.dialects import postgresql

from dashboards.blocks import Empty, Prose, Table
from dashboards.data import queries
from dashboards.data.filters import narrowed
from dashboards.data.measured import NUM_LAST_STEPS, NUM_STEP_TRIALS, STEP_BUCKETS
from dashboards.data.study_loading import FINDINGS_PER_KIND, StudyNotFoundError, load
from dashboards.data.trial_sets import VERDICTS, spread_evenly
from dashboards.figures.downsampling import downsample, joined, polyline
from dashboards.questions import (
    approaches,
    convergence,
    data_check,
    diverged,
    divergence_map,
    headline,
    history,
    importances,
    losses,
    parallel,
    schedules,
    seeds,
    setup,
    slices,
    timeline,
    trials,
)
from dashboards.questions.convergence import MAX_CURVES
from dashboards.questions.edges import divergence_sentence
from dashboards.state import Filters
from evolve.storage import schema
from tests.synthetic import SPACE, Plan, add_study, new_engine

CURVE = st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(nan), st.just(inf)), max_size=300)
MIXED = ("converged", "undertrained", "diverged", "pruned", "failed", "running", "waiting", "diverged", "converged")


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    engine = new_engine(tmp_path_factory.mktemp("views") / "study.db")
    add_study(engine, Plan(seeds=(0, 1, 2), seed=3))
    add_study(engine, Plan(name="mixed", num_trials=len(MIXED), verdicts=MIXED))
    add_study(engine, Plan(name="many", num_trials=300, epochs=8, log_steps=False, seed=2))
    return engine


@pytest.fixture(scope="module")
def view(engine):
    return load(engine, "digits-lr")


@pytest.fixture(scope="module")
def mixed(engine):
    return load(engine, "mixed")


@pytest.fixture
def own_engine(tmp_path):
    """A database that a test may change."""
    return new_engine(tmp_path / "own.db")


def change(engine, table, condition, **values):
    with engine.begin() as connection:
        changed = connection.execute(update(table).where(condition).values(**values)).rowcount
    assert changed


# Reading


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

    assert counts[0] == counts[1] <= 13


def test_a_study_that_is_not_there_is_named_with_those_that_are(engine):
    with pytest.raises(StudyNotFoundError, match=r"no study named 'digit-lr'; there are: \['digits-lr', 'many'"):
        load(engine, "digit-lr")


def test_a_database_without_our_tables_is_no_study(tmp_path):
    from sqlalchemy import create_engine

    with pytest.raises(LookupError, match=r"evolve_epoch.*are missing"):
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


@pytest.mark.parametrize(
    "statement",
    [
        queries.study_by_name("a"),
        queries.trial_rows(1),
        queries.param_rows(1),
        queries.epoch_rows(1),
        queries.seed_rows([1, 2]),
        queries.step_ranges([1]),
        queries.step_buckets({1: 0}, 7),
        queries.steps_up_to({1: 40}, 100),
        queries.finding_counts(1),
        queries.finding_rows(1, 50),
        queries.environment_rows(["a"]),
    ],
)
def test_every_statement_can_be_said_to_postgresql(statement):
    text = str(statement.compile(dialect=postgresql.dialect()))

    assert text.startswith("SELECT")


def test_the_bucket_expression_is_the_same_in_both_places_for_postgresql():
    text = str(queries.step_buckets({1: 0}, 7).compile(dialect=postgresql.dialect()))

    assert "GROUP BY evolve_step.trial_id, evolve_step.step / 7" in text


def test_findings_are_counted_in_full_and_listed_in_part(own_engine):
    study_id = add_study(own_engine, Plan(num_trials=0))
    rows = [{"study_id": study_id, "kind": "outside", "file": f"{n}.txt", "message": "no"} for n in range(120)]
    with own_engine.begin() as connection:
        connection.execute(insert(schema.data_finding), rows)
    found = load(own_engine, "digits-lr")

    assert found.finding_counts == {"clipped": 7, "empty_image": 1, "outside": 120}
    assert found.findings["kind"].value_counts()["outside"] == FINDINGS_PER_KIND
    assert "128 findings" in data_check.rows(found).note.text
    assert "The first 58 are listed" in data_check.rows(found).note.text


# Thinning


@given(CURVE, st.integers(1, 20))
def test_a_thinned_curve_keeps_ends_extremes_of_each_bucket_and_gaps(values, num_buckets):
    curve = np.asarray(values, dtype=float)
    kept = downsample(curve, num_buckets=num_buckets)

    assert (np.diff(kept) > 0).all()
    assert len(kept) <= 3 * num_buckets + 2
    if len(curve) <= 3 * num_buckets:
        assert len(kept) == len(curve)
        return
    assert (kept[0], kept[-1]) == (0, len(curve) - 1)
    for positions in np.array_split(np.arange(len(curve)), num_buckets):
        here = kept[np.isin(kept, positions)]
        finite = curve[positions][np.isfinite(curve[positions])]
        kept_finite = curve[here][np.isfinite(curve[here])]
        if len(finite):
            assert (kept_finite.min(), kept_finite.max()) == (finite.min(), finite.max())
        assert np.isfinite(curve[here]).all() == np.isfinite(curve[positions]).all()


def test_no_bucket_is_refused():
    with pytest.raises(ValueError, match="num_buckets: 0 is not at least 1"):
        downsample([1.0], num_buckets=0)


@given(st.lists(st.one_of(st.floats(-1e3, 1e3), st.none()), min_size=1, max_size=60), st.integers(1, 7))
def test_a_line_through_buckets_spans_what_the_steps_span(values, width):
    frame = pd.DataFrame({"step": range(len(values)), "loss": pd.Series(values, dtype=float)})
    groups = frame.groupby(frame["step"] // width)
    buckets = pd.DataFrame(
        {
            "first_step": groups["step"].min(),
            "last_step": groups["step"].max(),
            "loss_low": groups["loss"].min(),
            "loss_high": groups["loss"].max(),
            "loss_missing": groups["loss"].apply(lambda each: int(each.isna().sum())),
        }
    )
    x, y = polyline(buckets, "loss")
    finite = [value for value in values if value is not None]

    assert (np.diff(x) >= 0).all()
    assert np.isnan(y).sum() == (buckets["loss_missing"] > 0).sum()
    if finite:
        assert (np.nanmin(y), np.nanmax(y)) == (min(finite), max(finite))
    if width == 1:
        np.testing.assert_array_equal(y, frame["loss"].to_numpy())


def test_a_falling_curve_falls_through_its_buckets():
    rates = np.linspace(1.0, 0.0, 40)
    buckets = pd.DataFrame(
        {
            "first_step": np.arange(0, 40, 4),
            "last_step": np.arange(3, 40, 4),
            "lr_low": rates[3::4],
            "lr_high": rates[::4],
            "lr_missing": 0,
        }
    )

    assert (np.diff(polyline(buckets, "lr")[1][1:]) < 0).all()


def test_joined_curves_are_parted_by_gaps():
    x, y, owners = joined([(np.array([0.0, 1.0]), np.array([5.0, 6.0])), (np.array([0.0]), np.array([7.0]))])

    np.testing.assert_array_equal(y, [5.0, 6.0, nan, 7.0, nan])
    assert np.isnan(x).tolist() == np.isnan(y).tolist()
    assert owners.tolist() == [0, 0, 0, 1, 1]


@given(st.integers(0, 50), st.integers(1, 20))
def test_an_even_spread_has_both_ends_and_no_repeats(length, count):
    ranked = list(range(length))
    found = spread_evenly(ranked, count)

    assert len(found) == len(set(found)) == min(length, count)
    if count > 1 and length:
        assert (found[0], found[-1]) == (0, length - 1)


# Rows for each picture


def test_history_has_every_trial_that_started_and_never_falls(mixed):
    found = history.rows(mixed)

    assert list(found.trials["number"]) == [0, 1, 2, 3, 4, 5, 7, 8]
    assert (np.diff(found.best) >= 0).all()
    assert found.best[-1] == mixed.best["fitness"]


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


def test_the_map_is_over_the_learning_rate_and_the_next_axis(engine):
    found = divergence_map.rows(load(engine, "many"))

    assert (found.x.name, found.y.name) == ("lr0", "momentum")
    assert any("Above lr0" in sentence for sentence in found.sentences)
    assert not any("momentum" in sentence for sentence in found.sentences)


def test_the_sentence_of_the_map_counts_the_trials_of_the_study(engine):
    view = load(engine, "many")
    sentence = divergence_map.rows(view).sentences[0]
    edge = float(sentence.removeprefix("Above lr0 ").split(",")[0])
    decided = view.trials[~view.trials["verdict"].isin(["running", "failed"])]
    beyond = decided[view.params["lr0"].reindex(decided["number"]).to_numpy() > edge]
    diverged = (beyond["verdict"] == "diverged").sum()

    assert f", {diverged} of {len(beyond)} trials diverged; below, " in sentence
    assert headline.rows(view).sentences[0].text == f"Where does the learning rate stop being safe? {sentence}"


def test_a_study_without_an_edge_says_how_many_diverged(own_engine):
    add_study(own_engine, Plan(num_trials=3, verdicts=["converged"] * 3))
    add_study(own_engine, Plan(name="lost", num_trials=3, verdicts=["diverged"] * 3))

    assert divergence_sentence(load(own_engine, "digits-lr")) == "None of 3 trials diverged."
    assert divergence_sentence(load(own_engine, "lost")) == "Every one of 3 trials diverged."


@pytest.mark.parametrize(
    ("count", "answer"),
    [(2, "2 of 8 trials diverged."), (3, "3 of 8 trials diverged; no single hyperparameter tells which.")],
)
def test_an_edge_is_not_looked_for_among_one_or_two(own_engine, count, answer):
    space = {"lr0": FloatDistribution(0.1, 0.1)}
    add_study(own_engine, Plan(num_trials=8, space=space, verdicts=["diverged"] * count + ["converged"] * (8 - count)))

    assert divergence_sentence(load(own_engine, "digits-lr")) == answer


def test_the_edge_is_in_the_slice_of_its_hyperparameter_and_in_no_other(engine):
    found = {each.parameter.name: each.edge for each in slices.rows(load(engine, "many"))}
    edge = found.pop("lr0")

    assert 0.3 < edge.value < 3
    assert edge.is_above
    assert set(found.values()) == {None}


def test_every_divergence_has_a_place_also_in_the_first_epoch(engine, mixed):
    view = load(engine, "many")
    ends = convergence.rows(view).ends
    diverged = view.trials.query("verdict == 'diverged'")
    own = convergence.rows(mixed).ends.set_index("number")["x"]

    assert ends["number"].tolist() == diverged["number"].tolist()
    assert ends["x"].tolist() == [view.diagnoses[number]["step"] / 20 for number in ends["number"]]
    assert (diverged["epochs"] == 0).any()
    assert own[2] == mixed.diagnoses[2]["step"] / 20


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


def test_what_is_read_first_stands_before_the_hyperparameters(mixed):
    of_trials = [column.title for column in trials.rows(mixed).columns]
    of_diverged = [column.title for column in diverged.diverged_table(mixed).columns]

    assert of_trials.index("reason") < of_trials.index("lr0")
    assert of_diverged[:2] == ["trial", "what happened"]


def test_no_interval_is_told_of_two_seeds(own_engine):
    add_study(own_engine, Plan(num_trials=3, verdicts=["converged"] * 3, seeds=(0, 1)))
    view = load(own_engine, "digits-lr")
    tiles = {tile.label: tile.detail for tile in headline.rows(view).tiles.tiles}
    rows = view.seed_results.query(f"number == {view.best['number']} and split == 'val'")["map50"]
    units = {column.title: column.unit for column in trials.rows(view).columns}

    assert tiles["mAP50, val"] == f"{rows.iloc[0]:.3f} and {rows.iloc[1]:.3f}, 2 seeds"
    assert units["fitness"] == "mean of 2 seeds"


def test_one_seed_is_no_mean(mixed):
    assert {column.title: column.unit for column in trials.rows(mixed).columns}["fitness"] == ""


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


def test_one_axis_makes_a_map_of_one(own_engine):
    add_study(own_engine, Plan(space={"lr0": SPACE["lr0"]}))

    assert divergence_map.rows(load(own_engine, "digits-lr")).y is None


def test_importance_is_over_trials_that_ran_to_their_end(engine):
    view = load(engine, "many")
    found = importances.rows(view)

    assert found.num_trials == view.trials["verdict"].isin(["converged", "undertrained"]).sum()
    assert found.shares[0][0] == "lr0"


def test_boolean_choices_have_importances_too(own_engine):
    space = {"lr0": SPACE["lr0"], "nesterov": CategoricalDistribution([False, True])}
    add_study(own_engine, Plan(num_trials=40, space=space, verdicts=["converged"] * 40))

    assert {name for name, _ in importances.rows(load(own_engine, "digits-lr")).shares} == {"lr0", "nesterov"}


def test_seeds_of_the_best_trials_come_with_their_interval(engine, view):
    found = seeds.rows(view)
    best = view.best
    raw = view.seed_results.query(f"number == {best['number']} and split == 'val'")["fitness"]

    assert found.numbers[0] == best["number"]
    assert found.values[0] == tuple(raw)
    assert found.intervals[0].mean == pytest.approx(best["fitness"])


def test_one_seed_is_told_to_be_one(mixed):
    found = seeds.rows(mixed)

    assert isinstance(found, Empty)
    assert "`seeds`" in found.text


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


def test_equal_schedules_are_drawn_once(own_engine):
    space = {"lr0": FloatDistribution(0.1, 0.1)}
    add_study(own_engine, Plan(num_trials=6, space=space, verdicts=["converged", "pruned", "converged"] * 2))
    found = schedules.rows(load(own_engine, "digits-lr"))

    assert [curve.number for curve in found.lr] == [found.best_number]
    assert found.bias_lr is not None


def test_the_rate_is_the_one_that_was_applied(engine, view):
    found = {curve.number: curve for curve in schedules.rows(view).lr}
    raw = pd.read_sql(select(schema.step.c.trial_id, schema.step.c.seed, schema.step.c.lr), engine)
    best = view.best
    own = raw[(raw["trial_id"] == best["trial_id"]) & (raw["seed"] == 0)]["lr"]

    assert found[best["number"]].y.tolist() == own.tolist()


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

    assert diverged.diverged_table(found).rows[0][1] == "loss nan"
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


def test_the_headline_names_the_best_trial_and_counts_the_verdicts(mixed):
    found = headline.rows(mixed)
    text = " ".join(each.text for each in found.sentences)
    tiles = {tile.label: tile for tile in found.tiles.tiles}

    assert dict(found.counts.counts) == {verdict: MIXED.count(verdict) for verdict in VERDICTS if verdict in MIXED}
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

    assert rows["lr0"][-1] == "at the lower end: consider a lower one"
    assert rows["lr0"][1] == 0.09901


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
    splits, facts = data_check.rows(view).summary

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
