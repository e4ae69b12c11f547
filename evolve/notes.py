"""Notes and tags that people leave on trials; one short transaction each, beside a running study."""

from __future__ import annotations

import getpass
import time

from sqlalchemy import Connection, Engine, column, insert, select, table

from evolve import schema
from evolve.errors import StorageError
from evolve.storage import check_schema

MAX_TEXT = 4000
MAX_TAG = 64
_STUDIES = table("studies", column("study_id"), column("study_name"))
_TRIALS = table("trials", column("trial_id"), column("study_id"), column("number"))


def add_note(engine: Engine, study_name: str, number: int, text: str, *, tag: str = "") -> None:
    """Writes a note on a trial; the table is made with the first one.

    Args:
        engine: A database that holds the study.
        study_name: As given to Optuna.
        number: Of the trial.
        text: Up to 4000 characters.
        tag: One word or a few, up to 64 characters, by which trials are found again.

    Raises:
        StorageError: There is no such study or trial, the note is empty or too long, or the tables are newer.
    """
    if not (text.strip() or tag.strip()):
        raise StorageError("note: neither a text nor a --tag; give at least one")
    if len(text) > MAX_TEXT or len(tag) > MAX_TAG:
        raise StorageError(
            f"note: {len(text)} characters with a tag of {len(tag)}; allowed are {MAX_TEXT} and {MAX_TAG}"
        )
    with engine.begin() as connection:
        check_schema(connection)
        trial_id = _trial_id(connection, study_name, number)
        schema.metadata.create_all(connection, tables=[schema.note])
        row = {
            "trial_id": trial_id,
            "created": time.time(),
            "author": _author(),
            "text": text.strip(),
            "tag": tag.strip(),
        }
        connection.execute(insert(schema.note).values(row))


def _trial_id(connection: Connection, study_name: str, number: int) -> int:
    studies = select(_STUDIES.c.study_id).where(_STUDIES.c.study_name == study_name)
    study_id = connection.scalar(studies)
    if study_id is None:
        names = list(connection.scalars(select(_STUDIES.c.study_name).order_by(_STUDIES.c.study_name).limit(20)))
        raise StorageError(f"study {study_name}: is not in {connection.engine.url}; stored: {names}")
    mine = _TRIALS.c.study_id == study_id
    found: int | None = connection.scalar(select(_TRIALS.c.trial_id).where(mine, _TRIALS.c.number == number))
    if found is None:
        last = connection.scalar(select(_TRIALS.c.number).where(mine).order_by(_TRIALS.c.number.desc()).limit(1))
        known = "it has no trials yet" if last is None else f"its trials are 0 to {last}"
        raise StorageError(f"study {study_name}: has no trial {number}; {known}")
    return found


def _author() -> str:
    try:
        return getpass.getuser()[:255]
    except (OSError, KeyError):
        return ""  # a process without an account, as in some containers
