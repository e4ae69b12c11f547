"""What trainings yield, and how each of them ended: the rows of steps, epochs, checkpoints and trainings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Delete, Table, bindparam, delete, func, insert, select, true

from detector.observations import LayerInspected, Picture, PicturesTaken, PicturesWatched, ScaleObjectness
from detector.telemetry import CheckpointSaved, ClassScores, EpochMetrics, LaneStarted, StepTelemetry
from evolve.outcome.training import TrainingOutcome
from evolve.outcome.verdict import Verdict
from evolve.storage import schema
from evolve.storage.rows import (
    class_row,
    compact,
    epoch_from,
    epoch_row,
    layer_row,
    objectness_row,
    step_from,
    step_row,
    watched_row,
)
from evolve.storage.spent import note_lost, training_seconds
from evolve.storage.transactions import Transactions
from evolve.study.trial import Record

# What comes often, and is written together.
_FREQUENT: dict[type[Any], tuple[Table, Callable[..., dict[str, Any]]]] = {
    StepTelemetry: (schema.step, step_row),
    ClassScores: (schema.class_scores, class_row),
    ScaleObjectness: (schema.objectness, objectness_row),
    LayerInspected: (schema.layer, layer_row),
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
        (
            schema.training,
            schema.step,
            schema.epoch,
            schema.class_scores,
            schema.objectness,
            schema.layer,
            schema.watched,
        ),
    )
)
# Most trainings have nothing to forget, and sums over what they have lost take longer than all else.
_FIRST_AFTER = (
    select(schema.epoch.c.epoch)
    .where(schema.epoch.c.trial_id == bindparam("of_trial"), schema.epoch.c.seed == bindparam("of_seed"))
    .union_all(
        select(schema.step.c.step).where(
            schema.step.c.trial_id == bindparam("of_trial"),
            schema.step.c.seed == bindparam("of_seed"),
            schema.step.c.step >= bindparam("from_step"),
        )
    )
    .limit(1)
)
_FORGET_TRAINING, _FORGET_CHECKPOINT = _forgetting_all(schema.training), _forgetting_all(schema.checkpoint)


class Records:
    """Reads and writes the rows of trainings in a database whose tables are there; trials are named by Optuna's ids."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def write(self, trial_id: int, records: Sequence[Record], fitness: Mapping[tuple[int, str, int], float]) -> None:
        """Stores records of one trial in one transaction.

        Args:
            trial_id: Optuna's id of the trial.
            records: Records of the trial's trainings, in the order in which they came.
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
            spent = training_seconds(connection, trial_id, seed)
            values = {"trial_id": trial_id, "seed": seed, "seconds": spent.total, "validating": spent.validating}
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

    def max_update_ratio(self, trial_id: int) -> float:
        """Largest update over the weights in any step of a trial's trainings; NaN where none was measured."""
        table = schema.step
        query = select(func.max(table.c.update_ratio)).where(table.c.trial_id == trial_id)
        with self._transactions.connect() as connection:
            return float(connection.execute(query).scalar_one())

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
        _forget_after(connection, trial_id, record.seed, telemetry)
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


def _forget_after(connection: Connection, trial_id: int, seed: int, start: LaneStarted) -> None:
    """Removes what the training is going to yield again, and notes how long that had taken."""
    place = {"of_trial": trial_id, "of_seed": seed, "from_epoch": start.epoch, "from_step": start.step}
    if connection.scalar(_FIRST_AFTER, place) is not None:
        step, epoch = schema.step.c, schema.epoch.c
        of_steps = (step.trial_id == trial_id) & (step.seed == seed) & (step.step >= start.step)
        is_later = (epoch.epoch >= start.epoch) | (epoch.split == "test")
        note_lost(
            connection, of_steps=of_steps, of_epochs=(epoch.trial_id == trial_id) & (epoch.seed == seed) & is_later
        )
    for statement in _FORGET_AFTER:
        connection.execute(statement, place)


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
