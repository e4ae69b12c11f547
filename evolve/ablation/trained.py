"""From the trainings of a study to runs of its arms: the one place where a trial's number becomes an arm."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np

from evolve.ablation.interim import Standing, looks_ended, standing
from evolve.ablation.power import Variation
from evolve.ablation.runs import ArmRun
from evolve.errors import StudyError
from evolve.outcome.verdict import TRAINED_THROUGH, Verdict
from evolve.study import Study
from evolve.study.ablation import Ablation
from evolve.study.arms import ArmPlan

LEAST_FOR_SHAPE = 20  # differences beyond their means, before their own shape says more than a normal one


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A training as it is stored.

    Attributes:
        trial: Number of the trial within its study, from 0.
        seed: Seed that the trial was trained with.
        verdict: How the training ended, such as `converged` or `diverged`.
        fitness: Fitness on the validation images after the last epoch; None or NaN where there is none.
    """

    trial: int
    seed: int
    verdict: str
    fitness: float | None


def plan_of(study: Study) -> tuple[Ablation, ArmPlan]:
    """The ablation of a study, and which trial trains which of its arms.

    Raises:
        StudyError: The study compares no arms.
    """
    plan = study.arm_plan
    if study.ablation is None or plan is None:
        text = "has no ablation, so it compares no arms; write one into a copy of its file: docs/does-it-help.md"
        raise StudyError(f"study {study.name}: {text}")
    return study.ablation, plan


def arm_runs(plan: ArmPlan, trainings: Iterable[Trained]) -> tuple[ArmRun, ...]:
    """A run for every arm and seed that are compared, arm by arm; those that are not stored are missing.

    Args:
        plan: Which trial trains which arm.
        trainings: Trainings of the study that have ended; those that only tuned the nuisance are left out.
    """
    stored = {(training.trial, training.seed): training for training in trainings}
    found = {
        (arm.name, seed): _run(arm.name, seed, stored.get((number, seed)))
        for number, arm in plan.verdicts()
        for seed in plan.seeds_of(number)
    }
    return tuple(found[arm.name, seed] for arm in plan.arms for seed in plan.seeds)


def _run(arm: str, seed: int, trained: Trained | None) -> ArmRun:
    if trained is None:
        return ArmRun(arm=arm, seed=seed, value=None, outcome="missing")
    if trained.verdict in TRAINED_THROUGH and trained.fitness is not None and isfinite(trained.fitness):
        return ArmRun(arm=arm, seed=seed, value=trained.fitness, outcome="finished")
    outcome = "diverged" if trained.verdict == Verdict.DIVERGED else "failed"
    return ArmRun(arm=arm, seed=seed, value=None, outcome=outcome)


def variation_of(runs: Sequence[ArmRun], *, baseline: str) -> Variation | None:
    """How paired differences vary over seeds, pooled over the arms, and how many runs diverge; None for too few pairs.

    Args:
        runs: Runs of all arms, the baseline among them.
        baseline: Name of the arm that the others are paired with.
    """
    base = {run.seed: run.value for run in runs if run.arm == baseline}
    by_arm: dict[str, list[float]] = {}
    for run in runs:
        other = base.get(run.seed)
        if run.arm != baseline and run.value is not None and other is not None:
            by_arm.setdefault(run.arm, []).append(run.value - other)
    several = [np.array(found) for found in by_arm.values() if len(found) > 1]
    degrees = sum(len(found) - 1 for found in several)
    # As far from their mean as those from the true one are, on average.
    apart = [(found - found.mean()) * sqrt(len(found) / (len(found) - 1)) for found in several]
    spread = sqrt(sum(float(found.var(ddof=1)) * (len(found) - 1) for found in several) / degrees) if degrees else 0.0
    if not spread:
        return None
    ends = [run.outcome for run in runs if run.arm != baseline]
    num_diverged, num_finished = ends.count("diverged"), ends.count("finished")
    shape = tuple(float(gap) for gap in np.concatenate(apart) / spread) if degrees >= LEAST_FOR_SHAPE else ()
    return Variation(spread=spread, divergence=num_diverged / (num_diverged + num_finished), shape=shape)


def standing_of(ablation: Ablation, plan: ArmPlan, trainings: Iterable[Trained], ended: Collection[int]) -> Standing:
    """What an ablation has come to: effects, runs, and which arms get no more seeds.

    Args:
        ablation: What is compared, and when a difference counts.
        plan: Arms, seeds and looks of the ablation.
        trainings: Trainings of the study, as they are stored.
        ended: Numbers of the study's trials that have ended.
    """
    runs = arm_runs(plan, trainings)
    return standing(plan, runs, margin=ablation.margin, through=looks_ended(plan, ended))
