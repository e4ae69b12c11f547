"""Trials that a run left behind: unfinished, or ended without a word to Optuna."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from optuna.trial import TrialState

from evolve.outcome.verdict import Verdict
from evolve.run.doctor.finding import Finding, Kind
from evolve.run.search import Search
from evolve.storage.database import Storage
from evolve.study import Study


def dead_lease(name: str, row: Mapping[Any, Any] | None) -> Iterator[Finding]:
    """The lease of a holder that is dead; whoever examines the study for a repair has taken it from there already."""
    if row is not None:
        yield Finding(
            kind=Kind.DEAD_LEASE,
            where=f"study {name}",
            what=f"process {row['pid']} on {row['host']} held it, and is dead",
            remedy="--fix removes it, as the next run would",
            mend=lambda: None,
        )


def left_behind(storage: Storage, study: Study, study_id: int, again: str) -> Iterator[Finding]:
    """Trials of a study that nobody runs, and that Optuna takes for running.

    Args:
        storage: Database that has the trials.
        study: Study of the trials, as it is stored.
        study_id: Optuna's id of the study.
        again: The command that goes on with the study.
    """
    for trial in storage.optuna.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,)):
        outcome, where = storage.outcome(trial._trial_id), f"study {study.name}, trial {trial.number}"
        if outcome is None:
            yield Finding(
                kind=Kind.UNFINISHED,
                where=where,
                what="is to train, and nobody runs it",
                remedy=f"{again} goes on with it",
            )
        elif outcome.verdict is not Verdict.PAUSED:  # it waits to be promoted, as it should
            yield Finding(
                kind=Kind.HALF_TOLD,
                where=where,
                what=f"ended ({outcome.verdict}), and Optuna was not told",
                remedy="--fix tells it, as the next run would",
                mend=partial(_tell, storage, study),
            )


def _tell(storage: Storage, study: Study) -> None:
    Search(study, storage, environment_id="").open()
