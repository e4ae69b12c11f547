"""Commands as they are typed for a database: with the option that names it, where they would take another one."""

from __future__ import annotations

import shlex
from collections.abc import Collection

DEFAULT_STORAGE = "sqlite:///runs/evolve.db"


def as_typed(command: str, storage: str, *, known: Collection[str] = (DEFAULT_STORAGE,)) -> str:
    """A command that reads a database, as it is typed.

    Args:
        command: The command without the option that names a database.
        storage: SQLAlchemy's URL of the database.
        known: URLs that the command finds without the option.
    """
    return command if storage in known else f"{command} --storage {shlex.quote(storage)}"
