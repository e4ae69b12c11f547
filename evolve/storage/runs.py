"""The runs of a study: when each began and ended, and with how many workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, Engine, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from evolve.errors import StorageError
from evolve.storage import schema
from evolve.storage.lease import Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What trains in a run.

    Attributes:
        workers: Number of processes that train, at least 1.
        lanes: Number of trials that each of them trains at once, at least 1.
        engine: Name of the engine that gives them trials.
        host: Name of the machine that drives the run.
        device: torch's name of the device that they train on.
    """

    workers: int
    lanes: int
    engine: str
    host: str
    device: str


def last_run(engine: Engine, study_id: int) -> RunFacts | None:
    """What trained in the latest run of a study; None where none is recorded."""
    own = schema.run.c
    query = select(own.workers, own.lanes, own.engine, own.host, own.device).where(own.study_id == study_id)
    with engine.connect() as connection:
        row = connection.execute(query.order_by(own.run_id.desc()).limit(1)).mappings().first()
    return None if row is None else RunFacts(**row)


class RunTime:
    """When a run began, and how long ago, whatever is done to the machine's clock meanwhile.

    Args:
        now: Returns seconds since 1970.
        clock: Returns seconds of a clock that never goes back.
    """

    def __init__(self, *, now: Callable[[], float] = time.time, clock: Callable[[], float] = time.monotonic) -> None:
        self.started, self._clock, self._at = now(), clock, clock()

    @property
    def latest(self) -> float:
        """Now, in seconds since 1970."""
        return self.started + self._clock() - self._at


@contextmanager
def recorded(engine: Engine, lease: Lease, *, study_id: int, since: RunTime, facts: RunFacts) -> Iterator[None]:
    """Within the block a run goes on, which is written with each heartbeat of its lease; at its end the run is over.

    Args:
        engine: Engine of the database.
        lease: Lease of the study, which the caller holds.
        study_id: Optuna's id of the study.
        since: When the run began, before its first worker was started.
        facts: What trains in the run.
    """
    table = schema.run
    row = {"study_id": study_id, "started": since.started, "heartbeat": since.latest} | asdict(facts)
    with engine.begin() as connection:
        key = connection.execute(insert(table).values(row)).inserted_primary_key
    assert key is not None
    mine = table.c.run_id == key[0]

    def live(connection: Connection) -> None:
        connection.execute(update(table).where(mine).values(heartbeat=since.latest))

    try:
        with lease.beside_heartbeat(live):
            yield
    finally:
        # A database that is gone, or a lease that is lost, must not hide what ended the run.
        with suppress(SQLAlchemyError, StorageError), engine.begin() as connection:
            latest = since.latest
            connection.execute(update(table).where(mine).values(heartbeat=latest, ended=latest))
