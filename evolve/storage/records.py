"""What trainings yield, and how each of them ended: the rows of steps, epochs, checkpoints and trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from sqlalchemy import Connection, Engine, delete, func, insert, select

from detector.telemetry import CheckpointSaved, EpochMetrics, LaneStarted, StepTelemetry
from evolve.outcome.training import TrainingOutcome
from evolve.outcome.verdict import Verdict
from evolve.storage import schema
from evolve.storage.rows import epoch_from, epoch_row, step_from, step_row
from evolve.study.trial import Record


class Records:
    """Reads and writes these of a database whose tables are there; trials are named by Optuna's ids."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def write(self, trial_id: int, records: Sequence[Record], fitness: Mapping[tuple[int, str, int], float]) -> None:
        """Stores records of one trial in one transaction.

        Args:
            trial_id: Optuna's id of the trial.
            records: In the order they came.
            fitness: Fitness of each epoch among the records, by seed, split and epoch.
        """
        steps = [
            step_row(trial_id, record.seed, record.telemetry)
            for record in records
            if isinstance(record.telemetry, StepTelemetry)
        ]
        with self._engine.begin() as connection:
            for record in records:
                _write_rare(connection, trial_id, record, fitness)
            if steps:
                connection.execute(insert(schema.step), steps)

    def end_training(self, trial_id: int, seed: int, outcome: TrainingOutcome) -> None:
        """Stores how one training of a trial ended, and how long it trained over all its starts."""
        table = schema.training
        mine = (table.c.trial_id == trial_id) & (table.c.seed == seed)
        with self._engine.begin() as connection:
            connection.execute(delete(table).where(mine))
            seconds = _training_seconds(connection, trial_id, seed)
            values = {"trial_id": trial_id, "seed": seed, "seconds": seconds}
            connection.execute(insert(table).values(asdict(outcome) | values))

    def trainings(self, trial_id: int) -> dict[int, TrainingOutcome]:
        """How the trainings of a trial ended that have, by seed."""
        table = schema.training
        columns = (table.c.verdict, table.c.reason, table.c.fitness, table.c.diagnosis)
        query = select(table.c.seed, *columns).where(table.c.trial_id == trial_id, table.c.verdict.is_not(None))
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(table.c.seed)).all()
        return {
            row.seed: TrainingOutcome(
                verdict=Verdict(row.verdict), reason=row.reason, fitness=row.fitness, diagnosis=row.diagnosis
            )
            for row in rows
        }

    def epochs(self, trial_id: int, *, split: str = "val") -> dict[int, list[EpochMetrics]]:
        """Metrics of every epoch, by seed."""
        table = schema.epoch
        query = select(table).where(table.c.trial_id == trial_id, table.c.split == split)
        found: dict[int, list[EpochMetrics]] = {}
        with self._engine.connect() as connection:
            for row in connection.execute(query.order_by(table.c.seed, table.c.epoch)).mappings():
                found.setdefault(row["seed"], []).append(epoch_from(row))
        return found

    def last_epochs(self, trial_id: int) -> dict[int, int]:
        """The last epoch that is stored of each training, by seed."""
        table = schema.epoch
        query = select(table.c.seed, func.max(table.c.epoch)).where(
            table.c.trial_id == trial_id, table.c.split == "val"
        )
        with self._engine.connect() as connection:
            return {seed: last for seed, last in connection.execute(query.group_by(table.c.seed))}  # noqa: C416

    def steps(self, trial_id: int, seed: int, *, first: int = 0, count: int | None = None) -> list[StepTelemetry]:
        """Step telemetry of one training from step `first` on."""
        table = schema.step
        query = select(table).where(table.c.trial_id == trial_id, table.c.seed == seed, table.c.step >= first)
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(table.c.step).limit(count)).mappings()
            return [step_from(row) for row in rows]


def _write_rare(
    connection: Connection, trial_id: int, record: Record, fitness: Mapping[tuple[int, str, int], float]
) -> None:
    telemetry = record.telemetry
    if isinstance(telemetry, LaneStarted):
        _forget_after(connection, trial_id, record.seed, telemetry)
    elif isinstance(telemetry, EpochMetrics):
        key = (record.seed, telemetry.split, telemetry.epoch)
        row = epoch_row(trial_id, record.seed, telemetry) | {"fitness": fitness.get(key)}
        connection.execute(insert(schema.epoch).values(row))
    elif isinstance(telemetry, CheckpointSaved):
        table = schema.checkpoint
        mine = (table.c.trial_id == trial_id) & (table.c.seed == record.seed)
        connection.execute(delete(table).where(mine))
        connection.execute(
            insert(table).values(
                trial_id=trial_id,
                seed=record.seed,
                epoch=telemetry.epoch,
                step=telemetry.step,
                path=telemetry.path,
            )
        )


def _training_seconds(connection: Connection, trial_id: int, seed: int) -> float:
    """Epochs hold their steps; steps after the last epoch are counted by themselves."""
    step, epoch = schema.step.c, schema.epoch.c
    ended = select(func.coalesce(func.sum(epoch.seconds), 0.0), func.coalesce(func.max(epoch.step), 0))
    whole, last = connection.execute(ended.where(epoch.trial_id == trial_id, epoch.seed == seed)).one()
    rest = select(func.coalesce(func.sum(step.seconds), 0.0))
    rest = rest.where(step.trial_id == trial_id, step.seed == seed, step.step >= last)
    return float(whole) + float(connection.scalar(rest) or 0)


def _forget_after(connection: Connection, trial_id: int, seed: int, start: LaneStarted) -> None:
    step, epoch, training = schema.step, schema.epoch, schema.training
    connection.execute(delete(training).where(training.c.trial_id == trial_id, training.c.seed == seed))
    connection.execute(delete(step).where(step.c.trial_id == trial_id, step.c.seed == seed, step.c.step >= start.step))
    mine = (epoch.c.trial_id == trial_id) & (epoch.c.seed == seed)
    connection.execute(delete(epoch).where(mine, (epoch.c.epoch >= start.epoch) | (epoch.c.split == "test")))
