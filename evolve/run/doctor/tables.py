"""Whether a database is whole, ours and of today, and rows of ours that nothing refers to any more."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial

from sqlalchemy import ColumnElement, Connection, Engine, Table, delete, func, inspect, select
from sqlalchemy.exc import DatabaseError

from evolve.errors import StorageError
from evolve.run.doctor.finding import Finding, Kind
from evolve.storage import schema
from evolve.storage.database import Storage
from evolve.storage.migrations import latest, revision_of
from evolve.storage.opening import made_engine, opening
from evolve.storage.optuna_tables import STUDIES, TRIALS
from evolve.storage.orphans import is_orphan
from evolve.storage.sqlite import sqlite_file, without_password

# What SQLite says of a file that is none of its own, or no longer.
_DAMAGED = ("malformed", "not a database", "disk image", "corrupt")
SHOWN = 3  # lines of what SQLite finds


def unusable(url: str) -> Iterator[Finding]:
    """Why a database cannot be used as it is, in the order in which it matters; it is only read.

    Raises:
        StorageError: The database cannot be reached.
    """
    engine = made_engine(url, reads_only=True)
    try:
        with engine.connect() as connection:
            yield from _damage(connection, url)
            yield from _schema(connection, url)
    except DatabaseError as error:
        if not any(word in str(error) for word in _DAMAGED):
            with opening(url):
                raise
        yield _damaged(url, str(error.orig))
    finally:
        engine.dispose()


def _damage(connection: Connection, url: str) -> Iterator[Finding]:
    if connection.dialect.name != "sqlite":
        return
    said = [str(line) for line in connection.exec_driver_sql("pragma quick_check").scalars()]
    if said != ["ok"]:
        yield _damaged(url, "; ".join(said[:SHOWN]) + (f" and {len(said) - SHOWN} more" if len(said) > SHOWN else ""))


def _damaged(url: str, said: str) -> Finding:
    file = sqlite_file(url)
    remedy = f"bring a copy back, or save what can be read: sqlite3 {file} .recover | sqlite3 saved.db"
    return Finding(kind=Kind.DAMAGED, where=without_password(url), what=" ".join(said.split()), remedy=remedy)


def _schema(connection: Connection, url: str) -> Iterator[Finding]:
    tables, where = inspect(connection), without_password(url)
    if not all(tables.has_table(name) for name in (schema.study.name, STUDIES.name, TRIALS.name)):
        remedy = "run a study first, or name another database with --storage"
        yield Finding(kind=Kind.NOT_OURS, where=where, what="holds no studies of evolve", remedy=remedy)
        return
    try:
        revision = revision_of(connection)
    except StorageError as error:
        yield Finding(kind=Kind.NEWER_SCHEMA, where=where, what=str(error), remedy="upgrade evolve")
        return
    if revision != latest():
        what = f"its tables are of revision {revision}, this evolve's are of {latest()}"
        yield Finding(
            kind=Kind.OLDER_SCHEMA,
            where=where,
            what=what,
            remedy="--fix migrates it, as the next run would; an older evolve reads it no more then",
            mend=lambda: Storage(url).close(),
        )


def orphan_rows(engine: Engine, living: Collection[int]) -> Iterator[Finding]:
    """Rows of our tables whose trial or study Optuna does not have.

    Optuna gives the ids of trials that were removed last to new ones, which would get these rows.

    Args:
        engine: A database with Optuna's tables and ours.
        living: Ids of studies that are being run, whose rows are left alone.
    """
    for table in schema.metadata.sorted_tables:
        condition = is_orphan(table, living)
        if condition is None:
            continue
        with engine.connect() as connection:
            count = connection.scalar(select(func.count()).select_from(table).where(condition))
        if count:
            yield Finding(
                kind=Kind.ORPHAN_ROWS,
                where=table.name,
                what=f"{count} rows of a trial or study that Optuna does not have",
                remedy="--fix removes them",
                mend=partial(_remove, engine, table, condition),
            )


def _remove(engine: Engine, table: Table, condition: ColumnElement[bool]) -> None:
    with engine.begin() as connection:
        connection.execute(delete(table).where(condition))
