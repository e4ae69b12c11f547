"""Trials side by side: which ones are taken, their steps, and one colour for each in all pictures and tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plotly.io.json import to_json_plotly
from sqlalchemy import Engine, select, update

from dashboards.blocks import Empty, Prose, Table
from dashboards.data.compared import CompareView
from dashboards.data.reader import Reader, UnavailableError
from dashboards.figures.series import curve_style, series
from dashboards.live.app import page_of
from dashboards.live.callbacks import panel_content
from dashboards.live.context import PanelContext
from dashboards.live.controls import state_of
from dashboards.live.pages import frame
from dashboards.questions import compared, compared_curves
from dashboards.questions.compared_curves import Overlay
from dashboards.rendering import CSS_DASHES
from dashboards.state import AddressError, PageState, compared_of, compared_texts, from_address, to_address
from evolve.storage import schema
from tests.synthetic import Plan, add_study, new_engine

NAME = "digits-lr"
VERDICTS = ("diverged",) * 3 + ("failed", "pruned") + ("converged",) * 11


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return new_engine(tmp_path / "own.db")


def view_of(engine: Engine, *columns: tuple[str, int | None]) -> CompareView:
    view = Reader(str(engine.url)).view(PageState(page="/compare", compared=columns))
    assert isinstance(view, CompareView)
    return view


def set_fitness(engine: Engine, number: int, fitness: float) -> None:
    with engine.begin() as connection:
        connection.execute(update(schema.trial).where(schema.trial.c.number == number).values(fitness=fitness))


# Which trials


def test_of_more_than_have_room_the_best_are_shown_and_the_page_says_so(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=16, verdicts=VERDICTS))
    for number in range(5, 16):
        set_fitness(engine, number, number / 20)

    view = view_of(engine, *((NAME, number) for number in range(16)))
    found = compared.outcome_rows(view)

    assert [entry.number for entry in view.entries] == [15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4]
    assert isinstance(found, tuple) and isinstance(found[0], Prose)
    assert found[0].text.startswith("16 selected, the best 12 are shown")


def test_diverged_trials_fill_the_room_after_those_with_a_fitness_and_before_failed_ones(engine: Engine) -> None:
    verdicts = ("failed", "diverged", "diverged", "diverged", *("converged",) * 10)
    add_study(engine, Plan(num_trials=14, verdicts=verdicts))

    view = view_of(engine, (NAME, None), *((NAME, number) for number in range(14)))

    assert view.entries[0].is_study
    assert {entry.number for entry in view.entries[1:11]} == set(range(4, 14))
    assert [entry.number for entry in view.entries[11:]] == [1]


def test_trials_that_all_have_room_stay_as_they_were_chosen(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=16, verdicts=VERDICTS))

    view = view_of(engine, (NAME, 9), (NAME, 0), (NAME, 9))

    assert [entry.number for entry in view.entries] == [9, 0]
    assert isinstance(compared.outcome_rows(view), tuple)
    assert not any(isinstance(block, Prose) for block in compared.outcome_rows(view))  # type: ignore[union-attr]


def test_a_study_without_a_trial_that_ran_to_its_end_is_said_to_have_no_best_one(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=2, verdicts=("diverged", "converged")))
    add_study(engine, Plan(name="lost", num_trials=1, verdicts=("diverged",)))

    labels = [entry.label for entry in view_of(engine, (NAME, None), ("lost", None), (NAME, 0)).entries]

    assert labels == [f"{NAME} (best: 1)", "lost (no best trial yet)", f"{NAME} · 0"]


def test_a_selection_is_compared_whole_and_the_bar_says_how_many_are_shown() -> None:
    state = PageState(page="/study", study=NAME, selected=tuple(range(2, 18)))

    bar = frame.selection_bar(state)

    assert bar[0].children == "16 trials selected"
    assert bar[1].children == "compare the best 12"
    assert from_address(bar[1].href).compared == tuple((NAME, number) for number in state.selected)
    few = frame.selection_bar(PageState(page="/study", study=NAME, selected=(2, 5)))
    assert few[1].children == "compare"


def test_a_selection_too_scattered_for_an_address_is_not_linked() -> None:
    state = PageState(page="/study", study=NAME, selected=tuple(range(0, 20_000, 3)))

    bar = frame.selection_bar(state)

    assert bar[1].children == "too scattered to compare: select fewer"


def test_many_trials_are_one_text_in_address_and_chooser_and_few_are_one_each() -> None:
    few = tuple(("a", number) for number in (7, 2, 3))
    many = (("b:c", None), *(("b:c", number) for number in (*range(1, 14), 20)), ("b:c", 4))
    texts = ["7:a", "2:a", "3:a", ":b:c", "1-13,20:b:c", "4:b:c"]

    assert compared_texts((*few, *many)) == texts
    assert compared_of(texts) == (*few, *many)
    state = PageState(page="/compare", compared=(*few, *many))
    assert from_address(to_address(state)) == state
    assert state_of(PageState(page="/compare"), [({"type": "filter", "key": "with"}, texts)], "", {}) == state


@pytest.mark.parametrize("text", ["9-1:a", "x:a", "1,,2:a", "0-999999999:a", "-1:a"])
def test_trials_to_compare_that_mean_nothing_are_refused_in_words(text: str) -> None:
    with pytest.raises(AddressError, match="with: "):
        compared_of([text])
    with pytest.raises(AddressError, match="30,000 trials; at most"):
        compared_of(["0-14999:a", "0-14999:b"])


def test_a_selection_is_one_entry_of_the_chooser(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=16, verdicts=VERDICTS))
    state = PageState(page="/compare", compared=tuple((NAME, number) for number in range(16)))

    chooser = page_of(Reader(str(engine.url)), state)[1].children

    assert chooser.value == [f"0-15:{NAME}"]
    labels = {option["value"]: option["label"] for option in chooser.options}
    assert labels[f"0-15:{NAME}"] == f"{NAME} · 16 trials"
    assert labels[f":{NAME}"] == f"study {NAME}"


def test_a_trial_that_is_not_there_is_told_by_name(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=2))

    with pytest.raises(UnavailableError, match="Study digits-lr has no trial 7"):
        view_of(engine, (NAME, 0), (NAME, 7))


# Steps


def test_a_trial_that_diverged_early_has_all_its_steps_beside_a_long_one(engine: Engine) -> None:
    plan = Plan(num_trials=2, verdicts=("converged", "diverged"), epochs=10, steps_per_epoch=120)
    add_study(engine, plan)
    with engine.connect() as connection:
        own = select(schema.step.c.step).where(schema.step.c.trial_id == 2)
        early = list(connection.scalars(own.order_by(schema.step.c.step)))

    found = compared_curves.step_rows(view_of(engine, (NAME, 0), (NAME, 1)))

    assert isinstance(found, Overlay)
    assert [each.title for each in found.series] == ["loss, sum of all terms", "gradient norm", "learning rate"]
    assert all(each.is_log for each in found.series)
    loss = dict(found.series[0].curves)
    assert loss[f"{NAME} · 1"].x.tolist() == [step + 1 for step in early]
    assert len(loss[f"{NAME} · 0"].x) <= 2 * 201 < 1200


@pytest.mark.parametrize(("end", "kind"), [(12, "log"), (150, None)])
def test_an_early_divergence_gets_room_on_a_logarithmic_axis(engine: Engine, end: int, kind: str | None) -> None:
    add_study(engine, Plan(num_trials=2, verdicts=("converged", "diverged")))
    step = schema.step
    with engine.begin() as connection:
        rows = connection.execute(select(step).where(step.c.trial_id == 1, step.c.step < end)).mappings().all()
        connection.execute(step.delete().where(step.c.trial_id == 2))
        connection.execute(step.insert(), [dict(row) | {"trial_id": 2} for row in rows])

    found = compared_curves.step_rows(view_of(engine, (NAME, 0), (NAME, 1)))

    assert isinstance(found, Overlay)
    assert {figure.layout.xaxis.type for figure in series(found.series)} == {kind}


def test_steps_are_those_of_the_seed_that_diverged(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=1, verdicts=["diverged"], seeds=(0, 1)))
    step = schema.step
    with engine.begin() as connection:
        connection.execute(update(step).where(step.c.seed == 0).values(loss=1.0, grad_norm=1.0))

    found = compared_curves.step_rows(view_of(engine, (NAME, 0)))

    assert isinstance(found, Overlay)
    assert np.isnan(found.series[0].curves[0][1].y[-1])


def test_without_steps_the_page_says_so(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=2, log_steps=False))

    assert isinstance(compared_curves.step_rows(view_of(engine, (NAME, 0))), Empty)
    assert isinstance(compared_curves.step_rows(view_of(engine)), Empty)


# Colours


def test_a_column_has_one_colour_in_all_pictures_and_in_the_heads_of_tables(engine: Engine) -> None:
    # The first one has no epoch, the second no steps, so that places in the pictures differ.
    add_study(engine, Plan(num_trials=4, verdicts=("diverged", "converged", "converged", "diverged")))
    with engine.begin() as connection:
        connection.execute(schema.epoch.delete().where(schema.epoch.c.trial_id == 1))
        connection.execute(schema.step.delete().where(schema.step.c.trial_id == 2))
    reader = Reader(str(engine.url))
    state = PageState(page="/compare", compared=(*((NAME, number) for number in range(4)), (NAME, None)))
    view = reader.view(state)
    assert isinstance(view, CompareView)

    for rows in (compared_curves.step_rows(view), compared_curves.curve_rows(view)):
        assert isinstance(rows, Overlay)
        assert all(view.entries[slot].label == name for name, slot in rows.key.entries)
        for figure in series(rows.series):
            assert not figure.layout.showlegend
            for trace in figure.data:
                slot = next(at for at, entry in enumerate(view.entries) if entry.label == trace.legendgroup)
                assert trace.marker.color == curve_style(slot)[0], trace.name
    for key in ("outcomes", "settings"):
        sent = str(to_json_plotly(panel_content(reader, PanelContext(state=state, panel=key))))
        for slot in range(5):
            color, dash = curve_style(slot)
            assert f"3px {CSS_DASHES[dash]} {color}" in sent


def test_a_rate_of_zero_is_left_out_where_the_axis_is_logarithmic(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=1, verdicts=["converged"]))
    with engine.begin() as connection:
        connection.execute(update(schema.step).where(schema.step.c.step == 0).values(lr=0.0))

    rows = compared_curves.step_rows(view_of(engine, (NAME, 0)))
    assert isinstance(rows, Overlay)
    rate = series(rows.series)[2].data[0].y

    assert np.isnan(rate[0]) and (rate[1:] > 0).all()


def test_a_cross_in_its_own_colour_is_where_a_trial_diverged(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=3, verdicts=("diverged", "converged", "diverged")))

    rows = compared_curves.step_rows(view_of(engine, *((NAME, number) for number in range(3))))
    assert isinstance(rows, Overlay)
    loss = series(rows.series)[0]

    crosses = [trace for trace in loss.data if trace.marker.symbol == "x"]
    assert [(cross.legendgroup, cross.marker.color) for cross in crosses] == [
        (f"{NAME} · 0", curve_style(0)[0]),
        (f"{NAME} · 2", curve_style(2)[0]),
    ]
    assert all(np.isfinite(cross.y).all() for cross in crosses)


def test_a_trial_that_never_had_a_number_has_its_cross_on_the_lower_edge(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=1, verdicts=["diverged"]))
    with engine.begin() as connection:
        connection.execute(schema.step.delete().where(schema.step.c.step > 0))
        connection.execute(update(schema.step).values(loss=None))

    rows = compared_curves.step_rows(view_of(engine, (NAME, 0)))
    assert isinstance(rows, Overlay)
    cross = series(rows.series)[0].data[-1]

    assert (cross.yaxis, list(cross.x), cross.marker.color) == ("y2", [1.0], curve_style(0)[0])


def test_tables_come_with_the_sentence_about_the_choice(engine: Engine) -> None:
    add_study(engine, Plan(num_trials=14, verdicts=("converged",) * 14))
    state = PageState(page="/compare", compared=tuple((NAME, number) for number in range(14)))

    content: list[Any] = panel_content(Reader(str(engine.url)), PanelContext(state=state, panel="outcomes"))

    assert "14 selected, the best 12 are shown" in str(to_json_plotly(content[0]))
    assert isinstance(compared.setting_rows(view_of(engine, *state.compared)), Table)
