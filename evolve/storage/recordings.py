"""Trainings of a study that nobody stopped, as rules are tried on them, and how many are no use for that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan

from sqlalchemy import select

from detector.telemetry import EpochMetrics
from evolve.outcome.stop_rules import Recorded
from evolve.outcome.verdict import TRAINED_THROUGH, Verdict
from evolve.outcome.warnings import BEST_SHARE, Kind, spared
from evolve.storage import schema
from evolve.storage.database import Storage
from evolve.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Recordings:
    """Trainings of a study.

    Attributes:
        runs: Trainings that came to their own end and have steps, in the order of trials and seeds.
        left_out: Number of other trainings, by verdict: a rule stopped them, or they failed, and what they would have
            come to nobody knows; `without steps` counts those whose steps are not stored.
    """

    runs: tuple[Recorded, ...]
    left_out: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Training:
    """A training that came to its own end.

    Attributes:
        trial_id: Optuna's id of the trial.
        seed: Seed of the training.
        verdict: What became of it.
        epochs: Metrics that were measured after each epoch.
        fitness: Fitness after each epoch, made of these metrics.
    """

    trial_id: int
    seed: int
    verdict: Verdict
    epochs: Sequence[EpochMetrics]
    fitness: tuple[float, ...]

    @property
    def final(self) -> float:
        """Fitness at the end; NaN where it diverged."""
        return self.fitness[-1] if self.fitness and not self.verdict.is_lost else nan


def recordings(storage: Storage, study: Study) -> Recordings:
    """All trainings of a stored study.

    Raises:
        StorageError: The study is not stored.
    """
    trainings, left_out = _trainings(storage, study)
    finals = sorted((training.final for training in trainings if isfinite(training.final)), reverse=True)
    best = finals[: max(int(BEST_SHARE * len(finals)), 1)]
    usual = max((training.epochs[0].step for training in trainings if training.epochs), default=0)
    stored = storage.optuna.get_all_trials(storage.study_id(study.name), deepcopy=False)
    params = {trial._trial_id: trial.params for trial in stored}
    runs = []
    for place, training in enumerate(trainings):
        steps = storage.records.steps(training.trial_id, training.seed)
        if not steps:
            left_out["without steps"] += 1
            continue
        per_epoch = training.epochs[0].step if training.epochs else max(usual, len(steps))
        runs.append(
            Recorded(
                kind=Kind.of(study.hyperparameters(params[training.trial_id])),
                steps=steps,
                total_steps=study.epochs * per_epoch,
                steps_per_epoch=per_epoch,
                is_doomed=training.verdict is Verdict.DIVERGED,
                is_spared=spared(training.fitness, [other.fitness for other in trainings[:place]]),
                is_best=bool(best) and training.final >= best[-1],
            )
        )
    return Recordings(runs=tuple(runs), left_out=dict(left_out))


def _trainings(storage: Storage, study: Study) -> tuple[list[_Training], Counter[str]]:
    own, trial = schema.training.c, schema.trial.c
    query = (
        select(own.trial_id, own.seed, own.verdict)
        .join(schema.trial, trial.trial_id == own.trial_id)
        .where(trial.study_id == storage.study_id(study.name), own.verdict.is_not(None))
        .order_by(trial.number, own.seed)
    )
    with storage.engine.connect() as connection:
        rows = connection.execute(query).all()
    found, left_out = [], Counter[str]()
    for row in rows:
        verdict = Verdict(row.verdict)
        if verdict not in (*TRAINED_THROUGH, Verdict.DIVERGED):
            left_out[verdict] += 1
            continue
        epochs = storage.records.epochs(row.trial_id).get(row.seed, [])
        fitness = tuple(study.fitness.of(metrics) for metrics in epochs)
        found.append(_Training(trial_id=row.trial_id, seed=row.seed, verdict=verdict, epochs=epochs, fitness=fitness))
    return found, left_out
