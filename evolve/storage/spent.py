"""Seconds of trainings, told apart: steps of training, and what evaluations took."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Float, and_, case, func, select, update

from evolve.storage import schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """A worker's time that went into trainings.

    Attributes:
        training: Seconds that went into steps.
        validating: Seconds that went into epochs beside their steps: evaluations, on the test images too, and saving
            between them.
    """

    training: float = 0.0
    validating: float = 0.0

    @property
    def total(self) -> float:
        """Seconds of training and of validating together."""
        return self.training + self.validating

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(training=self.training + other.training, validating=self.validating + other.validating)


def seconds_spent(
    connection: Connection, *, of_steps: ColumnElement[bool], of_epochs: ColumnElement[bool]
) -> dict[tuple[int, int], Seconds]:
    """Seconds by trial id and seed, summed over rows that are stored.

    Args:
        connection: Connection to a database with our tables.
        of_steps: Condition on `evolve_step` for the rows that count.
        of_epochs: Condition on `evolve_epoch` for the rows that count; their steps are among those that count.
    """
    step, epoch = schema.step.c, schema.epoch.c
    keys = (step.trial_id, step.seed, step.epoch)
    # A float of its own, since ours read NULL as NaN.
    by_epoch = select(*keys, func.sum(step.seconds, type_=Float).label("seconds")).where(of_steps).group_by(*keys)
    trained = by_epoch.subquery()
    found: dict[tuple[int, int], Seconds] = defaultdict(Seconds)
    of_training = (trained.c.trial_id, trained.c.seed)
    for trial_id, seed, seconds in connection.execute(
        select(*of_training, func.sum(trained.c.seconds)).group_by(*of_training)
    ):
        found[trial_id, seed] += Seconds(training=seconds or 0.0)
    is_same = and_(*(trained.c[key.name] == epoch[key.name] for key in keys), epoch.split == "val")
    rest = epoch.seconds - func.coalesce(trained.c.seconds, 0.0)
    positive = func.sum(case((rest > 0, rest), else_=0.0), type_=Float)
    of = (epoch.trial_id, epoch.seed)
    query = select(*of, positive).select_from(schema.epoch.outerjoin(trained, is_same)).where(of_epochs).group_by(*of)
    for trial_id, seed, seconds in connection.execute(query):
        found[trial_id, seed] += Seconds(validating=seconds or 0.0)
    return dict(found)


def training_seconds(connection: Connection, trial_id: int, seed: int) -> Seconds:
    """Seconds of one training, over all its starts, without what was trained again."""
    of = ((rows.c.trial_id == trial_id) & (rows.c.seed == seed) for rows in (schema.step, schema.epoch))
    spent = seconds_spent(connection, of_steps=next(of), of_epochs=next(of))
    return spent.get((trial_id, seed), Seconds())


def note_lost(connection: Connection, *, of_steps: ColumnElement[bool], of_epochs: ColumnElement[bool]) -> None:
    """Adds seconds of rows that are about to be removed to what their trials lost; arguments as of `seconds_spent`."""
    table = schema.trial
    for (trial_id, _), seconds in seconds_spent(connection, of_steps=of_steps, of_epochs=of_epochs).items():
        lost = func.coalesce(table.c.lost, 0.0) + seconds.total
        connection.execute(update(table).where(table.c.trial_id == trial_id).values(lost=lost))
