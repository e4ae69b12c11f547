"""The trials of one study in Optuna's tables: asked, reported, told and held in memory, each read once.

The one that runs a study writes here alone; others may add trials, which are found when one is asked. Where a
transaction fails, memory is ahead of the database and must not be used any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from typing import Any, final

from optuna.distributions import BaseDistribution
from optuna.study._constrained_optimization import _CONSTRAINTS_KEY
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import ColumnElement, and_, or_, true

from evolve.errors import StorageError
from evolve.storage import optuna_tables as tables
from evolve.storage.optuna_tables import TRIAL_ROWS
from evolve.storage.transactions import Transactions

_OPEN = (TrialState.RUNNING, TrialState.WAITING)
NONE: Mapping[str, float] = {}


class TakenError(Exception):
    """Others have added trials to the study since it was last read, or begun one that waited."""


@final
class Trials:
    """Trials of a study as Optuna sees them.

    Args:
        transactions: Transactions of the database.
        study_id: Optuna's id of the study.
        holds_ended: Whether ended trials stay in memory, for samplers and pruners that look back.
    """

    def __init__(self, transactions: Transactions, study_id: int, *, holds_ended: bool) -> None:
        self._transactions, self._study_id, self._holds_ended = transactions, study_id, holds_ended
        self._held: dict[int, FrozenTrial] = {}
        self._open: dict[int, FrozenTrial] = {}  # those of them that run or wait
        self._own: set[int] = set()  # running here, so that the database knows no more of them than memory
        self._last_id: int | None = None
        self._count = 0

    @property
    def count(self) -> int:
        """Trials of the study in any state when it was last read, which is the number of the next one."""
        return self._count

    def refresh(self) -> None:
        """Reads what others have added since the last call, and what has become of their trials."""
        own = TRIAL_ROWS.c
        with self._transactions.connect() as connection:
            if self._last_id is None:
                self._count, self._last_id = tables.count_trials(connection, self._study_id)
                chosen: ColumnElement[bool] = true() if self._holds_ended else own.state.in_(_OPEN)
            else:
                theirs = [trial._trial_id for trial in self.running() if trial._trial_id not in self._own]
                chosen = own.trial_id > self._last_id
                chosen = or_(chosen, own.trial_id.in_(theirs)) if theirs else chosen
            found = tables.read_trials(connection, and_(own.study_id == self._study_id, chosen))
        for trial in found:
            self._count = max(self._count, trial.number + 1)
            self._last_id = max(self._last_id, trial._trial_id)
            self._hold(trial)

    def _hold(self, trial: FrozenTrial) -> None:
        self._held[trial._trial_id] = self._open[trial._trial_id] = trial
        if trial.state not in _OPEN:
            del self._open[trial._trial_id]
            if not self._holds_ended:
                del self._held[trial._trial_id]

    def held(self) -> list[FrozenTrial]:
        """All trials in memory, in the order of their numbers; not to be changed."""
        return list(self._held.values())

    def running(self) -> list[FrozenTrial]:
        """Trials that run, in the order of their numbers."""
        return [trial for trial in self._open.values() if trial.state is TrialState.RUNNING]

    def waiting(self) -> list[FrozenTrial]:
        """Trials that somebody has asked for and nobody has begun, in the order of their numbers."""
        return [trial for trial in self._open.values() if trial.state is TrialState.WAITING]

    # Asking

    def add(self, params: dict[str, Any], distributions: dict[str, BaseDistribution]) -> FrozenTrial:
        """A new trial that runs with these parameters, with the number `count`.

        Raises:
            TakenError: Others have added trials; the transaction has to be rolled back, and this one refreshed.
        """
        number, now = self._count, tables.utc_now()
        with self._transactions.begin() as connection:
            trial_id = tables.insert_trial(connection, self._study_id, number, now=now)
            if trial_id is None:
                raise TakenError
            tables.insert_params(connection, trial_id, params, distributions)
        trial = FrozenTrial(
            number=number,
            state=TrialState.RUNNING,
            value=None,
            datetime_start=tables.local(now),
            datetime_complete=None,
            params=params,
            distributions=distributions,
            user_attrs={},
            system_attrs={},
            intermediate_values={},
            trial_id=trial_id,
        )
        self._hold(trial)
        self._own.add(trial_id)
        self._last_id, self._count = trial_id, number + 1
        return trial

    def take_up(
        self, trial: FrozenTrial, params: dict[str, Any], distributions: dict[str, BaseDistribution]
    ) -> FrozenTrial:
        """A trial that waited, or that an earlier run left behind, as it runs here from now on.

        Args:
            trial: Trial in memory that waited or was left behind.
            params: All its parameters, the stored ones too.
            distributions: Distributions of all its parameters, by name, in their order.

        Raises:
            TakenError: The trial waits no longer; the transaction has to be rolled back, and this one refreshed.
        """
        now, trial_id = tables.utc_now(), trial._trial_id
        missing = {name: value for name, value in params.items() if name not in trial.params}
        with self._transactions.begin() as connection:
            if trial.state is TrialState.WAITING:
                trial.state = TrialState.RUNNING
                if not tables.start_waiting(connection, trial_id, now=now):
                    raise TakenError
                trial.datetime_start = tables.local(now)
            if missing:
                tables.insert_params(connection, trial_id, missing, distributions)
        trial.params = trial.params | missing
        trial.distributions = trial.distributions | {name: distributions[name] for name in missing}
        self._hold(trial)
        self._own.add(trial_id)
        return trial

    # What becomes of one

    def report(self, trial: FrozenTrial, step: int, value: float) -> None:
        """Stores the value of a step, in place of one that is there."""
        is_new = step not in trial.intermediate_values
        with self._transactions.begin() as connection:
            tables.write_report(connection, trial._trial_id, step, value, is_new=is_new)
        trial.intermediate_values[step] = value

    def keep(self, trial: FrozenTrial, attributes: Mapping[str, Any]) -> None:
        """Stores attributes that Optuna keeps with a trial, in place of those that are there."""
        with self._transactions.begin() as connection:
            for key, value in attributes.items():
                is_new = key not in trial.system_attrs
                if is_new or trial.system_attrs[key] != value:
                    tables.write_attribute(connection, trial._trial_id, key, value, is_new=is_new)
        trial.system_attrs.update(attributes)

    def tell(
        self, trial: FrozenTrial, state: TrialState, value: float | None, *, constraints: Mapping[str, float] = NONE
    ) -> None:
        """Ends a trial: a pruned one has the value that it last reported.

        Args:
            trial: Trial that runs.
            state: State in which it ends: complete, pruned or failed.
            value: Value of a complete trial; None for others.
            constraints: By how much the trial violates each constraint, by name; at most 0 for those that it keeps to.

        Raises:
            StorageError: The trial does not run.
        """
        if constraints:
            self.keep(trial, {f"{_CONSTRAINTS_KEY}:{name}": value for name, value in constraints.items()})
        if state is TrialState.PRUNED and trial.last_step is not None:
            last = trial.intermediate_values[trial.last_step]
            value = None if isnan(last) else last
        now = tables.utc_now()
        with self._transactions.begin() as connection:
            if not tables.end_running(connection, trial._trial_id, state, value, now=now):
                raise StorageError(f"trial {trial.number}: another process has ended it")
        trial.state, trial.datetime_complete = state, tables.local(now)
        trial.values = None if value is None else [value]
        self._own.discard(trial._trial_id)
        self._hold(trial)
