"""Where the time of a study's workers went: training, validating, lost to a crash, or waiting.

What was trained, evaluated, and trained again is measured; what is left of workers times wall time is waiting: starting
up, checking data, saving, asking and being asked. Steps that never reached the database before a kill, and those of a
trial's last seconds, are in it too.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite, nan
from typing import Any

from sqlalchemy import Connection, Float, func, or_, select

from evolve.outcome.verdict import Verdict
from evolve.storage import schema
from evolve.storage.spent import Seconds, seconds_spent
from evolve.storage.under_way import is_alive, shown_verdict

WASTEFUL = (Verdict.DIVERGED, Verdict.DOOMED, Verdict.PRUNED, Verdict.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpan:
    """One run of a study.

    Attributes:
        started: When the run began, before its first worker was started, in seconds since 1970.
        seconds: Wall time until its end, or to its last heartbeat where it has not ended or was killed.
        has_ended: Whether the run came to its end, rather than still going on or having been killed.
        workers: Number of processes that trained.
        lanes: Number of trials that each of them trained at once.
        engine, host, device: Names of the engine, of the machine that drove the run, and of torch's device.
    """

    started: float
    seconds: float
    has_ended: bool
    workers: int
    lanes: int
    engine: str
    host: str
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSpent:
    """Where the time of a study's workers went, in seconds of a worker: two workers have two in a second.

    Attributes:
        runs: Runs of the study, oldest first.
        by_verdict: Time that went into trials, by their verdict; `running` or `interrupted` for those that have none.
        lost: Time of what was trained and evaluated and then had to be done again, since a worker or a run was killed.
        is_whole: Whether all trials were trained in runs that are recorded, so that waiting is known.
    """

    runs: tuple[RunSpan, ...]
    by_verdict: Mapping[str, Seconds]
    lost: float
    is_whole: bool

    @property
    def spent(self) -> Seconds:
        """Time that went into all trials."""
        return sum(self.by_verdict.values(), Seconds())

    @property
    def wasted(self) -> float:
        """Time that went into trials that diverged, were doomed or pruned, or failed."""
        return sum((self.by_verdict[verdict].total for verdict in WASTEFUL if verdict in self.by_verdict), 0.0)

    @property
    def worker_seconds(self) -> float:
        """Workers times wall time of all runs; NaN where not all runs are known.

        A run that was killed is known up to its last heartbeat, some seconds before its end; so it is never less than
        what was measured.
        """
        if not self.is_whole:
            return nan
        return max(sum(run.workers * run.seconds for run in self.runs), self.spent.total + self.lost)

    @property
    def waiting(self) -> float:
        """What of `worker_seconds` was neither spent on trials nor lost; NaN where not all runs are known."""
        return self.worker_seconds - self.spent.total - self.lost

    @property
    def parts(self) -> dict[str, float]:
        """Seconds by what they went into; their sum is `worker_seconds`, where that is known."""
        spent = self.spent
        found = {"training": spent.training, "validating": spent.validating, "lost": self.lost, "waiting": self.waiting}
        return {name: seconds for name, seconds in found.items() if isfinite(seconds)}

    def as_json(self) -> dict[str, Any]:
        """The time spent as plain values, for machines."""
        spent = self.spent
        return {
            "worker_seconds": self.worker_seconds,
            "training": spent.training,
            "validating": spent.validating,
            "lost": self.lost,
            "waiting": self.waiting,
            "wasted": self.wasted,
            "by_verdict": {name: asdict(seconds) for name, seconds in self.by_verdict.items()},
            "runs": [asdict(run) for run in self.runs],
        }


NOTHING = TimeSpent(runs=(), by_verdict={}, lost=0.0, is_whole=False)


def time_spent(connection: Connection, study_id: int, now: float | None = None) -> TimeSpent:
    """Where the time of a study's workers went so far.

    Args:
        connection: Connection to a database with Optuna's tables and ours.
        study_id: Optuna's id of the study.
        now: Present time in seconds since 1970, by which a run is heard of or not; None asks the clock.
    """
    runs, own = _runs(connection, study_id), schema.trial.c
    heartbeat = select(schema.lease.c.heartbeat).where(schema.lease.c.study_id == study_id).scalar_subquery()
    query = select(func.min(own.started, type_=Float), func.sum(own.lost, type_=Float), heartbeat)
    first, lost, heard = connection.execute(query.where(own.study_id == study_id)).one()
    is_whole = bool(runs) and (first is None or first >= runs[0].started)
    under_way = shown_verdict(None, "RUNNING", has_runner=is_alive(heard, time.time() if now is None else now))
    by_verdict = _by_verdict(connection, study_id, under_way=under_way)
    return TimeSpent(runs=runs, by_verdict=by_verdict, lost=lost or 0.0, is_whole=is_whole)


def _runs(connection: Connection, study_id: int) -> tuple[RunSpan, ...]:
    table = schema.run
    rows = connection.execute(select(table).where(table.c.study_id == study_id).order_by(table.c.started)).mappings()
    return tuple(_span(row) for row in rows)


def _span(row: Mapping[Any, Any]) -> RunSpan:
    has_ended = isfinite(row["ended"])  # a NULL of ours reads as NaN
    return RunSpan(
        seconds=(row["ended"] if has_ended else row["heartbeat"]) - row["started"],
        has_ended=has_ended,
        **{name: row[name] for name in ("started", "workers", "lanes", "engine", "host", "device")},
    )


def _by_verdict(connection: Connection, study_id: int, *, under_way: str) -> dict[str, Seconds]:
    """Trainings that ended have their seconds stored; those under way, and old ones, are summed from their rows."""
    trial, training, step, epoch = schema.trial.c, schema.training.c, schema.step.c, schema.epoch.c
    of_study = trial.study_id == study_id
    joined = schema.trial.outerjoin(schema.training, training.trial_id == trial.trial_id)
    columns = (trial.trial_id, trial.verdict, training.seed, training.seconds, training.validating)
    found: dict[str, Seconds] = defaultdict(Seconds)
    settled, verdicts = set(), {}
    for row in connection.execute(select(*columns).select_from(joined).where(of_study)):
        verdicts[row.trial_id] = row.verdict or under_way
        if row.seed is not None and isfinite(row.validating) and isfinite(row.seconds):
            settled.add((row.trial_id, row.seed))
            training_only = max(row.seconds - row.validating, 0.0)
            found[verdicts[row.trial_id]] += Seconds(training=training_only, validating=row.validating)
    known = select(training.trial_id).where(training.validating.is_not(None))
    others = select(trial.trial_id).where(of_study, or_(trial.verdict.is_(None), trial.trial_id.not_in(known)))
    rest = seconds_spent(connection, of_steps=step.trial_id.in_(others), of_epochs=epoch.trial_id.in_(others))
    for key, seconds in rest.items():
        if key not in settled:
            found[verdicts[key[0]]] += seconds
    return dict(found)
