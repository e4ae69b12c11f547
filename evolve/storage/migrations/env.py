"""Alembic's entrance: runs the migrations over the connection that it is given."""

from alembic import context

from evolve.storage import schema

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema.metadata,
    version_table=schema.revision.name,
)
context.run_migrations()
