"""From what is stored of a trial to its outcome: verdict, reason, fitness and, if it diverged, the diagnosis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from detector.telemetry import EpochMetrics, LaneEnded
from evolve.outcome.forensics import diagnose
from evolve.outcome.verdict import Judgement, LossCurves, Verdict, judge, worst
from evolve.storage.database import Outcome, Storage
from evolve.study import Study

FIRST_STEPS = 5
NAN = float("nan")


def outcome_of(
    study: Study, storage: Storage, trial_id: int, *, ended: Mapping[int, LaneEnded], is_pruned: bool
) -> Outcome:
    """Outcome of a trial whose records are all stored.

    Args:
        study: Weights of the fitness and thresholds of the verdict.
        storage: Where its records are.
        trial_id: Optuna's id.
        ended: Last record of each of its trainings that ended by itself, by seed.
        is_pruned: Whether the pruner stopped it.
    """
    epochs = storage.epochs(trial_id)
    fitness = {seed: [study.fitness.of(metrics) for metrics in epochs.get(seed, [])] for seed in study.seeds}
    last = [values[-1] for values in fitness.values() if values]
    mean = fmean(last) if last else NAN
    if is_pruned:
        epoch = len(fitness[study.seeds[0]])
        reason = f"fitness {mean:.3g} after {epoch} of {study.epochs} epochs was behind the others"
        return Outcome(verdict=Verdict.PRUNED, reason=reason, fitness=mean)
    if not ended:
        reason = "its training ended without a last record"
        return Outcome(verdict=Verdict.FAILED, reason=reason, fitness=NAN, traceback=reason)
    judgements = {
        seed: _judgement(study, storage, trial_id, fitness[seed], epochs.get(seed, []), ended=each, seed=seed)
        for seed, each in ended.items()
    }
    verdict = worst(judgements)
    if verdict.verdict is not Verdict.DIVERGED:
        # The reason is that of one seed, the fitness that of all.
        whole = f"mean fitness {mean:.3g} of {len(last)} seeds; " if len(last) > 1 else ""
        return Outcome(verdict=verdict.verdict, reason=f"{whole}{verdict.reason}", fitness=mean)
    seed = next(seed for seed, each in judgements.items() if each.verdict is Verdict.DIVERGED)
    diagnosis = diagnose(storage.steps(trial_id, seed), ended[seed], seed=seed)
    return Outcome(
        verdict=verdict.verdict,
        reason=f"seed {seed}: {diagnosis.summary}" if len(study.seeds) > 1 else diagnosis.summary,
        fitness=NAN,
        diagnosis=diagnosis.to_json(),
    )


def _judgement(
    study: Study,
    storage: Storage,
    trial_id: int,
    fitness: Sequence[float],
    epochs: Sequence[EpochMetrics],
    *,
    ended: LaneEnded,
    seed: int,
) -> Judgement:
    first = storage.steps(trial_id, seed, count=FIRST_STEPS)
    losses = LossCurves(
        first=fmean(each.loss for each in first) if first else NAN,
        train=tuple(sum(each.train_losses.values()) for each in epochs),
        val=tuple(sum(each.losses.values()) for each in epochs),
    )
    return judge(fitness, losses=losses, ended=ended, thresholds=study.thresholds)
