"""Reading for the live pages: nothing is written, every statement is its own short transaction, and what has not
changed is not read again.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from sys import maxsize
from threading import Lock
from typing import Generic, TypeVar

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import SQLAlchemyError

from dashboards.data import queries, trial_queries
from dashboards.data.compared import CompareView, best_of, compared_steps, entry_of
from dashboards.data.filters import narrowed
from dashboards.data.overview import Overview, load_overview
from dashboards.data.study import StudyView, ViewOptions
from dashboards.data.study_loading import StudyNotFoundError, check_tables, load
from dashboards.data.trial import TrialView, load_outline, load_trial, single_trial, trial_id_of
from dashboards.state import PageState
from evolve.errors import StorageError
from evolve.storage.migrations import revision_of
from evolve.storage.older import read_as_current
from evolve.storage.opening import made_engine
from evolve.storage.optuna_tables import STUDIES, TRIALS
from evolve.storage.sqlite import sqlite_file, without_password
from evolve.storage.under_way import is_alive, is_run

KEPT_STUDIES = 8
KEPT_QUERIES = 24
MAX_POINTS = 1500  # trials that a picture draws; more are thinner than a pixel apart


Made = TypeVar("Made")


class UnavailableError(Exception):
    """The page cannot be shown; the text says why, and what to do."""


def reading_engine(url: str) -> Engine:
    """An engine that cannot write: SQLite refuses to, and no statement leaves a transaction open.

    Raises:
        UnavailableError: The URL is not one, or its driver is missing.
    """
    with explained():
        engine = made_engine(url, reads_only=True, isolation_level="AUTOCOMMIT")
    read_as_current(engine)
    return engine


class _Kept(Generic[Made]):
    """The latest few of what was made, each as long as its version stays.

    Args:
        most: Number of entries kept at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._made: OrderedDict[Hashable, tuple[object, Made]] = OrderedDict()

    def get(self, key: Hashable, version: object, make: Callable[[], Made]) -> Made:
        """What was made for the key; made now where there is none of this version."""
        known = self._made.get(key)
        if known is None or known[0] != version:
            self._made[key] = known = (version, make())
        self._made.move_to_end(key)
        while len(self._made) > self._most:
            self._made.popitem(last=False)
        return known[1]


