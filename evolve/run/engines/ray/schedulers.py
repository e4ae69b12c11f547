"""Schedulers of Tune's by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, final

from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import AsyncHyperBandScheduler

from detector.telemetry import EpochMetrics
from evolve.errors import unknown_text
from evolve.run.engines.ray.training import TRIAL
from evolve.study.methods import SCHEDULERS

# Of the results that a scheduler is asked about: fitness on the validation images, and the number of finished epochs.
FITNESS = "fitness"
EPOCH = "epoch"
# As in `evolve.search.pruners`: with 4, Tune's default, trainings of 10 epochs have two rungs.
_REDUCTION = 3

History = Mapping[int, Mapping[int, float]]


class Scheduler(Protocol):
    """What is asked of a scheduler of Tune's; the methods are those of `TrialScheduler`."""

    def on_trial_add(self, controller: Any, trial: RayTrial) -> None: ...

    def on_trial_result(self, controller: Any, trial: RayTrial, result: dict[str, Any]) -> str:
        """CONTINUE, PAUSE or STOP."""

    def on_trial_complete(self, controller: Any, trial: RayTrial, result: dict[str, Any]) -> None: ...

    def on_trial_remove(self, controller: Any, trial: RayTrial) -> None: ...

    def on_trial_error(self, controller: Any, trial: RayTrial) -> None: ...

    def choose_trial_to_run(self, controller: Any) -> RayTrial | None: ...


def _map50(metrics: EpochMetrics) -> float:
    return metrics.map50


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """What stops trials by the fitness of their epochs.

    Attributes:
        scheduler: One of `evolve.study.methods.SCHEDULERS`.
        epochs: Number of epochs of a whole training, at least 1.
        fitness: Returns the fitness of the metrics of an epoch, which is maximised.

    Raises:
        ValueError: There is no such scheduler, or a training has no epoch.
    """

    scheduler: str = "none"
    epochs: int = 1
    fitness: Callable[[EpochMetrics], float] = _map50

    def __post_init__(self) -> None:
        if self.scheduler not in SCHEDULERS:
            raise ValueError(unknown_text("scheduler", self.scheduler, SCHEDULERS))
        if self.epochs < 1:
            raise ValueError(f"epochs: {self.epochs} is not at least 1")


NOTHING_STOPS = Stopping()


def make_scheduler(stopping: Stopping, history: History) -> Scheduler | None:
    """The scheduler, to be asked with the fitness after each epoch but the last; None where nothing stops trials.

    - asha: not among the best third of those that got as far, asked after 1, 3, 9, ... epochs (Li et al. 2020,
      arXiv:1810.05934). It does not wait: a trial is compared with those that have come by so far.

    Args:
        stopping: Name of the scheduler, and number of epochs of a whole training.
        history: Fitness after each epoch of the trials of earlier runs, by number of the trial and index of the epoch.
    """
    if stopping.scheduler == "none":
        return None
    asha = AsyncHyperBandScheduler(
        time_attr=EPOCH,
        metric=FITNESS,
        mode="max",
        max_t=stopping.epochs,
        grace_period=1,
        reduction_factor=_REDUCTION,
        stop_last_trials=False,
    )
    return _ByNumber(asha, history)


@dataclass(frozen=True, slots=True)
class _Numbered:
    """All that ASHA wants of a trial; the same for each of a trial's starts, which are trials of their own to Tune."""

    trial_id: str


@final
class _ByNumber:
    """ASHA, which remembers trials by our numbers: one that goes on is neither asked twice nor counted twice.

    Args:
        scheduler: Tune's ASHA.
        history: Fitness after each epoch of the trials of earlier runs, by number of the trial and index of the epoch.
    """

    def __init__(self, scheduler: Any, history: History) -> None:
        self._scheduler = scheduler
        for number, fitness in sorted(history.items()):
            trial: Any = _Numbered(str(number))
            scheduler.on_trial_add(None, trial)
            for epoch, value in sorted(fitness.items()):
                scheduler.on_trial_result(None, trial, {EPOCH: epoch + 1, FITNESS: value})

    def on_trial_add(self, controller: Any, trial: RayTrial) -> None:
        self._scheduler.on_trial_add(controller, _numbered(trial))

    def on_trial_result(self, controller: Any, trial: RayTrial, result: dict[str, Any]) -> str:
        return str(self._scheduler.on_trial_result(controller, _numbered(trial), result))

    def on_trial_complete(self, controller: Any, trial: RayTrial, result: dict[str, Any]) -> None:
        """Nothing: what it came to in the last epoch is compared with nobody."""

    def on_trial_remove(self, controller: Any, trial: RayTrial) -> None:
        """Nothing: its rungs stay."""

    def on_trial_error(self, controller: Any, trial: RayTrial) -> None:
        """Nothing: its rungs stay."""

    def choose_trial_to_run(self, controller: Any) -> RayTrial | None:
        chosen: RayTrial | None = self._scheduler.choose_trial_to_run(controller)
        return chosen


def _numbered(trial: RayTrial) -> Any:
    return _Numbered(str(trial.config[TRIAL].number))
