"""Result files that other trainers' searches leave behind, read cell by cell: a cell that does not fit has its place.

evolve.csv and the old evolve.txt of ultralytics/yolov3, tune_results.ndjson and .csv of the `ultralytics` package, and
the results.csv of a single run of either.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, isnan, nan
from statistics import fmean
from typing import Any, NamedTuple

from detector.written_numbers import as_float, is_not_finite
from evolve.exchange.dialects import early, ultralytics, yolov3
from evolve.exchange.dialects.context import DialectError
from evolve.exchange.dialects.json_lines import read_json
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
_LOSSES = {f"{part}/{term}_loss": term for part in ("train", "val") for term in ("box", "obj", "cls")}
# Columns that are parts of a whole, whoever writes them.
_FRACTIONS = {"fitness", *METRICS, *METRICS.values()}
_MAX_NAME, _MAX_LINE, _MAX_LINES = 100, 100_000, 100_000  # characters of a column and of a line; trainings
_NEVER_HYPERPARAMETERS = ("F1", "loss", "dfl")
V9_FITNESS = {"map50": 0.1, "map50_95": 0.9}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One training of a search, or one epoch of a training.

    Attributes:
        line: Of the file, from 1.
        keys: Hyperparameters as written, with their places.
        metrics: precision, recall, map50 and map50_95 as far as the file has them; nan where it says so.
        losses, train_losses: box, obj and cls in the file's own units.
        fitness: As the file has it, None where it must be made of the metrics.
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
        dialect: Of its hyperparameters.
        rows: In the order of the file, at least one; epochs for results.csv, trainings for the others.
        weights: Of the metrics in the fitness there.
        notes: What a reader should know.
    """

    kind: str
    dialect: str
    rows: tuple[Row, ...]
    weights: Mapping[str, float]
    notes: tuple[str, ...] = ()


def is_results(name: str) -> bool:
    """Whether a file is one of results, by its name's end; hyp files end in yaml or cfg."""
    return name.lower().endswith((".csv", ".txt", ".ndjson", ".jsonl"))


def read_results(text: str, *, origin: str, columns: Sequence[str] = ()) -> Results:
    """Content of a result file.

    Args:
        text: Of the file.
        origin: Its name; the end says how to read it.
        columns: Names of the hyperparameters of an evolve.txt, in order, where their number is none of the known.

    Raises:
        DialectError: It does not fit; names line and column.
    """
    if origin.lower().endswith((".ndjson", ".jsonl")):
        return _tune_ndjson(text, origin)
    return _evolve_txt(text, origin, columns) if origin.lower().endswith(".txt") else _table(text, origin)


def _lines(text: str, origin: str) -> Iterator[tuple[int, str]]:
    """Lines that hold something, with their numbers."""
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


# Files with a header


class _Cell(NamedTuple):  # a file has a quarter of a million: a dataclass takes thrice the time to make
    text: str
    line: int
    column: int


def _cells(line: str, number: int) -> list[_Cell]:
    cells, start = [], 0
    for part in line.split(","):
        cells.append(_Cell(part.strip(), number, start + len(part) - len(part.lstrip()) + 1))
        start += len(part) + 1
    return cells


def _table(text: str, origin: str) -> Results:
    lines = [_cells(line, number) for number, line in _lines(text, origin)]
    if len(lines) < 2:
        raise DialectError(f"{origin}:1:1: holds {len(lines)} lines; allowed: a header and at least one row")
    header = _header(lines[0], origin)
    for cells in lines[1:]:
        if len(cells) != len(header):
            last = cells[-1]
            raise DialectError(
                f"{origin}:{last.line}:{last.column}: {len(cells)} values in a table of {len(header)} columns"
            )
    rows = tuple(_row(dict(zip(header, cells, strict=True)), origin) for cells in lines[1:])
    if "epoch" in header:
        for cells in lines[1:]:
            _check_epoch(cells[header.index("epoch")], origin)
        if not any(name in METRICS for name in header):
            raise DialectError(f"{origin}:1:1: has no metrics; allowed: columns {list(METRICS)[:4]}")
        is_package = "metrics/mAP50(B)" in header
        dialect = ultralytics.NAME if is_package else yolov3.NAME
        return Results(kind="results.csv", dialect=dialect, rows=rows, weights=V9_FITNESS)
    if "fitness" in header:
        return Results(kind="tune_results.csv", dialect=ultralytics.NAME, rows=rows, weights=V9_FITNESS)
    if missing := [name for name in list(METRICS)[:4] if name not in header]:
        raise DialectError(f"{origin}:1:1: columns {missing} are missing; found: {header[:8]}")
    return Results(kind="evolve.csv", dialect=yolov3.NAME, rows=rows, weights=V9_FITNESS)


def _header(cells: list[_Cell], origin: str) -> list[str]:
    seen: set[str] = set()
    for cell in cells:
        if not cell.text or cell.text in seen or len(cell.text) > _MAX_NAME:
            found = "is given twice" if cell.text in seen else "has no name" if not cell.text else "has too long a name"
            raise DialectError(f"{origin}:{cell.line}:{cell.column}: column {cell.text!r:.80} {found}")
        seen.add(cell.text)
    return [cell.text for cell in cells]


