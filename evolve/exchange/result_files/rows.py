"""What a result file holds, and the cells that it is read from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite, isnan
from typing import NamedTuple

from detector.written_numbers import as_float, is_not_finite
from evolve.exchange.dialects.context import DialectError
from evolve.exchange.dialects.source import Entry, Source

METRICS = {
    "metrics/precision": "precision",
    "metrics/recall": "recall",
    "metrics/mAP_0.5": "map50",
    "metrics/mAP_0.5:0.95": "map50_95",
    "metrics/precision(B)": "precision",
    "metrics/recall(B)": "recall",
    "metrics/mAP50(B)": "map50",
    "metrics/mAP50-95(B)": "map50_95",
}
LOSSES = {f"{split}/{term}_loss": term for split in ("train", "val") for term in ("box", "obj", "cls")}
# ultralytics/yolov3 utils/metrics.py from v9 on, and the `ultralytics` package.
V9_FITNESS = {"map50": 0.1, "map50_95": 0.9}
# Columns that are fractions of a whole, whoever writes them.
_FRACTIONS = {"fitness", *METRICS, *METRICS.values()}
_MAX_LINE, _MAX_LINES = 100_000, 100_000  # characters of a line; trainings


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One training of a search, or one epoch of a training.

    Attributes:
        line: Number of the line in the file, from 1.
        keys: Hyperparameters as written, with their places.
        metrics: precision, recall, map50 and map50_95 in 0..1 as far as the file has them; nan where it says so.
        losses, train_losses: box, obj and cls in the file's own units.
        fitness: Fitness in 0..1 as the file has it, None where it must be made of the metrics.
        lr: Learning rates of the parameter groups.
        failure: Why the training counts as failed, empty if it does not.
    """

    line: int
    keys: Source
    metrics: Mapping[str, float]
    losses: Mapping[str, float] = field(default_factory=dict)
    train_losses: Mapping[str, float] = field(default_factory=dict)
    fitness: float | None = None
    lr: tuple[float, ...] = ()
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """A result file.

    Attributes:
        kind: evolve.csv, evolve.txt, tune_results.ndjson, tune_results.csv or results.csv.
        dialect: Name of the dialect that its hyperparameters are in.
        rows: Rows in the order of the file, at least one; epochs for results.csv, trainings for the others.
        weights: Weights of the metrics in the fitness there.
        notes: What a reader should know.
    """

    kind: str
    dialect: str
    rows: tuple[Row, ...]
    weights: Mapping[str, float]
    notes: tuple[str, ...] = ()


class Cell(NamedTuple):  # a file has a quarter of a million: a dataclass takes thrice the time to make
    """A value in a line of a table, with line and column from 1."""

    text: str
    line: int
    column: int


def lines_of(text: str, origin: str) -> Iterator[tuple[int, str]]:
    """Lines that hold something, with their numbers.

    Raises:
        DialectError: There are too many, or one is too long.
    """
    lines = text.splitlines()
    if len(lines) > _MAX_LINES:
        raise DialectError(
            f"{origin}:{_MAX_LINES + 1}:1: holds more than {_MAX_LINES:,} lines; allowed: a training each"
        )
    for number, line in enumerate(lines, 1):
        if len(line) > _MAX_LINE:
            raise DialectError(f"{origin}:{number}:1: has {len(line):,} characters; allowed: {_MAX_LINE:,}")
        if line.strip():
            yield number, line


def keys_of(cells: Mapping[str, Cell], origin: str) -> Source:
    """Hyperparameters of a row."""
    entries = {name: Entry(text=cell.text, line=cell.line, column=cell.column) for name, cell in cells.items()}
    return Source(origin=origin, entries=entries)


def number_in(cell: Cell, name: str, origin: str) -> float:
    """The number in a cell of the column `name`, nan and infinity included.

    Raises:
        DialectError: It is not a number, or outside 0..1 where the column holds fractions.
    """
    where = f"{origin}:{cell.line}:{cell.column}: {name}"
    value = as_float(cell.text)
    if isnan(value):
        if not is_not_finite(cell.text):
            raise DialectError(f"{where}: {cell.text!r:.80} is not a number; allowed: numbers, nan")
        value = float(cell.text)
    return in_range(value, name, where)


def in_range(value: float, name: str, where: str) -> float:
    """The same value, if a column of that name may hold it; `where` begins the error."""
    if name in _FRACTIONS and isfinite(value) and not 0 <= value <= 1:
        raise DialectError(f"{where}: {value:g} is outside 0..1; allowed: 0 to 1, nan")
    return value
