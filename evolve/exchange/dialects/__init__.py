"""hyp files in and out of each trainer's dialect: the same effective values, or the reason why not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from detector.hyperparameters import Hyperparameters, declarations, names
from evolve.errors import StudyError, unknown_text
from evolve.exchange.dialects import darknet, early, native, ultralytics, yolov3
from evolve.exchange.dialects.context import Context, DialectError, Explanation, Export, Imported, RefusedError, Used
from evolve.exchange.dialects.source import Source, read_yaml

__all__ = [
    "DIALECTS",
    "Context",
    "DialectError",
    "Explanation",
    "Export",
    "Imported",
    "RefusedError",
    "Source",
    "Used",
    "detect",
    "explain",
    "from_dialect",
    "named",
    "to_dialect",
    "training_in",
]


class Dialect(Protocol):
    """One trainer's way to write hyperparameters."""

    NAME: str

    def to_dialect(self, values: Hyperparameters, context: Context) -> Export:
        """Ours -> theirs; raises `RefusedError`."""

    def from_source(self, source: Source, context: Context) -> Imported:
        """Theirs -> ours; raises `DialectError`."""

    def explain(self, source: Source, context: Context) -> Explanation:
        """What the trainer makes of its own file."""


_MODULES: dict[str, Dialect] = {each.NAME: each for each in (native, yolov3, early, ultralytics, darknet)}
DIALECTS = tuple(_MODULES)

# Keys that only one dialect has.
_SIGNS = {
    native.NAME: {"noobj", "ignore_iou", "assign_iou", "schedule", "training", "nesterov", "clip_norm", "ema_decay"},
    early.NAME: {"k", "xy", "wh", "conf", "conf_bpw", "giou"},
    ultralytics.NAME: {"dfl", "optimizer", "nbs", "cos_lr", "close_mosaic", "imgsz", "batch"},
    yolov3.NAME: {"anchor_t", "obj_pw", "fl_gamma"},
}


def named(dialect: str) -> Dialect:
    """The dialect of a name.

    Raises:
        StudyError: There is none.
    """
    if dialect not in _MODULES:
        raise StudyError(unknown_text("dialect", dialect, DIALECTS))
    return _MODULES[dialect]


def to_dialect(dialect: str, values: Hyperparameters, context: Context) -> Export:
    """Hyperparameters for another trainer.

    Args:
        dialect: One of `DIALECTS`.
        values: In our meaning.
        context: The training there.

    Raises:
        RefusedError: A value would be read there with another meaning.
    """
    export = named(dialect).to_dialect(values, context)
    if dialect == native.NAME:
        return export
    if values.optimizer != "sgd":
        raise RefusedError(
            f"{dialect}: optimizer {values.optimizer}: the file would be read with SGD, for which its lr0 is none; "
            "allowed: hyperparameters that were found with sgd"
        )
    return replace(export, notes=(*export.notes, _lost_choices(values)))


def _lost_choices(values: Hyperparameters) -> str:
    """A note on all that is chosen by a name, which no other trainer's file has a key for, and what belongs to it."""
    chosen = [name for name, each in declarations().items() if isinstance(each.default, str) and name != "schedule"]
    belonging = [name for name, each in declarations().items() if any(need in chosen for need, *_ in each.needs)]
    text = ", ".join(f"{name} {getattr(values, name)}" for name in dict.fromkeys([*chosen, *belonging]))
    return f"{text}: no keys for these; there they are as that trainer has them."


def from_dialect(dialect: str, text: str, context: Context, *, origin: str) -> Imported:
    """Hyperparameters of another trainer's file.

    Args:
        dialect: One of `DIALECTS`.
        text: Content of the file.
        context: The training that the file was for.
        origin: Name of the file, for errors.

    Raises:
        DialectError: The file is not in the dialect, or a value is not allowed here.
    """
    return named(dialect).from_source(source_of(dialect, text, origin=origin), context)


def source_of(dialect: str, text: str, *, origin: str) -> Source:
    """Keys of a file with their places.

    Raises:
        DialectError: It cannot be read.
    """
    named(dialect)
    if dialect == darknet.NAME:
        return darknet.read_cfg(text, origin)
    if dialect == native.NAME:
        native.check(text, origin)
    return read_yaml(text, origin)


def training_in(dialect: str, text: str, *, origin: str) -> dict[str, Any]:
    """What a file says itself of the training that it is for: fields of `Context`; nothing in most dialects.

    Raises:
        DialectError: It cannot be read.
        HypError: It is ours, and a key or value is not allowed.
    """
    if dialect == native.NAME:
        return native.training_in(text, origin)
    source = source_of(dialect, text, origin=origin)
    if dialect == ultralytics.NAME:
        return ultralytics.training_in(source)
    return darknet.training_in(source) if dialect == darknet.NAME else {}


def explain(dialect: str, text: str, context: Context, *, origin: str) -> Explanation:
    """What a trainer makes of its own file.

    Raises:
        DialectError: The file cannot be read, or a value is not a number.
    """
    return named(dialect).explain(source_of(dialect, text, origin=origin), context)


def detect(text: str, *, origin: str) -> str:
    """The dialect that a file is written in.

    Raises:
        StudyError: Its keys are of none or of several dialects.
    """
    if any(line.strip().lower() in ("[net]", "[network]") for line in text.splitlines()):
        return darknet.NAME
    keys = set(read_yaml(text, origin))
    ours = set(names()) if keys & _SIGNS[native.NAME] else set()
    fitting = [name for name, signs in _SIGNS.items() if keys & signs - (ours if name != native.NAME else set())]
    if early.NAME in fitting:  # the later of the early ones have the keys of v9, too
        return early.NAME
    if len(fitting) != 1:
        found = f"keys of {fitting}" if fitting else f"keys that all have: {sorted(keys)[:8]}"
        raise StudyError(f"{origin}: has {found}; say which with --from: {', '.join(DIALECTS)}")
    return fitting[0]