def _row(cells: Mapping[str, _Cell], origin: str) -> Row:
    def numbers(names: Mapping[str, str], start: str) -> dict[str, float]:
        return {
            ours: _number(cells[name], name, origin)
            for name, ours in names.items()
            if name in cells and name.startswith(start)
        }

    lr = tuple(_number(cell, name, origin) for name, cell in cells.items() if name.startswith(("x/lr", "lr/pg")))
    return Row(
        line=next(iter(cells.values())).line,
        keys=_keys({name: cell for name, cell in cells.items() if _is_key(name)}, origin),
        metrics=numbers(METRICS, "metrics"),
        losses=numbers(_LOSSES, "val"),
        train_losses=numbers(_LOSSES, "train"),
        fitness=_number(cells["fitness"], "fitness", origin) if "fitness" in cells else None,
        lr=lr,
    )


def _check_epoch(cell: _Cell, origin: str) -> None:
    # Rows are counted, since trainers begin at 0 or at 1; but a cell that is no count belongs to another table.
    if not _number(cell, "epoch", origin).is_integer():
        raise DialectError(f"{origin}:{cell.line}:{cell.column}: epoch: {cell.text!r} is not a whole number")


def _is_key(name: str) -> bool:
    return "/" not in name and name not in ("epoch", "time", "fitness", "iteration", *_NEVER_HYPERPARAMETERS)


def _keys(cells: Mapping[str, _Cell], origin: str) -> Source:
    entries = {name: Entry(text=cell.text, line=cell.line, column=cell.column) for name, cell in cells.items()}
    return Source(origin=origin, entries=entries)


def _number(cell: _Cell, name: str, origin: str) -> float:
    where = f"{origin}:{cell.line}:{cell.column}: {name}"
    value = as_float(cell.text)
    if isnan(value):
        if not is_not_finite(cell.text):
            raise DialectError(f"{where}: {cell.text!r:.80} is not a number; allowed: numbers, nan")
        value = float(cell.text)
    return _in_range(value, name, where)


def _in_range(value: float, name: str, where: str) -> float:
    if name in _FRACTIONS and isfinite(value) and not 0 <= value <= 1:
        raise DialectError(f"{where}: {value:g} is outside 0..1; allowed: 0 to 1, nan")
    return value


# evolve.txt has no header: the number of columns tells the version

_V6 = ("giou", "xy", "wh", "cls", "conf", "conf_bpw", "iou_t", "lr0", "lrf", "momentum", "weight_decay")
_V6_FIRST = ("k", "xy", "wh", "cls", "conf", "iou_t", "lr0", "lrf", "momentum", "weight_decay")
_V7 = (
    *("giou", "cls", "cls_pw", "obj", "obj_pw", "iou_t", "lr0", "lrf", "momentum", "weight_decay", "fl_gamma"),
    *("hsv_h", "hsv_s", "hsv_v", "degrees", "translate", "scale", "shear"),
)
_V9 = tuple(yolov3.DEFAULTS)
_RESULTS_V6 = ("precision", "recall", "map50", "F1", "loss")
_RESULTS_V7 = ("precision", "recall", "map50", "F1", "val/box_loss", "val/obj_loss", "val/cls_loss")
_RESULTS_V9 = ("precision", "recall", "map50", "map50_95", "val/box_loss", "val/obj_loss", "val/cls_loss")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    results: tuple[str, ...]
    keys: tuple[str, ...]
    dialect: str
    weights: Mapping[str, float]


_V6_FITNESS = {"map50": 1.0, "map50_95": 0.0}
_V7_FITNESS = {"recall": 0.01, "map50": 0.99, "map50_95": 0.0}
_LAYOUTS = {
    len(each.results) + len(each.keys): each
    for each in (
        _Layout(results=_RESULTS_V6, keys=_V6_FIRST, dialect=early.NAME, weights=_V6_FITNESS),
        _Layout(results=_RESULTS_V6, keys=_V6, dialect=early.NAME, weights=_V6_FITNESS),
        _Layout(results=_RESULTS_V7, keys=_V7, dialect=early.NAME, weights=_V7_FITNESS),
        _Layout(results=_RESULTS_V9, keys=_V9[:-1], dialect=yolov3.NAME, weights=V9_FITNESS),
        _Layout(results=_RESULTS_V9, keys=_V9, dialect=yolov3.NAME, weights=V9_FITNESS),
    )
}


def _evolve_txt(text: str, origin: str, columns: Sequence[str]) -> Results:
    lines = [_words(line, number) for number, line in _lines(text, origin)]
    if not lines:
        raise DialectError(f"{origin}:1:1: is empty; allowed: a line of numbers for each training")
    layout = _layout(lines[0], origin, columns)
    width = len(layout.results) + len(layout.keys)
    for words in lines:
        if len(words) != width:
            last = words[-1]
            raise DialectError(f"{origin}:{last.line}:{last.column}: {len(words)} values where line 1 has {width}")
    return Results(
        kind="evolve.txt",
        dialect=layout.dialect,
        rows=tuple(_txt_row(words, layout, origin) for words in lines),
        weights=layout.weights,
        notes=(
            f"{width} columns: taken for {', '.join(layout.results)} and {', '.join(layout.keys)}.",
            "rows are sorted by fitness, so the number of a trial says nothing of when it ran.",
        ),
    )


