"""Every page opens, says what is missing, and lets no text of a user pass as markup."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dash import no_update
from sqlalchemy import update

from dashboards.data.reader import Reader, UnavailableError
from dashboards.live.app import page_of
from dashboards.live.callbacks import fresh_options
from dashboards.state import PageState
from evolve.storage import schema
from tests.dashboards.examples import NAME, figures_of, sent_as_list, states, walk
from tests.shown import drawn
from tests.synthetic import SPACE, Plan, add_study, new_engine


def test_verdicts_that_come_later_can_be_ticked_without_a_reload(tmp_path: Path) -> None:
    engine = new_engine(tmp_path / "live.db")
    add_study(engine, Plan(num_trials=3, verdicts=("converged", "running", "waiting")))
    reader = Reader(f"sqlite:///{tmp_path / 'live.db'}")
    state = PageState(page="/study", study=NAME)
    controls = ["verdicts", "states", "text"]
    before = fresh_options(reader, state, controls)[0]
    with engine.begin() as connection:
        connection.execute(update(schema.trial).where(schema.trial.c.number == 1).values(verdict="diverged", ended=2e9))

    after, *others = fresh_options(reader, state, controls)

    assert [option["value"] for option in before] == ["converged", "running", "waiting"]
    assert [option["value"] for option in after] == ["converged", "diverged", "waiting"]
    assert others == [no_update, no_update]
    assert fresh_options(reader, PageState(), ["seed"]) == [no_update]


def test_a_page_opened_before_the_first_trial_has_the_ranges_of_all_hyperparameters(tmp_path: Path) -> None:
    add_study(new_engine(tmp_path / "none.db"), Plan(num_trials=0))
    page = page_of(Reader(f"sqlite:///{tmp_path / 'none.db'}"), PageState(page="/study", study=NAME))

    named = {each.id["name"] for each in walk(page) if isinstance(getattr(each, "id", ""), dict) and "name" in each.id}
    assert named == set(SPACE)


def test_every_page_opens_and_nothing_of_a_user_is_markup(reader: Reader) -> None:
    for state in states(reader):
        sent = drawn(reader, state)

        assert "cannot be drawn" not in sent, state
        # Text is a child of a component, which the browser sets as text; Plotly's own texts are escaped.
        for figure in figures_of(json.loads(sent_as_list(reader, state))):
            assert "<img" not in json.dumps(figure), state


def test_what_is_missing_is_told_in_words(reader: Reader) -> None:
    for state in (
        PageState(page="/study", study="no such"),
        PageState(page="/trial", study=NAME, number=999),
        PageState(page="/trial", study=NAME, number=0, seed=77),
        PageState(page="/elsewhere"),
    ):
        with pytest.raises(UnavailableError, match=r"no such|has no trial 999|no seed 77|no page"):
            page_of(reader, state)
