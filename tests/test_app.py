"""The live dashboard without a browser: addresses, filters, panels, answers to requests, and who may ask."""

from __future__ import annotations

import csv
import getpass
import io
import json
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from math import inf, nan
from pathlib import Path
from typing import Any

import optuna
import plotly.graph_objects as go
import pytest
from dash import no_update
from hypothesis import given
from hypothesis import strategies as st
from plotly.io.json import to_json_plotly
from sqlalchemy import create_engine, func, insert, select, text, update
from typer.testing import CliRunner

from dashboards.blocks import Column, Prose, Table
from dashboards.data.filters import narrowed
from dashboards.data.reader import MAX_POINTS, Reader, UnavailableError, reading_engine
from dashboards.data.shown import drawn_numbers
from dashboards.data.study import ViewOptions
from dashboards.data.study_loading import load
from dashboards.figures.brush import mark_selected, trial_numbers
from dashboards.live.app import make_app, page_of
from dashboards.live.callbacks import fresh_options, only_selected, panel_content, version_of
from dashboards.live.components import draw_all
from dashboards.live.context import PanelContext
from dashboards.live.controls import state_of, view_state_of, with_view_state
from dashboards.live.delivery import as_csv
from dashboards.live.grid import grid_rows
from dashboards.live.security import Access, ExposureError, is_known_host
from dashboards.live.server import DashboardError, make_dashboard_server
from dashboards.panels import PAGES, STUDY
from dashboards.questions import contour
from dashboards.questions.contour import Contour
from dashboards.state import (
    AddressError,
    Filters,
    Hidden,
    PageState,
    Range,
    Sort,
    Zoom,
    from_address,
    numbers_of,
    to_address,
)
from evolve import formatting
from evolve.cli import app as cli
from evolve.errors import StorageError
from evolve.storage import schema
from evolve.storage.notes import add_note
from evolve.storage.sqlite import tune
from tests.processes import free_port
from tests.shown import drawn
from tests.synthetic import SPACE, Plan, add_study, new_engine

HOSTILE = '<img src=x onerror="alert(1)"> ../%2e%2e/ {{7*7}} ${1} \u202e "quoted" & more'
NAME = "digits-lr"
TOKEN = "correct-horse-battery"
OUTCOMES = ("converged", "diverged", "pruned", "failed", "running", "undertrained", "waiting")
ALL_PANELS = [(page, panel.key) for page, panels in PAGES.items() for panel in panels]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("live") / "evolve.db"
    engine = new_engine(path)
    add_study(engine, Plan(num_trials=28, verdicts=OUTCOMES * 4, seeds=(0, 1)))
    add_study(engine, Plan(name=HOSTILE, description=HOSTILE, num_trials=9, reason=HOSTILE, traceback=HOSTILE, seed=4))
    engine.dispose()
    return f"sqlite:///{path}"


@pytest.fixture(scope="module")
def reader(url: str) -> Reader:
    return Reader(url)


def states(reader: Reader) -> list[PageState]:
    """Every page of every study."""
    pages = [PageState()]
    for name in reader.study_names():
        pages += [
            PageState(page="/study", study=name),
            PageState(page="/trial", study=name, number=1),
            PageState(page="/compare", compared=((name, 0), (name, None))),
        ]
    return pages


# Addresses


@given(
    name=st.text(min_size=1, max_size=30),
    selected=st.sets(st.integers(0, 500), max_size=40),
    verdicts=st.sets(st.text(min_size=1, max_size=8), max_size=3),
    low=st.floats(-1e6, 1e6),
    column=st.integers(0, 99),
    is_descending=st.booleans(),
)
def test_an_address_holds_the_whole_state(
    name: str, selected: set[int], verdicts: set[str], low: float, column: int, is_descending: bool
) -> None:
    state = PageState(
        page="/study",
        study=name,
        filters=Filters(
            verdicts=tuple(verdicts),
            ranges=(Range(name=name, low=float(f"{low:.10g}")), Range(name="a,b&c", choices=("x", name))),
            text="two words",
        ),
        pair=(name, ""),
        selected=tuple(sorted(selected)),
        zooms=(Zoom(figure="history-0", axis="xaxis", low=-1.5, high=20.0),),
        sorts=(Sort(table="trials-0", column=column, is_descending=is_descending),),
        hidden=(Hidden(figure="history-0", curve=name),),
    )

    assert from_address(to_address(state)) == state
    assert with_view_state(
        PageState(selected=state.selected), formatting.spans(selected), view_state_of(state)
    ) == replace(PageState(), selected=state.selected, zooms=state.zooms, sorts=state.sorts, hidden=state.hidden)
    assert state.query == to_address(replace(state, selected=(), zooms=(), sorts=(), hidden=()))


