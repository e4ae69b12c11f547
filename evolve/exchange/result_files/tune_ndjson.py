"""tune_results.ndjson of the `ultralytics` package: a training in each line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import nan
from statistics import fmean
from typing import Any

from evolve.exchange.dialects import ultralytics
from evolve.exchange.dialects.context import DialectError
from evolve.exchange.dialects.source import Entry, Source
from evolve.exchange.result_files.json_lines import read_json
from evolve.exchange.result_files.rows import METRICS, V9_FITNESS, Results, Row, in_range, lines_of


def read_tune_ndjson(text: str, origin: str) -> Results:
    """Content of a tune_results.ndjson.

    Raises:
        DialectError: It does not fit; names line and column.
    """
    rows = tuple(_ndjson_row(line, number, origin) for number, line in lines_of(text, origin))
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
        return in_range(float(value), key, where)


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
