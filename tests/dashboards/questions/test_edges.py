"""Where training diverges, in rows and sentences."""

from __future__ import annotations

import pytest
from optuna.distributions import FloatDistribution

from dashboards.data.study_loading import load
from dashboards.questions import divergence_map, headline
from dashboards.questions.edges import divergence_sentence
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
