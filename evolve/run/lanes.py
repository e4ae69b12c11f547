"""Trials as lanes of one trainer: parameters -> hyperparameters -> lanes, and their telemetry -> records."""

from __future__ import annotations

from collections.abc import Generator, Hashable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.telemetry import CheckpointSaved, EpochMetrics, LaneEnded, Telemetry
from evolve.run.detection import best_path, checkpoint_path, open_study_data, prepare_torch
from evolve.study import Study
from evolve.study.definition import Fitness
from evolve.study.noise import levels_of
from evolve.study.trial import Record, Trial

if TYPE_CHECKING:
    from detector.checkpoint import Checkpoint
    from detector.hyperparameters import Hyperparameters
    from detector.trainer import LaneSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionObjective:
    """Trains detectors for the trials of a study.

    Attributes:
        study: Study whose trials are trained.
        device: torch's name of the device to train on.
        run_folder: Run folder of the study, below which checkpoints are written.
        dataset: Data to train and measure on, a `detector.datasets.listing.Dataset`.
        pictures: Folder in which the processes of the run share decoded images; None where each has its own.
    """

    study: Study
    device: str
    run_folder: Path
    dataset: Any
    pictures: Path | None = None

    def fuse_key(self, trial: Trial) -> Hashable:
        """What lanes must share and trials may differ in; all else that they share is the study's."""
        return self.study.fuse_key(trial.params), self._split_of(trial)

    def start(self, trials: Sequence[Trial]) -> DetectionTraining:
        """A training of these trials from their checkpoints, each at its own epoch."""
        return DetectionTraining(self, trials)

    def lane(self, trial: Trial, seed: int) -> LaneSpec:
        """What the trainer needs of one of a trial's trainings."""
        from detector import checkpoint
        from detector.trainer import LaneSpec

        path = checkpoint_path(self.run_folder, trial.number, seed)
        checkpoint.remove_stale(path)
        values, later = self.study.hyperparameters(trial.params), self.study.later_hyperparameters(trial.params)
        last_epoch = None if trial.last_epochs is None else trial.last_epochs.get(seed, -1)
        levels = levels_of(self.study.noise, trial.number, seed)
        plan = self.study.of_trial(trial.params).training_plan(self.device, levels.order)
        start = checkpoint.latest(
            path, plan, values, levels.initialisation, origin=trial.origin, last_epoch=last_epoch, later=later
        )
        if start.checkpoint is None and trial.parent is not None:
            parent = checkpoint_path(self.run_folder, trial.parent, seed)
            start = replace(start, checkpoint=_handed_on(parent, trial, self.study, values))
        return LaneSpec(
            values=values,
            later=later,
            epochs=trial.epochs,
            seed=levels.initialisation,
            data_seed=plan.data_seed,
            checkpoint=path,
            start=start,
            origin=trial.origin,
            is_inspected=self.study.inspect,
            has_critical=self.study.critical,
        )

    def data_of(self, trial: Trial) -> Any:
        """What a trial is trained and measured on; another split is opened anew."""
        split = self._split_of(trial)
        return open_study_data(self.study, self.pictures, seed=split) if split else self.dataset

    def _split_of(self, trial: Trial) -> int:
        return levels_of(self.study.noise, trial.number, trial.seeds[0]).split


def _handed_on(path: Path, trial: Trial, study: Study, values: Hyperparameters) -> Checkpoint:
    """What a trial begins with that goes on from the end of another one, under hyperparameters of its own."""
    from detector import checkpoint

    found, members = checkpoint.load(path), study.population
    if found.origin != trial.origin:
        raise checkpoint.CheckpointError(f"{path}: is of another study, another database or other data")
    if members is not None and found.epoch + 1 != (begin := members.begin_of(trial.number)):
        text = f"is of epoch {found.epoch}, but trial {trial.number} goes on after epoch {begin - 1}"
        raise checkpoint.CheckpointError(f"{path}: {text}")
    return checkpoint.under(found, values)


@dataclass(slots=True)
class _Seat:
    """A lane's trial, and which of its seeds is trained."""

    trial: Trial
    seed: int
    best: _BestEpoch


