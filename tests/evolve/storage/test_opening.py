"""A database that cannot be opened: each message says where, what was found, and what is allowed."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import make_url
from typer.testing import CliRunner

from evolve.cli import app
from evolve.errors import EvolveError, StorageError
from evolve.storage.choosing import choose_study
from evolve.storage.database import Storage
from evolve.storage.notes import add_note
from evolve.storage.opening import open_engine
from evolve.storage.removal import removable
from evolve.storage.sqlite import sqlite_file, without_password, without_secrets
from evolve.storage.trial_rows import trial_rows
from tests.synthetic import Plan, add_study, new_engine


def message(url: str, *, reads_only: bool) -> str:
    with pytest.raises(StorageError) as raised:
        Storage(url, reads_only=reads_only)
    return str(raised.value)


@pytest.fixture
def places(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.db").write_text("this is no database " * 100)
    return tmp_path


@pytest.mark.parametrize("reads_only", [True, False])
@pytest.mark.parametrize(
    ("url", "found", "allowed"),
    [
        ("sqlite:///{}/folder", "it is a folder", "name a file in it, such as sqlite:///{}/folder/evolve.db"),
        ("sqlite:///{}/text.db", "the file is no SQLite database", "sqlite:///runs/evolve.db"),
        ("sqlite:///{}/text.db/runs/evolve.db", "text.db is a file and no folder", "sqlite:///runs/evolve.db"),
        ("sqlite:////proc/none/x.db", "its folder /proc/none is not there", "sqlite:///runs/evolve.db"),
        ("sqlite://x.db", "SQLite has no server", "a file takes three slashes: sqlite:///x.db"),
        ("sqlite://", "a database in memory ends with its connection", "sqlite:///runs/evolve.db"),
        ("sqllite:///x.db", "unknown kind of database 'sqllite'", "did you mean 'sqlite'?"),
        ("oracle://me:secret@host/x", "the driver 'oracledb' of oracle is not installed", "install it, or name a file"),
        ("postgresql://me:secret@host:port/x", "not an SQLAlchemy URL", "such as sqlite:///runs/evolve.db"),
        ("runs/evolve.db", "not an SQLAlchemy URL", "such as sqlite:///runs/evolve.db"),
    ],
)
def test_where_it_is_what_was_found_and_what_is_allowed_is_said_in_a_line(
    places: Path, url: str, found: str, allowed: str, reads_only: bool
) -> None:
    said = message(url.format(places), reads_only=reads_only)

    assert said.startswith("storage ") and "\n" not in said
    assert found in said and allowed.format(places) in said
    assert "sqlalche.me" not in said and "Errno" not in said and "secret" not in said


def test_a_folder_that_cannot_be_made_is_said_with_the_reason() -> None:
    said = message("sqlite:////proc/none/x.db", reads_only=False)

    assert "its folder /proc/none is not there and cannot be made: No such file or directory" in said


ALLOWED = "allowed: a file, in a folder, that this account may read and write"


def test_a_file_that_may_only_be_read_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Storage(f"sqlite:///{tmp_path}/evolve.db").close()
    monkeypatch.setattr(os, "access", lambda _path, mode: mode == os.R_OK)  # as for an account that is not root

    said = message(f"sqlite:///{tmp_path}/evolve.db", reads_only=False)

    Storage(f"sqlite:///{tmp_path}/evolve.db", reads_only=True).close()
    assert said == f"storage sqlite:///{tmp_path}/evolve.db: cannot be opened: it may only be read; {ALLOWED}"


def test_a_file_that_is_opened_for_reading_alone_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "evolve.db").touch()

    said = message(f"sqlite:///file:{tmp_path}/evolve.db?mode=ro&uri=true", reads_only=False)

    assert f"attempt to write a readonly database; {ALLOWED}" in said


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///runs/evolve.db", "runs/evolve.db"),
        ("sqlite:///file:/runs/evolve.db?mode=ro&uri=true", "/runs/evolve.db"),
        ("sqlite:///file:runs/my%20trials.db?uri=true", "runs/my trials.db"),
        ("sqlite:///file:trials?mode=memory&uri=true", None),
        ("sqlite:///file::memory:?cache=shared&uri=true", None),
        ("sqlite:///file:odd", "file:odd"),  # a name like any other, where it is not said to be a URI
    ],
)
def test_the_file_of_a_database_is_found_in_a_path_and_in_a_uri_of_sqlite(url: str, file: str | None) -> None:
    assert sqlite_file(url) == (None if file is None else Path(file))


def test_a_uri_of_sqlite_makes_no_folder_but_that_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Storage(f"sqlite:///file:{tmp_path}/runs/evolve.db?uri=true").close()

    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert (tmp_path / "runs/evolve.db").stat().st_size > 0


@pytest.mark.parametrize("reads_only", [True, False])
def test_a_server_that_is_away_is_named_without_the_password(reads_only: bool) -> None:
    pytest.importorskip("psycopg")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]  # bound, and nobody listens there

        said = message(f"postgresql+psycopg://me:secret@127.0.0.1:{port}/x", reads_only=reads_only)

    assert said.startswith(f"storage postgresql+psycopg://me:***@127.0.0.1:{port}/x: cannot be opened: ")
    assert "Connection refused; allowed: a server that runs" in said and "\n" not in said


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://me:pa/ss@host/x", "postgresql+psycopg://me:***@host/x"),
        ("postgresql://:secret@host:5432/x", "postgresql://:***@host:5432/x"),
        ("postgresql://me@host:5432/x", "postgresql://me@host:5432/x"),
        ("sqlite:///runs/a:b@c.db", "sqlite:///runs/a:b@c.db"),
        ("postgresql://host/x?password=secret", "postgresql://host/x?password=***"),
        (
            "postgresql://host:5432/x?user=me&password=a@b&port=1",
            "postgresql://host:5432/x?user=me&password=***&port=1",
        ),
        ("mysql://me:secret@host/x?PASSWD=secret", "mysql://me:***@host/x?PASSWD=***"),
        ("postgresql://host/x?sslpassword=a=b&sslmode=require", "postgresql://host/x?sslpassword=***&sslmode=require"),
    ],
)
def test_a_password_is_hidden_whatever_signs_it_has(url: str, shown: str) -> None:
    assert without_password(url) == shown


@pytest.mark.parametrize(
    "asks",
    [
        lambda engine: choose_study(engine, "absent"),
        lambda engine: choose_study(engine, "twin"),
        lambda engine: trial_rows(engine, "absent"),
        lambda engine: removable(engine, "absent", Path("runs")),
        lambda engine: add_note(engine, "absent", 0, "text"),
    ],
)
def test_a_password_in_the_query_of_an_engine_is_in_no_message(asks: Callable[[Engine], object], places: Path) -> None:
    made = new_engine(places / "x.db")
    for name in ("twin-a", "twin-b"):
        add_study(made, Plan(name=name, num_trials=0))
    engine = open_engine(f"sqlite:///file:{places}/x.db?uri=true&password=secret")

    with pytest.raises(StorageError, match=r"password=\*\*\*") as raised:
        asks(engine)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://me:secret@host/x", "postgresql+psycopg://me@host/x"),
        (
            "postgresql+psycopg://me@host/x?password=secret&sslmode=require",
            "postgresql+psycopg://me@host/x?sslmode=require",
        ),
        ("sqlite:///runs/evolve.db", "sqlite:///runs/evolve.db"),
    ],
)
def test_a_command_on_a_page_names_a_database_without_its_password(url: str, shown: str) -> None:
    assert without_secrets(make_url(url)) == shown


COMMANDS = (
    "run --study lr_sweep",
    "run --study lr_sweep --resume",
    "ablate loss --plan",
    "noise x",
    "confirm x",
    "show x",
    "replay x 0",
    "cure x",
    "follow x a",
    "report x",
    "dashboard --no-browser",
    "dashboard x --no-browser",
    "backtest x",
    "note x 0 text",
    "delete x --yes",
    "doctor",
    "export x",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_so_alike(places: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.chdir(places)

    done = CliRunner().invoke(app, [*command.split(), "--storage", "sqlite:///folder"])

    assert isinstance(done.exception, EvolveError), (done.output, done.exception)
    assert str(done.exception) == (
        "storage sqlite:///folder: cannot be opened: it is a folder; "
        "name a file in it, such as sqlite:///folder/evolve.db"
    )
