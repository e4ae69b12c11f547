"""A training gets a row of its own, filled from the trials that have ended.

Of a trial with one seed its outcome is that of its training. Of one with several seeds the verdict is that of the
worst, which its diagnosis or its reason names; what became of the others was not kept.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Connection, Row

revision = "0002"
down_revision = "0001"

DOUBLE = sa.Float(53)
NAMED_SEED = r"(?:mean fitness \S+ of \d+ seeds; )?seed (\d+): "
trial = sa.table("evolve_trial", *map(sa.column, ("trial_id", "verdict", "reason", "diagnosis", "fitness", "seconds")))
epoch = sa.table("evolve_epoch", *map(sa.column, ("trial_id", "seed", "split", "epoch", "step", "fitness", "seconds")))
step = sa.table("evolve_step", *map(sa.column, ("trial_id", "seed", "step", "seconds")))


def upgrade() -> None:
    """Makes the tables that the last evolves without migrations made when they were needed, then that of trainings."""
    connection = op.get_bind()
    present = set(sa.inspect(connection).get_table_names())
    for make in (_identity, _event, _decision, _note):
        if f"evolve{make.__name__}" not in present:
            make()
    training = op.create_table(
        "evolve_training",
        sa.Column("trial_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("seed", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("verdict", sa.String(16)),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("diagnosis", sa.Text),
        sa.Column("fitness", DOUBLE),
        sa.Column("seconds", DOUBLE),
    )
    assert training is not None
    rows = list(_trainings(connection))
    if rows:
        connection.execute(sa.insert(training), rows)
    # An evolve that knows no migrations asks here.
    connection.execute(sa.text("insert into evolve_schema (version) values (2)"))


def _identity() -> None:
    op.create_table(
        "evolve_identity",
        sa.Column("study_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("identity", sa.String(32), nullable=False),
        sa.Column("data_files", sa.Text, nullable=False),
    )


def _event() -> None:
    op.create_table(
        "evolve_event",
        sa.Column("event_id", sa.Integer, primary_key=True),
        sa.Column("study_id", sa.Integer, nullable=False, index=True),
        sa.Column("trial_id", sa.Integer),
        sa.Column("created", DOUBLE, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
    )


def _decision() -> None:
    op.create_table(
        "evolve_decision",
        sa.Column("trial_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("is_pruned", sa.Boolean, nullable=False),
        sa.Column("attributes", sa.Text, nullable=False),
    )


def _note() -> None:
    op.create_table(
        "evolve_note",
        sa.Column("note_id", sa.Integer, primary_key=True),
        sa.Column("trial_id", sa.Integer, nullable=False, index=True),
        sa.Column("created", DOUBLE, nullable=False),
        sa.Column("author", sa.String(255), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("tag", sa.String(64), nullable=False),
    )


def _trainings(connection: Connection) -> Iterator[dict[str, Any]]:
    ended = connection.execute(sa.select(trial).where(trial.c.verdict.is_not(None)).order_by(trial.c.trial_id))
    for row in ended:
        seeds = _seeds(connection, row.trial_id)
        judged = _judged_seed(row, seeds)
        for seed in seeds:
            mine = {"trial_id": row.trial_id, "seed": seed, "seconds": _seconds(connection, row.trial_id, seed)}
            own = {"verdict": None, "reason": "", "diagnosis": None}
            if seed == judged:
                reason = re.sub(f"^{NAMED_SEED}", "", row.reason or "")
                own = {"verdict": row.verdict, "reason": reason, "diagnosis": row.diagnosis}
            has_fitness = own["verdict"] not in ("diverged", "failed")
            yield mine | own | {"fitness": _fitness(connection, row.trial_id, seed) if has_fitness else None}


def _seeds(connection: Connection, trial_id: int) -> list[int]:
    found: set[int] = set()
    for rows in (epoch, step):
        found |= set(connection.scalars(sa.select(rows.c.seed).distinct().where(rows.c.trial_id == trial_id)))
    return sorted(found)


def _judged_seed(row: Row[Any], seeds: list[int]) -> int | None:
    """The training whose verdict is the trial's."""
    if row.diagnosis and "seed" in (diagnosis := json.loads(row.diagnosis)):
        return int(diagnosis["seed"])
    if named := re.match(NAMED_SEED, row.reason or ""):
        return int(named[1])
    # The pruner stops the first, a failure the last.
    if row.verdict == "pruned" or len(seeds) == 1:
        return seeds[0] if seeds else None
    return seeds[-1] if seeds and row.verdict == "failed" else None


def _fitness(connection: Connection, trial_id: int, seed: int) -> float | None:
    mine = sa.and_(epoch.c.trial_id == trial_id, epoch.c.seed == seed, epoch.c.split == "val")
    query = sa.select(epoch.c.fitness).where(mine).order_by(epoch.c.epoch.desc()).limit(1)
    found: float | None = connection.scalar(query)
    return found


def _seconds(connection: Connection, trial_id: int, seed: int) -> float:
    """Epochs with their steps, and the steps after the last epoch."""
    mine = sa.and_(epoch.c.trial_id == trial_id, epoch.c.seed == seed)
    whole, last = connection.execute(
        sa.select(sa.func.sum(epoch.c.seconds), sa.func.max(epoch.c.step)).where(mine)
    ).one()
    rest = sa.and_(step.c.trial_id == trial_id, step.c.seed == seed, step.c.step >= (last or 0))
    return float(whole or 0) + float(connection.scalar(sa.select(sa.func.sum(step.c.seconds)).where(rest)) or 0)
