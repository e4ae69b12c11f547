"""All studies of a database."""

from __future__ import annotations

from math import isfinite

from dashboards.blocks import Cell, Column, Empty, Table, Tile, Tiles
from dashboards.data.overview import Overview, StudySummary
from dashboards.data.trial_sets import VERDICTS
from dashboards.questions.panel import Panel
from evolve import formatting
from evolve.storage.typed import as_typed


def total_rows(view: Overview) -> Tiles | Empty:
    """All studies together."""
    if not view.studies:
        return _no_studies(view)
    running = sum(study.is_running for study in view.studies)
    trials = sum(study.num_trials for study in view.studies)
    return Tiles(
        (
            Tile(label="studies", value=f"{len(view.studies):,}", detail=f"{running:,} running"),
            Tile(label="trials", value=f"{trials:,}", detail="in all studies"),
            Tile(label="diverged", value=f"{sum(study.verdicts.get('diverged', 0) for study in view.studies):,}"),
        )
    )


def rows(view: Overview) -> Table | Empty:
    """A row for each study: the best value, progress, time left, counts by outcome."""
    if not view.studies:
        return _no_studies(view)
    columns = (
        Column(title="study"),
        Column(title="best fitness", kind="number", digits=3),
        Column(title="over seeds", is_long=True),
        Column(title="progress", kind="place"),
        Column(title="trials"),
        Column(title="time left"),
        Column(title="outcomes", is_long=True),
        Column(title="last heard of", is_long=True),
        Column(title="model"),
        Column(title="data"),
    )
    rows = tuple(map(_row, view.studies))
    return Table(name="studies", columns=columns, rows=rows, links_to="study")


def _no_studies(view: Overview) -> Empty:
    first = as_typed("evolve run --study lr_sweep", view.storage)
    return Empty(f"No study is stored here yet. Start one with `{first}`; it appears by itself.")


def _row(study: StudySummary) -> tuple[Cell, ...]:
    planned = f" of {study.num_planned:,}" if study.num_planned else ""
    share = min(study.num_ended / study.num_planned, 1.0) if study.num_planned else ""
    left = formatting.duration(study.seconds_left) if isfinite(study.seconds_left) else ""
    return (
        study.name,
        study.best,
        study.spread,
        share,
        f"{study.num_ended:,}{planned}",
        left or ("running" if study.is_running else "finished" if share == 1 else "stopped"),
        ", ".join(f"{count:,} {verdict}" for verdict in VERDICTS if (count := study.verdicts.get(verdict, 0))),
        formatting.moment(study.last_seen),
        study.model,
        study.data,
    )


TOTAL = Panel(key="totals", title="All studies", rows=total_rows)

PANEL = Panel(key="studies", title="Each study", caption="Those that run come first, then the latest.", rows=rows)