@given(numbers=st.sets(st.integers(0, 2000)))
def test_numbers_are_written_as_runs_and_read_back(numbers: set[int]) -> None:
    assert numbers_of(formatting.spans(numbers)) == sorted(numbers)


@pytest.mark.parametrize(
    "address",
    [
        "/study?selected=9-1",
        "/study?selected=0-999999999",
        "/study?selected=x",
        "/trial?study=a&trial=-1",
        "/trial?study=a&trial=99999999999999999999",
        "/study?range=1,0,lr0",
        "/study?range=nan,1,lr0",
        "/study?range=lr0",
        "/study?zoom=1,inf,xaxis,history-0",
        "/study?sort=2,up,trials-0",
        "/study?sort=-2,asc,trials-0",
        "/study?hide=history-0",
        "/compare?with=abc",
        "/study?study=" + "x" * 20_000,
        "/study?" + "&".join(["state=a"] * 1000),
    ],
)
def test_an_address_that_means_nothing_is_refused_in_words(address: str) -> None:
    with pytest.raises(AddressError, match=r"\w+"):
        from_address(address)


def test_the_controls_of_a_page_make_its_address() -> None:
    before = PageState(page="/study", study=NAME)
    values: list[tuple[dict[str, str], Any]] = [
        ({"type": "filter", "key": "verdicts"}, ["diverged"]),
        ({"type": "filter", "key": "text"}, " nan "),
        ({"type": "range", "name": "lr0", "end": "low"}, "1e-3"),
        ({"type": "range", "name": "lr0", "end": "high"}, ""),
        ({"type": "range", "name": "schedule", "end": "choices"}, ["cosine"]),
        ({"type": "pair", "axis": "y"}, "box"),
    ]

    state = state_of(before, values, "3-5", {"zooms": [["history-0", "xaxis", 0, 9]]})

    assert state.filters.verdicts == ("diverged",)
    assert state.filters.ranges == (Range(name="lr0", low=1e-3, high=inf), Range(name="schedule", choices=("cosine",)))
    assert (state.pair, state.selected, state.zooms[0].high) == (("", "box"), (3, 4, 5), 9.0)
    with pytest.raises(ValueError, match="lr0: 'fast' is not a number"):
        state_of(before, [({"type": "range", "name": "lr0", "end": "low"}, "fast")], "", {})


def test_a_page_opens_as_its_sender_left_it(reader: Reader) -> None:
    orders = [Sort(table="trials-0", column=column, is_descending=column == 2) for column in (2, 999)]
    hidden = Hidden(figure="history-0", curve="diverged")
    state = PageState(page="/study", study=NAME, sorts=tuple(orders), hidden=(hidden,))

    grid = found(panel_content(reader, PanelContext(state=state, panel="trials")), "columnDefs")
    assert [each.get("sort") for each in grid.columnDefs][:4] == [None, None, "desc", None]
    graph = found(panel_content(reader, PanelContext(state=state, panel="history")), "figure")
    visible = {trace["name"]: trace.get("visible") for trace in graph.figure["data"]}
    assert visible.pop("diverged") == "legendonly"
    assert set(visible.values()) == {None}


def found(content: Any, attribute: str) -> Any:
    """The first component that has an attribute."""
    return next(each for each in walk(content) if hasattr(each, attribute))


def walk(content: Any) -> Iterator[Any]:
    """Every component inside a list of them."""
    for each in content if isinstance(content, list) else [content]:
        yield each
        if getattr(each, "children", None) is not None:
            yield from walk(each.children)


# Filters and focus


def test_one_filter_acts_on_trials_epochs_steps_and_diagnoses(url: str) -> None:
    view = load(create_engine(url), NAME)

    narrow = narrowed(view, Filters(verdicts=("diverged",)))

    assert set(narrow.trials["verdict"]) == {"diverged"}
    numbers = set(narrow.trials["number"])
    assert numbers == {1, 8, 15, 22}
    for frame in (narrow.epochs, narrow.steps, narrow.last_steps):
        assert set(frame["number"]) <= numbers
    assert set(narrow.diagnoses) <= numbers
    assert set(narrow.params.index) <= numbers
    assert narrow.best is None


def test_ranges_choices_states_and_text_narrow_together(url: str) -> None:
    view = load(create_engine(url), NAME)
    middle = float(view.params["lr0"].median())

    narrow = narrowed(
        view,
        Filters(
            states=("COMPLETE",),
            ranges=(Range(name="lr0", high=middle), Range(name="schedule", choices=("linear",))),
            text="CONVERGED",
        ),
    )

    kept = view.params[(view.params["lr0"] <= middle) & (view.params["schedule"] == "linear")].index
    complete = view.trials[view.trials["verdict"].isin(["converged"])]["number"]
    assert set(narrow.trials["number"]) == set(kept) & set(complete)
    assert len(narrow.trials)


