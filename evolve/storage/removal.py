"""Removing a study: its rows in Optuna's tables and ours, and its run folder, or nothing."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from optuna.storages._rdb.models import BaseModel, TrialModel
from sqlalchemy import Connection, Engine, Table, delete, func, inspect, select

from evolve.errors import StorageError
from evolve.storage import schema
from evolve.storage.confirmations import confirms
from evolve.storage.lease import Lease
from evolve.storage.sqlite import without_password

MEGABYTE = 1e6
# Optuna's own list of its tables, those that refer to others last; ours refer to none of ours.
_TABLES = (*BaseModel.metadata.sorted_tables, *schema.metadata.sorted_tables)
_TRIALS: Table = BaseModel.metadata.tables[TrialModel.__tablename__]


@dataclass(frozen=True, slots=True, kw_only=True)
class Removable:
    """A stored study that nobody runs, and what removing it would remove.

    Attributes:
        name: Name of the study.
        study_id: Optuna's id of the study.
        trials: Number of trials in the study.
        folder: Run folder of the study, which may not exist.
        size: Bytes of the files in the folder.
        confirmed_by: Names of the studies that confirm it, which stay.
    """

    name: str
    study_id: int
    trials: int
    folder: Path
    size: int
    confirmed_by: tuple[str, ...]

    def text(self) -> str:
        """What would be removed, in words for people."""
        files = f"{self.folder} ({self.size / MEGABYTE:.1f} MB)" if self.folder.exists() else "no run folder"
        left = f"; what confirms it stays: {', '.join(self.confirmed_by)}" if self.confirmed_by else ""
        return f"study {self.name}, {self.trials} trials, {files}{left}"


def removable(engine: Engine, name: str, runs: Path) -> Removable:
    """What removing a study would remove.

    Args:
        engine: A database that holds the study.
        name: Name of the study, written in full.
        runs: Folder with a folder for each study.

    Raises:
        StorageError: There is no study of that name, evolve did not make it, or a process runs it.
    """
    studies = BaseModel.metadata.tables["studies"]
    ours = schema.study
    query = select(studies.c.study_id, ours.c.study_id.label("our_id"))
    query = query.select_from(studies.outerjoin(ours, ours.c.study_id == studies.c.study_id))
    with engine.connect() as connection:
        row = connection.execute(query.where(studies.c.study_name == name)).one_or_none()
        if row is None:
            raise StorageError(f"study {name}: is not in {without_password(engine.url)}")
        # Names of others' studies may hold slashes, and are no names of folders.
        if row.our_id is None or not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise StorageError(f"study {name}: was not made by evolve; Optuna removes it: optuna delete-study")
        count = select(func.count()).select_from(_TRIALS).where(_TRIALS.c.study_id == row.study_id)
        trials = connection.scalar(count) or 0
        names = select(studies.c.study_name).join(ours, ours.c.study_id == studies.c.study_id)
        confirmed_by = tuple(connection.scalars(names.where(confirms(name)).order_by(studies.c.study_id)))
    Lease(engine, row.study_id, name).check_free()
    folder = runs / name
    size = sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
    return Removable(
        name=name, study_id=row.study_id, trials=trials, folder=folder, size=size, confirmed_by=confirmed_by
    )


def remove_study(engine: Engine, study: Removable) -> None:
    """Removes a study; where a file cannot be removed, all its rows stay.

    Raises:
        StorageError: A process has begun to run it.
        OSError: A file cannot be removed.
    """
    with _held(engine, study), engine.begin() as connection:
        present = set(inspect(connection).get_table_names())
        environments = list(_environments_of_no_other(connection, study.study_id))
        for rows in reversed([table for table in _TABLES if table.name in present]):
            _delete_rows(connection, rows, study.study_id)
        table = schema.environment
        connection.execute(delete(table).where(table.c.environment_id.in_(environments)))
        # Weights that outlive the rows would be gone on from by the next study of this name.
        if study.folder.exists():
            shutil.rmtree(study.folder)


@contextmanager
def _held(engine: Engine, study: Removable) -> Iterator[None]:
    """Keeps others from running the study meanwhile."""
    lease = Lease(engine, study.study_id, study.name)
    lease.take()
    try:
        yield
    finally:
        lease.release()


def _delete_rows(connection: Connection, rows: Table, study_id: int) -> None:
    if "study_id" in rows.c:
        connection.execute(delete(rows).where(rows.c.study_id == study_id))
    elif "trial_id" in rows.c:
        trials = select(_TRIALS.c.trial_id).where(_TRIALS.c.study_id == study_id)
        connection.execute(delete(rows).where(rows.c.trial_id.in_(trials)))


def _environments_of_no_other(connection: Connection, study_id: int) -> Iterator[str]:
    """Environments that only this study's trials were trained in; none while others train, who may be about to."""
    own, lease = schema.trial, schema.lease
    if connection.scalar(select(func.count()).select_from(lease).where(lease.c.study_id != study_id)):
        return
    of_others = select(own.c.environment_id).where(own.c.study_id != study_id)
    of_this = select(own.c.environment_id).distinct().where(own.c.study_id == study_id)
    yield from connection.scalars(of_this.where(own.c.environment_id.not_in(of_others)))
