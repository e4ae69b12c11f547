"""The records a training run yields; standard library only.

Scales are ordered as the network's heads are: coarsest grid first. Steps and epochs count from 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum
from math import isfinite, nan
from typing import Any

from detector.observations import (
    LayerInspected,
    LayerValues,
    Objectness,
    PicturesTaken,
    PicturesWatched,
    ScaleObjectness,
    StepTraced,
)

TERMS = ("box", "obj", "noobj", "cls")
STRIDES = (32, 16, 8)  # pixels a cell, by scale


@dataclass(frozen=True, slots=True, kw_only=True)
class LossTerms:
    """Loss terms by scale, gains included: their sum is the loss that is optimised."""

    box: tuple[float, ...]
    obj: tuple[float, ...]
    noobj: tuple[float, ...]
    cls: tuple[float, ...]

    @property
    def total(self) -> float:
        """Sum of all terms over all scales."""
        return sum(sum(getattr(self, name)) for name in TERMS)

    def sums(self) -> dict[str, float]:
        """Each term summed over the scales."""
        return {name: sum(getattr(self, name)) for name in TERMS}


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneStarted:
    """The first record of a lane: it trains from `step` on, which is 0 unless it goes on from a checkpoint.

    Attributes:
        passed_over: Why checkpoints that are there were not used, a sentence each.
    """

    lane: int
    epoch: int
    step: int
    total_steps: int
    passed_over: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What an update applies.

    Attributes:
        lr: Learning rate of convolution weights and norm scales.
        bias_lr: Learning rate of biases.
        momentum: Momentum of all, 0 to below 1.
        in_warmup: Whether the step is part of the warm-up.
    """

    lr: float
    bias_lr: float
    momentum: float
    in_warmup: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement(Rates):
    """What a batch did to one lane, before the update with these rates.

    Attributes:
        loss: Loss as optimised, from the network's output; equals `terms.total` up to rounding.
        terms: Terms of the loss by scale, times their gains.
        grad_norm: Euclidean norm of the lane's gradient before clipping.
        update_ratio: Norm of the update about to be made over the norm of the weights.
        max_box_logit: Largest absolute raw box output.
        critical_ratio: Smallest factor by which this update, made that much larger, raises the loss of its own batch;
            below 1 where it does as it is, NaN where it was not measured (`detector.critical`).
    """

    loss: float
    terms: LossTerms
    grad_norm: float
    update_ratio: float
    max_box_logit: float
    critical_ratio: float = field(default=nan, compare=False)  # no NaN equals that of another process

    @property
    def is_finite(self) -> bool:
        """Whether loss and gradient are numbers, so that the step may be taken."""
        return isfinite(self.loss) and isfinite(self.grad_norm)

    @property
    def broken_terms(self) -> tuple[str, ...]:
        """Terms whose sum over the scales is not finite."""
        return tuple(name for name, value in self.terms.sums().items() if not isfinite(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTelemetry(Measurement):
    """One batch of one lane, measured before the update it leads to.

    Attributes:
        lane: Position of the lane among all that were ever admitted.
        step: Batches seen before this one.
        epoch: Index of the epoch that the batch is of, from 0.
        seconds: The lane's share of the step's wall time, waiting for data included: of T lanes each has a T-th.
        images_per_second: Images of one lane over the whole wall time of the step.
    """

    lane: int
    step: int
    epoch: int
    seconds: float
    images_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """How well boxes were found: means over the classes that have labels, all 0..1.

    Attributes:
        precision, recall: Precision and recall at IoU 0.5, each class at the point of its own best F1.
        map50: Average precision at IoU 0.5.
        map50_95: Mean of the average precisions at IoU 0.5, 0.55, ..., 0.95 (COCO).
    """

    precision: float
    recall: float
    map50: float
    map50_95: float


# In the order in which they are shown.
METRICS = tuple(score.name for score in fields(Scores))


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochMetrics(Scores):
    """How well a lane detects after an epoch.

    Attributes:
        lane: Position of the lane among all that were ever admitted.
        epoch: Index of the epoch just finished, from 0.
        step: Batches seen so far.
        split: Images measured on: val after each epoch, test once at the end.
        losses: Loss terms on `split`, summed over scales, in the units of the training loss.
        train_losses: The same terms, mean over the epoch's training steps.
        seconds: The lane's share of the wall time of the epoch, evaluation included; after the last epoch that of the
            evaluation on the test images alone.
    """

    lane: int
    epoch: int
    step: int
    split: str
    losses: dict[str, float]
    train_losses: dict[str, float]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScores(Scores):
    """How well a lane detects one class after an epoch; scores are NaN where the split has no object of it.

    Attributes:
        lane: Position of the lane among all that were ever admitted.
        epoch: Index of the epoch just finished, from 0.
        split: Name of the split that was measured on, val or test.
        class_index: Index of the class.
        objects: Labels of the class on the split.
    """

    lane: int
    epoch: int
    split: str
    class_index: int
    objects: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSaved:
    """A lane can go on from here: everything up to the end of `epoch` is in the file at `path`."""

    lane: int
    epoch: int
    step: int
    path: str


class EndCause(StrEnum):
    """Why a lane ended."""

    FINISHED = "finished"  # all epochs
    DIVERGED = "diverged"  # its loss or gradient was not finite
    STOPPED = "stopped"  # whoever reads the records asked for it


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneEnded:
    """The last record of a lane.

    Attributes:
        lane: Position of the lane among all that were ever admitted.
        step: Batches seen, without one that was not finite.
        cause: Why it ended, in a word.
        reason: The same in a sentence.
    """

    lane: int
    step: int
    cause: EndCause
    reason: str

    @property
    def is_diverged(self) -> bool:
        """Whether the training blew up."""
        return self.cause is EndCause.DIVERGED


Telemetry = (
    LaneStarted
    | StepTraced
    | StepTelemetry
    | ClassScores
    | ScaleObjectness
    | LayerInspected
    | PicturesTaken
    | PicturesWatched
    | EpochMetrics
    | CheckpointSaved
    | LaneEnded
)


def values_of(record: Rates | Scores | Objectness | LayerValues) -> dict[str, Any]:
    """Fields of a record by name, for one that holds them and more."""
    return {field.name: getattr(record, field.name) for field in fields(record)}
