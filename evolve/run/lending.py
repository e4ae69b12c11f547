"""A study's trainings for loops of others: a trial of Optuna's own `optimize` or of a Tune script of a person's.

Nothing is stored here but checkpoints; what becomes of a training is judged as in a run of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from math import isfinite, isnan, nan
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from detector.telemetry import TERMS, EpochMetrics, LaneEnded, StepTelemetry, Telemetry
from evolve.errors import EvolveError, StudyError
from evolve.outcome.verdict import FIRST_STEPS, Judgement, judge
from evolve.run.data import settled
from evolve.run.detection import choose_device
from evolve.run.engines import Crashed, Ended, Progress, SerialEngine
from evolve.run.judging import GainsByEpoch, loss_curves
from evolve.run.objective import Objective
from evolve.run.weight_files import pinned
from evolve.study import DIGITS, Study
from evolve.study.file import read_study
from evolve.study.trial import Trial

_EVEN = dict.fromkeys(TERMS, 1.0)


class TrainingFailedError(EvolveError):
    """A training raised; the text has its traceback."""


def lent(study: str | Study, *, data: str | None, device: str) -> tuple[Study, str]:
    """A study with nothing left open and its files under absolute paths, and the device it is trained on.

    Args:
        study: A study, its name, or the path of its file.
        data: Name or path of data to train on instead of the study's own; None for its own.
        device: auto, or torch's name of a device.

    Raises:
        EvolveError: Study, data or device cannot be used.
    """
    device = choose_device(device)
    if not isinstance(study, Study):
        study, _ = settled(read_study(study, {"data": data}), stored=None, device=device)
    elif data is not None:
        study = study.model_copy(update={"data": data})
    if study.ablation is not None:
        raise StudyError(f"study {study.name}: compares arms, which no other loop may choose; evolve ablate runs it")
    study = pinned(study)
    places = {key: getattr(study, key) for key in ("data", "weights")}
    found = {key: str(Path(path).absolute()) for key, path in places.items() if path and path not in DIGITS}
    return study.model_copy(update=found), device


def suggest(trial: Any, name: str, distribution: BaseDistribution) -> Any:
    """The trial's value of a parameter: the one stored, else a new one."""
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    assert isinstance(distribution, FloatDistribution)
    return trial.suggest_float(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)


@dataclass(slots=True)
class Course:
    """What is remembered of a trial's training with one of its seeds, to judge it by.

    Attributes:
        study: Study of the trial, with the weights of the fitness and the thresholds of the verdict.
        gains: Gains of the loss terms in an epoch with some index; equal ones where they do not change.
        fitness: Fitness on the validation images after each epoch.
        max_update_ratio: Largest norm of an update over the norm of the weights; NaN while none is known.
    """

    study: Study
    gains: GainsByEpoch = lambda _: _EVEN
    fitness: list[float] = field(default_factory=list)
    max_update_ratio: float = nan
    _first: list[StepTelemetry] = field(default_factory=list)
    _epochs: list[EpochMetrics] = field(default_factory=list)

    def take_in(self, telemetry: Telemetry) -> None:
        """Remembers what counts of a record."""
        if isinstance(telemetry, StepTelemetry):
            if isnan(self.max_update_ratio) or telemetry.update_ratio > self.max_update_ratio:
                self.max_update_ratio = telemetry.update_ratio
            if telemetry.step < FIRST_STEPS:
                self._first.append(telemetry)
        elif isinstance(telemetry, EpochMetrics) and telemetry.split == "val":
            self.fitness.append(self.study.fitness.of(telemetry))
            self._epochs.append(telemetry)

    @property
    def is_finite(self) -> bool:
        """Whether the last epoch's fitness is a number."""
        return bool(self.fitness) and isfinite(self.fitness[-1])

    def judgement(self, ended: LaneEnded) -> Judgement:
        """What became of the training, which was not stopped from outside."""
        curves = loss_curves(self._first, self._epochs, [self.gains(metrics.epoch) for metrics in self._epochs])
        if not self._first and curves.train:
            # Of one that went on from a checkpoint, the first epoch seen here is as near to the start as is known.
            curves = replace(curves, first=curves.train[0])
        return judge(self.fitness, losses=curves, ended=ended, thresholds=self.study.thresholds)


def trained(
    objective: Objective, trial: Trial, goes_on: Callable[[Progress], bool] | None = None
) -> Iterator[Progress]:
    """The records of a trial as it trains in this process; closing the iterator ends it.

    Args:
        objective: Objective that trains the trial.
        trial: Trial to train.
        goes_on: Says whether the trial goes on, asked after each validated epoch, when its records have been passed on;
            None where it always does.

    Raises:
        TrainingFailedError: The training raised.
    """
    engine = SerialEngine(lambda: objective)
    engine.submit(trial)
    try:
        while True:
            for event in engine.events(1.0):
                if isinstance(event, Ended):
                    return
                if isinstance(event, Crashed):
                    raise TrainingFailedError(f"{event.reason}\n{event.traceback}")
                if isinstance(event, Progress):
                    yield event
                    if event.awaits_decision:
                        engine.decide(trial.number, goes_on=goes_on is None or goes_on(event))
    finally:
        engine.close()
