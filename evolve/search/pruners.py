"""When a trial that still trains is stopped: Optuna's pruners, given the fitness of epochs."""

from __future__ import annotations

from copy import copy
from math import isfinite
from typing import Any, final

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial

from evolve.study import MEDIAN_STARTUP_TRIALS, Study
from evolve.study.trial import Decision

# One in three goes on at each rung: with 4, the usual choice for long trainings, 10 epochs have two rungs.
_REDUCTION = 3
_RUNGS = 4


@final
class EpochPruner(BasePruner):
    """A pruner whose steps are epochs from 0; it spares the last one, after which there is nothing left to save.

    Args:
        pruner: Decides between the first epoch and the last.
        epochs: Epochs of a whole training.
    """

    def __init__(self, pruner: BasePruner, *, epochs: int) -> None:
        self._pruner = pruner
        self._epochs = epochs

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the trial should stop after the last epoch it reported."""
        if trial.last_step is None or trial.last_step >= self._epochs - 1:
            return False
        return self._pruner.prune(study, trial)


def make_pruner(study: Study) -> BasePruner:
    """The study's pruner, for trials that `report` after each epoch.

    - median: below the median of complete trials at the same epoch, once there are enough of those and a quarter
      of the epochs is over.
    - asha: not among the best third of those that got as far, asked at epochs 1, 3, 9, ... (Li et al. 2020,
      arXiv:1810.05934).
    - hyperband: the same in brackets, each of which begins to ask a rung later than the one before; the last may leave
      its trials to train to the end. A hash of the study's name and the trial's number draws the bracket (Li et al.
      2018, arXiv:1603.06560).
    - none: nothing is stopped.
    """
    return EpochPruner(_pruner(study), epochs=study.epochs)


def decide(study: optuna.Study, trial_id: int, *, epoch: int, fitness: float) -> Decision:
    """Whether a trial should stop after an epoch, whose fitness is stored first; the decision itself is not.

    Called again for the same epoch before the decision is applied, it decides the same.

    Raises:
        ValueError: The fitness is not finite. Such a trial has diverged; Optuna would rank an infinite value first,
            and compares as if a single NaN were not there.
    """
    if not isfinite(fitness):
        raise ValueError(f"trial {trial_id}, epoch {epoch}: fitness {fitness} is not finite; tell it as diverged")
    storage = study._storage
    storage.set_trial_intermediate_value(trial_id, epoch, fitness)
    # Pruners of rungs write to the trial that it has passed one, and then decide in another way.
    recording: Any = _RecordingStorage(storage)
    asked = copy(study)
    asked._storage = recording
    is_pruned = study.pruner.prune(asked, storage.get_trial(trial_id))
    return Decision(is_pruned=is_pruned, attributes=recording.attributes)


def apply(study: optuna.Study, trial_id: int, decision: Decision) -> None:
    """Writes to a trial what the pruner keeps with it; may be done again."""
    for key, value in decision.attributes.items():
        study._storage.set_trial_system_attr(trial_id, key, value)


@final
class _RecordingStorage:
    """A storage that keeps to itself what a pruner writes to the trial it is asked about."""

    def __init__(self, storage: optuna.storages.BaseStorage) -> None:
        self._storage = storage
        self.attributes: dict[str, Any] = {}

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:  # noqa: ARG002 - of the one asked about
        self.attributes[key] = value

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


def _pruner(study: Study) -> BasePruner:
    first_rung = max(1, study.epochs // _REDUCTION**_RUNGS)
    if study.pruner == "median":
        # The first quarter is mostly warm-up, in which the order of trials means little.
        return MedianPruner(n_startup_trials=MEDIAN_STARTUP_TRIALS, n_warmup_steps=max(1, study.epochs // 4))
    if study.pruner == "asha":
        return SuccessiveHalvingPruner(min_resource=first_rung, reduction_factor=_REDUCTION)
    if study.pruner == "hyperband":
        return HyperbandPruner(min_resource=first_rung, max_resource=study.epochs, reduction_factor=_REDUCTION)
    return NopPruner()