class Reader:
    """The studies of one database, kept as long as nothing about them changes.

    Args:
        url: SQLAlchemy URL of any database; an SQLite file may come later.
        clock: Present time in seconds since 1970.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._file: Path | None = sqlite_file(url)
        self._engine = reading_engine(url)
        # One reader at a time: the others want the same rows and would only make it wait.
        self._lock = Lock()
        self._studies: _Kept[StudyView] = _Kept(KEPT_STUDIES)
        self._narrowed: _Kept[StudyView] = _Kept(KEPT_QUERIES)
        self._trials: _Kept[TrialView] = _Kept(KEPT_QUERIES)

    @property
    def where(self) -> str:
        """The database, without its password."""
        return without_password(self._engine.url)

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    def version(self, state: PageState) -> str:
        """A text that changes when what the page shows may have changed.

        Raises:
            UnavailableError: The database cannot be read, or has no such study.
        """
        with explained(), self._connected() as connection:
            if state.page == "/":
                # Progress of every study is one statement; the clock moves on what is said about running ones.
                rows = connection.execute(trial_queries.outcome_counts()).all()
                heartbeats = [row.heartbeat for row in connection.execute(trial_queries.studies_seen()).all()]
                # A run that is killed says nothing more: that it is silent is seen by the clock alone.
                alive = [is_alive(heartbeat, self._clock()) for heartbeat in heartbeats]
                return repr((sorted(map(repr, rows)), heartbeats, alive))
            names = [name for name, _ in state.compared] if state.page == "/compare" else [state.study]
            versions = [self._study_version(connection, name) for name in names]
            if state.page == "/trial":
                trial_id = _trial_id(connection, state.study, state.number)
                versions.append(repr(load_outline(connection, trial_id)))
            return ";".join(versions)

    def study(self, name: str) -> StudyView:
        """The study as it is now.

        Raises:
            UnavailableError: There is no such study, or the database cannot be read.
        """
        with self._lock, explained():
            return self._study(name)[1]

    def view(self, state: PageState, *, has_all: bool = False) -> object:
        """What the panels of a page are given; asked for by each of them, and made once for all.

        Args:
            state: What the page shows.
            has_all: Whether pictures draw every trial, however many there are.

        Raises:
            UnavailableError: The database cannot be read, or has no such study or trial, or there is no such page.
        """
        with explained():
            if state.page == "/":
                return self._overview()
            if state.page == "/study":
                return self._searched_or_trained(state, maxsize if has_all else MAX_POINTS)
            if state.page == "/trial":
                return self._trial(state)
            if state.page == "/compare":
                return self._compared(state)
        raise UnavailableError(f"There is no page {state.page}. Start from the list of studies.")

    def study_names(self) -> list[str]:
        """Names of all studies."""
        with explained(), self._connected() as connection:
            return list(connection.execute(queries.study_names(limit=1000)).scalars())

    def _study(self, name: str) -> tuple[str, StudyView]:
        with self._connected() as connection:
            version = self._study_version(connection, name)
        return version, self._studies.get(name, version, lambda: load(self._engine, name, self._clock()))

    def _overview(self) -> Overview:
        with self._connected():
            return load_overview(self._engine, self._clock())

    def _searched_or_trained(self, state: PageState, max_points: int) -> StudyView | TrialView:
        with self._lock:
            version, whole = self._study(state.study)
            if (number := single_trial(whole)) is not None:
                return self._trial_of(version, whole, replace(state, number=number))
            narrow = self._narrowed.get(state.query, version, lambda: narrowed(whole, state.filters))
        options = ViewOptions(selected=frozenset(state.selected), pair=state.pair, max_points=max_points)
        return replace(narrow, options=options)

    def _trial(self, state: PageState) -> TrialView:
        with self._lock:
            return self._trial_of(*self._study(state.study), state)

    def _trial_of(self, version: str, study: StudyView, state: PageState) -> TrialView:
        with self._engine.connect() as connection:
            outline = load_outline(connection, trial_id_of(study, state.number))

        def make() -> TrialView:
            return load_trial(self._engine, study, state.number, outline, state.seed)

        return self._trials.get(state.query, (version, outline), make)

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
            revision_of(connection)
            return connection
        except BaseException:
            connection.close()
            raise

    def _study_version(self, connection: Connection, name: str) -> str:
        check_tables(self._engine)
        study = connection.execute(queries.study_by_name(name)).one_or_none()
        if study is None:
            raise StudyNotFoundError(f"There is no study named {name!r} here.")
        statements = (
            trial_queries.study_version(study.study_id),
            trial_queries.epoch_version(study.study_id),
            trial_queries.note_version(),
            trial_queries.run_version(study.study_id),
            trial_queries.confirmation_version(name),
            trial_queries.cure_version(name),
        )
        # A run that is killed says nothing more: that it is silent is seen by the clock alone.
        has_runner = is_run(study.config, study.heartbeat, self._clock())
        return repr([has_runner, *(connection.execute(statement).all() for statement in statements)])


def _trial_id(connection: Connection, name: str, number: int) -> int:
    rows = TRIALS.join(STUDIES, STUDIES.c.study_id == TRIALS.c.study_id)
    statement = select(TRIALS.c.trial_id).select_from(rows)
    found = connection.scalar(statement.where(STUDIES.c.study_name == name, TRIALS.c.number == number))
    if found is None:
        raise StudyNotFoundError(f"Study {name} has no trial {number}.")
    return int(found)


@contextmanager
def explained() -> Iterator[None]:
    """Turns what can go wrong with a database into text for people."""
    try:
        yield
    except (StorageError, StudyNotFoundError) as error:
        raise UnavailableError(str(error)) from error
    except SQLAlchemyError as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        raise UnavailableError(f"The database cannot be read now: {reason}. This page tries again.") from error
