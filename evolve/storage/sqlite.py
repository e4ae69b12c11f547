"""SQLite for one writer among many readers, and its patience with others that hold the database locked."""

from __future__ import annotations

import re
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sqlalchemy import URL, Engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from evolve.errors import StorageError

# One wait inside SQLite, where Ctrl-C is not heard; then a patient connection asks again. Pages and notes are told so
# after one: a runner's transactions are over in milliseconds.
BUSY_SECONDS = 5
# A backup or a copy is over in minutes; whoever holds a database for longer has forgotten it.
LOCKED_SECONDS = 600.0
_HIDDEN_KEY = "(?:password|passwd|pwd)"  # how a key of a URL's query ends that is a password to some driver


class Patience:
    """How long statements wait for a lock, shared by all connections of a process to one database.

    Args:
        seconds: Longest wait; once one has lasted so long, nothing waits any more, so that a run can come to its end.
        say: Called, once for each statement that waits, with a message that there is a wait and how long it may last.
        clock: Returns seconds of a clock that never goes back.
    """

    def __init__(
        self,
        seconds: float = LOCKED_SECONDS,
        *,
        say: Callable[[str], object] = lambda text: print(text, file=sys.stderr),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds, self._say, self._clock = seconds, say, clock
        self.is_over = False

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Result of a function that is called again while the database is locked.

        Raises:
            sqlite3.OperationalError: It is still locked when the patience is over, or something else is wrong.
        """
        started, has_said = self._clock(), False
        while True:
            try:
                return function(*arguments)
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise
                self.is_over = self.is_over or self._clock() - started >= self.seconds
                if self.is_over:
                    raise
            if not has_said:
                has_said = True
                self._say(f"the database is locked by another process; waiting up to {self.seconds / 60:g} minutes")

    def connection(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        """A connection whose statements are patient; for `sqlite3.connect(factory=...)`."""
        made = _Connection(*arguments, **options)
        made.patience = self
        return made


class _Cursor(sqlite3.Cursor):
    def execute(self, *arguments: Any) -> Any:
        return self._patience.call(super().execute, *arguments)

    def executemany(self, *arguments: Any) -> Any:
        return self._patience.call(super().executemany, *arguments)

    @property
    def _patience(self) -> Patience:
        connection: Any = self.connection
        patience: Patience = connection.patience
        return patience


class _Connection(sqlite3.Connection):
    patience: Patience

    def cursor(self, factory: Any = _Cursor) -> Any:
        return super().cursor(factory)

    def commit(self) -> None:
        self.patience.call(super().commit)


def sqlite_file(url: str) -> Path | None:
    """File of an SQLite URL; None for other databases and for one in memory.

    Raises:
        StorageError: It is not a URL.
    """
    try:
        database = make_url(url)
    except (SQLAlchemyError, ValueError):  # the latter of a port that is no number
        raise StorageError(
            f"storage {without_password(url)!r}: not an SQLAlchemy URL, such as sqlite:///runs/evolve.db"
        ) from None
    if database.get_backend_name() != "sqlite" or database.database in (None, "", ":memory:"):
        return None
    name = str(database.database)
    # The name of a file, where it says uri=true, may be SQLite's own URI: https://www.sqlite.org/uri.html
    if not name.startswith("file:") or database.query.get("uri", "false") not in ("true", "True", "1"):
        return Path(name)
    path = unquote(urlsplit(name).path)
    return None if path in ("", ":memory:") or database.query.get("mode") == "memory" else Path(path)


def without_password(url: str | URL) -> str:
    """A database for messages: its URL without passwords, also one that is not quite a URL."""
    text = url if isinstance(url, str) else url.render_as_string(hide_password=False)
    # Drivers take them in the query, too: sqlalchemy's own rendering shows those. First, since one may hold an @.
    text = re.sub(rf"([?&][^=&]*{_HIDDEN_KEY}=)[^&]*", r"\1***", text, flags=re.IGNORECASE)
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", text)


def without_secrets(url: URL) -> str:
    """A database for commands that others may read: its URL without a password, which drivers take from elsewhere.

    PostgreSQL's reads ~/.pgpass, so that the command may work as it stands.

    Args:
        url: URL of the database, as its engine has it.
    """
    bare = URL.create(url.drivername, url.username, None, url.host, url.port, url.database, url.query)
    secrets = [key for key in url.query if re.search(f"{_HIDDEN_KEY}$", key, re.IGNORECASE)]
    return bare.difference_update_query(secrets).render_as_string(hide_password=False)


def connect_arguments(url: str, patience: Patience | None = None) -> dict[str, Any]:
    """Arguments for SQLAlchemy's `create_engine` that say how connections to a database are made.

    Args:
        url: Any SQLAlchemy URL.
        patience: How long to wait for locks; None for five seconds.
    """
    if make_url(url).get_backend_name() != "sqlite":
        return {}
    factory = {} if patience is None else {"factory": patience.connection}
    return {"timeout": BUSY_SECONDS, **factory}


def tune(engine: Engine, *, reads_only: bool = False) -> None:
    """Sets up every SQLite connection of an engine; other databases stay as they are.

    Args:
        engine: SQLAlchemy's engine of a database of any kind.
        reads_only: Whether nothing may be written, not even the file's mode.
    """
    if engine.dialect.name != "sqlite":
        return

    @event.listens_for(engine, "connect")
    def _set_pragmas(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
        if reads_only:
            cursor.execute("PRAGMA query_only = ON")
        else:
            cursor.execute("PRAGMA journal_mode = WAL")
            # In WAL mode NORMAL loses no committed transaction to a killed process, only to a power cut.
            cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.close()

    engine.dispose()