def test_progress_is_told_in_our_words_and_not_in_optunas(url: str, reader: Reader) -> None:
    view = load(create_engine(url), NAME)
    page = page_of(reader, PageState(page="/study", study=NAME))

    ended = narrowed(view, Filters(states=("ended",)))
    boxes = next(each for each in walk(page) if getattr(each, "id", "") == {"type": "filter", "key": "states"})
    assert [option["value"] for option in boxes.options] == ["running", "ended"]
    assert set(ended.trials["verdict"]) == {"converged", "undertrained", "diverged", "pruned", "failed"}
    assert set(narrowed(view, Filters(states=("running",))).trials["verdict"]) == {"running"}


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


def test_rows_are_as_high_as_their_sentences(reader: Reader) -> None:
    columns = (Column(title="trial", kind="number", digits=0), Column(title="what happened", is_long=True))
    heights = {}
    for name, reasons in {"short": ["no"] * 9, "long": ["word " * 30] * 9, "few": ["no"] * 9 + ["word " * 30]}.items():
        table = Table(name="t", columns=columns, rows=tuple(enumerate(reasons)), is_sortable=True)
        grid = found(draw_all((table,), PanelContext(state=PageState(), panel="t")), "columnDefs")
        heights[name] = grid.dashGridOptions["rowHeight"]

        assert grid.columnDefs[1]["wrapText"]

    assert heights["short"] < heights["few"] < heights["long"]


def test_text_finds_notes_and_tags(tmp_path: Path) -> None:
    engine = new_engine(tmp_path / "n.db")
    add_study(engine, Plan(num_trials=4))
    add_note(engine, NAME, 2, "spike after warm-up", tag="odd")

    view = load(engine, NAME)

    assert list(narrowed(view, Filters(text="SPIKE odd")).trials["number"]) == [2]


def test_pictures_draw_the_same_choice_of_many_trials_with_rare_verdicts_whole(tmp_path: Path) -> None:
    engine = new_engine(tmp_path / "many.db")
    verdicts = ("converged",) * 197 + ("diverged", "failed", "failed")
    add_study(engine, Plan(num_trials=200, verdicts=verdicts, log_steps=False, epochs=2))
    view = replace(load(engine, NAME), options=ViewOptions(max_points=50, selected=frozenset({7})))

    numbers = drawn_numbers(view)

    assert {197, 198, 199, 7} <= numbers
    assert int(view.best["number"]) in numbers  # type: ignore[index]
    assert 40 <= len(numbers) <= 75
    assert drawn_numbers(view) == numbers


def test_a_smoothed_map_is_high_where_trials_are_good_and_empty_where_there_are_none(url: str) -> None:
    view = load(create_engine(url), NAME)

    found = contour.rows(view)

    assert isinstance(found, Contour)
    finite = found.fitness[found.fitness == found.fitness]
    trained = found.rows[found.rows["verdict"] != "diverged"]
    assert trained["fitness"].min() - 1e-9 <= finite.min() <= finite.max() <= trained["fitness"].max() + 1e-9
    assert (found.fitness != found.fitness).any()


def test_the_map_of_fitness_is_empty_where_trials_only_diverged(tmp_path: Path) -> None:
    engine = new_engine(tmp_path / "own.db")
    add_study(engine, Plan(num_trials=80, log_steps=False))

    found = contour.rows(load(engine, NAME))

    assert isinstance(found, Contour)
    diverged = found.rows[found.rows["verdict"] == "diverged"]
    trained = found.rows[found.rows["verdict"] != "diverged"]
    beyond = found.x_values > trained["x"].max() * 1.5
    assert len(diverged) and (diverged["x"] > trained["x"].max()).any() and beyond.any()
    assert (found.fitness[:, beyond] != found.fitness[:, beyond]).mean() > 0.8


def test_selected_points_stand_out_in_every_trace_of_trials() -> None:
    figure = go.Figure()
    figure.add_scatter(x=[1, 2, 3], y=[1, 2, 3], mode="markers", customdata=[4, 5, 6])
    figure.add_scatter(x=[1], y=[1], mode="markers", customdata=[[7, 0.5]])
    figure.add_scatter(x=[1, 2], y=[1, 1], mode="lines")

    marked = mark_selected(figure, {5, 9})

    assert [list(trace.selectedpoints or ()) for trace in marked.data] == [[1], [], []]
    assert marked.data[1].selectedpoints is not None
    assert marked.data[2].selectedpoints is None
    assert figure.data[0].selectedpoints is None


