"""Notes on trials, the one thing that the pages write."""

from __future__ import annotations

import getpass
import json
import sqlite3
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, func, select, text, update
from typer.testing import CliRunner

from dashboards.data.reader import Reader, reading_engine
from dashboards.live.app import make_app
from dashboards.live.callbacks import panel_content, version_of
from dashboards.live.context import PanelContext
from dashboards.live.security import Access
from dashboards.live.server import DashboardError
from dashboards.state import PageState, from_address
from evolve.cli import app as cli
from evolve.errors import StorageError
from evolve.storage import schema
from evolve.storage.notes import add_note
from tests.dashboards.examples import HOSTILE, NAME, TOKEN
from tests.shown import drawn
from tests.synthetic import Plan, add_study, new_engine


def test_notes_are_written_to_older_databases_and_shown_on_their_trial(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    engine = new_engine(path)
    add_study(engine, Plan(num_trials=3))
    seen = (schema.class_scores, schema.objectness, schema.layer, schema.picture, schema.taken, schema.watched)
    for later in (schema.note, schema.training, schema.revision, schema.run, *seen):
        later.drop(engine)
    with engine.begin() as connection:
        connection.execute(text("alter table evolve_trial drop column lost"))
        connection.execute(text("alter table evolve_step drop column critical_ratio"))
        connection.execute(update(schema.schema_version).values(version=1))
    reader = Reader(f"sqlite:///{path}")
    trial = PageState(page="/trial", study=NAME, number=1)
    assert "bump" not in drawn(reader, trial)

    arguments = ["note", NAME, "1", "bump <b>here</b>", "--tag", "odd", "--storage", f"sqlite:///{path}", "--json"]
    result = CliRunner().invoke(cli, arguments)

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["tag"] == "odd"
    assert "bump" in drawn(reader, trial)
    assert "bump" not in drawn(reader, replace(trial, number=2))


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
