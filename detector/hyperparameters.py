"""The values a detector is trained with, each declared once, under the field's names; standard library only.

Whatever depends on what a hyperparameter is (allowed values, what lanes share, keys without effect, the list that
`evolve hyp` shows) is derived from the fields of `Hyperparameters`. Functions of the choices are in `detector.choices`.

Gains weigh the four loss terms as `reduction` says. Learning rates are those of SGD on a loss that is
summed over the images of a batch, which is how ultralytics/yolov3 counts as well: lr0 0.01 means the same here.
Defaults are for a few hundred small images: boxes weigh more than in ultralytics/yolov3 at 640 pixels, which shrinks
its objectness gain with the area of the image and so arrives at a similar balance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from detector.declaration import CLASSES, VARIED, Declaration, choice, declared, number

RATES, OPTIMIZER, WARMUP, LOSS = "rates", "optimizer", "warm-up", "loss"
TARGETS, NETWORK, START, AVERAGE = "targets", "network", "start", "average"
AUGMENTATION, SIZE, IMAGES = "augmentation", "size of images", "images"
STEPS_AT = (0.8, 0.9)  # darknet yolov3.cfg: steps 400000 and 450000 of 500200
_WARMING = ("warmup_epochs or warmup_steps",)
_TO_LRF = ("linear", "cosine", "steps", "poly", "exponential", "cosine_restarts", "one_cycle", "plateau")
_STEPS, _PLATEAU = (("schedule", "steps"),), (("schedule", "plateau"),)
_ADAPTIVE, _SPIKES = (("clipping", "adaptive"),), (("on_spike", "skip", "rewind"),)


def _variation(default: float, high: float, meaning: str, unit: str) -> Any:
    """An augmentation: images are made once for all lanes, and 0 leaves them as they are."""
    needs = ((VARIED,),)
    return number(default, 0.0, high, AUGMENTATION, meaning, unit=unit, is_shared=True, needs=needs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """One setting of everything a study may search over; checked when made. `declarations` tells what each means.

    Raises:
        ValueError: A value is outside its range, not finite, or of the wrong type.
    """

    lr0: float = number(0.01, 0.0, 1e6, RATES, "Learning rate after warm-up.")
    lrf: float = number(
        0.01,
        0.0,
        1.0,
        RATES,
        "Learning rate at the end, as a fraction of lr0 (not an exponent).",
        unit="of lr0",
        needs=(("schedule", *_TO_LRF),),
    )
    schedule: str = choice(
        RATES,
        "Way from lr0 to lr0 * lrf. steps and poly are darknet's, exponential its exp; inverse_exponential ends at 0; "
        "plateau falls where the validation loss does not.",
        (*_TO_LRF, "constant", "inverse_exponential"),
    )
    step_at_1: float = number(
        STEPS_AT[0], 0.0, 1.0, RATES, "Where the first of the steps is.", unit="of the training", needs=_STEPS
    )
    step_at_2: float = number(
        STEPS_AT[1], 0.0, 1.0, RATES, "Where the second of the steps is.", unit="of the training", needs=_STEPS
    )
    step_share: float = number(
        0.5, 0.0, 1.0, RATES, "Power of lrf that the first step leaves; at 0.5 both are by the same.", needs=_STEPS
    )
    poly_power: float = number(4.0, 0.0, 100.0, RATES, "Power of what is left.", needs=(("schedule", "poly"),))
    lrf_exponent: float = number(
        -4.0,
        -1000.0,
        0.0,
        RATES,
        "The k of 1 - 10 ^ (k (1 - e/E)), an exponent of ten, which lrf was in 2019.",
        needs=(("schedule", "inverse_exponential"),),
    )
    restart_cycles: float = number(
        3.0, 1.0, 1e3, RATES, "Number of cosines, one after another.", needs=(("schedule", "cosine_restarts"),)
    )
    one_cycle_rise: float = number(
        0.3,
        0.0,
        0.99,
        RATES,
        "Share in which the rate rises to lr0.",
        unit="of the training",
        needs=(("schedule", "one_cycle"),),
    )
    plateau_factor: float = number(0.1, 0.0, 1.0, RATES, "Factor of each drop.", needs=_PLATEAU)
    plateau_patience: float = number(
        10.0, 0.0, 1e4, RATES, "Epochs without a better validation loss that are waited.", unit="epochs", needs=_PLATEAU
    )
    plateau_threshold: float = number(
        1e-4, 0.0, 1.0, RATES, "How much lower a better loss is.", unit="relative", needs=_PLATEAU
    )
    optimizer: str = choice(
        OPTIMIZER,
        "Rule of the update: SGD or RMSprop with momentum, or AdamW or Adam with the momentum as their beta1.",
        ("sgd", "adamw", "adam", "rmsprop"),
    )
    momentum: float = number(0.937, 0.0, 0.9999, OPTIMIZER, "Momentum after warm-up.")
    nesterov: bool = declared(
        True,
        OPTIMIZER,
        "Whether the momentum is Nesterov's.",
        choices=(False, True),
        needs=(("momentum",), ("optimizer", "sgd")),
    )
    weight_decay: float = number(
        5e-4, 0.0, 1.0, OPTIMIZER, "Decay of convolution weights, L2 but in AdamW; biases and norms have none."
    )
    warmup_epochs: float = number(
        1.0,
        0.0,
        1e4,
        WARMUP,
        "Length of the warm-up, fractions allowed; 0 for none, if warmup_steps is 0 too.",
        unit="epochs",
    )
    warmup_steps: float = number(
        0.0,
        0.0,
        1e9,
        WARMUP,
        "Least length of the warm-up: the longer of the two counts, and darknet's burn_in is this one alone.",
        unit="batches",
    )
    warmup: str = choice(
        WARMUP,
        "Way of the rates through the warm-up. quartic is darknet's burn-in, cut_off the same but over with the first "
        "epoch; in prebias only momentum and the biases of the outputs are on their way.",
        ("linear", "quartic", "cut_off", "prebias"),
        needs=(_WARMING,),
    )
    warmup_momentum: float = number(
        0.8, 0.0, 0.9999, WARMUP, "Momentum at the first step of the warm-up.", needs=(_WARMING,)
    )
    warmup_bias_lr: float = number(
        0.1,
        0.0,
        1e6,
        WARMUP,
        "Learning rate of biases at the first step; the other rates start at 0.",
        needs=(_WARMING,),
    )
    anchor_warmup: float = number(
        0.0,
        0.0,
        1e6,
        WARMUP,
        "Batches in which predictions without a label are pulled to their cell's centre and their anchor; 0 for none.",
        unit="batches",
        needs=(("box",),),
    )
    anchor_gain: float = number(
        0.01,
        0.0,
        1e4,
        WARMUP,
        "Weight of this pull in the box term, where a match has 1 and what small_box_gain adds.",
        needs=(("anchor_warmup",), ("box",)),
    )
    box: float = number(0.5, 0.0, 1e4, LOSS, "Gain of the box term.")
    small_box_gain: float = number(
        1.0,
        0.0,
        100.0,
        LOSS,
        "How much more boxes weigh in the box term the smaller they are: one of area a by 1 + this (1 - a). 1 is "
        "darknet's 2 - w h, 0 weighs all alike.",
        needs=(("box",),),
    )
    obj: float = number(1.0, 0.0, 1e4, LOSS, "Gain of the objectness term where an object is.")
    noobj: float = number(1.0, 0.0, 1e4, LOSS, "Gain of the objectness term where none is.")
    cls: float = number(0.5, 0.0, 1e4, LOSS, "Gain of the class term.", needs=((CLASSES,),))
    box_loss: str = choice(
        LOSS,
        "What the box term counts: one minus this overlap of prediction and label, or darknet's squared error.",
        ("ciou", "giou", "iou", "diou", "squared_error"),
        is_shared=True,
        needs=(("box",),),
    )
    objectness: str = choice(
        LOSS,
        "How the objectness terms count: binary cross-entropy; focal, where easy places count less; or squared error.",
        ("bce", "focal", "squared_error"),
        is_shared=True,
    )
    focal_gamma: float = number(
        1.5, 0.0, 10.0, LOSS, "Exponent of the focal loss; 0 is BCE.", needs=(("objectness", "focal"),)
    )
    negatives: str = choice(
        LOSS,
        "Places without an object that are asked to be background: every one, or of an image those that cost most.",
        ("every", "hardest"),
        is_shared=True,
        needs=(("noobj",),),
    )
    negatives_per_object: float = number(
        3.0,
        0.0,
        1e4,
        LOSS,
        "Places asked to be background for each that has an object; an image without any counts as having one.",
        needs=(("negatives", "hardest"),),
    )
    class_loss: str = choice(
        LOSS,
        "How the class term counts: binary cross-entropy of each class by itself, or one softmax over all.",
        ("bce", "softmax"),
        is_shared=True,
        needs=(("cls",), (CLASSES,)),
    )
    label_smoothing: float = number(
        0.0,
        0.0,
        1.0,
        LOSS,
        "Share of a label's class that is given away in what the class term asks for.",
        needs=(("cls",), (CLASSES,)),
    )
    smoothing: str = choice(
        LOSS,
        "Who gets that share: all classes evenly, or in each class by itself the other answer its half.",
        ("uniform", "binary"),
        is_shared=True,
        needs=(("label_smoothing",), ("cls",), (CLASSES,)),
    )
    class_weights: float = number(
        0.0,
        0.0,
        1.0,
        LOSS,
        "How far rare classes weigh more in the class term: 0 as all do, 1 by the inverse of their labels' number.",
        needs=(("cls",), (CLASSES,)),
    )
    reduction: str = choice(
        LOSS,
        "What gains weigh: means over matches or places, sums over an image's, or sums whose root the loss is.",
        ("mean", "sum", "root"),
        is_shared=True,
    )
    ignore_iou: float = number(
        0.7,
        0.0,
        1.0,
        TARGETS,
        "A prediction that overlaps a label more than this is not asked to be background.",
        unit="IoU",
        needs=(("noobj",),),
    )
    obj_iou: float = number(
        1.0,
        0.0,
        1.0,
        LOSS,
        "Share of the IoU in what objectness is asked for where an object is: 0 asks for 1, 1 for the IoU.",
        needs=(("obj",),),
    )
    assignment: str = choice(
        TARGETS,
        "Anchors that learn a label: the best alone, or also those above assign_iou or within assign_ratio.",
        ("shape_ratio", "shape_overlap", "best_anchor"),
        is_shared=True,
    )
    assign_iou: float = number(
        0.4,
        0.0,
        1.0,
        TARGETS,
        "Anchors whose shape overlaps a label at least this much learn it too; 1 leaves the best alone.",
        unit="IoU",
        is_shared=True,
        needs=(("assignment", "shape_overlap"),),
    )
    assign_ratio: float = number(
        4.0,
        1.0,
        100.0,
        TARGETS,
        "Anchors whose sides are within this factor of a label's learn it too.",
        unit="ratio of sides",
        is_shared=True,
        needs=(("assignment", "shape_ratio"),),
    )
    cells: str = choice(
        TARGETS,
        "Cells that learn a label: that of its centre, its two nearer neighbours too, or all eight around.",
        ("neighbours", "centre", "square"),
        is_shared=True,
    )
    positives: str = choice(
        TARGETS,
        "Places that learn a label of those that may: every one, or the align_top that predict it best.",
        ("every", "aligned"),
        is_shared=True,
    )
    align_top: float = number(
        10.0, 1.0, 1000.0, TARGETS, "Places that learn a label at most.", needs=(("positives", "aligned"),)
    )
    align_score: float = number(
        0.5,
        0.0,
        10.0,
        TARGETS,
        "Exponent of the predicted score where places are ranked.",
        needs=(("positives", "aligned"),),
    )
    align_iou: float = number(
        6.0, 0.0, 20.0, TARGETS, "Exponent of the IoU where places are ranked.", needs=(("positives", "aligned"),)
    )
    coding: str = choice(
        TARGETS,
        "How raw outputs become boxes: YOLOv3's exp, or sigmoids that bound the size to 4 anchors; wide ones reach "
        "all cells around.",
        ("bounded", "exp", "wide"),
        is_shared=True,
    )
    normalisation: str = choice(
        NETWORK,
        "What keeps the scale of what layers pass on: norms over batches, over groups of an image's channels, or none.",
        ("batch", "group", "none"),
        is_shared=True,
    )
    head: str = choice(
        NETWORK,
        "Whether boxes and classes are read from the same features, or each from convolutions of its own.",
        ("coupled", "decoupled"),
        is_shared=True,
    )
    initialiser: str = choice(
        START,
        "Distribution of the first kernels: torch's uniform one, He's or Glorot's for the layer, or one for all.",
        ("uniform", "he_normal", "he_uniform", "xavier", "normal"),
    )
    init_std: float = number(
        0.02, 0.0, 10.0, START, "Standard deviation of the first kernels.", needs=(("initialiser", "normal"),)
    )
    prior_bias: bool = declared(
        True,
        START,
        "Whether outputs start with as many objects, and of each class, as the labels have; if not, biases start at 0.",
        choices=(True, False),
    )
    clipping: str = choice(
        OPTIMIZER,
        "How large gradients are made smaller: all of it to a norm, value by value, all of it where the norm is "
        "unusual (ZClip), or not at all.",
        ("norm", "value", "adaptive", "none"),
    )
    clip_norm: float = number(
        10.0,
        0.0,
        1e9,
        OPTIMIZER,
        "Largest gradient norm of a lane, 0 for no clipping.",
        needs=(("clipping", "norm"),),
    )
    clip_value: float = number(
        1.0, 0.0, 1e9, OPTIMIZER, "Largest value of a gradient, 0 for no clipping.", needs=(("clipping", "value"),)
    )
    clip_z: float = number(
        2.5, 0.0, 100.0, OPTIMIZER, "A norm further above its mean is clipped.", unit="deviations", needs=_ADAPTIVE
    )
    clip_decay: float = number(0.97, 0.0, 0.9999, OPTIMIZER, "Decay of that mean and deviation.", needs=_ADAPTIVE)
    clip_warmup: float = number(
        25.0, 1.0, 1e6, OPTIMIZER, "First updates, measured and not clipped.", unit="updates", needs=_ADAPTIVE
    )
    on_spike: str = choice(
        OPTIMIZER,
        "What becomes of an update whose gradient norm is a spike: it is made, skipped, or skipped with the weights "
        "taken back to those before.",
        ("none", "skip", "rewind"),
    )
    spike_z: float = number(
        6.0, 0.0, 1e6, OPTIMIZER, "A norm further above its mean is a spike.", unit="deviations", needs=_SPIKES
    )
    spike_decay: float = number(0.97, 0.0, 0.9999, OPTIMIZER, "Decay of that mean and deviation.", needs=_SPIKES)
    spike_warmup: float = number(
        25.0, 1.0, 1e6, OPTIMIZER, "First updates, none of which is a spike.", unit="updates", needs=_SPIKES
    )
    rewind_steps: float = number(
        20.0,
        1.0,
        1e6,
        OPTIMIZER,
        "Weights are taken back by so many updates at least, and by less than twice as many.",
        unit="updates",
        needs=(("on_spike", "rewind"),),
    )
    ema_decay: float = number(0.999, 0.0, 0.99999, AVERAGE, "Decay of the moving average of the weights, 0 for none.")
    fliplr: float = _variation(0.5, 1.0, "Probability of a horizontal flip.", "probability")
    hsv_h: float = _variation(0.015, 0.5, "Largest change of hue.", "of the circle")
    hsv_s: float = _variation(0.7, 1.0, "Largest relative change of saturation.", "relative")
    hsv_v: float = _variation(0.4, 1.0, "Largest relative change of brightness.", "relative")
    translate: float = _variation(0.1, 0.9, "Largest shift.", "of the image")
    scale: float = _variation(0.5, 0.9, "Largest relative change of size.", "relative")
    flipud: float = _variation(0.0, 1.0, "Probability of a vertical flip.", "probability")
    contrast: float = _variation(0.0, 1.0, "Largest relative change of contrast.", "relative")
    degrees: float = _variation(0.0, 180.0, "Largest rotation.", "degrees")
    shear: float = _variation(0.0, 30.0, "Largest angle by which vertical and horizontal lines lean.", "degrees")
    perspective: float = _variation(
        0.0, 0.4, "How much farther away than the centre an edge of the image is at most.", "of the distance"
    )
    crop: float = _variation(
        0.0, 0.4, "How far each edge of what is seen moves in or out at most, darknet's jitter.", "of the image"
    )
    mosaic: float = _variation(0.0, 1.0, "Probability that an image is one of four around a corner.", "probability")
    close_mosaic: float = number(
        0.0,
        0.0,
        1.0,
        AUGMENTATION,
        "Share of the epochs, the last ones, that have no mosaics.",
        unit="of the epochs",
        is_shared=True,
        needs=((VARIED,), ("mosaic",)),
    )
    mixup: float = _variation(0.0, 1.0, "Probability that another image is laid over an image.", "probability")
    cutout: float = _variation(0.0, 0.9, "Side of a grey square that hides a part.", "of the image")
    multi_scale: float = number(
        0.0,
        0.0,
        0.5,
        SIZE,
        "Largest relative change of the size of a batch's images, in whole multiples of 32 px.",
        unit="of image_size",
        is_shared=True,
    )
    train_share: float = number(
        1.0,
        1e-4,
        1.0,
        IMAGES,
        "Share of the training images that is used, drawn by the seed, a smaller one a part of a larger one. Below 1 "
        "digits are the same in every epoch.",
        unit="of the images",
        is_shared=True,
    )

    def __post_init__(self) -> None:
        for name, declaration in _DECLARATIONS.items():
            declaration.check(getattr(self, name))

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> Hyperparameters:
        """Hyperparameters with the given values and defaults for the rest.

        Raises:
            ValueError: A name is not known or a value is not allowed.
        """
        known = names()
        if unknown := sorted(set(values) - set(known)):
            raise ValueError(f"unknown hyperparameters {unknown}; known: {list(known)}")
        return cls(**{name: _DECLARATIONS[name].parsed(value) for name, value in values.items()})


# Defaults that were other ones, by the generation of defaults that had them last. What was made under an earlier one
# goes on under it. Numbers that come with a new choice need no line: they do nothing until they are asked for.
GENERATION = 2
_FORMER: Mapping[int, Mapping[str, float | str | bool]] = {
    1: {"assignment": "shape_overlap", "cells": "centre", "coding": "exp", "box_loss": "giou", "obj_iou": 0.0},
}
_DECLARATIONS = {field.name: Declaration(name=field.name, **field.metadata) for field in fields(Hyperparameters)}


def declarations() -> Mapping[str, Declaration]:
    """All hyperparameters by name, in the order they are written to files."""
    return _DECLARATIONS


def former_defaults(generation: int) -> Mapping[str, float | str | bool]:
    """Defaults of a generation that are not those of today, by name.

    Raises:
        ValueError: There is no such generation.
    """
    if not 1 <= generation <= GENERATION:
        raise ValueError(f"{generation} is no generation of defaults; allowed: 1 to {GENERATION}, that of today")
    found: dict[str, float | str | bool] = {}
    for last in range(GENERATION - 1, generation - 1, -1):
        found |= _FORMER[last]
    return found


def as_written(values: Mapping[str, object]) -> dict[str, object]:
    """All hyperparameters of a file that was written with every one there was, with those that came later.

    A file that names `coding` and not `cells` is older than the second generation of defaults.
    """
    is_whole = {"coding", "box_loss", "initialiser", "ema_decay", "assign_iou"} <= values.keys()
    older = former_defaults(1) if is_whole and "cells" not in values else {}
    return {**older, **values}


@cache  # asked for with every image that may be augmented
def names(family: str = "") -> tuple[str, ...]:
    """Names of all hyperparameters, or of one family, in the order they are written to files."""
    return tuple(name for name, declaration in _DECLARATIONS.items() if family in ("", declaration.family))


def numeric_range(name: str) -> tuple[float, float]:
    """Smallest and largest value allowed for a numeric hyperparameter.

    Raises:
        KeyError: The hyperparameter is not known or not a number.
    """
    if _DECLARATIONS[name].choices:
        raise KeyError(name)
    return _DECLARATIONS[name].low, _DECLARATIONS[name].high


def allowed_choices(name: str) -> tuple[object, ...]:
    """Values allowed for a categorical hyperparameter; empty for numbers."""
    return _DECLARATIONS[name].choices


def shared_names() -> tuple[str, ...]:
    """Hyperparameters on which the lanes of a population must agree: what is made or computed once for all."""
    return tuple(name for name, declaration in _DECLARATIONS.items() if declaration.is_shared)


def fuse_key(values: Hyperparameters) -> tuple[object, ...]:
    """Equal for hyperparameters that may be trained in one population: the values of all that lanes share."""
    return tuple(getattr(values, name) for name in shared_names())


def without_effect(values: Hyperparameters, facts: Mapping[str, bool]) -> dict[str, str]:
    """Hyperparameters that do nothing in a training, and why.

    Args:
        values: Hyperparameters of the training.
        facts: Keys of `DATA_FACTS` and whether they hold, as far as anybody knows.
    """
    reasons = {
        name: " and ".join(declaration.obstacles(lambda other: (getattr(values, other),), facts))
        for name, declaration in _DECLARATIONS.items()
    }
    return {name: reason for name, reason in reasons.items() if reason}