def test_every_picture_of_trials_can_be_brushed(reader: Reader) -> None:
    state = PageState(page="/study", study=NAME)
    view = reader.view(state)
    for key in ("history", "convergence", "slices", "map", "contour", "parallel", "timeline"):
        panel = next(each for each in STUDY if each.key == key)
        figures = [block for block in panel.draw(view) if isinstance(block, go.Figure)]

        assert figures, key
        for figure in figures:
            found = [trial_numbers(trace) for trace in figure.data]
            assert any(numbers is not None for numbers in found), key


# Pages and panels


def test_every_page_opens_and_nothing_of_a_user_is_markup(reader: Reader) -> None:
    for state in states(reader):
        sent = drawn(reader, state)

        assert "cannot be drawn" not in sent, state
        # Text is a child of a component, which the browser sets as text; Plotly's own texts are escaped.
        for figure in figures_of(json.loads(sent_as_list(reader, state))):
            assert "<img" not in json.dumps(figure), state


def sent_as_list(reader: Reader, state: PageState) -> str:
    contents = [panel_content(reader, PanelContext(state=state, panel=panel.key)) for panel in PAGES[state.page]]
    return str(to_json_plotly(contents))


def figures_of(content: Any) -> list[Any]:
    """All figures in what is sent."""
    if isinstance(content, dict):
        own = [content["figure"]] if "figure" in content else []
        return own + [found for each in content.values() for found in figures_of(each)]
    return [found for each in content for found in figures_of(each)] if isinstance(content, list) else []


def test_what_is_missing_is_told_in_words(reader: Reader) -> None:
    for state in (
        PageState(page="/study", study="no such"),
        PageState(page="/trial", study=NAME, number=999),
        PageState(page="/trial", study=NAME, number=0, seed=77),
        PageState(page="/elsewhere"),
    ):
        with pytest.raises(UnavailableError, match=r"no such|has no trial 999|no seed 77|no page"):
            page_of(reader, state)


def test_a_grid_gets_the_rows_it_asks_for_sorted_with_missing_ones_last() -> None:
    columns = (Column(title="trial", kind="number", digits=0), Column(title="fitness", kind="number", digits=3))
    table = Table(name="t", columns=columns, rows=((0, 0.5), (1, nan), (2, 0.75), (3, 0.1)), links_to="trial")

    asked = {"startRow": 0, "endRow": 3, "sortModel": [{"colId": "c1", "sort": "desc"}]}
    found = grid_rows(table, asked, "a/b?c")

    assert [row["c0"] for row in found["rowData"]] == ["2", "0", "3"]
    assert found["rowCount"] == 4
    assert found["rowData"][0]["link"] == "/trial?study=a%2Fb%3Fc&trial=2"
    assert [row[0] for row in only_selected(table, (3, 0)).rows] == [0, 3]


def test_a_csv_cell_is_never_a_formula() -> None:
    table = Table(name="t", columns=(Column(title="=a"),), rows=(("=HYPERLINK(1)",), ("-1",), ("x",), (nan,), (-2.5,)))

    rows = list(csv.reader(io.StringIO(as_csv(table))))

    assert [row[0] for row in rows] == ["'=a", "'=HYPERLINK(1)", "'-1", "x", "", "-2.5"]


# Requests


@pytest.fixture(scope="module")
def client(url: str) -> Any:
    return make_app(url).server.test_client()


def test_csv_has_every_trial_where_the_picture_draws_a_choice_and_says_so(tmp_path: Path) -> None:
    engine = new_engine(tmp_path / "large.db")
    add_study(engine, Plan(num_trials=MAX_POINTS + 40, epochs=1, log_steps=False))
    url = f"sqlite:///{tmp_path / 'large.db'}"
    panel = next(each for each in STUDY if each.key == "history")

    figure, note = panel.draw(Reader(url).view(PageState(page="/study", study=NAME)))
    rows = make_app(url).server.test_client().get(f"/data/study/history/0.csv?study={NAME}").text.splitlines()

    assert isinstance(note, Prose) and f"of {MAX_POINTS + 40:,} trials are drawn" in note.text
    drawn = sum(len(trace.customdata) for trace in figure.data if trace.customdata is not None)
    assert drawn <= MAX_POINTS + 100
    assert len({row.split(",")[1] for row in rows[1:]} - {""}) == MAX_POINTS + 40


@pytest.mark.parametrize("key", [panel.key for panel in STUDY])
def test_every_picture_and_table_of_a_study_is_to_be_had_as_csv(client: Any, reader: Reader, key: str) -> None:
    panel = next(each for each in STUDY if each.key == key)
    blocks = panel.draw(reader.view(PageState(page="/study", study=NAME)))
    for index, block in enumerate(blocks):
        answer = client.get(f"/data/study/{key}/{index}.csv", query_string={"study": NAME})

        assert answer.status_code == (200 if isinstance(block, go.Figure | Table) else 404)
        if answer.status_code == 200:
            rows = list(csv.reader(io.StringIO(answer.text)))
            assert len(rows) > 1
            assert {len(row) for row in rows} == {len(rows[0])}


