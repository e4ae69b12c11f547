"""What a training shows besides losses and scores, as records that it yields; standard library only.

Objectness by scale, what the layers hold, pictures with what is found in them, and a step looked into. Scales are
ordered as the network's heads are: coarsest grid first. Steps and epochs count from 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectness:
    """Objectness and overlap of some of the predictions that a network makes at one scale.

    A prediction is an anchor in a cell of an image. It is matched where it owns a label by the assignment that the
    loss uses. Its overlap is its largest IoU with any label of the image.

    Attributes:
        scale: Index of the scale, 0 for the coarsest grid.
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
        split: Name of the split that was measured on, val or test.
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
        jpeg: Bytes of the picture as a JPEG file.
        width, height: Width and height of the picture in pixels.
        boxes: Labelled boxes: corners in thousandths of width and height, then the class.
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
        pictures: The pictures, in the order in which `PicturesWatched` has its boxes.
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
        name: Name of the module, such as blocks.4.conv for a convolution, blocks.4 for what its block hands on.
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
        modules: What passed through each module, in the order of the forward pass.
        places: Index of each image of the batch among those that are trained on, from 0.
        pictures: The images as the network saw them, with their labels.
        labels: For each image its labels: class, centre x and y, width and height as fractions of the image.
    """

    lane: int
    step: int
    modules: tuple[ModuleTraced, ...]
    places: tuple[int, ...]
    pictures: tuple[Picture, ...]
    labels: tuple[tuple[tuple[float, ...], ...], ...]
