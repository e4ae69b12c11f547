"""The records a training run yields; standard library only.

Scales are ordered as the network's heads are: coarsest grid first. Steps and epochs count from 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum
from math import isfinite, nan
from typing import Any, Literal

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
        epoch: Epoch of the batch.
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
        precision, recall: At the confidence with the best mean F1, IoU 0.5.
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
        split: Images measured on.
        class_index: Index of the class.
        objects: Labels of the class on the split.
    """

    lane: int
    epoch: int
    split: str
    class_index: int
    objects: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectness:
    """Objectness and overlap of some of the predictions that a network makes at one scale.

    A prediction is an anchor in a cell of an image. It is matched where it owns a label by the assignment that the
    loss uses. Its overlap is its largest IoU with any label of the image.

    Attributes:
        scale: 0 for the coarsest grid.
        is_matched: Whether these are the matched predictions, or all others.
        places: Number of the predictions.
        objectness_mean, objectness_spread: Mean and standard deviation of the objectness, 0..1; NaN where none is.
        iou_mean, iou_spread: The same of the overlap.
        histogram: How many have an objectness in each of equal parts of 0..1, the lowest first.
        density: How many have an objectness (row) and an overlap (column) in equal parts of 0..1; empty but for matched
            ones.
    """

    scale: int
    is_matched: bool
    places: int
    objectness_mean: float
    objectness_spread: float
    iou_mean: float
    iou_spread: float
    histogram: tuple[int, ...]
    density: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleObjectness(Objectness):
    """What objectness a lane gives after an epoch, at one scale.

    Attributes:
        lane: Position of the lane among all that were ever admitted.
        epoch: Index of the epoch just finished, from 0.
        split: Images measured on.
    """

    lane: int
    epoch: int
    split: str


Part = Literal["activations", "weights", "gradients"]
REACH = 4  # spreads to either side of the mean, of a histogram of a layer's values


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerValues:
    """How the values of one layer of a network are spread.

    A layer is a convolution with its norm and activation function. Its activations are what it hands on for a batch of
    images, in training form; its weights are those of its kernels; its gradients are those of the loss on the batch
    with respect to these, before any clipping.

    Attributes:
        layer: Place among the convolutions, 0 for the one that sees the images.
        part: What the values are: activations, weights or gradients.
        mean, spread, norm: Mean, standard deviation and Euclidean norm; NaN, as are the next two, where a value is no
            finite number.
        smallest, largest: The ends of their range.
        zeros: Share of values that are 0 exactly, 0..1.
        dead: Share of channels whose activations are above 0 nowhere, or of kernels whose weights or gradients are 0
            throughout, 0..1; NaN for the activations of an output, where no function follows.
        histogram: Thousandths of the values in equal parts of the range from `REACH` spreads below the mean to as many
            above, the lowest first; the outermost hold what lies beyond. All 0 where a value is no finite number.
    """

    layer: int
    part: Part
    mean: float
    spread: float
    norm: float
    smallest: float
    largest: float
    zeros: float
    dead: float
    histogram: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerInspected(LayerValues):
    """What one layer of a lane holds when some epochs are over.

    Attributes:
        lane: Position of the lane among all that were ever admitted.
        epoch: Epochs trained before: 0 for the first weights. A training goes on with the epoch of this index.
    """

    lane: int
    epoch: int


# Corners x0 y0 x1 y1 in thousandths of an image's width and height, then the class; of a detection also its score in
# thousandths. Whole numbers, since nobody sees less.
Box = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A small picture with the boxes that are labelled in it.

    Attributes:
        jpeg: The file's content.
        width, height: In pixels.
        boxes: Labels.
    """

    jpeg: bytes
    width: int
    height: int
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturesTaken:
    """Pictures of a training, taken once.

    Attributes:
        lane: Position of the lane among all that were ever admitted.
        split: val for the images that are watched over the epochs, train for the first batch as one picture.
        pictures: In the order in which `PicturesWatched` has its boxes.
    """

    lane: int
    split: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturesWatched:
    """What a lane finds after an epoch in the validation images that are watched.

    Attributes:
        lane: Position of the lane among all that were ever admitted.
        epoch: Index of the epoch just finished, from 0.
        boxes: Detections by picture, best first.
    """

    lane: int
    epoch: int
    boxes: tuple[tuple[Box, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleTraced:
    """What passed through one module of a network in a step; norms are no finite numbers where a value is none.

    Attributes:
        name: Of the module, such as blocks.4.conv for a convolution, blocks.4 for what its block hands on.
        output_norm: Euclidean norm of what it put out.
        gradient_norm: The same of the gradient with respect to that, times the loss scale; None where none came back.
        weight_gradient_norm: The same of the gradient of its own weights; None where it has none that are trained.
    """

    name: str
    output_norm: float
    gradient_norm: float | None
    weight_gradient_norm: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTraced:
    """What passed through a lane's network in a step, and what it was shown; before the step's telemetry.

    Attributes:
        lane: Position of the lane among all that were ever admitted.
        step: Batches seen before this one.
        modules: In the order of the forward pass.
        places: Places of the batch's images in the training split.
        pictures: The images as the network saw them, with their labels.
        labels: For each image its labels: class, centre x and y, width and height as fractions of the image.
    """

    lane: int
    step: int
    modules: tuple[ModuleTraced, ...]
    places: tuple[int, ...]
    pictures: tuple[Picture, ...]
    labels: tuple[tuple[tuple[float, ...], ...], ...]


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
