"""Who runs a study: one row, so that two processes never run the same one.

A holder in this place, which is a machine since it was started and a namespace of processes in it, is asked for by its
process, which is told apart from a later one of the same number. Of any other holder the heartbeat tells: where a
server keeps the database, heartbeats are by its clock, and an old one is a dead holder's. SQLite has no clock but that
of the machine that asks, and no two machines' clocks are compared: there a holder is watched, and one that lives writes
its heartbeat anew.
A holder that was frozen for so long that another took its place writes nothing more when it wakes: each of its
transactions begins by touching its row, which is gone then, and which nobody can take before the transaction ends.
"""

from __future__ import annotations

import os
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Float, delete, event, insert, literal, literal_column, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql import ColumnElement

from evolve.errors import HeldError, StorageError
from evolve.storage import schema

# A holder that cannot be asked for is taken for dead when its heartbeat has not changed for so long.
LEASE_SECONDS = 30
# So old by the wall clock that no difference between two clocks explains it: nobody needs to watch.
LONG_DEAD_SECONDS = 3600
WATCH_SECONDS = 1.0
# Seconds since 1970 by the clock of a server, at the time of the statement rather than of its transaction.
_SERVER_CLOCKS = {
    "postgresql": "cast(extract(epoch from clock_timestamp()) as double precision)",
    "mysql": "(unix_timestamp(sysdate(6)) + 0e0)",
    "mariadb": "(unix_timestamp(sysdate(6)) + 0e0)",
}
_BY_SERVER = "s"  # of a token whose holder writes heartbeats by such a clock; those of an older evolve do not
_WRITING = ("INSERT", "UPDATE", "DELETE")
_CHECKED = "evolve_lease_checked"  # of a connection: in this transaction


# Tokens that this process has held and let go of, where the database may not have heard of it.
_LET_GO: set[str] = set()


