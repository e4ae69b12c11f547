"""Notes and tags that people leave on trials; one short transaction each, beside a running study."""

from __future__ import annotations

import getpass
import time

from sqlalchemy import Connection, Engine, NullPool, create_engine, insert, select
from sqlalchemy.exc import SQLAlchemyError

from evolve.errors import StorageError
from evolve.storage import schema
from evolve.storage.migrations import make_current, revision_of
from evolve.storage.optuna_tables import STUDIES, TRIALS
from evolve.storage.sqlite import connect_arguments, sqlite_file, without_password

MAX_TEXT = 4000
MAX_TAG = 64


def add_note(engine: Engine, study_name: str, number: int, text: str, *, tag: str = "") -> None:
    """Writes a note on a trial.

    Args:
        engine: A database that holds the study.
        study_name: Name of the study in Optuna's tables.
        number: Number of the trial within the study, from 0.
        text: Text of the note, up to 4000 characters; may be empty where there is a tag.
        tag: One word or a few, up to 64 characters, by which trials are found again; empty for none.

    Raises:
        StorageError: There is no such study or trial, the note is empty, too long or no text, the tables are newer, or
            the database does not let us write.
    """
    _check(text, tag)
    try:
        _write(engine, study_name, number, text, tag)
    except SQLAlchemyError as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        raise StorageError(f"note: not stored, the database cannot be written now: {reason}; try again") from error


def leave_note(url: str, *, study_name: str, number: int, text: str, tag: str = "") -> None:
    """Writes a note over a connection of its own that is closed at once, for a process that otherwise only reads.

    Args:
        url: SQLAlchemy URL of a database that holds the study.
        study_name, number, text, tag: The same as in `add_note`.

    Raises:
        StorageError: `add_note` fails, there is no database, or something else writes to it for more than 5 seconds.
    """
    file = sqlite_file(url)
    if file is not None and not file.exists():
        raise StorageError(f"note: not stored, {file} does not exist")
    engine = create_engine(url, poolclass=NullPool, connect_args=connect_arguments(url))
    add_note(engine, study_name, number, text, tag=tag)


def _check(text: str, tag: str) -> None:
    if not (text.strip() or tag.strip()):
        raise StorageError("note: neither a text nor a tag; give at least one")
    if len(text) > MAX_TEXT or len(tag) > MAX_TAG:
        raise StorageError(
            f"note: {len(text)} characters with a tag of {len(tag)}; allowed are {MAX_TEXT} and {MAX_TAG}"
        )
    # PostgreSQL stores no NUL, and no database half of a surrogate pair.
    if wrong := sorted({char for char in text + tag if char == "\0" or "\ud800" <= char <= "\udfff"}):
        raise StorageError(f"note: holds {', '.join(map(ascii, wrong))}; allowed are characters that are text")


def _write(engine: Engine, study_name: str, number: int, text: str, tag: str) -> None:
    with engine.begin() as connection:
        revision_of(connection)
        trial_id = _trial_id(connection, study_name, number)
        make_current(connection)
        row = {
            "trial_id": trial_id,
            "created": time.time(),
            "author": _author(),
            "text": text.strip(),
            "tag": tag.strip(),
        }
        connection.execute(insert(schema.note).values(row))


def _trial_id(connection: Connection, study_name: str, number: int) -> int:
    studies = select(STUDIES.c.study_id).where(STUDIES.c.study_name == study_name)
    study_id = connection.scalar(studies)
    if study_id is None:
        names = list(connection.scalars(select(STUDIES.c.study_name).order_by(STUDIES.c.study_name).limit(20)))
        raise StorageError(f"study {study_name}: is not in {without_password(connection.engine.url)}; stored: {names}")
    mine = TRIALS.c.study_id == study_id
    found: int | None = connection.scalar(select(TRIALS.c.trial_id).where(mine, TRIALS.c.number == number))
    if found is None:
        last = connection.scalar(select(TRIALS.c.number).where(mine).order_by(TRIALS.c.number.desc()).limit(1))
        known = "it has no trials yet" if last is None else f"its trials are 0 to {last}"
        raise StorageError(f"study {study_name}: has no trial {number}; {known}")
    return found


def _author() -> str:
    try:
        return getpass.getuser()[:255]
    except (OSError, KeyError):
        return ""  # a process without an account, as in some containers
