"""A database and its run folders, looked over study by study; what is run meanwhile is left alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from evolve.errors import HeldError
from evolve.run.doctor.files import of_study, unknown_studies
from evolve.run.doctor.finding import Finding, Kind, State
from evolve.run.doctor.tables import orphan_rows, unusable
from evolve.run.doctor.trials import dead_lease, left_behind
from evolve.storage import schema
from evolve.storage.database import Storage
from evolve.storage.lease import Lease
from evolve.storage.optuna_tables import STUDIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What was found in a database and its run folders.

    Attributes:
        findings: Findings in the order in which they were found, each with what became of it.
        studies: Number of studies that were looked at.
        running: Why studies were left alone: who runs them, a text for each.
    """

    findings: tuple[Finding, ...]
    studies: int = 0
    running: tuple[str, ...] = ()

    @property
    def is_healthy(self) -> bool:
        """Whether nothing is left to do, but what the next run does by itself after a repair."""
        return all(finding.state is not State.LEFT for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """The examination as plain values, for machines."""
        return {
            "healthy": self.is_healthy,
            "studies": self.studies,
            "running": list(self.running),
            "findings": [finding.as_json() for finding in self.findings],
        }


def examine(url: str, runs: Path, *, fixes: bool) -> Examination:
    """Looks a database and its run folders over.

    Args:
        url: Any SQLAlchemy URL of a database that is there.
        runs: Folder with a folder for each study.
        fixes: Whether what can be put right is put right; else nothing is written anywhere.

    Raises:
        StorageError: The database cannot be reached.
    """
    found = _settled(unusable(url), fixes=fixes)
    if any(finding.kind is not Kind.OLDER_SCHEMA for finding in found):
        return Examination(findings=tuple(found))
    storage = Storage(url, reads_only=not fixes)
    try:
        with ExitStack() as held:
            dead, living = _leases(storage, held, takes=fixes)
            # First, since a trial of the same number may be there now.
            found += _settled(orphan_rows(storage.engine, list(living)), fixes=fixes)
            names = _studies(storage)
            for study_id, name in names.items():
                if study_id not in living:
                    examined = _Examined(storage, study_id, name, runs / name, fixes=fixes)
                    try:
                        found += examined.findings(dead.get(study_id))
                    except HeldError as error:  # begun meanwhile
                        living[study_id] = str(error)
            found += _settled(unknown_studies(runs, names.values()), fixes=fixes)
    finally:
        storage.close()
    return Examination(findings=tuple(found), studies=len(names), running=tuple(living.values()))


def _settled(findings: Iterable[Finding], *, fixes: bool) -> list[Finding]:
    """Each finding with what became of it, one after the other: a repair may be seen by what is looked for next."""
    return [finding.mended() if fixes else finding for finding in findings]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dead:
    """The lease of a dead holder: its row, and a lease that may be ours by now."""

    lease: Lease
    row: Any


def _leases(storage: Storage, held: ExitStack, *, takes: bool) -> tuple[dict[int, _Dead], dict[int, str]]:
    """Leases of dead holders, taken and held where something is to be written; who runs the other studies, in words."""
    lease = schema.lease
    query = select(lease.c.study_id, STUDIES.c.study_name)
    query = query.select_from(lease.outerjoin(STUDIES, STUDIES.c.study_id == lease.c.study_id))
    with storage.engine.connect() as connection:
        leased = connection.execute(query).all()
    dead, living = {}, {}
    for study_id, name in leased:
        own = Lease(storage.engine, study_id, name or f"with id {study_id}, which Optuna does not have")
        try:
            row = own.take() if takes else own.check_free()
        except HeldError as error:
            living[study_id] = str(error)
            continue
        if takes:
            held.callback(own.release)
        dead[study_id] = _Dead(lease=own, row=row)
    return dead, living


def _studies(storage: Storage) -> dict[int, str]:
    """Names of evolve's studies by id, as far as they can be names of folders."""
    ours = schema.study
    query = select(ours.c.study_id, STUDIES.c.study_name).join(STUDIES, STUDIES.c.study_id == ours.c.study_id)
    with storage.engine.connect() as connection:
        return {study_id: name for study_id, name in connection.execute(query.order_by(ours.c.study_id))}  # noqa: C416


class _Examined:
    """One study that nobody runs.

    Args:
        storage: Database that has the study.
        study_id: Optuna's id of the study.
        name: Name of the study.
        folder: Run folder of the study, which may not exist.
        fixes: Whether what can be put right is put right; else nothing is written anywhere.
    """

    def __init__(self, storage: Storage, study_id: int, name: str, folder: Path, *, fixes: bool) -> None:
        self._storage, self._study_id, self._name, self._folder = storage, study_id, name, folder
        self._fixes = fixes

    def findings(self, dead: _Dead | None) -> list[Finding]:
        """What is found, in a lease of ours where something is to be written.

        Raises:
            HeldError: Somebody has begun to run the study.
        """
        if not self._fixes:
            return self._found(dead)
        lease = Lease(self._storage.engine, self._study_id, self._name) if dead is None else dead.lease
        if dead is None:
            lease.take()
        try:
            with lease.fence(self._storage.engine, self._storage.optuna.engine):
                return self._found(dead)
        finally:
            lease.release()

    def _found(self, dead: _Dead | None) -> list[Finding]:
        found = _settled(dead_lease(self._name, None if dead is None else dead.row), fixes=self._fixes)
        study = self._storage.stored_study(self._name)
        assert study is not None
        again = f"evolve run --study {self._name} --resume"
        found += _settled(left_behind(self._storage, study, self._study_id, again), fixes=self._fixes)
        # Names of others' studies may hold slashes, and are no names of folders.
        if re.fullmatch(r"[A-Za-z0-9_-]+", self._name):
            lying = of_study(self._folder, study, self._storage, self._study_id)
            found += _settled(lying, fixes=self._fixes)
        return found