def test_answers_carry_headers_that_keep_others_out(client: Any) -> None:
    headers = client.get("/").headers

    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-eval" not in policy
    assert "script-src 'self' 'sha256-" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8050", 200),
        ("localhost", 200),
        ("[::1]:8050", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("evil.example@127.0.0.1", 421),
    ],
)
def test_a_name_that_is_not_ours_is_refused(client: Any, host: str, status: int) -> None:
    found = client.get("/", headers={"Host": host}).status_code

    assert found == status or (status == 421 and found == 400)


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../app.py",
        "/assets/..%2fapp.py",
        "/assets/report.js%00",
        "/data/study/..%2f..%2fetc/0.csv",
        "/data/study/history/../../../etc/passwd",
        "/_dash-component-suites/dash/../../../../etc/passwd",
        "/_dash-component-suites/dashboards/app.py",
    ],
)
def test_no_file_outside_is_served(client: Any, path: str) -> None:
    answer = client.get(path)

    # Paths that are no file are the page itself, which then says that there is no such page.
    assert answer.status_code in (400, 404, 500) or "react-entry-point" in answer.text
    assert "root:" not in answer.text
    assert "import annotations" not in answer.text


def test_a_page_of_another_site_cannot_ask(client: Any) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}

    assert client.post("/_dash-update-component", json={}, headers=foreign).status_code == 403
    assert client.delete("/").status_code == 405


def test_a_server_for_others_needs_a_token_and_then_asks_for_it(url: str) -> None:
    with pytest.raises(ExposureError, match="--token"):
        Access(host="0.0.0.0")
    with pytest.raises(ExposureError, match="12"):
        Access(host="0.0.0.0", token="short")
    client = make_app(url, Access(host="0.0.0.0", token=TOKEN)).server.test_client()

    assert client.get("/").status_code == 401
    assert client.get(f"/?token={TOKEN}x").status_code == 401
    assert client.get("/data/study/history/0.csv?study=digits-lr").status_code == 401
    entered = client.get(f"/study?study=digits-lr&token={TOKEN}")
    assert entered.status_code == 302
    assert TOKEN not in entered.headers["Location"]
    assert "HttpOnly" in entered.headers["Set-Cookie"]
    assert "SameSite=Strict" in entered.headers["Set-Cookie"]
    assert client.get("/").status_code == 200


def test_numbers_are_hosts_and_names_are_not() -> None:
    assert is_known_host("192.168.1.7:8050", {"localhost"})
    assert is_known_host("[fe80::1]", {"localhost"})
    assert not is_known_host("rebound.example:8050", {"localhost"})
    assert not is_known_host("", {"localhost"})


def test_the_server_listens_on_a_free_port_and_tells_its_address(url: str) -> None:
    server = make_dashboard_server(url, host="127.0.0.1", port=0, token="")
    try:
        assert server.address() == f"http://127.0.0.1:{server.port}/"
        with pytest.raises(DashboardError, match="another --port"):
            make_dashboard_server(url, host="127.0.0.1", port=server.port, token="")
    finally:
        server.close()
    with pytest.raises(DashboardError, match="EVOLVE_TOKEN="):
        make_dashboard_server(url, host="0.0.0.0", port=0, token="")


# Reading


def test_nothing_can_be_written_through_the_reader(reader: Reader) -> None:
    with reader._engine.connect() as connection, pytest.raises(Exception, match=r"readonly|read-only"):
        connection.execute(text("DELETE FROM evolve_trial"))


def test_a_change_of_a_study_changes_its_stamp_and_its_view(tmp_path: Path) -> None:
    engine = new_engine(tmp_path / "live.db")
    add_study(engine, Plan(num_trials=4, verdicts=("converged", "running", "running", "waiting")))
    reader = Reader(f"sqlite:///{tmp_path / 'live.db'}")
    state = PageState(page="/study", study=NAME)
    version, view = reader.version(state), reader.study(NAME)

    assert reader.version(state) == version
    assert reader.study(NAME) is view
    with engine.begin() as connection:
        connection.execute(update(schema.trial).where(schema.trial.c.number == 1).values(verdict="diverged", ended=2e9))
    assert reader.version(state) != version
    assert reader.study(NAME).trial(1)["verdict"] == "diverged"
    version = reader.version(state)
    add_note(engine, NAME, 0, "seen")
    assert reader.version(state) != version
    assert list(reader.study(NAME).notes["text"]) == ["seen"]


