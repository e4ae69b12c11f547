"""A database opened by its URL; and where that fails, the place, what was found there, and what is allowed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EACCES
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, SQLAlchemyError

from evolve.errors import StorageError, unknown_text
from evolve.storage.older import read_as_current
from evolve.storage.sqlite import Patience, connect_arguments, sqlite_file, tune, without_password

KINDS = ("sqlite", "postgresql", "postgresql+psycopg", "mysql", "mariadb")
ALLOWED = "name a file, such as sqlite:///runs/evolve.db, or a server, postgresql+psycopg://USER@HOST/NAME"
_POSTGRESQL = "pip install 'evolve-yolo[postgresql]', then postgresql+psycopg://USER@HOST/NAME"


def open_engine(url: str, *, patience: Patience | None = None, reads_only: bool = False) -> Engine:
    """Engine for reading or writing, with SQLite set up for one writer among many readers.

    Args:
        url: Any SQLAlchemy URL.
        patience: How long to wait for others that lock an SQLite file; None for a few seconds.
        reads_only: Whether nothing may be written.

    Raises:
        StorageError: The URL is not one, or its database cannot be reached.
    """
    with opening(url):
        if not reads_only:
            _check_writable(sqlite_file(url))
        engine = made_engine(url, patience=patience, reads_only=reads_only)
        if reads_only:
            read_as_current(engine)
        with engine.connect():
            return engine


def made_engine(url: str, *, patience: Patience | None = None, reads_only: bool = False, **options: Any) -> Engine:
    """Engine as `open_engine` makes it, but nothing is connected to yet, and a database is read as it is.

    Args:
        url: Any SQLAlchemy URL.
        patience: How long to wait for others that lock an SQLite file; None for a few seconds.
        reads_only: Whether nothing may be written.
        options: Further options of SQLAlchemy's `create_engine`.

    Raises:
        StorageError: The URL is not one, or its driver is missing.
    """
    with opening(url):
        if _is_in_memory(url):
            raise ValueError("a database in memory ends with its connection")
        engine = create_engine(url, connect_args=connect_arguments(url, patience), **options)
        tune(engine, reads_only=reads_only)
        return engine


def make_folder(url: str) -> None:
    """Makes the folder of an SQLite file; nothing where the database is no file.

    Raises:
        StorageError: The URL is not one, or the folder cannot be made.
    """
    with opening(url):
        if (file := sqlite_file(url)) is not None:
            file.parent.mkdir(parents=True, exist_ok=True)


@contextmanager
def opening(url: str) -> Iterator[None]:
    """Raises what goes wrong with a database as a `StorageError`, which says where, what was found, what is allowed.

    Args:
        url: URL of the database.
    """
    try:
        yield
    except (SQLAlchemyError, ImportError, ValueError, OSError) as error:
        raise StorageError(f"storage {without_password(url)}: cannot be opened: {_reason(url, error)}") from error


def _check_writable(file: Path | None) -> None:
    # SQLite opens it all the same, and says so at the first row that is written.
    if file is not None and _is_there(file) and file.is_file() and not os.access(file, os.W_OK):
        raise PermissionError(EACCES, "it may only be read")


def said_by(error: BaseException) -> str:
    """What a database or its driver says, in one line without the statement."""
    own = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    if isinstance(own, OSError) and own.strerror:
        return own.strerror
    return (str(own).strip() or type(own).__name__).splitlines()[0]


def _reason(url: str, error: Exception) -> str:
    parsed = make_url(url)
    if isinstance(error, NoSuchModuleError):
        return unknown_text("kind of database", parsed.drivername, KINDS)
    if isinstance(error, ImportError):
        remedy = _POSTGRESQL if parsed.get_backend_name() == "postgresql" else f"install it, or {ALLOWED}"
        return f"the driver {error.name!r} of {parsed.drivername} is not installed; {remedy}"
    if parsed.get_backend_name() != "sqlite":
        return f"{said_by(error)}; allowed: a server that runs, with a database and an account that are there"
    if parsed.host is not None:
        return f"{parsed.host!r} stands where SQLite has no server; a file takes three slashes: sqlite:///{parsed.host}"
    file = sqlite_file(url)
    return f"{said_by(error)}; {ALLOWED}" if file is None else _reason_of_file(file, error)


def _reason_of_file(file: Path, error: Exception) -> str:
    said = said_by(error)
    above = next((folder for folder in file.parents if _is_there(folder)), Path())
    if not above.is_dir():
        return f"{above} is a file and no folder; {ALLOWED}"
    if above != file.parent:
        tried = f" and cannot be made: {error.strerror}" if isinstance(error, OSError) else ""
        return f"its folder {file.parent} is not there{tried}; {ALLOWED}"
    if _is_there(file) and file.is_dir():
        return f"it is a folder; name a file in it, such as sqlite:///{file / 'evolve.db'}"
    if "not a database" in said:
        return f"the file is no SQLite database; {ALLOWED}"
    if (
        isinstance(error, PermissionError)
        or "readonly" in said
        or not os.access(file if _is_there(file) else file.parent, os.R_OK | os.W_OK)
    ):
        return f"{said}; allowed: a file, in a folder, that this account may read and write"
    return said


def _is_there(path: Path) -> bool:
    """Whether a path leads to something; not, where this account may not look or no system has such names."""
    with suppress(OSError, ValueError):
        return path.exists()
    return False


def _is_in_memory(url: str) -> bool:
    file, parsed = sqlite_file(url), make_url(url)
    return file is None and parsed.get_backend_name() == "sqlite" and parsed.host is None
