"""Who runs a study: one row, so that two processes never run the same one."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from evolve import schema
from evolve.errors import StorageError

# A runner on another host is taken for dead when it has not been heard of for so long.
LEASE_SECONDS = 60


class Lease:
    """One row that says who runs a study; at most one process has it."""

    def __init__(self, engine: Engine, study_id: int, name: str) -> None:
        self._engine, self._study_id, self._name = engine, study_id, name
        self._token = uuid.uuid4().hex
        self._beat_at = 0.0

    def check_free(self) -> Mapping[Any, Any] | None:
        """The row of a dead holder, or None.

        Raises:
            StorageError: A living process has the lease.
        """
        table = schema.lease
        with self._engine.connect() as connection:
            row = connection.execute(select(table).where(table.c.study_id == self._study_id)).mappings().first()
        if row is not None and _is_alive(row):
            age = time.time() - row["heartbeat"]
            raise StorageError(
                f"study {self._name}: process {row['pid']} on {row['host']} runs it (heard of {age:.0f} s ago); "
                "wait for it, or end it, and run again"
            )
        return row

    def take(self) -> None:
        """Takes the lease, from a dead holder too.

        Raises:
            StorageError: A living process has it.
        """
        table, row = schema.lease, self.check_free()
        mine = {"token": self._token, "host": socket.gethostname(), "pid": os.getpid(), "heartbeat": time.time()}
        try:
            with self._engine.begin() as connection:
                if row is not None:
                    # Only the holder just found dead may be replaced, so that of two takers one fails.
                    taken = (table.c.study_id == self._study_id) & (table.c.token == row["token"])
                    connection.execute(delete(table).where(taken))
                connection.execute(insert(table).values(study_id=self._study_id, **mine))
        except IntegrityError as error:
            raise StorageError(f"study {self._name}: another process has just begun to run it") from error

    def beat(self) -> None:
        """Says that the holder lives; cheap to call often.

        Raises:
            StorageError: Somebody else has taken the study over.
        """
        if time.monotonic() - self._beat_at < LEASE_SECONDS / 6:
            return
        self._beat_at = time.monotonic()
        table = schema.lease
        mine = (table.c.study_id == self._study_id) & (table.c.token == self._token)
        with self._engine.begin() as connection:
            if connection.execute(update(table).where(mine).values(heartbeat=time.time())).rowcount == 0:
                raise StorageError(f"study {self._name}: another process has taken it over; this one stops")

    def give_back(self) -> None:
        """Lets others run the study."""
        table = schema.lease
        with self._engine.begin() as connection:
            connection.execute(delete(table).where(table.c.token == self._token))


def _is_alive(row: Mapping[Any, Any]) -> bool:
    if row["host"] != socket.gethostname():
        return bool(time.time() - row["heartbeat"] < LEASE_SECONDS)
    try:
        os.kill(row["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    # A stale heartbeat under a living pid: the number was given to another process.
    return bool(time.time() - row["heartbeat"] < LEASE_SECONDS)
