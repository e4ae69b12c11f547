"""From what is stored of a training to how it ended: verdict, reason, fitness and, if it diverged, the diagnosis."""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from statistics import fmean

from detector.telemetry import EndCause, LaneEnded
from evolve.outcome.forensics import diagnose
from evolve.outcome.training import TrainingOutcome
from evolve.outcome.verdict import LossCurves, Verdict, judge
from evolve.search.pruners import DOOMED
from evolve.storage.database import Storage
from evolve.study import Study
from evolve.study.space import Scalar

FIRST_STEPS = 5  # whose mean loss is the start, as in a diagnosis


def judged(
    study: Study, storage: Storage, trial_id: int, params: Mapping[str, Scalar], seed: int, ended: LaneEnded
) -> TrainingOutcome:
    """How a training ended, by itself or because it was stopped.

    Args:
        study: Weights of the fitness and thresholds of the verdict.
        storage: Where all records of the training are.
        trial_id: Optuna's id of the trial.
        params: What the trial is trained with.
        seed: Seed of the training.
        ended: Last record of the training.
    """
    if ended.cause is EndCause.STOPPED:
        return _stopped(study, storage, trial_id, seed, ended.reason)
    epochs = storage.records.epochs(trial_id).get(seed, [])
    fitness = [study.fitness.of(metrics) for metrics in epochs]
    first = storage.records.steps(trial_id, seed, count=FIRST_STEPS)
    losses = LossCurves(
        first=fmean(step.loss for step in first) if first else nan,
        train=tuple(sum(metrics.train_losses.values()) for metrics in epochs),
        val=tuple(sum(metrics.losses.values()) for metrics in epochs),
    )
    judgement = judge(fitness, losses=losses, ended=ended, thresholds=study.thresholds)
    if judgement.verdict is Verdict.DIVERGED:
        steps, values = storage.records.steps(trial_id, seed), study.hyperparameters(params)
        diagnosis = diagnose(steps, ended, seed=seed, values=values, precision=study.precision)
        return TrainingOutcome(verdict=judgement.verdict, reason=diagnosis.summary, diagnosis=diagnosis.to_json())
    last = fitness[-1] if fitness else nan
    return TrainingOutcome(verdict=judgement.verdict, reason=judgement.reason, fitness=last)


def _stopped(study: Study, storage: Storage, trial_id: int, seed: int, why: str) -> TrainingOutcome:
    epochs = storage.records.epochs(trial_id)[seed]
    decision = storage.ledger.decisions(trial_id).get(epochs[-1].epoch)
    if decision is not None and (foretold := decision.attributes.get(DOOMED)):
        reason = f"foreseen after {len(epochs)} of {study.epochs} epochs: {foretold}"
        return TrainingOutcome(verdict=Verdict.DOOMED, reason=reason)
    fitness = study.fitness.of(epochs[-1])
    reason = f"fitness {fitness:.3g} after {len(epochs)} of {study.epochs} epochs {why}"
    return TrainingOutcome(verdict=Verdict.PRUNED, reason=reason, fitness=fitness)
