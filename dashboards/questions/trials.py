"""All trials, and those that failed."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from typing import Any

import pandas as pd

from dashboards.blocks import Cell, Column, Disclosure, Empty, Prose, Table
from dashboards.data.shown import none_shown, none_started
from dashboards.data.study import Parameter, StudyView
from dashboards.data.trial_sets import started
from dashboards.questions import headline
from dashboards.questions.panel import Panel
from evolve import formatting

MAX_FAILURES = 20
RESULT_COLUMNS = {
    "fitness": Column(title="fitness", kind="number", digits=3),
    "map50": Column(title="mAP50", kind="number", unit="val", digits=3),
    "map50_95": Column(title="mAP50\N{EN DASH}95", kind="number", unit="val", digits=3),
    "test_map50": Column(title="mAP50", kind="number", unit="test", digits=3),
    "seconds": Column(title="time", kind="number", unit="s", digits=1),
}


def rows(view: StudyView) -> Table | Empty:
    """All trials with their hyperparameters and results."""
    trials = started(view.trials)
    if trials.empty:
        return none_started(view)
    axes = [axis for axis in view.space if axis.name in view.params]
    params = view.params[[axis.name for axis in axes]].astype(object).reindex(trials["number"])
    has_test = bool(trials["test_map50"].map(isfinite).any())
    results = ["fitness", "map50", "map50_95", *(["test_map50"] if has_test else [])]
    columns = (
        Column(title="trial", kind="number", digits=0),
        Column(title="verdict", kind="verdict"),
        *(_result_column(view, name) for name in results),
        Column(title="reason", is_long=True),
        *((Column(title="notes", is_long=True),) if len(view.notes) else ()),
        RESULT_COLUMNS["seconds"],
        *(Column(title=axis.name, kind="text" if axis.is_categorical else "number") for axis in axes),
    )
    rows = zip(
        trials["number"],
        trials["verdict"],
        *(trials[name] for name in results),
        map(_reason, trials["reason"], trials["traceback"]),
        *((_notes(view, trials),) if len(view.notes) else ()),
        trials["seconds"],
        *(_cells(params[axis.name], axis) for axis in axes),
        strict=True,
    )
    return Table(name="trials", columns=columns, rows=tuple(rows), is_sortable=True, links_to="trial")


def failure_rows(view: StudyView) -> tuple[Disclosure, ...] | Prose:
    """Tracebacks of failed trials, the same error once, the most frequent first."""
    failed = _failed(view.trials)
    if failed.empty:
        return Prose(none_shown(view, "failed", _failed) or "No trial failed.")
    groups: dict[str, list[tuple[int, str]]] = {}
    for number, reason, traceback in zip(failed["number"], failed["reason"], failed["traceback"], strict=True):
        groups.setdefault(_reason(reason, traceback), []).append((int(number), traceback))
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    shown = [_failure(error, members) for error, members in ordered[:MAX_FAILURES]]
    if rest := ordered[MAX_FAILURES:]:
        others = "\n".join(f"{_trial_list(members)}: {error}" for error, members in rest)
        shown.append(Disclosure(summary=f"{len(rest):,} rarer errors", text=others))
    return tuple(shown)


def _failed(trials: pd.DataFrame) -> pd.DataFrame:
    return trials[trials["verdict"] == "failed"]


def _result_column(view: StudyView, name: str) -> Column:
    column = RESULT_COLUMNS[name]
    return replace(column, unit=headline.mean_text(view)) if name == "fitness" else column


def _cells(values: pd.Series[Any], axis: Parameter) -> list[Cell]:
    return ["" if axis.is_categorical and _is_nan(value) else value for value in values]


def _reason(reason: str, traceback: str) -> str:
    return formatting.last_line(traceback) or reason


def _notes(view: StudyView, trials: pd.DataFrame) -> list[str]:
    texts: dict[int, list[str]] = {}
    for number, text, tag in zip(view.notes["number"], view.notes["text"], view.notes["tag"], strict=True):
        texts.setdefault(int(number), []).append(" ".join(part for part in (f"#{tag}" if tag else "", text) if part))
    return ["; ".join(texts.get(int(number), ())) for number in trials["number"]]


def _failure(error: str, members: list[tuple[int, str]]) -> Disclosure:
    traceback = next((text for _, text in members if text), "")
    return Disclosure(
        summary=f"{_trial_list(members)}: {error or 'no reason stored'}",
        text=traceback or "No traceback is stored: the process ended without writing one, or was killed.",
    )


def _trial_list(members: list[tuple[int, str]]) -> str:
    numbers = formatting.listed([str(number) for number, _ in members], limit=8)
    return f"{'Trial' if len(members) == 1 else 'Trials'} {numbers}"


def _is_nan(value: object) -> bool:
    return value is None or (isinstance(value, float) and value != value)


PANEL = Panel(key="trials", title="All trials", rows=rows)

FAILURE = Panel(key="failures", title="Trials that failed", rows=failure_rows)
