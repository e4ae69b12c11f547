"""A study's objective for Optuna's own loop: `study.optimize(objective("lr_sweep"), n_trials=3)`.

Parameters are suggested from the study's space as they are trained; each epoch's fitness is reported, and the Optuna
study's pruner may stop the trial. A training that diverges violates the constraint `diverged` and counts as pruned, so
that samplers stay away and it is never best: returned as NaN it would be a failure, from which samplers do not learn.
"""

from __future__ import annotations

from math import isnan, nan
from pathlib import Path
from statistics import fmean
from threading import Lock
from typing import TYPE_CHECKING

import optuna
from optuna.samplers import CmaEsSampler, GPSampler
from optuna.study import StudyDirection

from detector.telemetry import EndCause, LaneEnded
from evolve.errors import StudyError
from evolve.outcome.margin import divergence_margin
from evolve.outcome.verdict import Verdict
from evolve.run.judging import gains_by_epoch
from evolve.run.lending import Course, lent, suggest, trained
from evolve.run.machine import threads_for
from evolve.search.samplers import DIVERGED, WORST_FITNESS
from evolve.search.samplers.told import told
from evolve.study.trial import Trial

if TYPE_CHECKING:
    from evolve.run.engines import Progress
    from evolve.run.objective import Objective
    from evolve.study import Study

__all__ = ["StudyObjective", "objective"]


def objective(
    study: str | Study, *, data: str | None = None, device: str = "auto", folder: str | Path = "runs"
) -> StudyObjective:
    """What `optuna.Study.optimize` calls: trains a study's detector with the parameters it suggests.

    Args:
        study: A study, its name, or the path of its file; of it count data, model, plan, space, seeds and fitness.
        data: Name or path of the data to train on; None for the study's own.
        device: torch's name of the device to train on, or `auto` for a GPU where there is one, else the CPU.
        folder: Folder in which checkpoints are written, below one that is named after the Optuna study.

    Raises:
        EvolveError: Study, data or device cannot be used.
    """
    found, device = lent(study, data=data, device=device)
    if unplaced := found.space.unplaced:
        text = "is measured by `evolve run` alone; write low and high, or the edge that a run has found"
        raise StudyError(f"study {found.name}: space.{unplaced[0]}.around: {text}")
    return StudyObjective(found, device=device, folder=Path(folder))


class StudyObjective:
    """Trains once for each of the study's seeds and returns the mean fitness of their last epochs.

    Args:
        study: Study whose detector is trained.
        device: torch's name of the device to train on.
        folder: Folder in which checkpoints are written, below one that is named after the Optuna study.
    """

    def __init__(self, study: Study, *, device: str, folder: Path) -> None:
        self._study, self._device, self._folder = study, device, folder
        self._made: dict[Path, Objective] = {}
        self._lock = Lock()

    def __call__(self, trial: optuna.Trial) -> float:
        """The trial's fitness.

        Raises:
            TrialPruned: The pruner stopped the trial, or it diverged.
            TrainingFailedError: The training raised.
            ValueError: The Optuna study does not maximise one value.
        """
        if trial.study.directions != [StudyDirection.MAXIMIZE]:
            raise ValueError("fitness is maximised: optuna.create_study(direction='maximize')")
        space = self._study.space.distributions()
        params = {name: suggest(trial, name, distribution) for name, distribution in space.items()}
        name = trial.study.study_name
        # Names and numbers come again in a study that is made anew; Optuna itself starts no trial twice.
        origin = f"optuna {name}, trial started {trial.datetime_start}"
        mine = Trial(study=name, number=trial.number, params=params, seeds=self._study.seeds, origin=origin)
        return _Run(self._study, trial, mine).through(self._objective(self._folder / name))

    def _objective(self, folder: Path) -> Objective:
        from evolve.run.lanes import make_objective

        with self._lock:  # of threads that optimize side by side, one reads the data
            if folder not in self._made:
                threads = threads_for(1)
                self._made[folder] = make_objective(
                    self._study, device=self._device, run_folder=folder, num_threads=threads
                )
            return self._made[folder]


class _Run:
    """One trial from its first record to what Optuna is told."""

    def __init__(self, study: Study, trial: optuna.Trial, trained_as: Trial) -> None:
        self._study, self._trial, self._trained_as = study, trial, trained_as
        gains = gains_by_epoch(study, trained_as.params)
        self._courses = {seed: Course(study, gains) for seed in study.seeds}
        self._ended: dict[int, LaneEnded] = {}

    def through(self, objective: Objective) -> float:
        for progress in trained(objective, self._trained_as, self._goes_on):
            for record in progress.records:
                self._courses[record.seed].take_in(record.telemetry)
                if isinstance(record.telemetry, LaneEnded):
                    self._ended[record.seed] = record.telemetry
        judgements = {
            seed: self._courses[seed].judgement(ended)
            for seed, ended in self._ended.items()
            if ended.cause is not EndCause.STOPPED
        }
        diverged = [judgement.reason for judgement in judgements.values() if judgement.verdict is Verdict.DIVERGED]
        self._keep_margin(has_diverged=bool(diverged))
        for seed, ended in self._ended.items():
            if ended.cause is EndCause.STOPPED:
                raise optuna.TrialPruned(ended.reason)
            self._trial.set_user_attr(f"seed {seed}", f"{judgements[seed].verdict}: {judgements[seed].reason}")
            if judgements[seed].verdict is Verdict.DIVERGED:
                return self._diverged(judgements[seed].reason)
        return fmean(self._courses[seed].fitness[-1] for seed in self._ended)

    def _goes_on(self, progress: Progress) -> bool:
        """The pruner's decision on the first seed; the others only refine what it said."""
        seed = progress.records[-1].seed
        course = self._courses[seed]
        if not course.is_finite:
            return True  # it has diverged, and ends as that; a pruner would compare as if it were not there
        if seed != self._study.seeds[0]:
            return True
        self._trial.report(course.fitness[-1], len(course.fitness) - 1)
        return not self._trial.should_prune()

    def _keep_margin(self, *, has_diverged: bool) -> None:
        ratios = [course.max_update_ratio for course in self._courses.values()]
        largest = max((ratio for ratio in ratios if not isnan(ratio)), default=nan)
        margin = divergence_margin(largest, has_diverged=has_diverged)
        if margin is not None:
            self._trial.set_constraint(DIVERGED, margin)

    def _diverged(self, reason: str) -> float:
        study = self._trial.study
        if isinstance(study.sampler, GPSampler | CmaEsSampler):  # these two learn from complete trials alone
            known = told(study.get_trials(deepcopy=False))
            return min((trial.fitness for trial in known if not trial.has_diverged), default=WORST_FITNESS)
        raise optuna.TrialPruned(f"diverged: {reason}")
