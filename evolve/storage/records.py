"""What trainings yield, and how each of them ended: the rows of steps, epochs, checkpoints and trainings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Table, delete, func, insert, select

from detector.telemetry import (
    CheckpointSaved,
    ClassScores,
    EpochMetrics,
    LaneStarted,
    Picture,
    PicturesTaken,
    PicturesWatched,
    ScaleObjectness,
    StepTelemetry,
)
from evolve.outcome.training import TrainingOutcome
from evolve.outcome.verdict import Verdict
from evolve.storage import schema
from evolve.storage.rows import (
    class_row,
    compact,
    epoch_from,
    epoch_row,
    objectness_row,
    step_from,
    step_row,
    watched_row,
)
from evolve.storage.spent import note_lost, training_seconds
from evolve.study.trial import Record

# What comes often, and is written together.
_FREQUENT: dict[type[Any], tuple[Table, Callable[..., dict[str, Any]]]] = {
    StepTelemetry: (schema.step, step_row),
    ClassScores: (schema.class_scores, class_row),
    ScaleObjectness: (schema.objectness, objectness_row),
    PicturesWatched: (schema.watched, watched_row),
}


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
        rows: dict[Table, list[dict[str, Any]]] = {}
        for record in records:
            if (found := _FREQUENT.get(type(record.telemetry))) is not None:
                table, row_of = found
                rows.setdefault(table, []).append(row_of(trial_id, record.seed, record.telemetry))
        with self._engine.begin() as connection:
            for record in records:
                _write_rare(connection, trial_id, record, fitness)
            for table, values in rows.items():
                connection.execute(insert(table), values)

    def end_training(self, trial_id: int, seed: int, outcome: TrainingOutcome) -> None:
        """Stores how one training of a trial ended, and how long it trained over all its starts."""
        table = schema.training
        mine = (table.c.trial_id == trial_id) & (table.c.seed == seed)
        with self._engine.begin() as connection:
            connection.execute(delete(table).where(mine))
            spent = training_seconds(connection, trial_id, seed)
            values = {"trial_id": trial_id, "seed": seed, "seconds": spent.total, "validating": spent.validating}
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
    elif isinstance(telemetry, PicturesTaken):
        _write_pictures(connection, trial_id, record.seed, telemetry)
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


def _write_pictures(connection: Connection, trial_id: int, seed: int, found: PicturesTaken) -> None:
    """Notes which pictures the training shows, and keeps those that the study does not have yet."""
    table, taken, trial = schema.picture, schema.taken, schema.trial
    connection.execute(
        delete(taken).where(taken.c.trial_id == trial_id, taken.c.seed == seed, taken.c.split == found.split)
    )
    study_id = connection.scalar(select(trial.c.study_id).where(trial.c.trial_id == trial_id))
    for place, picture in enumerate(found.pictures):
        row = picture_row(picture) | {"study_id": study_id}
        key = row["picture_id"]
        known = select(table.c.width).where(table.c.study_id == study_id, table.c.picture_id == key)
        if connection.scalar(known) is None:
            connection.execute(insert(table).values(row))
        own = {"trial_id": trial_id, "seed": seed, "split": found.split, "place": place, "picture_id": key}
        connection.execute(insert(taken).values(own))


def picture_row(picture: Picture) -> dict[str, Any]:
    """Row of `evolve_picture` without its study."""
    boxes = compact(picture.boxes)
    key = sha256(picture.jpeg + boxes.encode()).hexdigest()
    return {
        "picture_id": key,
        "jpeg": picture.jpeg,
        "width": picture.width,
        "height": picture.height,
        "boxes": boxes,
    }


def _forget_after(connection: Connection, trial_id: int, seed: int, start: LaneStarted) -> None:
    def later(table: Table) -> ColumnElement[bool]:
        own = (table.c.trial_id == trial_id) & (table.c.seed == seed)
        if table is schema.step:
            return own & (table.c.step >= start.step)
        if "split" in table.c:
            return own & ((table.c.epoch >= start.epoch) | (table.c.split == "test"))
        return own & (table.c.epoch >= start.epoch) if "epoch" in table.c else own

    note_lost(connection, of_steps=later(schema.step), of_epochs=later(schema.epoch))
    for table in (schema.training, schema.step, schema.epoch, schema.class_scores, schema.objectness, schema.watched):
        connection.execute(delete(table).where(later(table)))
