"""Telemetry as rows of our tables, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detector.telemetry import TERMS, EpochMetrics, LossTerms, StepTelemetry
from evolve.storage import schema
from evolve.study.trial import Record

_STEP_COLUMNS = (
    "step",
    "epoch",
    "loss",
    "grad_norm",
    "update_ratio",
    "lr",
    "bias_lr",
    "momentum",
    "max_box_logit",
    "in_warmup",
    "seconds",
    "images_per_second",
)
_EPOCH_COLUMNS = ("split", "epoch", "step", "precision", "recall", "map50", "map50_95", "seconds")


def step_row(trial_id: int, record: Record) -> dict[str, Any]:
    """Row of `evolve_step` for a record of a step."""
    step = record.telemetry
    assert isinstance(step, StepTelemetry)
    row = {name: getattr(step, name) for name in _STEP_COLUMNS}
    for term in TERMS:
        values = getattr(step.terms, term)
        row |= {f"{term}_{scale}": value for scale, value in enumerate(values)}
        row |= {f"{term}_{scale}": None for scale in range(len(values), schema.MAX_SCALES)}
    return row | {"trial_id": trial_id, "seed": record.seed, "num_scales": len(step.terms.box)}


def step_from(row: Mapping[Any, Any]) -> StepTelemetry:
    """Step telemetry from a row of `evolve_step`, as lane 0."""
    terms = {term: tuple(row[f"{term}_{scale}"] for scale in range(row["num_scales"])) for term in TERMS}
    return StepTelemetry(lane=0, terms=LossTerms(**terms), **{name: row[name] for name in _STEP_COLUMNS})


def epoch_row(trial_id: int, seed: int, metrics: EpochMetrics) -> dict[str, Any]:
    """Row of `evolve_epoch` without its fitness."""
    row = {name: getattr(metrics, name) for name in _EPOCH_COLUMNS}
    row |= {f"train_{term}": metrics.train_losses[term] for term in TERMS}
    row |= {f"loss_{term}": metrics.losses[term] for term in TERMS}
    return row | {"trial_id": trial_id, "seed": seed}


def epoch_from(row: Mapping[Any, Any]) -> EpochMetrics:
    """Metrics from a row of `evolve_epoch`, as lane 0."""
    return EpochMetrics(
        lane=0,
        losses={term: row[f"loss_{term}"] for term in TERMS},
        train_losses={term: row[f"train_{term}"] for term in TERMS},
        **{name: row[name] for name in _EPOCH_COLUMNS},
    )
