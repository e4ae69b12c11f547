"""A database that does not answer for a while: the run waits for it, and goes on as it would after a kill."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from evolve.errors import StorageError
from evolve.storage.opening import open_engine

# A server that is started anew, or moved, is back by then; what is waited for longer wants a person.
AWAY_SECONDS = 600.0
POLL_SECONDS = 2.0
# Of SQLite, whose errors of operation are also those of a wrong statement or a full disk.
_SQLITE = ("database is locked", "unable to open database file", "disk i/o error")


def is_away(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, says that a database cannot be reached now."""
    while error is not None:
        if isinstance(error, DBAPIError):
            if "sqlite3" in type(error.orig).__module__:
                return any(text in str(error.orig).lower() for text in _SQLITE)
            return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
        error = error.__cause__
    return False


def wait_for(
    url: str,
    should_stop: Callable[[], bool],
    *,
    limit: float = AWAY_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Returns once a database answers.

    Args:
        url: SQLAlchemy URL of the database.
        should_stop: Asked between two attempts; True ends the waiting.
        limit: Seconds to wait at most; however few, one attempt is made.
        sleep: Waits for a number of seconds.

    Raises:
        StorageError: The database has not answered within the limit, or before somebody asked to stop.
    """
    for _ in range(max(round(limit / POLL_SECONDS), 1)):
        try:
            open_engine(url).dispose()
            return
        except StorageError as error:
            reason = error
        if should_stop():
            break
        sleep(POLL_SECONDS)
    raise StorageError(f"{reason}; run again when it answers: nothing finished is lost")
