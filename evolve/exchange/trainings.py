"""Trainings of other trainers judged as trials of ours: verdict, reason, fitness and rows of epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

from detector.hyperparameters import Hyperparameters
from evolve.exchange.dialects import Context
from evolve.exchange.result_files import METRICS, Row
from evolve.outcome.verdict import Verdict
from evolve.storage import schema
from evolve.study import Study

SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedTrial:
    """One training of somebody else's search.

    Attributes:
        values: Hyperparameters in our meaning.
        verdict: converged, undertrained, diverged or failed.
        reason: The verdict's reason in words, with the place in the file.
        fitness: Fitness at its end in 0..1, nan if it diverged or failed.
        epochs: Rows for `evolve_epoch` without the trial's id.
    """

    values: Hyperparameters
    verdict: Verdict
    reason: str
    fitness: float
    epochs: tuple[dict[str, Any], ...]


def judged(study: Study, rows: Sequence[Row], values: Hyperparameters, context: Context, *, file: str) -> ImportedTrial:
    """A training of another trainer, judged as a trial of a study of ours.

    Args:
        study: The study that the trial is to be of; its weights make the fitness, its thresholds the verdict.
        rows: Rows of the training's epochs in order, or of its end alone; at least one.
        values: Hyperparameters in our meaning.
        context: The training there, whose last epoch is the last row.
        file: Name of the result file, which the reason names.
    """
    fitness = [_fitness(study, row) for row in rows]
    verdict, reason, place = _verdict(study, rows, fitness)
    first = context.epochs - len(rows)
    epochs = tuple(
        _epoch(row, score, epoch=first + number, context=context)
        for number, (row, score) in enumerate(zip(rows, fitness, strict=True))
        if row.metrics and verdict is not Verdict.FAILED
    )
    return ImportedTrial(
        values=values,
        verdict=verdict,
        reason=f"{reason} ({file} line {place.line})",
        fitness=nan if verdict in (Verdict.FAILED, Verdict.DIVERGED) else fitness[-1],
        epochs=epochs,
    )


def _verdict(study: Study, rows: Sequence[Row], fitness: Sequence[float]) -> tuple[Verdict, str, Row]:
    """Verdict, reason and the row that shows it."""
    last = rows[-1]
    if last.failure:
        return Verdict.FAILED, last.failure, last
    for row, score in zip(rows, fitness, strict=True):
        if not all(map(isfinite, (score, *row.train_losses.values()))):
            return Verdict.DIVERGED, "fitness, a loss or a metric is not finite", row
    if fitness[-1] < study.thresholds.floor:
        floor = f"below {study.thresholds.floor:g}"
        return Verdict.UNDERTRAINED, f"fitness {fitness[-1]:.2g} never left the ground, {floor}", last
    after = f" after {len(rows)} epochs" if len(rows) > 1 else ""
    return Verdict.CONVERGED, f"fitness {fitness[-1]:.3g}{after}, trained elsewhere", last


def _fitness(study: Study, row: Row) -> float:
    if row.fitness is not None:
        # A tuner that was told NaN metrics may still have written a number.
        return row.fitness if all(map(isfinite, row.metrics.values())) else nan
    weights = study.fitness.model_dump()
    # A metric without weight may be missing, and 0 * nan is nan.
    known = {name: row.metrics.get(name, nan) if weights[name] else 0.0 for name in weights}
    return study.fitness.score(**known)


def _epoch(row: Row, fitness: float, *, epoch: int, context: Context) -> dict[str, Any]:
    return {
        "seed": SEED,
        "split": "val",
        "epoch": epoch,
        "step": (epoch + 1) * context.batches,
        "fitness": fitness,
        **{name: row.metrics.get(name, nan) for name in set(METRICS.values())},
        **{f"loss_{term}": row.losses.get(term, nan) for term in schema.TERMS},
        **{f"train_{term}": row.train_losses.get(term, nan) for term in schema.TERMS},
        "seconds": None,
    }