def test_a_file_that_comes_later_is_found_then_and_never_made_by_reading(tmp_path: Path) -> None:
    path = tmp_path / "later.db"
    reader = Reader(f"sqlite:///{path}")

    with pytest.raises(UnavailableError, match="does not exist yet"):
        reader.version(PageState())
    assert not path.exists()
    add_study(new_engine(path), Plan(num_trials=2))
    assert "digits-lr" in drawn(reader, PageState())


def test_databases_that_cannot_be_shown_say_why(tmp_path: Path) -> None:
    empty, newer, broken = (tmp_path / name for name in ("empty.db", "newer.db", "broken.db"))
    sqlite3.connect(empty).close()
    empty.touch()
    engine = new_engine(newer)
    with engine.begin() as connection:
        connection.execute(insert(schema.schema_version).values(version=schema.SCHEMA_VERSION + 1))
    broken.write_bytes(b"this is not a database at all" * 200)

    for path, why in ((empty, "missing"), (newer, "upgrade evolve"), (broken, "not a database")):
        reader = Reader(f"sqlite:///{path}")
        for state in (PageState(), PageState(page="/study", study=NAME)):
            said = to_json_plotly(panel_content(reader, PanelContext(state=state, panel=PAGES[state.page][0].key)))
            assert why in said, (path, said)
    with pytest.raises(UnavailableError, match="cannot be opened"):
        Reader("postgresql+nosuchdriver://x/y")


def test_half_written_and_huge_trials_are_shown(tmp_path: Path) -> None:
    engine = new_engine(tmp_path / "half.db")
    add_study(engine, Plan(num_trials=10, verdicts=("converged", "diverged") * 5))
    with engine.begin() as connection:
        first = connection.scalar(select(schema.trial.c.trial_id).where(schema.trial.c.number == 0))
        own = schema.trial.c.trial_id
        connection.execute(
            update(schema.trial).where(own == first).values(reason="x" * 200_000, fitness=inf, diagnosis="{not json")
        )
        connection.execute(update(schema.trial).where(own == first + 1).values(diagnosis='{"step": "NaN", "lr": []}'))
        connection.execute(update(schema.trial).where(own == first + 2).values(verdict="from a later version"))
        connection.execute(schema.epoch.delete().where(schema.epoch.c.trial_id == first + 4))
        connection.execute(schema.step.delete().where(schema.step.c.trial_id == first + 6))
        connection.execute(schema.trial.delete().where(own == first + 8))
    reader = Reader(f"sqlite:///{tmp_path / 'half.db'}")

    for number in range(10):
        for state in (PageState(page="/study", study=NAME), PageState(page="/trial", study=NAME, number=number)):
            assert "cannot be drawn" not in drawn(reader, state)


def test_a_study_of_plain_optuna_is_shown_and_its_database_opens_in_plain_optuna(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'plain.db'}"
    add_study(new_engine(tmp_path / "plain.db"), Plan(num_trials=6))
    study = optuna.create_study(storage=url, study_name="plain", direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)

    assert "cannot be drawn" not in drawn(Reader(url), PageState(page="/study", study="plain"))
    ours = optuna.load_study(study_name=NAME, storage=url)
    assert len(ours.trials) == 6


def test_the_same_database_opens_in_optuna_dashboard(url: str, tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("optuna-dashboard"))
    port = free_port()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([program, url, "--port", str(port)], stdout=log, stderr=log)
    try:
        until = time.monotonic() + 60
        while (answer := answered(f"http://127.0.0.1:{port}/api/studies")) is None:
            assert process.poll() is None and time.monotonic() < until, (tmp_path / "log").read_text()
            time.sleep(0.3)
        numbers = {each["study_name"]: each["study_id"] for each in answer["study_summaries"]}
        study = answered(f"http://127.0.0.1:{port}/api/studies/{numbers[NAME]}?after=0")
    finally:
        process.terminate()
        process.wait(timeout=20)

    assert set(numbers) == {NAME, HOSTILE}
    assert study is not None
    assert len(study["trials"]) == 28
    assert any(param["name"] == "lr0" for param in study["trials"][0]["params"])


