"""The values a detector is trained with, each declared once, in `detector.families`; standard library only.

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

from detector.declaration import Declaration
from detector.families.gradients import Gradients
from detector.families.images import Images
from detector.families.loss import Losses
from detector.families.network import Network
from detector.families.updates import Updates


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters(Images, Gradients, Network, Losses, Updates):
    """One setting of everything a study may search over; checked when made. `declarations` tells what each means.

    The fields are those of the classes it is made of, which dataclasses put in order from the last to the first.

    Raises:
        ValueError: A value is outside its range, not finite, or of the wrong type.
    """

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
    """Key that is equal for hyperparameters that may be in one population: the values of all that lanes share."""
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
