"""Where trials wait that are paused: a verdict that is taken back when they go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, update

from evolve.outcome.training import TrialOutcome
from evolve.outcome.verdict import Verdict
from evolve.storage import schema
from evolve.storage.transactions import Transactions

_NOTHING: Mapping[str, None] = dict.fromkeys(("verdict", "reason", "fitness"))


def pause_trial(transactions: Transactions, trial_id: int, outcome: TrialOutcome) -> None:
    """Stores what a trial that waits has come to; it has not ended.

    Args:
        transactions: Transactions of the database.
        trial_id: Optuna's id of the trial.
        outcome: What the trial has come to, with the verdict `paused`.
    """
    _write(transactions, trial_id, asdict(outcome))


def wake_trial(transactions: Transactions, trial_id: int) -> None:
    """Notes that a trial waits no longer; takes the arguments of `pause_trial`."""
    _write(transactions, trial_id, _NOTHING)


def wake_all(connection: Connection, study_id: int) -> None:
    """Notes that no trial of a study waits any longer, over a connection to write."""
    own = schema.trial.c
    waiting = update(schema.trial).where(own.study_id == study_id, own.verdict == Verdict.PAUSED)
    connection.execute(waiting.values(_NOTHING))


def _write(transactions: Transactions, trial_id: int, values: Mapping[str, Any]) -> None:
    table = schema.trial
    with transactions.begin() as connection:
        connection.execute(update(table).where(table.c.trial_id == trial_id).values(values))
