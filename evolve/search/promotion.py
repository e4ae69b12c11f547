"""Successive halving by promotion: trials wait at rungs, and the best of a rung train on to the next one.

A rung is a number of epochs. A trial that gets there is paused, and every lane that becomes free takes the best trial
that may go on from the highest rung, else a new one. So a trial that was behind by bad luck may still go on when the
trials after it turn out to be worse, while one that was stopped never does. All here are pure functions of the trials.

Source: Li et al. 2020, A System for Massively Parallel Hyperparameter Tuning (arXiv:1810.05934), algorithm 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import final

from optuna.trial import FrozenTrial, TrialState

from evolve.search.samplers.history import has_diverged, is_paused
from evolve.study.rungs import LEAST_EPOCHS, REDUCTION, rungs_below

# Attribute of a trial: the epochs it trains to before it is paused; the first rung where it has none.
GOAL = "evolve:goal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a trial stands at a rung.

    Attributes:
        rung: Number of epochs after which the trials at the rung are compared.
        place: Place of the trial at the rung, 1 for the best; of equals the earlier one is ahead.
        count: Number of trials that have come to the rung, or were lost on their way to it.
    """

    rung: int
    place: int
    count: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Rungs:
    """The rungs of a study, and which of its trials may go on from them.

    Attributes:
        epochs: Epochs of a whole training, at least 1.
        reduction: One in so many trials of a rung goes on.
        least: Fewest epochs of the lowest rung, where it is not the only one.
    """

    epochs: int
    reduction: int = REDUCTION
    least: int = LEAST_EPOCHS

    @property
    def below(self) -> tuple[int, ...]:
        """Epochs of each rung below the whole training, the lowest first; none where that is too short."""
        return rungs_below(self.epochs, reduction=self.reduction, least=self.least)

    def after(self, epochs: int) -> int:
        """The rung that follows some epochs; the whole training after the last one."""
        return next((rung for rung in self.below if rung > epochs), self.epochs)

    def goal_of(self, trial: FrozenTrial) -> int:
        """Epochs that a trial trains to before it is paused, or the whole training."""
        return int(trial.system_attrs.get(GOAL, self.after(0)))

    def ranked(self, trials: Sequence[FrozenTrial], rung: int) -> list[FrozenTrial]:
        """Trials that have come to a rung, the best first and those last that were lost on their way to it.

        One that diverged on the way to a later rung has its place at the earlier ones still.
        """
        scores = [(score, trial) for trial in trials if (score := self._score(trial, rung)) is not None]
        return [trial for _, trial in sorted(scores, key=lambda scored: (-scored[0], scored[1].number))]

    def _score(self, trial: FrozenTrial, rung: int) -> float | None:
        if self.goal_of(trial) == rung and not is_paused(trial):
            if trial.state is TrialState.RUNNING:
                return None  # even where it has the epochs: nobody has judged yet whether it diverged
            if has_diverged(trial):
                return -inf
        return trial.intermediate_values.get(rung - 1)

    def standing(self, trials: Sequence[FrozenTrial], number: int) -> Standing:
        """Where a trial that is paused stands at its rung.

        Args:
            trials: All trials of the study.
            number: Number of the trial that is paused.
        """
        rung = next(self.goal_of(trial) for trial in trials if trial.number == number)
        numbers = [trial.number for trial in self.ranked(trials, rung)]
        return Standing(rung=rung, place=numbers.index(number) + 1, count=len(numbers))

    def promotable(self, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
        """The trial that goes on next; None where none may.

        It is paused at the highest rung that has one among its best third, and the best of those there.
        """
        for rung in reversed(self.below):
            ranked = self.ranked(trials, rung)
            for trial in ranked[: len(ranked) // self.reduction]:
                if self._waits_at(trial, rung):
                    return trial
        return None

    def leader(self, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
        """The trial that goes on where none is promotable and none has trained through: a search has to have a best.

        The best of those that are paused at the highest rung; None where there is none, or where one has trained
        through.
        """
        if self._has_best(trials):
            return None
        for rung in reversed(self.below):
            for trial in self.ranked(trials, rung):
                if self._waits_at(trial, rung):
                    return trial
        return None

    def given_up(self, trials: Sequence[FrozenTrial], *, to_come: int) -> list[FrozenTrial]:
        """Paused trials that can never be promoted, whatever becomes of the others.

        A trial's place at its rung only gets worse. So one is given up whose place is beyond a third of all that may
        ever come to the rung: those there, those on their way, and those that may yet be sent.

        Args:
            trials: All trials of the study that have begun.
            to_come: Number of trials that have not begun.
        """
        found: list[FrozenTrial] = []
        coming, has_best = to_come, self._has_best(trials)
        for rung in self.below:
            coming += sum(self._trains_to(trial, rung) for trial in trials)
            ranked = self.ranked(trials, rung)
            most = (len(ranked) + coming) // self.reduction
            waiting = [(place, trial) for place, trial in enumerate(ranked) if self._waits_at(trial, rung)]
            # Until one has trained through, the best that waits at each rung may have to.
            hopeful = [trial for place, trial in waiting if place < most or (not has_best and trial is waiting[0][1])]
            found += [trial for _, trial in waiting if not any(trial is other for other in hopeful)]
            coming += len(hopeful)
        return found

    def _waits_at(self, trial: FrozenTrial, rung: int) -> bool:
        return is_paused(trial) and self.goal_of(trial) == rung

    def _trains_to(self, trial: FrozenTrial, rung: int) -> bool:
        return trial.state is TrialState.RUNNING and not is_paused(trial) and self.goal_of(trial) == rung

    def _has_best(self, trials: Sequence[FrozenTrial]) -> bool:
        return any(trial.state is TrialState.COMPLETE and not has_diverged(trial) for trial in trials)
