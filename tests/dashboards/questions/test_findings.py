"""What a study's pages say of its search."""

from __future__ import annotations

from optuna.distributions import FloatDistribution
from sqlalchemy import Engine

from dashboards.blocks import Empty, Prose, Table
from dashboards.data.filters import restricted
from dashboards.data.searched import search_of
from dashboards.data.study_loading import load
from dashboards.questions import data_check, findings
from evolve.findings import Search
from tests.synthetic import SPACE, Plan, add_study


def test_findings_stand_in_a_table_with_commands(own_engine: Engine) -> None:
    # The best rate of made-up studies is about 0.12.
    space = {"lr0": FloatDistribution(1e-4, 0.03, log=True), "momentum": SPACE["momentum"]}
    add_study(own_engine, Plan(space=space, num_trials=60, log_steps=False))
    view = load(own_engine, "digits-lr")
    (table,) = findings.PANEL.draw(view)

    assert isinstance(table, Table)
    command = f"evolve follow digits-lr edge-lr0 --storage {own_engine.url}"
    assert ("edge-lr0", command) in [(row[0], row[2]) for row in table.rows]
    # On one page the name is the table's id.
    assert table.name not in [block.name for block in data_check.PANEL.draw(view) if isinstance(block, Table)]


def test_where_no_rule_speaks_that_is_said_with_their_number(own_engine: Engine) -> None:
    add_study(own_engine, Plan(num_trials=6, verdicts=["converged"] * 6, log_steps=False))
    (prose,) = findings.PANEL.draw(load(own_engine, "digits-lr"))

    assert isinstance(prose, Prose) and prose.text == (
        "None of 10 rules has anything to say about the 6 trials that trained through or diverged."
    )


def test_a_search_is_read_with_numbers_choices_curves_and_the_losses_of_its_best(own_engine: Engine) -> None:
    add_study(own_engine, Plan(num_trials=20, log_steps=False))
    view = load(own_engine, "digits-lr")
    search = search_of(view)

    assert isinstance(search, Search) and view.best is not None
    assert search.best.number == view.best["number"] and search.best.fitness == view.best["fitness"]
    assert search.best.curve[-1] == search.best.fitness and len(search.best.curve) == 10
    assert set(search.losses) == {"box", "obj", "noobj", "cls"}
    assert {each.params["schedule"] for each in search.tried} == {"linear", "cosine"}
    assert "running" not in {each.verdict for each in search.tried}
    assert [each for each in search.trained if each.curve] == list(search.top) != list(search.trained)


def test_filters_and_studies_without_a_search_say_why_nothing_is_found(own_engine: Engine) -> None:
    add_study(own_engine, Plan(num_trials=6, verdicts=["converged"] * 6, log_steps=False))
    add_study(own_engine, Plan(name="<b>", num_trials=1, log_steps=False))
    some = search_of(restricted(load(own_engine, "digits-lr"), {1, 2}))
    foreign = search_of(load(own_engine, "<b>"))

    assert isinstance(some, Empty) and "clear the filters" in some.text
    assert isinstance(foreign, Empty) and "not made by evolve" in foreign.text
