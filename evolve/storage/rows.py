"""Telemetry as rows of our tables, and back: scalars under their own names, loss terms by scale or split."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from detector.observations import LayerInspected, PicturesWatched, ScaleObjectness
from detector.telemetry import TERMS, ClassScores, EpochMetrics, LossTerms, StepTelemetry
from evolve.storage import schema

_STEP = schema.scalar_names(StepTelemetry)
_EPOCH = schema.scalar_names(EpochMetrics)
_CLASS = schema.scalar_names(ClassScores)
_OBJECTNESS = schema.scalar_names(ScaleObjectness)
_LAYER = schema.scalar_names(LayerInspected)


def step_row(trial_id: int, seed: int, step: StepTelemetry) -> dict[str, Any]:
    """Row of `evolve_step`."""
    row: dict[str, Any] = {name: getattr(step, name) for name in _STEP}
    num_scales = len(step.terms.box)
    for name, (term, scale) in schema.STEP_LOSSES.items():
        row[name] = getattr(step.terms, term)[scale] if scale < num_scales else None
    return row | {"trial_id": trial_id, "seed": seed, "num_scales": num_scales}


def step_from(row: Mapping[Any, Any]) -> StepTelemetry:
    """Step telemetry from a row of `evolve_step`, as lane 0."""
    terms = {term: tuple(row[f"{term}_{scale}"] for scale in range(row["num_scales"])) for term in TERMS}
    return StepTelemetry(lane=0, terms=LossTerms(**terms), **{name: row[name] for name in _STEP})


def epoch_row(trial_id: int, seed: int, metrics: EpochMetrics) -> dict[str, Any]:
    """Row of `evolve_epoch` without its fitness."""
    row: dict[str, Any] = {name: getattr(metrics, name) for name in _EPOCH}
    row |= {name: getattr(metrics, losses)[term] for name, (losses, term) in schema.EPOCH_LOSSES.items()}
    return row | {"trial_id": trial_id, "seed": seed}


def epoch_from(row: Mapping[Any, Any]) -> EpochMetrics:
    """Metrics from a row of `evolve_epoch`, as lane 0."""
    groups: dict[str, Any] = {"losses": {}, "train_losses": {}}
    for name, (group, term) in schema.EPOCH_LOSSES.items():
        groups[group][term] = row[name]
    return EpochMetrics(lane=0, **groups, **{name: row[name] for name in _EPOCH})


def class_row(trial_id: int, seed: int, scores: ClassScores) -> dict[str, Any]:
    """Row of `evolve_class_scores`."""
    return {"trial_id": trial_id, "seed": seed} | {name: getattr(scores, name) for name in _CLASS}


def objectness_row(trial_id: int, seed: int, found: ScaleObjectness) -> dict[str, Any]:
    """Row of `evolve_objectness`."""
    row = {"trial_id": trial_id, "seed": seed} | {name: getattr(found, name) for name in _OBJECTNESS}
    return row | {"histogram": compact(found.histogram), "density": compact(found.density)}


def layer_row(trial_id: int, seed: int, found: LayerInspected) -> dict[str, Any]:
    """Row of `evolve_layer`."""
    row = {"trial_id": trial_id, "seed": seed} | {name: getattr(found, name) for name in _LAYER}
    return row | {"part": found.part, "histogram": compact(found.histogram)}


def watched_row(trial_id: int, seed: int, found: PicturesWatched) -> dict[str, Any]:
    """Row of `evolve_watched`."""
    return {"trial_id": trial_id, "seed": seed, "epoch": found.epoch, "boxes": compact(found.boxes)}


def compact(values: object) -> str:
    """JSON in as few bytes as there can be."""
    return json.dumps(values, separators=(",", ":"))
