"""Trials that are paused at rungs, go on when they are promoted, or are given up: stored for Optuna and us at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, final

from optuna.trial import FrozenTrial

from evolve.outcome.training import TrialOutcome
from evolve.outcome.verdict import Verdict
from evolve.search.promotion import GOAL, Rungs, Standing
from evolve.search.samplers.history import PAUSED
from evolve.storage.database import Storage
from evolve.storage.ledger import EventKind
from evolve.storage.paused import pause_trial, wake_trial
from evolve.storage.trials import Trials
from evolve.study import Study


@final
class Promotions:
    """Pauses and promotes the trials of a study.

    Args:
        study: Definition of the study, whose pruner is promotion.
        storage: Database that keeps its trials.
        trials: Trials of the study, those that have ended among them.
        study_id: Optuna's id of the study.
    """

    def __init__(self, study: Study, storage: Storage, trials: Trials, study_id: int) -> None:
        self._storage, self._trials, self._study_id = storage, trials, study_id
        self._rungs = Rungs(epochs=study.epochs)

    def part_of(self, trial: FrozenTrial, seeds: tuple[int, ...]) -> dict[str, Any]:
        """What a trial trains now, as fields of `Trial`: its first seed up to its goal, or all there is to train."""
        goal = self._rungs.goal_of(trial)
        return {"seeds": seeds} if goal == self._rungs.epochs else {"seeds": seeds[:1], "epochs": goal}

    def next(self, *, is_last: bool) -> FrozenTrial | None:
        """The trial that is to go on; None where none is.

        Args:
            is_last: Whether nothing trains and no trial is to come, so that the best that waits has to go on where none
                has trained through.
        """
        trials = self._trials.held()
        found = self._rungs.promotable(trials)
        return self._rungs.leader(trials) if found is None and is_last else found

    def pause(self, trial: FrozenTrial) -> TrialOutcome:
        """Notes that a trial has come to its goal, and waits with its checkpoint."""
        self._trials.keep(trial, {PAUSED: True})
        standing = self._rungs.standing(self._trials.held(), trial.number)
        reason = f"{self._so_far(trial, standing)}: place {standing.place} of {standing.count} so far"
        outcome = TrialOutcome(verdict=Verdict.PAUSED, reason=reason, fitness=_last_fitness(trial))
        pause_trial(self._storage.transactions, trial._trial_id, outcome)
        self._storage.ledger.note_event(self._study_id, EventKind.PAUSED, reason, trial_id=trial._trial_id)
        return outcome

    def promote(self, trial: FrozenTrial) -> None:
        """Gives a trial that waits its next goal."""
        standing = self._rungs.standing(self._trials.held(), trial.number)
        goal = self._rungs.after(standing.rung)
        self._trials.keep(trial, {PAUSED: False, GOAL: goal})
        wake_trial(self._storage.transactions, trial._trial_id)
        text = f"from {standing.rung} to {goal} epochs, as place {standing.place} of {standing.count}"
        self._storage.ledger.note_event(self._study_id, EventKind.PROMOTED, text, trial_id=trial._trial_id)

    def given_up(self, *, to_come: int) -> Iterator[tuple[FrozenTrial, TrialOutcome]]:
        """Trials that wait and can never be promoted, and how they end.

        Args:
            to_come: Number of trials of the budget that have not begun.
        """
        trials = self._trials.held()
        for trial in self._rungs.given_up(trials, to_come=to_come):
            standing = self._rungs.standing(trials, trial.number)
            reason = (
                f"{self._so_far(trial, standing)} was place {standing.place} of {standing.count}, "
                f"of whom 1 in {self._rungs.reduction} goes on"
            )
            yield trial, TrialOutcome(verdict=Verdict.PRUNED, reason=reason, fitness=_last_fitness(trial))

    def _so_far(self, trial: FrozenTrial, standing: Standing) -> str:
        return f"fitness {_last_fitness(trial):.3g} after {standing.rung} of {self._rungs.epochs} epochs"


def _last_fitness(trial: FrozenTrial) -> float:
    assert trial.last_step is not None
    return trial.intermediate_values[trial.last_step]
