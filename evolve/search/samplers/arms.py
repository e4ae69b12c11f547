"""The arms of an ablation as trials: the nuisance tuned for each by an equal budget, then each for its verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from evolve.search.samplers.design import even_points
from evolve.search.samplers.history import has_diverged, trial_seed
from evolve.search.samplers.unit_cube import from_unit
from evolve.study.arms import ArmPlan


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Arms:
    """Each arm with every setting of the nuisance, then each with the setting that did best for it.

    The settings are even in each hyperparameter and the same for every arm: equal budgets, and no arm's luck differs
    from another's. A trial's verdict is asked when all that tune have ended. What a stored trial has been given counts
    before what would be laid out today.

    Attributes:
        plan: Which trial trains which arm.
        distributions: The whole space: in what arms differ, and the nuisance.
        study_seed: Seed of the settings' order.

    Source: nuisance hyperparameters tuned for each scientific setting, Godbole et al. 2023, Deep Learning Tuning
    Playbook.
    """

    plan: ArmPlan
    distributions: Mapping[str, BaseDistribution]
    study_seed: int

    def __call__(self, history: Sequence[FrozenTrial], number: int) -> Mapping[str, Any]:
        """The arm that the trial's number stands for, with its setting of the nuisance."""
        scientific = self.plan.arm_of(number).params
        nuisance = {name: distribution for name, distribution in self.distributions.items() if name not in scientific}
        if not nuisance:
            return scientific
        row = number // len(self.plan.arms) if number < self.plan.num_tuning else self._best_row(history, number)
        given = next((trial.params for trial in history if self._row_of(trial) == row), None)
        if given is not None:
            return {**scientific, **{name: given[name] for name in nuisance}}
        points = even_points(len(nuisance), seed=trial_seed(self.study_seed, 0), count=self.plan.tuning)
        return {**scientific, **from_unit(nuisance, points[row])}

    def _row_of(self, trial: FrozenTrial) -> int | None:
        """Place of the setting that a trial tunes with; None of one that does not tune."""
        return trial.number // len(self.plan.arms) if 0 <= trial.number < self.plan.num_tuning else None

    def _best_row(self, history: Sequence[FrozenTrial], number: int) -> int:
        """The setting of the arm's best tuning trial, the earliest of equals; the first where none trained through."""
        place, num_arms = number % len(self.plan.arms), len(self.plan.arms)
        tuned = [trial for trial in history if trial.number < self.plan.num_tuning and trial.number % num_arms == place]
        ended = [trial for trial in tuned if trial.state is TrialState.COMPLETE and not has_diverged(trial)]
        best = max(ended, key=lambda trial: (trial.value, -trial.number), default=None)
        return 0 if best is None else best.number // num_arms
