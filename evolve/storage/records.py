"""What trainings yield, and how each of them ended: the rows of steps, epochs, checkpoints and trainings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Delete, Table, bindparam, delete, func, insert, select, true

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
from evolve.storage.transactions import Transactions
from evolve.study.trial import Record

# What comes often, and is written together.
_FREQUENT: dict[type[Any], tuple[Table, Callable[..., dict[str, Any]]]] = {
    StepTelemetry: (schema.step, step_row),
    ClassScores: (schema.class_scores, class_row),
    ScaleObjectness: (schema.objectness, objectness_row),
    PicturesWatched: (schema.watched, watched_row),
}


def _forgetting(table: Table) -> Delete:
    """Deletes what a training that begins at `from_epoch` and `from_step` will yield again, and how it had ended."""
    own = table.c
    if table is schema.step:
        later = own.step >= bindparam("from_step")
    elif "split" in own:
        later = (own.epoch >= bindparam("from_epoch")) | (own.split == "test")
    elif "epoch" in own:
        later = own.epoch >= bindparam("from_epoch")
    else:
        later = true()
    return _forgetting_all(table).where(later)


def _forgetting_all(table: Table) -> Delete:
    return delete(table).where(table.c.trial_id == bindparam("of_trial"), table.c.seed == bindparam("of_seed"))


# Made once: SQLAlchemy takes longer to make a statement than SQLite to carry it out.
_FORGET_AFTER = tuple(
    map(
        _forgetting,
        (schema.training, schema.step, schema.epoch, schema.class_scores, schema.objectness, schema.watched),
    )
)
_FORGET_TRAINING, _FORGET_CHECKPOINT = _forgetting_all(schema.training), _forgetting_all(schema.checkpoint)


class Records:
    """Reads and writes these of a database whose tables are there; trials are named by Optuna's ids."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

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
        with self._transactions.begin() as connection:
            for record in records:
                _write_rare(connection, trial_id, record, fitness)
            for table, values in rows.items():
                connection.execute(insert(table), values)

    def end_training(self, trial_id: int, seed: int, outcome: TrainingOutcome) -> None:
        """Stores how one training of a trial ended, and how long it trained over all its starts."""
        with self._transactions.begin() as connection:
            connection.execute(_FORGET_TRAINING, {"of_trial": trial_id, "of_seed": seed})
            seconds = _training_seconds(connection, trial_id, seed)
            values = {"trial_id": trial_id, "seed": seed, "seconds": seconds}
            connection.execute(insert(schema.training), asdict(outcome) | values)

    def trainings(self, trial_id: int) -> dict[int, TrainingOutcome]:
        """How the trainings of a trial ended that have, by seed."""
        table = schema.training
        columns = (table.c.verdict, table.c.reason, table.c.fitness, table.c.diagnosis)
        query = select(table.c.seed, *columns).where(table.c.trial_id == trial_id, table.c.verdict.is_not(None))
        with self._transactions.connect() as connection:
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
        with self._transactions.connect() as connection:
            for row in connection.execute(query.order_by(table.c.seed, table.c.epoch)).mappings():
                found.setdefault(row["seed"], []).append(epoch_from(row))
        return found

    def last_epochs(self, trial_id: int) -> dict[int, int]:
        """The last epoch that is stored of each training, by seed."""
        table = schema.epoch
        query = select(table.c.seed, func.max(table.c.epoch)).where(
            table.c.trial_id == trial_id, table.c.split == "val"
        )
        with self._transactions.connect() as connection:
            return {seed: last for seed, last in connection.execute(query.group_by(table.c.seed))}  # noqa: C416

    def steps(self, trial_id: int, seed: int, *, first: int = 0, count: int | None = None) -> list[StepTelemetry]:
        """Step telemetry of one training from step `first` on."""
        table = schema.step
        query = select(table).where(table.c.trial_id == trial_id, table.c.seed == seed, table.c.step >= first)
        with self._transactions.connect() as connection:
            rows = connection.execute(query.order_by(table.c.step).limit(count)).mappings()
            return [step_from(row) for row in rows]


def _write_rare(
    connection: Connection, trial_id: int, record: Record, fitness: Mapping[tuple[int, str, int], float]
) -> None:
    telemetry, mine = record.telemetry, {"of_trial": trial_id, "of_seed": record.seed}
    if isinstance(telemetry, LaneStarted):
        for statement in _FORGET_AFTER:
            connection.execute(statement, mine | {"from_epoch": telemetry.epoch, "from_step": telemetry.step})
    elif isinstance(telemetry, EpochMetrics):
        key = (record.seed, telemetry.split, telemetry.epoch)
        row = epoch_row(trial_id, record.seed, telemetry) | {"fitness": fitness.get(key)}
        connection.execute(insert(schema.epoch), row)
    elif isinstance(telemetry, PicturesTaken):
        _write_pictures(connection, trial_id, record.seed, telemetry)
    elif isinstance(telemetry, CheckpointSaved):
        connection.execute(_FORGET_CHECKPOINT, mine)
        place = {"epoch": telemetry.epoch, "step": telemetry.step, "path": telemetry.path}
        connection.execute(insert(schema.checkpoint), {"trial_id": trial_id, "seed": record.seed, **place})


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


def _training_seconds(connection: Connection, trial_id: int, seed: int) -> float:
    """Epochs hold their steps; steps after the last epoch are counted by themselves."""
    step, epoch = schema.step.c, schema.epoch.c
    ended = select(func.coalesce(func.sum(epoch.seconds), 0.0), func.coalesce(func.max(epoch.step), 0))
    whole, last = connection.execute(ended.where(epoch.trial_id == trial_id, epoch.seed == seed)).one()
    rest = select(func.coalesce(func.sum(step.seconds), 0.0))
    rest = rest.where(step.trial_id == trial_id, step.seed == seed, step.step >= last)
    return float(whole) + float(connection.scalar(rest) or 0)