class DetectionTraining:
    """A trainer whose lanes are trials; one that has trained with a seed goes on with its next in a new lane."""

    def __init__(self, objective: DetectionObjective, trials: Sequence[Trial]) -> None:
        from detector.trainer import Trainer

        self._objective = objective
        specs = [objective.lane(trial, trial.seeds[0]) for trial in trials]
        plan = objective.study.of_trial(trials[0].params).training_plan(objective.device, trials[0].seeds[0])
        self._trainer = Trainer(plan, objective.data_of(trials[0]), specs)
        self._seats: dict[int, _Seat] = {}
        for lane, (trial, spec) in enumerate(zip(trials, specs, strict=True)):
            self._seat(lane, trial, trial.seeds[0], spec)

    def admit(self, trial: Trial) -> None:
        """Lets one more trial join when the next epoch begins."""
        self._begin(trial, trial.seeds[0])

    def train_epoch(self) -> Generator[Record, None, None]:
        """Records of an epoch of each trial."""
        return self._records(self._trainer.train_epoch())

    def stop(self, trial: int, reason: str) -> None:
        """Ends a trial when the training settles."""
        lane = next(lane for lane, seat in self._seats.items() if seat.trial.number == trial)
        self._trainer.stop(lane, reason)

    def settle(self) -> Generator[Record, None, None]:
        """Records of what follows an epoch."""
        return self._records(self._trainer.settle())

    def _begin(self, trial: Trial, seed: int) -> None:
        spec = self._objective.lane(trial, seed)
        self._seat(self._trainer.admit(spec), trial, seed, spec)

    def _seat(self, lane: int, trial: Trial, seed: int, spec: LaneSpec) -> None:
        assert spec.checkpoint is not None
        best = _BestEpoch(self._objective.study.fitness, spec.checkpoint, goes_on=spec.start.checkpoint is not None)
        self._seats[lane] = _Seat(trial, seed, best)

    def _records(self, telemetry: Generator[Telemetry, None, None]) -> Generator[Record, None, None]:
        with closing(telemetry):
            for lane_record in telemetry:
                seat = self._seats[lane_record.lane]
                seat.best.take_in(lane_record)
                if isinstance(lane_record, LaneEnded):
                    self._leave(lane_record)
                yield Record(trial=seat.trial.number, seed=seat.seed, telemetry=self._stored(lane_record))

    def _leave(self, ended: LaneEnded) -> None:
        """Frees the lane's seat; where the trial has another seed to train with, it begins."""
        seat = self._seats.pop(ended.lane)
        seed = seat.trial.seed_after(seat.seed, ended.cause)
        if seed is not None:
            self._begin(seat.trial, seed)

    def _stored(self, telemetry: Telemetry) -> Telemetry:
        """The record with the path of a checkpoint relative to the run's folder, which may move."""
        if not isinstance(telemetry, CheckpointSaved):
            return telemetry
        return replace(telemetry, path=str(Path(telemetry.path).relative_to(self._objective.run_folder)))


class _BestEpoch:
    """Keeps the checkpoint of the epoch with the best fitness beside the last one."""

    def __init__(self, fitness: Fitness, checkpoint: Path, *, goes_on: bool) -> None:
        self._fitness, self._checkpoint, self._kept = fitness, checkpoint, best_path(checkpoint)
        self._best = self._before() if goes_on and self._kept.exists() else -inf
        self._last = -inf

    def take_in(self, telemetry: Telemetry) -> None:
        if isinstance(telemetry, EpochMetrics) and telemetry.split == "val":
            self._last = self._fitness.of(telemetry)
        elif isinstance(telemetry, CheckpointSaved) and self._last > self._best:
            from detector import checkpoint

            self._best = self._last
            checkpoint.link(self._checkpoint, self._kept)

    def _before(self) -> float:
        """Fitness of the file kept by the run that was stopped."""
        from detector import checkpoint

        with suppress(checkpoint.CheckpointError):
            if metrics := checkpoint.load(self._kept).metrics:
                return self._fitness.score(**metrics)
        return -inf


def make_objective(
    study: Study, *, device: str, run_folder: Path, num_threads: int, pictures: Path | None = None
) -> DetectionObjective:
    """The objective of a study, its data loaded, in the process that is going to train.

    Args:
        study: Study whose trials are trained.
        device: torch's name of the device to train on.
        run_folder: Run folder of the study, below which checkpoints are written.
        num_threads: Number of threads that torch uses in the whole process, at least 1.
        pictures: Folder in which the processes of the run share decoded images; None where each has its own.
    """
    prepare_torch(num_threads=num_threads)
    dataset = open_study_data(study, pictures)
    return DetectionObjective(study=study, device=device, run_folder=run_folder, dataset=dataset, pictures=pictures)
