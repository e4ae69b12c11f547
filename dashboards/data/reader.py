"""Reading for the live pages: nothing is written, every statement is its own short transaction, and what has not
changed is not read again.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from sys import maxsize
from threading import Lock
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from dashboards.data import queries, trial_queries
from dashboards.data.compared import CompareView, best_of, compared_steps, entry_of
from dashboards.data.filters import narrowed
from dashboards.data.overview import Overview, load_overview
from dashboards.data.study import StudyView, ViewOptions
from dashboards.data.study_loading import StudyNotFoundError, check_tables, load
from dashboards.data.trial import load_trial
from dashboards.state import PageState
from evolve.errors import StorageError
from evolve.storage import schema
from evolve.storage.database import check_schema
from evolve.storage.sqlite import sqlite_file

BUSY_SECONDS = 30
KEPT_STUDIES = 8
KEPT_ANSWERS = 24
MAX_POINTS = 1500  # trials that a picture draws; more are thinner than a pixel apart


class UnavailableError(Exception):
    """The page cannot be shown; the text says why, and what to do."""


def reading_engine(url: str) -> Engine:
    """An engine that cannot write: SQLite is told to refuse, and no statement leaves a transaction open.

    Raises:
        UnavailableError: The URL is not one, or its driver is missing.
    """
    try:
        is_sqlite = make_url(url).get_backend_name() == "sqlite"
        arguments: dict[str, Any] = {"timeout": BUSY_SECONDS} if is_sqlite else {}
        engine = create_engine(url, connect_args=arguments, isolation_level="AUTOCOMMIT")
    except (SQLAlchemyError, ModuleNotFoundError) as error:
        raise UnavailableError(f"storage {url}: cannot be opened: {error}") from error
    if is_sqlite:

        @event.listens_for(engine, "connect")
        def _refuse_writes(connection: Any, _record: object) -> None:
            connection.execute("PRAGMA query_only = ON")

    return engine


class Reader:
    """The studies of one database, kept as long as nothing about them changes.

    Args:
        url: Any SQLAlchemy URL; its file may come later.
    """

    def __init__(self, url: str) -> None:
        self._file: Path | None = sqlite_file(url)
        self._engine = reading_engine(url)
        self._lock = Lock()
        self._studies: OrderedDict[str, tuple[str, StudyView]] = OrderedDict()
        self._answers: OrderedDict[tuple[str, str], Any] = OrderedDict()

    @property
    def where(self) -> str:
        """The database, without its password."""
        return self._engine.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    def stamp(self, state: PageState) -> str:
        """A text that changes when what the page shows may have changed.

        Raises:
            UnavailableError: The database cannot be read, or has no such study.
        """
        with told(), self._connected() as connection:
            if state.page == "/":
                # Progress of every study is one statement; the clock moves on what is said about running ones.
                rows = connection.execute(trial_queries.outcome_counts()).all()
                heartbeat = [row.heartbeat for row in connection.execute(trial_queries.studies_seen()).all()]
                return repr((sorted(map(repr, rows)), heartbeat))
            names = [name for name, _ in state.compared] if state.page == "/compare" else [state.study]
            stamps = [self._study_stamp(connection, name) for name in names]
            if state.page == "/trial":
                trial_id = _trial_id(connection, state.study, state.number)
                stamps.append(repr(connection.execute(trial_queries.trial_progress(trial_id)).one()))
            return ";".join(stamps)

    def study(self, name: str) -> StudyView:
        """The study as it is now.

        Raises:
            UnavailableError: There is none, or the database cannot be read.
        """
        # One reader at a time: the others want the same rows and would only make it wait.
        with self._lock, told():
            with self._connected() as connection:
                stamp = self._study_stamp(connection, name)
            known = self._studies.get(name)
            if known is None or known[0] != stamp:
                known = (stamp, load(self._engine, name))
                self._studies[name] = known
            self._studies.move_to_end(name)
            while len(self._studies) > KEPT_STUDIES:
                self._studies.popitem(last=False)
            return known[1]

    def view(self, state: PageState, *, has_all: bool = False) -> object:
        """What the panels of a page are given.

        Args:
            state: What the page shows.
            has_all: Whether pictures draw every trial, however many there are.

        Raises:
            UnavailableError: It cannot be read.
        """
        if state.page == "/":
            return self._overview()
        if state.page == "/study":
            return self._focused(state, maxsize if has_all else MAX_POINTS)
        if state.page == "/trial":
            with told():
                return load_trial(self._engine, self.study(state.study), state.number, state.seed)
        if state.page == "/compare":
            return self._compared(state)
        raise UnavailableError(f"There is no page {state.page}. Start from the list of studies.")

    def study_names(self) -> list[str]:
        """Names of all studies."""
        with told(), self._connected() as connection:
            return list(connection.execute(queries.study_names(limit=1000)).scalars())

    def _overview(self) -> Overview:
        with told(), self._connected():
            return load_overview(self._engine, time.time())

    def _focused(self, state: PageState, max_points: int) -> StudyView:
        whole = self.study(state.study)
        key = (str(id(whole)), state.question)
        with self._lock:
            narrow = self._answers.get(key)
        if narrow is None or narrow[0] is not whole:
            narrow = (whole, narrowed(whole, state.filters))
            with self._lock:
                self._answers[key] = narrow
                while len(self._answers) > KEPT_ANSWERS:
                    self._answers.popitem(last=False)
        focus = ViewOptions(selected=frozenset(state.selected), pair=state.pair, max_points=max_points)
        return replace(narrow[1], focus=focus)

    def _compared(self, state: PageState) -> CompareView:
        studies = {name: self.study(name) for name, _ in state.compared}
        known = {name: set(study.trials["number"]) for name, study in studies.items()}
        for name, number in state.compared:
            if number is not None and number not in known[name]:
                raise UnavailableError(f"Study {name} has no trial {number}.")
        entries = [entry_of(studies[name], number) for name, number in dict.fromkeys(state.compared)]
        shown = best_of(entries)
        return CompareView(entries=shown, num_chosen=len(entries), measured=compared_steps(self._engine, shown))

    def _connected(self) -> Connection:
        if self._file is not None and not self._file.exists():
            raise UnavailableError(
                f"{self._file} does not exist yet. Start a study with `evolve run`, or name another with --storage."
            )
        connection = self._engine.connect()
        try:
            check_schema(connection)
            return connection
        except BaseException:
            connection.close()
            raise

    def _study_stamp(self, connection: Connection, name: str) -> str:
        has_notes = schema.note.name in check_tables(self._engine)
        study = connection.execute(queries.study_by_name(name)).one_or_none()
        if study is None:
            raise StudyNotFoundError(f"There is no study named {name!r} here.")
        statements = [trial_queries.study_stamp(study.study_id), trial_queries.epoch_stamp(study.study_id)]
        statements += [trial_queries.note_stamp()] if has_notes else []
        return repr([connection.execute(each).all() for each in statements])


def _trial_id(connection: Connection, name: str, number: int) -> int:
    rows = queries.trials.join(queries.studies, queries.studies.c.study_id == queries.trials.c.study_id)
    statement = select(queries.trials.c.trial_id).select_from(rows)
    found = connection.scalar(statement.where(queries.studies.c.study_name == name, queries.trials.c.number == number))
    if found is None:
        raise StudyNotFoundError(f"Study {name} has no trial {number}.")
    return int(found)


@contextmanager
def told() -> Iterator[None]:
    """Turns what can go wrong with a database into text for people."""
    try:
        yield
    except (StorageError, StudyNotFoundError) as error:
        raise UnavailableError(str(error)) from error
    except SQLAlchemyError as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        raise UnavailableError(f"The database cannot be read now: {reason}. This page tries again.") from error
