"""Transactions of one database, of which several can be made one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

from sqlalchemy import Connection, Engine


class _Own(threading.local):
    connection: Connection | None = None


@final
class Transactions:
    """Gives connections out: each begins a transaction, or joins the one that the thread has open.

    Args:
        engine: Engine of the database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._own = _Own()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Makes all that this thread reads and writes within the block one transaction: everything or nothing.

        SQLite is locked for others from the first statement that writes on, so what takes long comes before that.
        """
        if self._own.connection is not None:
            yield
            return
        with self._engine.begin() as connection:
            self._own.connection = connection
            try:
                yield
            finally:
                self._own.connection = None

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A connection to write over; what was written is committed when the outermost block is left."""
        if self._own.connection is not None:
            yield self._own.connection
            return
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection to read over, which sees what the open transaction has written."""
        if self._own.connection is not None:
            yield self._own.connection
            return
        with self._engine.connect() as connection:
            yield connection