def _words(line: str, number: int) -> list[_Cell]:
    return [_Cell(word.group(), number, word.start() + 1) for word in re.finditer(r"\S+", line)]


def _layout(words: list[_Cell], origin: str, columns: Sequence[str]) -> _Layout:
    if columns:
        is_early = not {"anchor_t", "warmup_epochs"} & set(columns)
        results = {5: _RESULTS_V6, 7: _RESULTS_V7 if is_early else _RESULTS_V9}.get(len(words) - len(columns))
        if results is None:
            raise DialectError(
                f"{origin}:1:{words[-1].column}: {len(words)} values, {len(columns)} of them named, leave "
                f"{len(words) - len(columns)} results; allowed: 5 or 7"
            )
        weights = {_RESULTS_V6: _V6_FITNESS, _RESULTS_V7: _V7_FITNESS}.get(results, V9_FITNESS)
        dialect = early.NAME if is_early else yolov3.NAME
        return _Layout(results=results, keys=tuple(columns), dialect=dialect, weights=weights)
    if len(words) not in _LAYOUTS:
        raise DialectError(
            f"{origin}:1:{words[-1].column}: {len(words)} values; versions are known with {sorted(_LAYOUTS)}; name the "
            "hyperparameters in their order: --columns lr0,lrf,..."
        )
    return _LAYOUTS[len(words)]


def _txt_row(words: list[_Cell], layout: _Layout, origin: str) -> Row:
    count = len(layout.results)
    found = {name: _number(word, name, origin) for name, word in zip(layout.results, words[:count], strict=True)}
    return Row(
        line=words[0].line,
        keys=_keys(dict(zip(layout.keys, words[count:], strict=True)), origin),
        metrics={name: found[name] for name in METRICS.values() if name in found},
        losses={_LOSSES[name]: value for name, value in found.items() if name in _LOSSES},
    )


# tune_results.ndjson


def _tune_ndjson(text: str, origin: str) -> Results:
    rows = tuple(_ndjson_row(line, number, origin) for number, line in _lines(text, origin))
    if not rows:
        raise DialectError(f"{origin}:1:1: is empty; allowed: a JSON object in each line")
    return Results(kind="tune_results.ndjson", dialect=ultralytics.NAME, rows=rows, weights=V9_FITNESS)


def _ndjson_row(line: str, number: int, origin: str) -> Row:
    found = read_json(line, f"{origin}:{number}")
    place = _Places(origin, line, number)
    if not isinstance(found, dict):
        raise place.error("", f"is {type(found).__name__}; allowed: an object")
    keys = found.get("hyperparameters")
    if not isinstance(keys, dict):
        raise place.error("hyperparameters", "is missing or not an object")
    datasets = found.get("datasets") or {}
    if not isinstance(datasets, dict):
        raise place.error("datasets", "is not an object of metrics by data set")
    failed = found.get("failed_datasets") or []
    entries = {
        str(key): Entry(text=str(value), line=number, column=place.column(str(key))) for key, value in keys.items()
    }
    return Row(
        line=number,
        keys=Source(origin=origin, entries=entries),
        metrics=dict(_mean_metrics(datasets, place)),
        fitness=place.number("fitness", found.get("fitness")),
        failure=f"failed on {_names(failed)}" if failed and not datasets else "",
    )


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the keys of a JSON line are."""

    origin: str
    line: str
    number_of_line: int

    def column(self, key: str) -> int:
        return max(self.line.find(json.dumps(key)), 0) + 1

    def error(self, key: str, text: str) -> DialectError:
        where = f"{self.origin}:{self.number_of_line}:{self.column(key) if key else 1}"
        return DialectError(f"{where}: {key}: {text}" if key else f"{where}: {text}")

    def number(self, key: str, value: Any) -> float:
        if value is None:
            return nan
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(key, f"{value!r:.80} is not a number; allowed: numbers, NaN, null")
        where = f"{self.origin}:{self.number_of_line}:{self.column(key)}: {key}"
        return _in_range(float(value), key, where)


def _mean_metrics(datasets: Mapping[str, Any], place: _Places) -> Iterator[tuple[str, float]]:
    """Means over the data sets of the metrics that all of them have."""
    for name, metrics in datasets.items():
        if not isinstance(metrics, dict):
            raise place.error(name, "is not an object of metrics")
    for key, ours in METRICS.items():
        if datasets and all(key in metrics for metrics in datasets.values()):
            yield ours, fmean(place.number(key, metrics[key]) for metrics in datasets.values())


def _names(failed: Any) -> str:
    return ", ".join(map(str, failed)) if isinstance(failed, list | dict) else str(failed)
