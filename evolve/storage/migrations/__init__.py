"""Tables of an older evolve, made those of this one in ordered steps, run by Alembic under a version table of ours."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, func, insert, inspect, select

from evolve.errors import StorageError
from evolve.storage import schema
from evolve.storage.sqlite import without_password

FOLDER = Path(__file__).parent


@cache
def latest() -> str:
    """The last migration: of this revision are the tables that `schema` declares."""
    return max(path.name[:4] for path in FOLDER.glob("versions/[0-9][0-9][0-9][0-9]_*.py"))


def revision_of(connection: Connection) -> str | None:
    """The last migration that a database has been through; None where it has no tables of ours.

    Raises:
        StorageError: The tables were made by a newer evolve.
    """
    tables = inspect(connection)
    found: str | None = None
    if tables.has_table(schema.revision.name):
        found = connection.scalar(select(schema.revision.c.version_num))
    if found is None and tables.has_table(schema.schema_version.name):
        version = connection.scalar(select(func.max(schema.schema_version.c.version)))
        found = None if version is None else f"{version:04}"
    if found is not None and found > latest():
        where = without_password(connection.engine.url)
        raise StorageError(
            f"storage {where}: its tables are of revision {found}, this evolve reads up to {latest()}; upgrade evolve"
        )
    return found


def make_current(connection: Connection) -> None:
    """Makes our tables, or those of an older evolve today's with everything in them, in the caller's transaction.

    Raises:
        StorageError: The tables were made by a newer evolve.
    """
    if revision_of(connection) == latest():
        return  # nothing to write, so nothing to wait for
    if connection.dialect.name == "sqlite":
        # Python's driver runs statements that make tables outside a transaction, unless there is one.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    revision = revision_of(connection)  # of several processes, another may have been first
    if revision is None:
        schema.metadata.create_all(connection)
        connection.execute(insert(schema.schema_version).values(version=schema.SCHEMA_VERSION))
        connection.execute(insert(schema.revision).values(version_num=latest()))
    elif revision != latest():
        config = alembic_config(connection)
        if not inspect(connection).has_table(schema.revision.name):
            command.stamp(config, revision)
        command.upgrade(config, "head")


def alembic_config(connection: Connection | None = None) -> Config:
    """Alembic's settings for the migrations here.

    Args:
        connection: Connection over which they are run, within its transaction; None where none is run.
    """
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
