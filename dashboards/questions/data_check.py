"""The data, and what its check found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dashboards.blocks import Cell, Column, Empty, Prose, Table
from dashboards.data.study import StudyView
from dashboards.questions import setup
from dashboards.questions.panel import Block, Panel
from detector.findings import KINDS
from evolve import formatting


def rows(view: StudyView) -> tuple[Block, ...]:
    """Counts of images and boxes, and what was clipped or left out."""
    total = sum(view.finding_counts.values())
    kinds = [f"{count:,} {kind.replace('_', ' ')}" for kind, count in view.finding_counts.items()]
    if not total:
        clean = Prose("The data check found nothing to report: no box was clipped or left out.")
        return (*_data_summary(view), clean)
    shown = "" if total == len(view.findings) else f" The first {len(view.findings):,} are listed."
    rows = view.findings[["kind", "file", "line", "message"]].itertuples(index=False, name=None)
    note = Prose(f"{formatting.counted(total, 'finding')}: {formatting.listed(kinds)}.{shown}")
    return (*_data_summary(view), note, findings_table(rows))


def findings_table(rows: Iterable[tuple[str, str, float, str]]) -> Table:
    """Findings of the data check: kind, file, line (NaN where it concerns the whole file) and message of each."""
    columns = (
        Column(title="severity"),
        Column(title="kind"),
        Column(title="file"),
        Column(title="line", kind="number", digits=0),
        Column(title="what", is_long=True),
    )
    cells = tuple(
        (severity_of(kind), kind.replace("_", " "), file, line, message) for kind, file, line, message in rows
    )
    return Table(name="data-findings", columns=columns, rows=cells, is_sortable=True)


def severity_of(kind: str) -> str:
    """How much a kind of finding matters; empty for one of another version."""
    return str(KINDS[kind].severity) if kind in KINDS else ""


def _data_summary(view: StudyView) -> tuple[Table | Empty, ...]:
    summary = view.facts.data_summary
    if not summary:
        return (Empty("No counts of images and boxes are stored for this study; `evolve run` counts them."),)
    return summary_tables(summary)


def summary_tables(summary: Mapping[str, Any]) -> tuple[Table, ...]:
    """Counts of a data set by split, and other facts of it."""
    splits = summary.get("splits")
    counted = {str(name): facts for name, facts in splits.items()} if isinstance(splits, Mapping) else {}
    # What was found is said by the findings themselves.
    rest = {str(key): formatting.as_text(value) for key, value in summary.items() if key not in ("splits", "findings")}
    facts = {key.replace("_", " "): value for key, value in rest.items() if value}
    tables = (_splits_table(counted) if counted else None, setup.pairs("data-facts", "data", facts) if facts else None)
    return tuple(table for table in tables if table is not None)


def _splits_table(splits: Mapping[str, Any]) -> Table:
    keys = list(dict.fromkeys(key for facts in splits.values() for key in facts))
    is_nested = {key: any(isinstance(facts.get(key), Mapping) for facts in splits.values()) for key in keys}
    columns = (
        Column(title="split"),
        *(Column(title=str(key).replace("_", " "), kind="text" if is_nested[key] else "number") for key in keys),
    )
    rows = tuple((name, *(_count_cell(facts.get(key)) for key in keys)) for name, facts in splits.items())
    return Table(name="data-splits", columns=columns, rows=rows)


def _count_cell(value: object) -> Cell:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else formatting.as_text(value)


PANEL = Panel(
    key="data",
    title="The data",
    caption="What the data set holds, and what its check clipped, left out or noticed.",
    rows=rows,
)