def answered(url: str) -> Any:
    """What a server says as JSON, or None while it cannot be reached."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return json.load(answer)
    except OSError:
        return None


def write_at_full_speed(url: str, until: float, errors: list[BaseException]) -> None:
    """Writes steps and ends of trials until the clock says so, as a runner does."""
    engine = create_engine(url, connect_args={"timeout": 60})
    tune(engine)
    try:
        with engine.connect() as connection:
            row = dict(connection.execute(select(schema.step).limit(1)).mappings().one())
        step = 10**6
        while time.monotonic() < until:
            with engine.begin() as connection:
                connection.execute(insert(schema.step), [row | {"step": step + each} for each in range(50)])
                connection.execute(update(schema.trial).where(schema.trial.c.number == 0).values(ended=float(step)))
            step += 50
    except BaseException as error:
        errors.append(error)
    finally:
        engine.dispose()


@pytest.mark.parametrize(
    "seconds", [3, pytest.param(120, marks=[pytest.mark.slow, pytest.mark.timeout(300)])], ids=["short", "long"]
)
def test_a_writer_at_full_speed_and_a_reader_never_stop_each_other(tmp_path: Path, seconds: int) -> None:
    path = tmp_path / "busy.db"
    engine = new_engine(path)
    tune(engine)
    add_study(engine, Plan(num_trials=20))
    errors: list[BaseException] = []
    url, until = f"sqlite:///{path}", time.monotonic() + seconds
    writer = threading.Thread(target=write_at_full_speed, args=(url, until, errors))
    reader = Reader(url)
    versions = set()
    writer.start()
    while time.monotonic() < until:
        for state in (PageState(), PageState(page="/study", study=NAME), PageState(page="/trial", study=NAME)):
            versions.add(reader.version(state))
            panel = PAGES[state.page][0].key
            said = to_json_plotly(panel_content(reader, PanelContext(state=state, panel=panel)))
            assert "cannot be" not in said
    writer.join(timeout=90)

    assert not writer.is_alive()
    assert errors == []
    assert len(versions) > 3


# Notes


def test_notes_are_written_to_older_databases_and_shown_on_their_trial(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    engine = new_engine(path)
    add_study(engine, Plan(num_trials=3))
    schema.note.drop(engine)
    reader = Reader(f"sqlite:///{path}")
    trial = PageState(page="/trial", study=NAME, number=1)
    assert "spike" not in drawn(reader, trial)

    arguments = ["note", NAME, "1", "spike <b>here</b>", "--tag", "odd", "--storage", f"sqlite:///{path}", "--json"]
    result = CliRunner().invoke(cli, arguments)

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["tag"] == "odd"
    assert "spike" in drawn(reader, trial)
    assert "spike" not in drawn(reader, replace(trial, number=2))


def test_a_note_needs_a_trial_and_something_to_say(tmp_path: Path) -> None:
    engine = new_engine(tmp_path / "n.db")
    add_study(engine, Plan(num_trials=3))

    with pytest.raises(StorageError, match="its trials are 0 to 2"):
        add_note(engine, NAME, 3, "x")
    with pytest.raises(StorageError, match="stored: \\['digits-lr'\\]"):
        add_note(engine, "other", 0, "x")
    with pytest.raises(StorageError, match="neither"):
        add_note(engine, NAME, 0, "  ")
    with pytest.raises(StorageError, match="4000"):
        add_note(engine, NAME, 0, "x" * 4001)
    with pytest.raises(StorageError, match=r"holds '\\x00', '\\ud83d'; allowed"):
        add_note(engine, NAME, 0, "a\0b", tag="\ud83d")


def save_note(client: Any, query: Any, text: Any, tag: Any = "", *, method: str = "POST", **headers: str) -> Any:
    """The answer to a click on the button of a trial's page, as a browser sends it."""
    with_site = {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    names = [
        ("note-said", "children"),
        ("note-text", "value"),
        ("note-tag", "value"),
        ("version", "data@" + NOTE_VERSION),
    ]
    values = [("note-text", "value", text), ("note-tag", "value", tag), ("query", "data", query)]
    asked = {
        "output": f"..{'...'.join(f'{name}.{what}' for name, what in names)}..",
        "outputs": [{"id": name, "property": what} for name, what in names],
        "inputs": [{"id": "note-save", "property": "n_clicks", "value": 1}],
        "changedPropIds": ["note-save.n_clicks"],
        "state": [{"id": name, "property": what, "value": value} for name, what, value in values],
    }
    return client.open("/_dash-update-component", method=method, json=asked, headers=with_site)


# Dash tells outputs that several callbacks write apart by the hash of what each of them hears.
NOTE_VERSION = sha256(b"note-save.n_clicks").hexdigest()


@pytest.fixture
def noted(tmp_path: Path) -> Path:
    """A database of a study of three trials that a test may write notes to."""
    engine = new_engine(tmp_path / "noted.db")
    add_study(engine, Plan(num_trials=3))
    engine.dispose()
    return tmp_path / "noted.db"


TRIAL_PAGE = f"/trial?study={NAME}&trial=1"


def test_a_note_written_on_the_page_of_a_trial_is_stored_and_shown_at_once(noted: Path) -> None:
    url = f"sqlite:///{noted}"
    trial = from_address(TRIAL_PAGE)
    reader = Reader(url)
    before = version_of(reader, trial)

    answer = save_note(make_app(url).server.test_client(), TRIAL_PAGE, f" {HOSTILE}\nsecond line ", " odd ")

    said = answer.json["response"]
    assert said["note-said"]["children"] == "The note is stored."
    assert (said["note-text"]["value"], said["note-tag"]["value"]) == ("", "")
    assert said["version"]["data"] == version_of(reader, trial) != before
    row = reader.study(NAME).notes.iloc[0]
    assert (row["number"], row["text"], row["tag"]) == (1, f"{HOSTILE}\nsecond line", "odd")
    assert row["author"] == getpass.getuser()
    shown = panel_content(reader, PanelContext(state=trial, panel="notes"))
    assert HOSTILE in "".join(part for part in shown[0].children if isinstance(part, str))


@pytest.mark.parametrize(
    ("query", "text", "tag", "why"),
    [
        (TRIAL_PAGE, "  ", None, "neither a text nor a tag"),
        (TRIAL_PAGE, "x" * 4001, "", "note: 4001 characters with a tag of 0; allowed are 4000 and 64"),
        (TRIAL_PAGE, "", "x" * 65, "allowed are 4000 and 64"),
        (TRIAL_PAGE, "a\0", "", "allowed are characters that are text"),
        (TRIAL_PAGE, "\ud800", "", "allowed are characters that are text"),
        (f"/trial?study={NAME}&trial=99", "x", "", "has no trial 99; its trials are 0 to 2"),
        ("/trial?study=other&trial=0", "x", "", "study other: is not in"),
        (f"/study?study={NAME}", "x", "", "is not the page of a trial"),
        ("/trial?trial=-1", "x", "", "trial: '-1' is not a whole number"),
        (None, "x", "", "is not the page of a trial"),
    ],
)
def test_a_wrong_note_is_refused_in_words_and_stays_in_its_field(
    noted: Path, query: Any, text: str, tag: Any, why: str
) -> None:
    answer = save_note(make_app(f"sqlite:///{noted}").server.test_client(), query, text, tag)

    assert answer.status_code == 200
    assert why in answer.json["response"]["note-said"]["children"]
    assert set(answer.json["response"]) == {"note-said"}
    assert notes_in(noted) == 0


def notes_in(path: Path) -> int:
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        count = connection.scalar(select(func.count()).select_from(schema.note))
    engine.dispose()
    return int(count or 0)


def test_a_note_needs_the_token_and_a_page_of_ours(noted: Path) -> None:
    app = make_app(f"sqlite:///{noted}", Access(token=TOKEN))
    stranger, known = app.server.test_client(), app.server.test_client()
    known.get(f"/?token={TOKEN}")

    refused = [
        save_note(stranger, TRIAL_PAGE, "x").status_code,
        save_note(known, TRIAL_PAGE, "x", Sec_Fetch_Site="cross-site").status_code,
        save_note(known, TRIAL_PAGE, "x", Origin="https://evil.example").status_code,
        save_note(known, TRIAL_PAGE, "x", Origin="null").status_code,
        save_note(known, TRIAL_PAGE, "x", Host="evil.example").status_code,
        save_note(known, TRIAL_PAGE, "x", method="PUT").status_code,
    ]
    asked_for = save_note(known, TRIAL_PAGE, "x", method="GET")

    assert refused == [401, 403, 403, 403, 421, 405]
    assert "react-entry-point" in asked_for.text  # the page itself, as for any path
    assert notes_in(noted) == 0
    assert save_note(known, TRIAL_PAGE, "x").status_code == 200
    assert notes_in(noted) == 1


def test_a_note_on_a_database_that_is_locked_is_refused_in_words(noted: Path) -> None:
    client = make_app(f"sqlite:///{noted}").server.test_client()
    other = sqlite3.connect(noted, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        said = save_note(client, TRIAL_PAGE, "x").json["response"]["note-said"]["children"]
    finally:
        other.close()

    assert said == "note: not stored, the database cannot be written now: database is locked; try again"
    assert notes_in(noted) == 0


def test_a_note_on_a_database_that_is_read_only_or_gone_is_refused_in_words(noted: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written now: attempt to write a readonly database"):
        add_note(reading_engine(f"sqlite:///{noted}"), NAME, 1, "x")

    missing = tmp_path / "missing.db"
    said = save_note(make_app(f"sqlite:///{missing}").server.test_client(), TRIAL_PAGE, "x").json["response"]

    assert said["note-said"]["children"] == f"note: not stored, {missing} does not exist"
    assert not missing.exists()


def test_the_command_line_refuses_to_open_the_pages_to_others_without_a_token(url: str) -> None:
    result = CliRunner().invoke(cli, ["dashboard", "--host", "0.0.0.0", "--storage", url])

    assert isinstance(result.exception, DashboardError)
    assert "--token" in str(result.exception)
