"""Telling Optuna how a trial ended, once its outcome is stored."""

from __future__ import annotations

from typing import Any

from optuna.trial import TrialState

from evolve.outcome.training import TrialOutcome
from evolve.search.samplers import DIVERGED, divergence_state


def tell(optuna_study: Any, optuna_trial: Any, outcome: TrialOutcome, *, sampler: Any) -> None:
    """Ends a trial of Optuna's as it ended.

    Args:
        optuna_study, optuna_trial: Optuna's own.
        outcome: What became of it, stored already.
        sampler: Of the study, as `Study.sampler`: some are told of divergence in another way.
    """
    state: TrialState = {"failed": TrialState.FAIL, "pruned": TrialState.PRUNED}.get(
        outcome.verdict, TrialState.COMPLETE
    )
    value = outcome.fitness if state == TrialState.COMPLETE else None
    if outcome.verdict == "diverged":
        optuna_trial.set_constraint(DIVERGED, 1.0)
        state, value = divergence_state(sampler)
    optuna_study.tell(optuna_trial, value, state=state)
