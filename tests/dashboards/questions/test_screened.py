"""What a screening's pages say of its changes."""

from __future__ import annotations

from optuna.distributions import CategoricalDistribution
from sqlalchemy import Engine

from dashboards.blocks import Empty, Prose, Table
from dashboards.data.filters import restricted
from dashboards.data.study_loading import load
from dashboards.panels import panels_of
from dashboards.questions import screened
from tests.synthetic import Plan, add_study

# The best rate of made-up studies is about 0.12; momentum does nothing.
SPACE = {"lr0": CategoricalDistribution([0.01, 0.1]), "momentum": CategoricalDistribution([0.937, 0.9])}


def add_screening(engine: Engine, *, num_trials: int) -> None:
    verdicts = ["converged"] * num_trials
    add_study(engine, Plan(space=SPACE, num_trials=num_trials, verdicts=verdicts, log_steps=False, screens=True))


def test_each_change_has_a_bar_and_a_row_and_what_is_recommended_is_said(own_engine: Engine) -> None:
    add_screening(own_engine, num_trials=40)
    prose, figure, table = screened.PANEL.draw(load(own_engine, "digits-lr"))

    assert isinstance(prose, Prose) and isinstance(table, Table)
    assert "40 trials judge every change together. They recommend lr0 0.1" in prose.text
    rows = {row[0]: row for row in table.rows}
    assert set(rows) == {"lr0 0.1", "momentum 0.9"} and table.rows[0][0] == "lr0 0.1"
    assert rows["lr0 0.1"][1] == "0.01" and rows["lr0 0.1"][-2:] == ("better", "yes")
    assert rows["momentum 0.9"][-2] == "unclear"
    assert list(figure.data[0].x) == [row[2] for row in table.rows]


def test_the_page_of_a_screening_has_the_panel_and_that_of_another_search_has_not(own_engine: Engine) -> None:
    add_screening(own_engine, num_trials=12)
    add_study(own_engine, Plan(name="plain", num_trials=6, log_steps=False))

    assert screened.PANEL in panels_of("/study", load(own_engine, "digits-lr"))
    assert screened.PANEL not in panels_of("/study", load(own_engine, "plain"))


def test_of_too_few_trials_and_of_filtered_ones_it_says_why_there_is_nothing(own_engine: Engine) -> None:
    add_screening(own_engine, num_trials=12)
    view = load(own_engine, "digits-lr")
    (some,) = screened.PANEL.draw(restricted(view, {1, 2}))
    few = screened.rows(load_with(own_engine, ["converged"] * 3 + ["running"] * 9))

    assert isinstance(some, Empty) and "clear the filters" in some.text
    assert isinstance(few, Empty) and few.text == (
        "Nothing can be said yet: 3 trials trained through or diverged, and at least 4 must."
    )


def load_with(engine: Engine, verdicts: list[str]):
    plan = Plan(name="begun", space=SPACE, num_trials=len(verdicts), verdicts=verdicts, log_steps=False, screens=True)
    add_study(engine, plan)
    return load(engine, "begun")
