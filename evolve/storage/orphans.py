"""Rows of ours whose trial or study Optuna does not have, since its own tools removed it."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, func, or_, select

from evolve.storage import schema
from evolve.storage.optuna_tables import STUDIES, TRIALS


def is_orphan(table: Table, living: Collection[int]) -> ColumnElement[bool] | None:
    """Condition for the orphans among a table's rows; None where they name neither a trial nor a study.

    Args:
        table: A table of ours.
        living: Ids of studies that are being run, whose rows are left alone.
    """
    wrong: list[ColumnElement[bool]] = []
    if "trial_id" in table.c:
        wrong.append(and_(table.c.trial_id.is_not(None), table.c.trial_id.not_in(select(TRIALS.c.trial_id))))
    if "study_id" in table.c:
        wrong.append(table.c.study_id.not_in(select(STUDIES.c.study_id)))
    if not wrong:
        return None
    if "study_id" in table.c:
        return and_(or_(*wrong), table.c.study_id.not_in(living))
    of_living = select(schema.trial.c.trial_id).where(schema.trial.c.study_id.in_(living))
    return and_(or_(*wrong), table.c.trial_id.not_in(of_living))


def remove_claimable(connection: Connection) -> None:
    """Removes orphans that the next study or trial would get, since SQLite gives ids after the highest anew.

    All others are left to the doctor: to find them every row has to be looked at, these are found by their keys.
    """
    for name, ids in (("study_id", STUDIES.c.study_id), ("trial_id", TRIALS.c.trial_id)):
        highest = select(func.coalesce(func.max(ids), 0)).scalar_subquery()
        for table in schema.metadata.sorted_tables:
            if name in table.c:
                connection.execute(delete(table).where(table.c[name] > highest))
