"""Our own hyp.yaml, as a dialect among the others."""

from __future__ import annotations

from math import ceil
from typing import Any

from detector.choices.schedules import SCHEDULES, Moment
from detector.declaration import CLASSES
from detector.families import AUGMENTATION
from detector.hyperparameters import Hyperparameters, declarations, names, without_effect
from detector.schedule import warmup_length
from evolve.exchange.dialects.context import Context, Explanation, Export, Imported, Used, short
from evolve.exchange.dialects.source import Source, read_yaml
from evolve.study.hyp import LATER, HypError, hyp_text, parse_hyp

NAME = "native"
# Keys that no other dialect has.
SIGNS = frozenset(
    {"noobj", "ignore_iou", "assign_iou", "schedule", "training", LATER, "nesterov", "clip_norm", "ema_decay"}
)
# Of the training section; a context does not know data and precision.
_TRAINING = ("model", "image_size", "batch_size", "nominal_batch_size", "epochs")


def to_dialect(values: Hyperparameters, context: Context) -> Export:
    """Our hyp.yaml: everything is carried over."""
    body = hyp_text(values, {name: getattr(context, name) for name in _TRAINING})
    return Export(dialect=NAME, body=body, how=("Train: evolve train --hyp FILE --data DATA",), notes=())


def from_source(source: Source, context: Context) -> Imported:  # noqa: ARG001
    """Our own values.

    Raises:
        DialectError: A key or value is not allowed.
    """
    sections = ("training", LATER)
    for key in source:
        if key not in sections and key not in names():
            raise source.error(key, f"is not a hyperparameter; known: {list(names())}")
    values = {key: _as_written(source, key) for key in source if key not in sections}
    notes = (
        (f"{LATER}: is left out: no other file can say that values change in a training.",) if LATER in source else ()
    )
    return Imported(values=source.hyperparameters(values), notes=notes)


def read(text: str, origin: str) -> Source:
    """Keys of a hyp file's text, whose training section is allowed too.

    Raises:
        DialectError: It cannot be read.
        HypError: A key or value is not allowed.
    """
    parse_hyp(text, origin)
    return read_yaml(text, origin)


def training_in(text: str, origin: str) -> dict[str, Any]:
    """What the training section says, as fields of `Context`.

    Raises:
        HypError: A key or value of the file is not allowed.
    """
    training = parse_hyp(text, origin).training
    found = {name: training[name] for name in _TRAINING if training.get(name) is not None}
    for name, value in found.items():
        kind, words = (str, "a name") if name == "model" else (int, "a whole number")
        if not isinstance(value, kind) or isinstance(value, bool):
            raise HypError(f"{origin}: training.{name}: {value!r} is not {words}")
    return found


def _as_written(source: Source, key: str) -> object:
    default = declarations()[key].default
    if isinstance(default, bool):
        return source.truth(key)
    return source.text(key) if isinstance(default, str) else float(source.number(key))


def explain(source: Source, context: Context) -> Explanation:
    """What our trainer uses, and which keys do nothing."""
    values = from_source(source, context).values
    steps = ceil(warmup_length(values, steps_per_epoch=context.batches))
    lr_last = values.lr0 * SCHEDULES[values.schedule](Moment(progress=1.0), values)
    used = [
        Used(name=name, given=source.text(name), used=short(getattr(values, name)), why="not rescaled")
        for name in ("box", "obj", "noobj", "cls", "weight_decay", "momentum")
    ]
    used.append(Used(name="warm-up", given=source.text("warmup_epochs"), used=f"{steps} iterations", why="no floor"))
    used.append(Used(name="last lr", given=source.text("lrf"), used=short(lr_last), why=values.schedule))
    images = context.batch_size * context.accumulation
    used.append(Used(name="update", given="", used=f"every {images} images", why=f"{context.accumulation} batches"))
    problems = []
    if steps >= context.total_batches:
        problems.append(f"warm-up of {steps} iterations is not over in a training of {context.total_batches}")
    return Explanation(dialect=NAME, used=tuple(used), idle=_idle(values, context), problems=tuple(problems))


def _idle(values: Hyperparameters, context: Context) -> dict[str, str]:
    idle = without_effect(values, {CLASSES: context.classes > 1})
    if off := [name for name in names(AUGMENTATION) if getattr(values, name) == 0 != declarations()[name].default]:
        idle[", ".join(off)] = "0 switches it off"
    return idle
