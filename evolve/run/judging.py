"""From what is stored of a training to how it ended: verdict, reason, fitness and, if it diverged, the diagnosis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from math import nan
from statistics import fmean

from detector.hyperparameters import Hyperparameters
from detector.schedule import values_at
from detector.telemetry import TERMS, EndCause, EpochMetrics, LaneEnded, LossTerms, StepTelemetry
from evolve.outcome.forensics import diagnose
from evolve.outcome.training import TrainingOutcome
from evolve.outcome.verdict import FIRST_STEPS, TRAINED_THROUGH, LossCurves, Verdict, judge
from evolve.search.pruners import DOOMED
from evolve.storage.database import Storage
from evolve.study import Study
from evolve.study.space import Scalar
from evolve.study.trial import Trial

GainsByEpoch = Callable[[int], Mapping[str, float]]


def judged(
    study: Study, storage: Storage, trial_ids: Sequence[int], trial: Trial, seed: int, ended: LaneEnded
) -> TrainingOutcome:
    """How a training ended, by itself or because it was stopped.

    Args:
        study: Study of the trial, with the weights of the fitness and the thresholds of the verdict.
        storage: Database that has all records of the training.
        trial_ids: Optuna's ids of the trials whose weights the training went on from, in their order, and last that of
            `trial`.
        trial: Trial that the training is of.
        seed: Seed of the training.
        ended: Last record of the training.
    """
    trial_id = trial_ids[-1]
    if ended.cause is EndCause.STOPPED:
        return _stopped(study, storage, trial_id, seed, ended.reason)
    epochs = [epoch for lineage_id in trial_ids for epoch in storage.records.epochs(lineage_id).get(seed, [])]
    fitness = [study.fitness.of(metrics) for metrics in epochs]
    losses = _losses(study, storage, trial_ids, seed)
    judgement = judge(fitness, losses=losses, ended=ended, thresholds=study.thresholds)
    if judgement.verdict is Verdict.DIVERGED:
        steps, values = storage.records.steps(trial_id, seed), study.hyperparameters(trial.params)
        values = values_at(len(epochs), values, study.later_hyperparameters(trial.params))
        diagnosis = diagnose(steps, ended, seed=seed, values=values, precision=study.precision)
        if not ended.is_diverged and losses.first > 0:  # it only grew, by what the verdict rests on
            diagnosis = replace(diagnosis, loss_growth=losses.last / losses.first)
        return TrainingOutcome(verdict=judgement.verdict, reason=diagnosis.summary, diagnosis=diagnosis.to_json())
    last = fitness[-1] if fitness else nan
    if judgement.verdict in TRAINED_THROUGH and trial.epochs is not None and trial.epochs < study.epochs:
        reason = f"fitness {last:.3g} after {trial.epochs} of {study.epochs} epochs{_on_from(trial)}"
        return TrainingOutcome(verdict=Verdict.PARTIAL, reason=reason, fitness=last)
    return TrainingOutcome(verdict=judgement.verdict, reason=judgement.reason, fitness=last)


def _losses(study: Study, storage: Storage, trial_ids: Sequence[int], seed: int) -> LossCurves:
    epochs: list[EpochMetrics] = []
    gains: list[Mapping[str, float]] = []
    for trial_id in trial_ids:
        gains_in = gains_by_epoch(study, storage.optuna.get_trial(trial_id).params)
        own = storage.records.epochs(trial_id).get(seed, [])
        epochs += own
        gains += [gains_in(metrics.epoch) for metrics in own]
    return loss_curves(storage.records.steps(trial_ids[0], seed, count=FIRST_STEPS), epochs, gains)


def loss_curves(
    first: Sequence[StepTelemetry], epochs: Sequence[EpochMetrics], gains: Sequence[Mapping[str, float]]
) -> LossCurves:
    """Losses from the first step to the last, all as they would be under the last gains, or they would not compare.

    Args:
        first: The first steps of a training, at most `FIRST_STEPS`.
        epochs: Metrics of its epochs on the validation images.
        gains: Gains of the loss terms in each of the epochs, by term.
    """
    if not epochs:
        return LossCurves(first=fmean(step.loss for step in first) if first else nan, train=(), val=())
    factors = [
        {name: gains[-1][name] / gain if gain else 1.0 for name, gain in epoch_gains.items()} for epoch_gains in gains
    ]
    starts = [_rescaled(step.loss, _over_scales(step.terms), factors[0]) for step in first]
    pairs = list(zip(epochs, factors, strict=True))
    return LossCurves(
        first=fmean(starts) if starts else nan,
        train=tuple(_rescaled(sum(epoch.train_losses.values()), epoch.train_losses, by) for epoch, by in pairs),
        val=tuple(_rescaled(sum(epoch.losses.values()), epoch.losses, by) for epoch, by in pairs),
    )


def gains_of(values: Hyperparameters) -> dict[str, float]:
    """Gains of the loss terms, by term."""
    return {term: getattr(values, term) for term in TERMS}


def gains_by_epoch(study: Study, params: Mapping[str, Scalar]) -> GainsByEpoch:
    """Gains of the loss terms of a trial in an epoch with some index, where the study may change them."""
    values, later = study.hyperparameters(params), study.later_hyperparameters(params)
    return lambda epoch: gains_of(values_at(epoch, values, later))


def _over_scales(terms: LossTerms) -> dict[str, float]:
    return {name: sum(parts) for name, parts in asdict(terms).items()}


def _rescaled(loss: float, terms: Mapping[str, float], factors: Mapping[str, float]) -> float:
    """A loss with each of its terms times a factor; the same to the last bit where all factors are 1."""
    return loss + sum((factors[name] - 1) * value for name, value in terms.items() if factors[name] != 1)


def _on_from(trial: Trial) -> str:
    return "" if trial.parent is None else f", on from trial {trial.parent}"


def _stopped(study: Study, storage: Storage, trial_id: int, seed: int, why: str) -> TrainingOutcome:
    epochs = storage.records.epochs(trial_id)[seed]
    decision = storage.ledger.decisions(trial_id).get(epochs[-1].epoch)
    if decision is not None and (foretold := decision.attributes.get(DOOMED)):
        reason = f"foreseen after {len(epochs)} of {study.epochs} epochs: {foretold}"
        return TrainingOutcome(verdict=Verdict.DOOMED, reason=reason)
    fitness = study.fitness.of(epochs[-1])
    reason = f"fitness {fitness:.3g} after {len(epochs)} of {study.epochs} epochs {why}"
    return TrainingOutcome(verdict=Verdict.PRUNED, reason=reason, fitness=fitness)
