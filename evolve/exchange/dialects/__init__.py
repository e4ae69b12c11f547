"""hyp files in and out of each trainer's dialect: the same effective values, or the reason why not."""

from __future__ import annotations

from typing import Any

from detector.hyperparameters import Hyperparameters, names
from evolve.errors import StudyError, unknown_text
from evolve.exchange.dialects import darknet, early, native, ultralytics, yolov3
from evolve.exchange.dialects.cfg import is_cfg
from evolve.exchange.dialects.context import Context, DialectError, Explanation, Export, Imported, RefusedError, Used
from evolve.exchange.dialects.engine import Dialect, Tabled
from evolve.exchange.dialects.source import Source, read_yaml

__all__ = [
    "DIALECTS",
    "TABLES",
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
    "preset",
    "to_dialect",
    "training_in",
]


# A dialect is added by its table here.
TABLES = {table.name: table for table in (yolov3.TABLE, early.TABLE, ultralytics.TABLE, darknet.TABLE)}
_DIALECTS: dict[str, Dialect] = {native.NAME: native, **{name: Tabled(table) for name, table in TABLES.items()}}
DIALECTS = tuple(_DIALECTS)


def named(dialect: str) -> Dialect:
    """The dialect of a name.

    Raises:
        StudyError: There is no dialect of that name.
    """
    if dialect not in _DIALECTS:
        raise StudyError(unknown_text("dialect", dialect, DIALECTS))
    return _DIALECTS[dialect]


def to_dialect(dialect: str, values: Hyperparameters, context: Context) -> Export:
    """Hyperparameters in our meaning as a file for the training of another trainer.

    Raises:
        RefusedError: A value would be read there with another meaning.
    """
    return named(dialect).to_dialect(values, context)


def from_dialect(dialect: str, text: str, context: Context, *, origin: str) -> Imported:
    """Hyperparameters of another trainer's file, whose text was for a training; `origin` names it in errors.

    Raises:
        DialectError: The file is not in the dialect, or a value is not allowed here.
    """
    return named(dialect).from_source(named(dialect).read(text, origin), context)


def explain(dialect: str, text: str, context: Context, *, origin: str) -> Explanation:
    """What a trainer makes of its own file.

    Raises:
        DialectError: The file cannot be read, or a value is not a number.
    """
    return named(dialect).explain(named(dialect).read(text, origin), context)


def training_in(dialect: str, text: str, *, origin: str) -> dict[str, Any]:
    """What a file says itself of the training that it is for: fields of `Context`; nothing in most dialects.

    Raises:
        DialectError: It cannot be read.
        HypError: It is ours, and a key or value is not allowed.
    """
    return named(dialect).training_in(text, origin)


def preset(dialect: str, context: Context) -> Imported:
    """Our hyperparameters that come nearest to a trainer's usual ones in a training, and notes on what differs.

    Raises:
        StudyError: There is no table of that name.
    """
    if dialect not in TABLES:
        raise StudyError(unknown_text("dialect", dialect, TABLES))
    return Tabled(TABLES[dialect]).preset(context)


def detect(text: str, *, origin: str) -> str:
    """The dialect that a file is written in.

    Raises:
        StudyError: Its keys are of none or of several dialects.
    """
    if is_cfg(text):
        return darknet.NAME
    keys = set(read_yaml(text, origin))
    signs = {native.NAME: native.SIGNS} | {name: table.signs for name, table in TABLES.items()}
    # A name of ours may be a key of others', too: in a file that is ours it says nothing.
    ours = set(names()) if keys & native.SIGNS else set()
    fitting = [name for name, own in signs.items() if keys & own - (ours if name != native.NAME else set())]
    if early.NAME in fitting:  # the later of the early ones have the keys of v9, too
        return early.NAME
    if len(fitting) != 1:
        found = f"keys of {fitting}" if fitting else f"keys that all have: {sorted(keys)[:8]}"
        raise StudyError(f"{origin}: has {found}; say which with --from: {', '.join(DIALECTS)}")
    return fitting[0]
