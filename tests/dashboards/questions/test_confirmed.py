"""What a study's pages say of its best trained again: nothing yet, then candidates with their luck."""

from __future__ import annotations

import json
from math import isnan

import pytest
from optuna.distributions import CategoricalDistribution
from sqlalchemy import Engine, select, update

from dashboards.blocks import Empty, Prose, Table
from dashboards.data.reader import Reader
from dashboards.data.study_loading import load
from dashboards.panels import panels_of
from dashboards.questions import arm_headline, confirmed, headline
from dashboards.state import PageState
from evolve.storage import schema
from evolve.storage.confirmations import confirmation_of, standing_of
from evolve.storage.optuna_tables import STUDIES, TRIALS
from evolve.study import Study
from evolve.study.confirming import confirmation
from tests.dashboards.examples import of_kind
from tests.synthetic import Plan, add_study

SEEDS = (1, 2, 3, 4, 5)


def add_confirmation(engine: Engine, *, name: str = "hunt-confirm", num_trials: int = 3) -> None:
    """Made-up trainings of the best two trials of `hunt` and of its own values, as many arms as are told."""
    view = load(engine, "hunt")
    ranked = view.trials[view.trials["verdict"] == "converged"].sort_values("fitness", ascending=False)
    chosen = {int(number): view.params_of(int(number)) for number in ranked["number"][:2]}
    study = Study.from_json(json.dumps(dict(view.facts.config)))
    made = confirmation(study, chosen, name=name, seeds=SEEDS, epochs=10)
    rates = CategoricalDistribution([0.1, 0.12, 0.14])
    plan = Plan(
        name=name, num_trials=num_trials, verdicts=["converged"] * num_trials, seeds=SEEDS, space={"lr0": rates}
    )
    study_id = add_study(engine, plan)
    with engine.begin() as connection:
        ours = schema.study
        connection.execute(update(ours).where(ours.c.study_id == study_id).values(config=made.to_json()))


@pytest.fixture
def hunt(own_engine: Engine) -> Engine:
    add_study(own_engine, Plan(name="hunt", num_trials=30, log_steps=False))
    return own_engine


def test_a_study_that_nobody_has_confirmed_says_so_with_the_command_that_does(hunt: Engine) -> None:
    view = load(hunt, "hunt")
    (empty,) = confirmed.PANEL.draw(view)

    command = f"`evolve confirm hunt --storage {hunt.url}`"
    assert isinstance(empty, Empty) and command in empty.text
    said = " ".join(text.text for text in of_kind(headline.rows(view), Prose))
    assert "It is not confirmed: found once among" in said and f"; {command} tells" in said


def test_a_confirmation_says_that_its_baseline_is_the_defaults(hunt: Engine) -> None:
    add_confirmation(hunt)

    said = [text.text for text in of_kind(arm_headline.rows(load(hunt, "hunt-confirm")), Prose)]

    assert any("each compared with the baseline, which is the defaults, over the same 5 seeds" in each for each in said)


def test_a_confirmed_study_shows_what_was_found_and_what_is_left_of_it(hunt: Engine) -> None:
    add_confirmation(hunt)
    view = load(hunt, "hunt")
    prose, figure, table = confirmed.PANEL.draw(view)
    found = confirmation_of(hunt, "hunt")

    assert found is not None and isinstance(prose, Prose) and isinstance(table, Table)
    assert prose.text.startswith("Confirmed over 5 fresh seeds: ")
    assert [row[0] for row in table.rows] == ["the defaults", *(each.arm for each in found.candidates[1:])]
    best = load(hunt, "hunt").best
    assert best is not None and table.rows[1][1] == pytest.approx(best["fitness"])
    assert isnan(found.candidates[0].found)  # the search did not train its own values
    assert [len(trace.x) for trace in figure.data] == [3, 3]  # type: ignore[union-attr]
    trusted = {found.best.trial} if found.best is not None else set()
    said = "It is confirmed over 5 fresh seeds" if best["number"] in trusted else "the best is another"
    assert any(said in text.text for text in of_kind(headline.rows(view), Prose))


@pytest.mark.parametrize(
    ("winner", "said"),
    [
        (0, "With 5 fresh seeds the best is another: the defaults, with 0.9"),
        (1, "It is confirmed over 5 fresh seeds: 0.9"),
    ],
)
def test_what_is_confirmed_is_said_of_the_best_trial_only_where_it_is_the_same(
    hunt: Engine, winner: int, said: str
) -> None:
    add_confirmation(hunt)
    training, trials, studies = schema.training, TRIALS, STUDIES
    own = (
        select(trials.c.trial_id)
        .join(studies, studies.c.study_id == trials.c.study_id)
        .where(studies.c.study_name == "hunt-confirm", trials.c.number == winner)
    )
    with hunt.begin() as connection:
        connection.execute(update(training).where(training.c.trial_id.in_(own)).values(fitness=0.9))

    assert any(said in text.text for text in of_kind(headline.rows(load(hunt, "hunt")), Prose))


def test_a_confirmation_that_still_trains_confirms_nothing_yet(hunt: Engine) -> None:
    add_confirmation(hunt, num_trials=2)

    assert confirmation_of(hunt, "hunt") is None
    assert standing_of(hunt, "hunt").text.startswith("not confirmed: found once among")


def test_the_newest_complete_confirmation_counts(hunt: Engine) -> None:
    add_confirmation(hunt)
    add_confirmation(hunt, name="hunt-confirm-2")
    with hunt.begin() as connection:
        ours = schema.study
        newer = ours.c.config.contains("hunt-confirm-2")
        connection.execute(update(ours).where(newer).values(created=2e9))
    found = confirmation_of(hunt, "hunt")

    assert found is not None and found.name == "hunt-confirm-2"


def test_a_page_that_is_open_sees_that_its_study_is_confirmed(hunt: Engine) -> None:
    reader, state = Reader(str(hunt.url)), PageState(page="/study", study="hunt")
    try:
        before, first = reader.version(state), reader.study("hunt").standing
        add_confirmation(hunt)

        assert reader.version(state) != before
        assert first.confirmation is None and reader.study("hunt").standing.confirmation is not None
    finally:
        reader.close()


def test_the_page_of_a_confirmation_is_that_of_an_ablation(hunt: Engine) -> None:
    add_confirmation(hunt)
    keys = [panel.key for panel in panels_of("/study", load(hunt, "hunt-confirm"))]

    assert "effects" in keys and "confirmed" not in keys and "findings" not in keys
    assert standing_of(hunt, "hunt-confirm").text == ""
