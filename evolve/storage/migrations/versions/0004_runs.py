"""Runs of a study, seconds that were trained again, and how many of a training's seconds were no step of it.

Earlier runs were not recorded, nor what they lost; the last is filled from steps and epochs that are there.
"""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Connection

revision = "0004"
down_revision = "0003"

DOUBLE = sa.Float(53)
training = sa.table("evolve_training", *map(sa.column, ("trial_id", "seed", "validating")))
epoch = sa.table("evolve_epoch", *map(sa.column, ("trial_id", "seed", "split", "epoch", "seconds")))
step = sa.table("evolve_step", *map(sa.column, ("trial_id", "seed", "epoch", "seconds")))


def upgrade() -> None:
    """Makes the table and the columns, and fills what is known."""
    op.create_table(
        "evolve_run",
        sa.Column("run_id", sa.Integer, primary_key=True),
        sa.Column("study_id", sa.Integer, nullable=False, index=True),
        *(sa.Column(name, DOUBLE, nullable=False) for name in ("started", "heartbeat")),
        sa.Column("ended", DOUBLE),
        *(sa.Column(name, sa.Integer, nullable=False) for name in ("workers", "lanes")),
        sa.Column("engine", sa.String(64), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("device", sa.String(64), nullable=False),
    )
    op.add_column("evolve_trial", sa.Column("lost", DOUBLE))
    op.add_column("evolve_training", sa.Column("validating", DOUBLE))
    connection = op.get_bind()
    for row in list(_validating(connection)):
        mine = (training.c.trial_id == row["trial_id"]) & (training.c.seed == row["seed"])
        connection.execute(sa.update(training).where(mine).values(validating=row["validating"]))


def _validating(connection: Connection) -> Iterator[dict[str, Any]]:
    """Seconds of the epochs of each training that are no step's; a test at the end has no steps."""
    keys = (step.c.trial_id, step.c.seed, step.c.epoch)
    trained = sa.select(*keys, sa.func.sum(step.c.seconds).label("seconds")).group_by(*keys).subquery()
    is_same = sa.and_(*(trained.c[key.name] == epoch.c[key.name] for key in keys), epoch.c.split == "val")
    rest = epoch.c.seconds - sa.func.coalesce(trained.c.seconds, 0.0)
    positive = sa.func.sum(sa.case((rest > 0, rest), else_=0.0)).label("validating")
    of = (epoch.c.trial_id, epoch.c.seed)
    rows = epoch.outerjoin(trained, is_same)
    measured = sa.select(*of, positive).select_from(rows).group_by(*of).subquery()
    own = sa.and_(*(measured.c[name] == training.c[name] for name in ("trial_id", "seed")))
    query = sa.select(training.c.trial_id, training.c.seed, sa.func.coalesce(measured.c.validating, 0.0))
    for trial_id, seed, validating in connection.execute(query.select_from(training.outerjoin(measured, own))):
        yield {"trial_id": trial_id, "seed": seed, "validating": validating}
