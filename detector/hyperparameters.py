"""The numbers a detector is trained with, under the field's names; standard library only.

Gains weigh the four loss terms as `loss.py` defines them. Learning rates are those of SGD on a loss that is
summed over the images of a batch, which is how ultralytics/yolov3 counts as well: lr0 0.01 means the same here.
Defaults are for a few hundred small images: boxes weigh more than in ultralytics/yolov3 at 640 pixels, which shrinks
its objectness gain with the area of the image and so arrives at a similar balance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import isnan
from typing import Any

from detector.written_numbers import as_float

SCHEDULES = ("linear", "cosine", "steps")


def _number(default: float, low: float, high: float) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """One setting of everything a study may search over; checked when made.

    Attributes:
        lr0: Learning rate after warm-up.
        lrf: Final learning rate as a fraction of lr0 (not an exponent).
        schedule: Way from lr0 to lr0 * lrf: linear, cosine, or darknet's steps at 80 % and 90 % of the training.
        momentum: Momentum of SGD after warm-up.
        nesterov: Whether the momentum is Nesterov's.
        weight_decay: L2 decay of convolution weights; biases and norms have none.
        warmup_epochs: Length of the warm-up in epochs, fractions allowed, 0 for none.
        warmup_momentum: Momentum at the first step of the warm-up.
        warmup_bias_lr: Learning rate of biases at the first step; the other rates start at 0.
        box, obj, noobj, cls: Gains of the four loss terms.
        ignore_iou: A prediction that overlaps a label more than this is not asked to be background.
        assign_iou: Anchors whose shape overlaps a label at least this much learn it too; 1 leaves the best alone.
        clip_norm: Largest gradient norm of a lane, 0 for no clipping.
        ema_decay: Decay of the moving average of the weights, 0 for none.
        fliplr: Probability of a horizontal flip.
        hsv_h, hsv_s, hsv_v: Largest relative change of hue (fraction of the circle), saturation and brightness.
        translate: Largest shift as a fraction of the image.
        scale: Largest relative change of size.

    Raises:
        ValueError: A value is outside its range, not finite, or of the wrong type.
    """

    lr0: float = _number(0.01, 0.0, 1e6)
    lrf: float = _number(0.01, 0.0, 1.0)
    schedule: str = "linear"
    momentum: float = _number(0.937, 0.0, 0.9999)
    nesterov: bool = True
    weight_decay: float = _number(5e-4, 0.0, 1.0)
    warmup_epochs: float = _number(1.0, 0.0, 1e4)
    warmup_momentum: float = _number(0.8, 0.0, 0.9999)
    warmup_bias_lr: float = _number(0.1, 0.0, 1e6)
    box: float = _number(0.5, 0.0, 1e4)
    obj: float = _number(1.0, 0.0, 1e4)
    noobj: float = _number(1.0, 0.0, 1e4)
    cls: float = _number(0.5, 0.0, 1e4)
    ignore_iou: float = _number(0.7, 0.0, 1.0)
    assign_iou: float = _number(0.4, 0.0, 1.0)
    clip_norm: float = _number(10.0, 0.0, 1e9)
    ema_decay: float = _number(0.999, 0.0, 0.99999)
    fliplr: float = _number(0.5, 0.0, 1.0)
    hsv_h: float = _number(0.015, 0.0, 0.5)
    hsv_s: float = _number(0.7, 0.0, 1.0)
    hsv_v: float = _number(0.4, 0.0, 1.0)
    translate: float = _number(0.1, 0.0, 0.9)
    scale: float = _number(0.5, 0.0, 0.9)

    def __post_init__(self) -> None:
        for each in fields(self):
            _check(each.name, getattr(self, each.name), each.metadata)

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> Hyperparameters:
        """Hyperparameters with the given values and defaults for the rest.

        Raises:
            ValueError: A name is not known or a value is not allowed.
        """
        known = names()
        if unknown := sorted(set(values) - set(known)):
            raise ValueError(f"unknown hyperparameters {unknown}; known: {list(known)}")
        return cls(**{name: _as_field_type(name, value) for name, value in values.items()})


AUGMENTATION = ("fliplr", "hsv_h", "hsv_s", "hsv_v", "translate", "scale")
# Images and targets are made once for all lanes of a population, so its lanes must agree on these.
SHARED_BY_LANES = ("assign_iou", *AUGMENTATION)


def names() -> tuple[str, ...]:
    """Names of all hyperparameters, in the order they are written to files."""
    return tuple(each.name for each in fields(Hyperparameters))


def numeric_range(name: str) -> tuple[float, float]:
    """Smallest and largest value allowed for a numeric hyperparameter.

    Raises:
        KeyError: The hyperparameter is not known or not a number.
    """
    metadata = {each.name: each.metadata for each in fields(Hyperparameters)}[name]
    return metadata["low"], metadata["high"]


def allowed_choices(name: str) -> tuple[object, ...]:
    """Values allowed for a categorical hyperparameter; empty for numbers."""
    return {"schedule": SCHEDULES, "nesterov": (False, True)}.get(name, ())


def _check(name: str, value: object, metadata: Mapping[str, float]) -> None:
    if choices := allowed_choices(name):
        if value not in choices or isinstance(value, bool) != isinstance(choices[0], bool):
            raise ValueError(f"{name}: {value!r:.80} is not one of {list(choices)}")
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name}: {value!r:.80} is not a number")
    low, high = metadata["low"], metadata["high"]
    if not low <= value <= high:  # nan is in no range, and a whole number may be too large for a float
        raise ValueError(f"{name}: {value!r:.80} is outside {low:g}..{high:g}")


def _as_field_type(name: str, value: object) -> Any:
    # A quoted number is text and 1 an integer; both are meant as numbers.
    if allowed_choices(name) or isinstance(value, bool):
        return value
    if isinstance(value, str):
        number = as_float(value)
        return value if isnan(number) else number
    if isinstance(value, int):
        try:
            return float(value)
        except OverflowError:
            return value
    return value