class Lease:
    """One row that says who runs a study; at most one process has it.

    Args:
        engine: Engine of the database.
        study_id: Optuna's id of the study.
        name: Name of the study, for messages.
        sleep: Waits so many seconds between two readings of a heartbeat.
    """

    def __init__(
        self, engine: Engine, study_id: int, name: str, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._engine, self._study_id, self._name, self._sleep = engine, study_id, name, sleep
        parts = (uuid.uuid4().hex[:24], _place(), process_mark(os.getpid()))
        self._token = "-".join((*parts, *([_BY_SERVER] if engine.dialect.name in _SERVER_CLOCKS else [])))
        self._written_at = 0.0
        self._beside: list[Callable[[Connection], None]] = []

    def check_free(self) -> Mapping[Any, Any] | None:
        """The row of a dead holder, or None. Watches a holder that cannot be asked for, for half a minute at most.

        Raises:
            HeldError: A living process has the lease.
        """
        row = self._row()
        if row is not None and self._is_alive(row):
            raise HeldError(
                f"study {self._name}: process {row['pid']} on {row['host']} runs it; "
                "wait for it, or end it, and run again"
            )
        return row

    def take(self) -> Mapping[Any, Any] | None:
        """Takes the lease, from a dead holder too.

        Returns:
            The row of the dead holder, or None where there was none.

        Raises:
            HeldError: A living process has it.
        """
        table, row = schema.lease, self.check_free()
        mine = {"token": self._token, "host": socket.gethostname(), "pid": os.getpid(), "heartbeat": self._now}
        try:
            with self._engine.begin() as connection:
                if row is not None:
                    # Only the holder just found dead may be replaced, so that of two takers one fails.
                    # One that has just been heard of is not.
                    is_same = (table.c.token == row["token"]) & (table.c.heartbeat == row["heartbeat"])
                    connection.execute(delete(table).where(table.c.study_id == self._study_id, is_same))
                connection.execute(insert(table).values(study_id=self._study_id, **mine))
        except IntegrityError as error:
            raise HeldError(f"study {self._name}: another process has just begun to run it") from error
        return row

    def heartbeat(self) -> None:
        """Says that the holder lives; cheap to call often.

        Raises:
            StorageError: Somebody else has taken the study over.
        """
        if time.monotonic() - self._written_at < LEASE_SECONDS / 6:
            return
        self._written_at = time.monotonic()
        with self._engine.begin() as connection:
            if connection.execute(update(schema.lease).where(self._mine).values(heartbeat=self._now)).rowcount == 0:
                raise self._lost()
            for write in self._beside:
                write(connection)

    @contextmanager
    def beside_heartbeat(self, write: Callable[[Connection], None]) -> Iterator[None]:
        """Within the block, calls `write` in the transaction of each heartbeat."""
        self._beside.append(write)
        try:
            yield
        finally:
            self._beside.remove(write)

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
    def _now(self) -> ColumnElement[Any]:
        """Seconds since 1970 by the server's clock; by this machine's where there is no server."""
        clock = _SERVER_CLOCKS.get(self._engine.dialect.name)
        return literal(time.time()) if clock is None else literal_column(clock, Float)

    @property
    def _mine(self) -> ColumnElement[bool]:
        return (schema.lease.c.study_id == self._study_id) & (schema.lease.c.token == self._token)

    def _lost(self) -> StorageError:
        return StorageError(f"study {self._name}: another process has taken it over; this one stops")

    def release(self) -> None:
        """Lets others run the study."""
        table = schema.lease
        _LET_GO.add(self._token)  # also where the database cannot be told now
        with self._engine.begin() as connection:
            connection.execute(delete(table).where(table.c.token == self._token))

    def _row(self) -> Mapping[Any, Any] | None:
        """The row, and the age of its heartbeat by the clock above."""
        table = schema.lease
        age = (self._now - table.c.heartbeat).label("age")
        with self._engine.connect() as connection:
            return connection.execute(select(table, age).where(table.c.study_id == self._study_id)).mappings().first()

    def _is_alive(self, row: Mapping[Any, Any]) -> bool:
        if row["token"] in _LET_GO:
            return False
        place, mark, clock = (*row["token"].split("-"), "", "", "")[1:4]
        if row["host"] == socket.gethostname() and place == _place():
            is_there = _is_there(row["pid"], mark)
            if is_there is not None:
                return is_there
        if row["age"] > (LEASE_SECONDS if clock == _BY_SERVER else LONG_DEAD_SECONDS):
            return False
        return self._is_heard_of(row)

    def _is_heard_of(self, row: Mapping[Any, Any]) -> bool:
        """Whether the holder's heartbeat changes while it is watched, until it is too old or has been for long."""
        by_server = row["token"].endswith(f"-{_BY_SERVER}")
        for _ in range(round(LEASE_SECONDS / WATCH_SECONDS)):
            self._sleep(WATCH_SECONDS)
            now = self._row()
            if now is None:
                return False
            if (now["token"], now["heartbeat"]) != (row["token"], row["heartbeat"]):
                return True
            if by_server and now["age"] > LEASE_SECONDS:
                return False
        return False


def _place() -> str:
    """A mark of this machine since it was started, and of its namespace of processes, such as a container.

    Empty where a process cannot be asked for: without /proc, or with one that shows another namespace's processes.
    """
    with suppress(OSError, ValueError):
        if int(Path("/proc/self").readlink().name) != os.getpid():
            return ""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        return sha256(f"{boot}{Path('/proc/self/ns/pid').readlink()}".encode()).hexdigest()[:16]
    return ""


def _is_there(pid: int, mark: str) -> bool | None:
    """Whether the process of a mark runs in this place; None where that cannot be told."""
    if sys.platform != "linux":
        return None if _is_process(pid) else False
    if not mark or not _place():
        return None  # its number may be that of a process in another namespace
    if (found := process_mark(pid)) == mark:
        return True
    # A process of another account may be hidden, and is not the one of that mark only if its own can be read.
    return False if found or not _is_process(pid) or _is_zombie(pid) else None


def _is_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _stat(pid: int) -> list[str]:
    """Fields of a process from its state on; none where there is no such process or it is hidden."""
    with suppress(OSError):
        # The name of the program, in brackets, may hold spaces.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _is_zombie(pid: int) -> bool:
    return _stat(pid)[:1] == ["Z"]


def process_mark(pid: int) -> str:
    """Tells a process from every other that has had its number; empty where there is none or it cannot be asked for."""
    fields = _stat(pid)
    if len(fields) < 20 or fields[0] == "Z":
        return ""
    return sha256(f"{pid} {fields[19]}".encode()).hexdigest()[:16]  # the 22nd of all fields is the time of its start
