"""What a study has to remember beside its trials: its identity, its data, the pruner's decisions, and its events."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from enum import StrEnum
from hashlib import sha256

from sqlalchemy import insert, select, update

from evolve.storage import schema
from evolve.storage.transactions import Transactions
from evolve.study.trial import Decision


class EventKind(StrEnum):
    """Events of a study that are no result of a trial."""

    WORKER_LOST = "worker_lost"  # its process died or was silent for too long; the trial goes on in another
    CHECKPOINT_PASSED_OVER = "checkpoint_passed_over"
    PLACED = "placed"  # where a trial began to train, or went on, where that may be another machine
    PARTED = "parted"  # the training of several trials raised; each goes on with fewer beside it
    WARNED = "warned"  # the steps of a training foretell that it is going to be lost; it trains on
    PAUSED = "paused"  # a trial waits at a rung
    PROMOTED = "promoted"  # and goes on from it
    DATA_CHANGED = "data_changed"  # and a person accepted that


class Ledger:
    """Reads and writes what a study has to remember, in a database whose tables are there."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    # Identity and data

    def origin(self, study_id: int, files: Mapping[str, str]) -> str:
        """What the study's checkpoints carry: of this study, in this database, on these data; made with the first call.

        Args:
            study_id: Optuna's id of the study.
            files: Digest of each file of the data set.
        """
        table = schema.identity
        text = _as_text(files)
        with self._transactions.begin() as connection:
            identity = connection.scalar(select(table.c.identity).where(table.c.study_id == study_id))
            if identity is None:
                identity = uuid.uuid4().hex
                connection.execute(insert(table).values(study_id=study_id, identity=identity, data_files=text))
        return f"{identity}:{sha256(text.encode()).hexdigest()[:16]}"

    def identity(self, study_id: int) -> str:
        """What the study's checkpoints begin their origin with; empty where it has not been run since they do."""
        table = schema.identity
        with self._transactions.connect() as connection:
            return connection.scalar(select(table.c.identity).where(table.c.study_id == study_id)) or ""

    def data_files(self, study_id: int) -> dict[str, str] | None:
        """Digest of each file that the study has been trained on; None where that is not known."""
        table = schema.identity
        with self._transactions.connect() as connection:
            text = connection.scalar(select(table.c.data_files).where(table.c.study_id == study_id))
        return None if text is None else dict(json.loads(text))

    def accept_data(self, study_id: int, files: Mapping[str, str]) -> None:
        """Makes other files the data of a study."""
        table = schema.identity
        with self._transactions.begin() as connection:
            connection.execute(update(table).where(table.c.study_id == study_id).values(data_files=_as_text(files)))

    # Decisions

    def decisions(self, trial_id: int) -> dict[int, Decision]:
        """What has been decided about a trial, by the epoch after which it was."""
        table = schema.decision
        query = select(table.c.epoch, table.c.is_pruned, table.c.attributes).where(table.c.trial_id == trial_id)
        with self._transactions.connect() as connection:
            return {
                row.epoch: Decision(is_pruned=row.is_pruned, attributes=json.loads(row.attributes))
                for row in connection.execute(query)
            }

    def keep_decision(self, trial_id: int, epoch: int, decision: Decision) -> None:
        """Stores a decision before anybody acts on it."""
        values = {"is_pruned": decision.is_pruned, "attributes": json.dumps(dict(decision.attributes))}
        with self._transactions.begin() as connection:
            connection.execute(insert(schema.decision), {"trial_id": trial_id, "epoch": epoch, **values})

    # Events

    def note_event(self, study_id: int, kind: EventKind, message: str, *, trial_id: int | None = None) -> None:
        """Stores an event."""
        values = {"study_id": study_id, "trial_id": trial_id, "created": time.time(), "kind": kind, "message": message}
        with self._transactions.begin() as connection:
            connection.execute(insert(schema.event).values(**values))

    def trials_with(self, study_id: int, kind: EventKind) -> set[int]:
        """Numbers of the trials that have an event of a kind."""
        table, trial = schema.event, schema.trial
        query = select(trial.c.number).join(table, trial.c.trial_id == table.c.trial_id)
        query = query.where(table.c.study_id == study_id, table.c.kind == kind)
        with self._transactions.connect() as connection:
            return set(connection.scalars(query))


def _as_text(files: Mapping[str, str]) -> str:
    return json.dumps(dict(files), sort_keys=True)
