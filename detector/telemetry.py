"""The records a training run yields; standard library only.

Scales are ordered as the network's heads are: coarsest grid first. Steps and epochs count from 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

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
class StepTelemetry:
    """One batch of one lane, measured before the update it leads to.

    Attributes:
        lane: Position of the lane in the population as it started.
        step: Batches seen before this one.
        epoch: Epoch of the batch.
        loss: Loss as optimised, from the network's output; equals `terms.total` up to rounding.
        terms: Its parts.
        grad_norm: Euclidean norm of the lane's gradient before clipping.
        update_ratio: Norm of the update about to be made over the norm of the weights.
        lr, bias_lr, momentum: As applied in this step.
        max_box_logit: Largest absolute raw box output.
        in_warmup: Whether the step belongs to the warm-up.
        seconds: Wall time of the step, waiting for data included, shared by all lanes of the run.
        images_per_second: Images of one lane over `seconds`.
    """

    lane: int
    step: int
    epoch: int
    loss: float
    terms: LossTerms
    grad_norm: float
    update_ratio: float
    lr: float
    bias_lr: float
    momentum: float
    max_box_logit: float
    in_warmup: bool
    seconds: float
    images_per_second: float

    @property
    def is_finite(self) -> bool:
        """Whether loss and gradient are numbers, so that the step may be taken."""
        return isfinite(self.loss) and isfinite(self.grad_norm)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochMetrics:
    """How well a lane detects after an epoch.

    Attributes:
        lane: Position of the lane in the population as it started.
        epoch: The epoch just finished.
        step: Batches seen so far.
        split: Images measured on: val after each epoch, test once at the end.
        precision, recall: At the confidence with the best F1, IoU 0.5, mean over classes.
        map50, map50_95: Average precision at IoU 0.5 and over 0.5..0.95 (COCO), mean over classes.
        losses: Loss terms on `split`, summed over scales, in the units of the training loss.
        train_losses: The same terms, mean over the epoch's training steps.
        seconds: Wall time of the epoch, evaluation included.
    """

    lane: int
    epoch: int
    step: int
    split: str
    precision: float
    recall: float
    map50: float
    map50_95: float
    losses: dict[str, float]
    train_losses: dict[str, float]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSaved:
    """A lane can go on from here: everything up to the end of `epoch` is in the file at `path`."""

    lane: int
    epoch: int
    step: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneEnded:
    """The last record of a lane; `is_diverged` tells a training that blew up from one that ran to its end."""

    lane: int
    step: int
    is_diverged: bool
    reason: str


Telemetry = LaneStarted | StepTelemetry | EpochMetrics | CheckpointSaved | LaneEnded
