"""Who runs a study: one row, so that two processes never run the same one.

A holder on this machine is asked for by its process, which is told apart from a later one of the same number. Any other
holder is watched: one that lives writes its heartbeat anew. No two clocks are compared, since they differ.
A holder that was frozen for so long that another took its place writes nothing more when it wakes: each of its
transactions begins by touching its row, which is gone then, and which nobody can take before the transaction ends.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, delete, event, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql import ColumnElement

from evolve.errors import StorageError
from evolve.storage import schema

# A holder that cannot be asked for is taken for dead when its heartbeat has not changed for so long.
LEASE_SECONDS = 30
# So old by the wall clock that no difference between two clocks explains it: nobody needs to watch.
LONG_DEAD_SECONDS = 3600
WATCH_SECONDS = 1.0
_WRITING = ("INSERT", "UPDATE", "DELETE")
_CHECKED = "evolve_lease_checked"  # of a connection: in this transaction


class Lease:
    """One row that says who runs a study; at most one process has it.

    Args:
        engine: The database.
        study_id: Optuna's id of the study.
        name: Name of the study, for messages.
        sleep: Waits so many seconds between two readings of a heartbeat.
    """

    def __init__(
        self, engine: Engine, study_id: int, name: str, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._engine, self._study_id, self._name, self._sleep = engine, study_id, name, sleep
        self._token = "-".join((uuid.uuid4().hex[:24], _place(), process_mark(os.getpid())))
        self._written_at = 0.0

    def check_free(self) -> Mapping[Any, Any] | None:
        """The row of a dead holder, or None. Watches a holder that cannot be asked for, for half a minute at most.

        Raises:
            StorageError: A living process has the lease.
        """
        row = self._row()
        if row is not None and self._is_alive(row):
            raise StorageError(
                f"study {self._name}: process {row['pid']} on {row['host']} runs it; "
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

    def heartbeat(self) -> None:
        """Says that the holder lives; cheap to call often.

        Raises:
            StorageError: Somebody else has taken the study over.
        """
        if time.monotonic() - self._written_at < LEASE_SECONDS / 6:
            return
        self._written_at = time.monotonic()
        with self._engine.begin() as connection:
            if connection.execute(update(schema.lease).where(self._mine).values(heartbeat=time.time())).rowcount == 0:
                raise self._lost()

    @contextmanager
    def fence(self, *engines: Engine) -> Iterator[None]:
        """Within the block, what writes over these engines raises once another holds the lease, and writes nothing.

        Raises:
            StorageError: At a statement that would write: somebody else has taken the study over.
        """

        def begin(connection: Connection) -> None:
            connection.info.pop(_CHECKED, None)

        with ExitStack() as listening:
            for engine in engines:
                for name, listener in (("begin", begin), ("before_cursor_execute", self._check(engine))):
                    event.listen(engine, name, listener)
                    listening.callback(event.remove, engine, name, listener)
            yield

    def _check(self, engine: Engine) -> Callable[..., None]:
        touch = update(schema.lease).where(self._mine).values(heartbeat=schema.lease.c.heartbeat)
        text = str(touch.compile(dialect=engine.dialect, compile_kwargs={"literal_binds": True}))

        def check(connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
            if _CHECKED in connection.info or not statement.lstrip()[:6].upper().startswith(_WRITING):
                return
            with closing(cursor.connection.cursor()) as own:  # beside SQLAlchemy, which would ask here again
                own.execute(text)
                if not own.rowcount:
                    raise self._lost()
            connection.info[_CHECKED] = True

        return check

    @property
    def _mine(self) -> ColumnElement[bool]:
        return (schema.lease.c.study_id == self._study_id) & (schema.lease.c.token == self._token)

    def _lost(self) -> StorageError:
        return StorageError(f"study {self._name}: another process has taken it over; this one stops")

    def release(self) -> None:
        """Lets others run the study."""
        table = schema.lease
        with self._engine.begin() as connection:
            connection.execute(delete(table).where(table.c.token == self._token))

    def _row(self) -> Mapping[Any, Any] | None:
        table = schema.lease
        with self._engine.connect() as connection:
            return connection.execute(select(table).where(table.c.study_id == self._study_id)).mappings().first()

    def _is_alive(self, row: Mapping[Any, Any]) -> bool:
        _, place, mark = (*row["token"].split("-"), "", "")[:3]
        is_here = row["host"] == socket.gethostname() and place == _place()
        if is_here and place:
            return bool(process_mark(row["pid"]) == mark)
        if is_here and not _is_process(row["pid"]):
            return False
        if time.time() - row["heartbeat"] > LONG_DEAD_SECONDS:
            return False
        return self._is_heard_of(row)

    def _is_heard_of(self, row: Mapping[Any, Any]) -> bool:
        """Whether the holder's heartbeat changes while it is watched."""
        for _ in range(round(LEASE_SECONDS / WATCH_SECONDS)):
            self._sleep(WATCH_SECONDS)
            now = self._row()
            if now is None:
                return False
            if (now["token"], now["heartbeat"]) != (row["token"], row["heartbeat"]):
                return True
        return False


def _place() -> str:
    """Of this machine since it was started, and of the container; empty where a process cannot be asked for."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        return sha256(f"{boot}{Path('/proc/self/ns/pid').readlink()}".encode()).hexdigest()[:16]
    return ""


def _is_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def process_mark(pid: int) -> str:
    """Tells a process from every other that has had its number; empty where there is none or it cannot be asked for."""
    with suppress(OSError, IndexError):
        # The name of the program, in brackets, may hold spaces; the 22nd field is the time of its start.
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        is_zombie = after_name[0] == "Z"
        return "" if is_zombie else sha256(f"{pid} {after_name[19]}".encode()).hexdigest()[:16]
    return ""
