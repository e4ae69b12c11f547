"""When a trial that still trains is stopped: Optuna's pruners, given the fitness of epochs, and one that foresees."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import final

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial

from evolve.outcome.warnings import is_spared
from evolve.search.shown import shown_study
from evolve.study import FORESEEING, MEDIAN_STARTUP_TRIALS, Study
from evolve.study.rungs import MOST_RUNGS, REDUCTION
from evolve.study.trial import Decision

# Attributes of a trial: what its steps foretell after the last epoch, and that it was stopped for that.
FORETOLD, DOOMED = "evolve:foretold", "evolve:doomed"


@final
class DoomedPruner(BasePruner):
    """Stops a trial whose steps foretell that it is going to be lost, unless it leads or learns.

    `FORETOLD` of the trial says what they foretell, empty for nothing. It leads where at least three quarters of the
    others had a lower fitness after the same epoch, and learns where its own was lower after each epoch before.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the trial should stop; it then keeps why, as `DOOMED`."""
        epoch, reason = trial.last_step, trial.system_attrs.get(FORETOLD, "")
        if epoch is None or not reason:
            return False
        trials = (other for other in study.get_trials(deepcopy=False) if other.number != trial.number)
        others = [other.intermediate_values[epoch] for other in trials if epoch in other.intermediate_values]
        if is_spared([value for _, value in sorted(trial.intermediate_values.items())], others):
            return False
        study._storage.set_trial_system_attr(trial._trial_id, DOOMED, reason)
        return True


@final
class FirstOf(BasePruner):
    """Stops what any of some pruners stops, asked in their order."""

    def __init__(self, *pruners: BasePruner) -> None:
        self._pruners = pruners

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the trial should stop."""
        return any(pruner.prune(study, trial) for pruner in self._pruners)


@final
class EpochPruner(BasePruner):
    """A pruner whose steps are epochs from 0; it spares the last one, after which there is nothing left to save.

    Args:
        pruner: Pruner that decides after every epoch but the last.
        epochs: Epochs of a whole training.
    """

    def __init__(self, pruner: BasePruner, *, epochs: int) -> None:
        self._pruner = pruner
        self._epochs = epochs

    @property
    def compares(self) -> bool:
        """Whether its decisions depend on other trials, which else it has no need of."""
        return not isinstance(self._pruner, NopPruner)

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the trial should stop after the last epoch it reported."""
        if trial.last_step is None or trial.last_step >= self._epochs - 1:
            return False
        return self._pruner.prune(study, trial)


def make_pruner(study: Study) -> EpochPruner:
    """The study's pruner, for trials that `report` after each epoch.

    - median: below the median of complete trials at the same epoch, once there are enough of those and a quarter
      of the epochs is over.
    - asha: not among the best third of those that got as far, asked after 2, 4, 10, ... epochs, and later in
      trainings of 162 epochs or more (Li et al. 2020, arXiv:1810.05934; rungs are at epochs counted from 0).
    - promotion: nothing is stopped here: trials are paused at rungs and go on from there when they are promoted
      (`evolve.search.promotion`).
    - hyperband: as asha in brackets, each of which begins to ask a rung later than the one before; the last may leave
      its trials to train to the end. A hash of the study's name and the trial's number draws the bracket (Li et al.
      2018, arXiv:1603.06560).
    - doomed: foretold by its steps to be lost (`evolve.outcome.warnings`), unless its loss is falling, its fitness is
      higher than ever before or it is among the best quarter.
    - doomed+median: the same, and then median.
    - none: nothing is stopped.
    """
    return EpochPruner(_pruner(study), epochs=study.epochs)


def decide(pruner: BasePruner, trial: FrozenTrial, trials: Sequence[FrozenTrial], *, study: str) -> Decision:
    """Whether a trial should stop after the last epoch that it reported; the decision changes nothing.

    Asked again before the decision is applied, it decides the same.

    Args:
        pruner: Pruner as `make_pruner` returns it.
        trial: Trial that has reported at least one epoch.
        trials: Trials of the study in the order of their numbers, `trial` among them; only that one where the pruner
            compares nothing.
        study: Name of the study.

    Raises:
        ValueError: The fitness is not finite. Such a trial has diverged; Optuna would rank an infinite value first,
            and compares as if a single NaN were not there.
    """
    epoch = trial.last_step
    assert epoch is not None
    if not isfinite(fitness := trial.intermediate_values[epoch]):
        raise ValueError(f"trial {trial.number}, epoch {epoch}: fitness {fitness} is not finite; tell it as diverged")
    # Pruners of rungs write to the trial that it has passed one, and then decide in another way.
    shown, attributes = shown_study(trials, name=study, pruner=pruner)
    is_pruned = pruner.prune(shown, trial)
    return Decision(is_pruned=is_pruned, attributes=attributes)


def _pruner(study: Study) -> BasePruner:
    first_rung = max(1, study.epochs // REDUCTION**MOST_RUNGS)
    # The first quarter is mostly warm-up, in which the order of trials means little.
    median = MedianPruner(n_startup_trials=MEDIAN_STARTUP_TRIALS, n_warmup_steps=max(1, study.epochs // 4))
    if study.pruner in FORESEEING:
        return DoomedPruner() if study.pruner == "doomed" else FirstOf(DoomedPruner(), median)
    if study.pruner == "median":
        return median
    if study.pruner == "asha":
        return SuccessiveHalvingPruner(min_resource=first_rung, reduction_factor=REDUCTION)
    if study.pruner == "hyperband":
        return HyperbandPruner(min_resource=first_rung, max_resource=study.epochs, reduction_factor=REDUCTION)
    return NopPruner()
