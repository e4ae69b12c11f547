"""Trials that nobody trains: an engine that yields their records at once, for what a study costs beside its trainings.

A trial has ten parameters and ten epochs, each with the records of a step and of an epoch and a decision.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, final

from detector.telemetry import (
    TERMS,
    EndCause,
    EpochMetrics,
    LaneEnded,
    LaneStarted,
    LossTerms,
    StepTelemetry,
    Telemetry,
)
from evolve.run.engines import Ended, EngineEvent, Progress
from evolve.study import Study
from evolve.study.trial import Record, Trial

EPOCHS = 10
# Ten numbers, so that every sampler takes them.
NAMES = ("momentum", "lrf", "fliplr", "hsv_h", "hsv_s", "hsv_v", "translate", "scale", "ignore_iou", "assign_iou")
GRID_POINTS = 2  # of each parameter: 1,024 in all


@final
@dataclass(slots=True, kw_only=True)
class NoTraining:
    """An engine whose trials yield their records at once: an epoch of each trial under way whenever it is asked."""

    capacity: int = 1
    _under_way: dict[int, tuple[Trial, int]] = field(default_factory=dict)

    def submit(self, trial: Trial) -> None:
        self._under_way[trial.number] = trial, 0

    def events(self, timeout: float) -> list[EngineEvent]:  # noqa: ARG002 - there is nothing to wait for
        found: list[EngineEvent] = []
        for number, (trial, epoch) in list(self._under_way.items()):
            records = [Record(trial=number, seed=0, telemetry=record) for record in telemetry(trial.params, epoch)]
            found.append(Progress(trial=number, records=records, awaits_decision=epoch < EPOCHS))
            self._under_way[number] = trial, epoch + 1
            if epoch >= EPOCHS:
                del self._under_way[number]
                found.append(Ended(trial=number))
        return found

    def decide(self, trial: int, *, goes_on: bool, reason: str = "") -> None:  # noqa: ARG002
        if not goes_on:
            self._under_way[trial] = self._under_way[trial][0], EPOCHS + 1

    def hurry(self) -> None:
        """Does nothing, since nothing takes time."""

    def close(self) -> None:
        self._under_way.clear()


def telemetry(params: Mapping[str, Any], epoch: int) -> Iterator[Telemetry]:
    """Records of an epoch, the last of which has another that ends the training."""
    if epoch == 0:
        yield LaneStarted(lane=0, epoch=0, step=0, total_steps=EPOCHS)
    if epoch >= EPOCHS:
        cause = EndCause.FINISHED if epoch == EPOCHS else EndCause.STOPPED
        yield LaneEnded(lane=0, step=EPOCHS, cause=cause, reason="ran all epochs")
        return
    yield _step(epoch)
    yield _metrics(epoch, fitness(params) * (epoch + 1) / EPOCHS)


def fitness(params: Mapping[str, Any]) -> float:
    """Fitness in 0..1, from the parameters alone."""
    return sum(float(params[name]) for name in NAMES) / len(NAMES)


def _step(epoch: int) -> StepTelemetry:
    parts = (0.5 / (epoch + 1),) * 2
    return StepTelemetry(
        lane=0,
        step=epoch,
        epoch=epoch,
        loss=8 * parts[0],
        terms=LossTerms(box=parts, obj=parts, noobj=parts, cls=parts),
        grad_norm=1.0,
        update_ratio=0.01,
        lr=0.01,
        bias_lr=0.01,
        momentum=0.9,
        max_box_logit=1.0,
        in_warmup=False,
        seconds=0.01,
        images_per_second=1600.0,
    )


def _metrics(epoch: int, score: float) -> EpochMetrics:
    losses = dict.fromkeys(TERMS, 1 - score)
    return EpochMetrics(
        lane=0,
        epoch=epoch,
        step=epoch + 1,
        split="val",
        precision=score,
        recall=score,
        map50=score,
        map50_95=score,
        losses=losses,
        train_losses=losses,
        seconds=0.01,
    )


def study_of(sampler: str, pruner: str, num_trials: int) -> Study:
    """A study of ten parameters."""
    points = {"points": GRID_POINTS} if sampler == "grid" else {}
    mapping: dict[str, Any] = {
        "name": "machinery",
        "epochs": EPOCHS,
        "space": {name: {"low": 0.1, "high": 0.5, **points} for name in NAMES},
        "sampler": sampler,
        "pruner": pruner,
        "budget": {"trials": num_trials},
    }
    return Study.from_mapping(mapping, origin="benchmark")
