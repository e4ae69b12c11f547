"""A database of an older evolve, read as if it had been migrated: what it lacks is there and empty.

A reader must not change what it reads. Views of its own connection stand before the tables that have changed since.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, Engine, Table, event, inspect

from evolve.storage import schema
from evolve.storage.migrations import latest, revision_of


def read_as_current(engine: Engine) -> None:
    """Lets every connection of an engine that only reads see today's tables, whichever evolve made them."""

    @event.listens_for(engine, "engine_connect")
    def _stand_in(connection: Connection) -> None:
        if connection.info.get("revision") == latest():
            return
        before = connection.info.get("views", ())
        revision = revision_of(connection)
        # A database without tables of ours is nothing to be read, and says so elsewhere.
        views = {} if revision in (None, latest()) else dict(_views(connection))
        if before or views:
            _replace(connection, tuple(before), views)
        connection.info.update(revision=revision, views=tuple(views))
        connection.commit()


def _views(connection: Connection) -> Iterator[tuple[str, str]]:
    """Name and statement of a view for each table that is not there, or not with all its columns."""
    present = inspect(connection)
    present.clear_cache()
    main = "main" if connection.dialect.name == "sqlite" else present.default_schema_name
    # By its schema: PostgreSQL does not list a table before which a view of this connection stands already.
    tables = set(present.get_table_names(schema=main))
    for table in schema.metadata.sorted_tables:
        columns = present.get_columns(table.name, schema=main) if table.name in tables else []
        names = {column["name"] for column in columns}
        if missing := [column.name for column in table.columns if column.name not in names]:
            nothing = _nothing(connection, table, missing)
            # No text of a person is in it: names are those of our own tables.
            rows = f"select *, {nothing} from {main}.{table.name}" if names else f"select {nothing} where 1 = 0"  # noqa: S608
            yield table.name, f"create temporary view {table.name} as {rows}"


def _nothing(connection: Connection, table: Table, names: list[str]) -> str:
    types = {name: table.columns[name].type.compile(connection.dialect) for name in names}
    return ", ".join(f"cast(null as {kind}) as {name}" for name, kind in types.items())


def _replace(connection: Connection, before: tuple[str, ...], views: dict[str, str]) -> None:
    is_sqlite = connection.dialect.name == "sqlite"
    if is_sqlite:  # which takes a connection's own views for changes of the database
        connection.exec_driver_sql("pragma query_only = off")
    for name in before:
        connection.exec_driver_sql(f"drop view {'temp' if is_sqlite else 'pg_temp'}.{name}")
    for statement in views.values():
        connection.exec_driver_sql(statement)
    if is_sqlite:
        connection.exec_driver_sql("pragma query_only = on")
