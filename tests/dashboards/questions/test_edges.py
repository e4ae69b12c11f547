"""Where training diverges, in rows and sentences."""

from __future__ import annotations

import json

import pytest
from optuna.distributions import FloatDistribution

from dashboards.data.study_loading import load
from dashboards.data.trial import load_outline, load_trial, trial_id_of
from dashboards.figures.theme import style
from dashboards.questions import divergence_map, headline, trial_curves
from dashboards.questions.edges import divergence_sentence
from evolve.storage import schema
from tests.dashboards.examples import change
from tests.synthetic import SPACE, Plan, add_study


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
    assert headline.rows(view)[0].text == f"Where does the learning rate stop being safe? {sentence}"


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


def test_one_axis_makes_a_map_of_one(own_engine):
    add_study(own_engine, Plan(space={"lr0": SPACE["lr0"]}))

    assert divergence_map.rows(load(own_engine, "digits-lr")).y is None


def test_critical_ratios_put_the_edge_on_the_map_where_no_trial_diverged(own_engine):
    add_study(own_engine, Plan(num_trials=5, verdicts=["converged"] * 5))
    for number, (after, in_warmup) in enumerate([(4.0, 9.0), (2.0, 9.0), (8.0, 0.5)]):
        trial_id = trial_id_of(load(own_engine, "digits-lr"), number)
        warm = (schema.step.c.trial_id == trial_id) & schema.step.c.in_warmup
        first = (schema.step.c.trial_id == trial_id) & (schema.step.c.step == 60)
        change(own_engine, schema.step, warm & (schema.step.c.step == 0), critical_ratio=in_warmup)
        change(own_engine, schema.step, first, critical_ratio=after)
        change(own_engine, schema.step, first, in_warmup=False)
    view = load(own_engine, "digits-lr")

    found = divergence_map.rows(view)

    rates = sorted(view.params["lr0"][number] * ratio for number, ratio in enumerate([4.0, 2.0, 8.0]))
    assert found.critical.value == pytest.approx(rates[1]) and found.critical.num_trials == 3
    assert found.sentences[-1].startswith("Just after the warm-up, lr0 ")
    dotted = [each for each in divergence_map.draw(found).layout.shapes if each.line.dash == "dot"]
    assert any(each.x0 == pytest.approx(rates[1]) and each.line.color == style("diverged").color for each in dotted)


def test_what_the_range_lies_around_is_drawn_before_anything_that_trials_measured(own_engine):
    add_study(own_engine, Plan(num_trials=3, verdicts=["converged"] * 3))
    change(own_engine, schema.step, schema.step.c.step == 60, critical_ratio=2.0, in_warmup=False)
    config = dict(load(own_engine, "digits-lr").facts.config)
    config["space"] = config["space"] | {"lr0": {"around": "critical", "edge": 0.5, "measured": [0.4, 0.625]}}
    change(own_engine, schema.study, schema.study.c.study_id == 1, config=json.dumps(config))

    found = divergence_map.rows(load(own_engine, "digits-lr"))

    said = "Before the first trial short trainings put the critical rate at lr0 0.5 (0.4 to 0.625); the range lies"
    assert found.critical.value == 0.5 and found.sentences[-1].startswith(said)
    assert any(each.x0 == 0.5 for each in divergence_map.draw(found).layout.shapes if each.line.dash == "dot")


def test_without_critical_ratios_there_is_no_such_line_and_no_curve_of_them(own_engine):
    add_study(own_engine, Plan(num_trials=2, verdicts=["converged"] * 2))
    view = load(own_engine, "digits-lr")
    with own_engine.connect() as connection:
        outline = load_outline(connection, trial_id_of(view, 1))

    shown = trial_curves.health_rows(load_trial(own_engine, view, 1, outline))

    assert divergence_map.rows(view).critical is None
    assert [each.points for each in shown] == [()] * 3
    change(own_engine, schema.step, schema.step.c.step == 7, critical_ratio=3.5)
    again = trial_curves.health_rows(load_trial(own_engine, load(own_engine, "digits-lr"), 1, outline))
    ((_, curve),) = again[3].points
    assert (curve.x.tolist(), curve.y.tolist()) == ([7.0], [3.5])
