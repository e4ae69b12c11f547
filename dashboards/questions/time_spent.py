"""Where did the time of the workers go?"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import pandas as pd
import plotly.graph_objects as go

from dashboards.blocks import Cell, Column, Empty, Prose, Table
from dashboards.data.study import StudyView
from dashboards.figures import theme
from dashboards.questions.panel import Block, Panel
from dashboards.questions.timeline import UNITS
from evolve import formatting
from evolve.storage.time_spent import RunSpan, TimeSpent

HEIGHT = 240  # pixels
# What is of no trial, in the colours of no verdict.
OTHERS = {"lost": "#B4B9C2", "waiting": theme.NEUTRAL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Where the time went.

    Attributes:
        rows: Parts of the time, with the columns went_into (training, validating, lost or waiting), verdict of the
            trials (empty for what is of none), and seconds of a worker.
        known: What is known of the time, which the rows are made of.
    """

    rows: pd.DataFrame
    known: TimeSpent


def rows(view: StudyView) -> Spent | Empty:
    """Seconds by what they went into, and by the verdict of the trials."""
    known = view.time
    if not known.runs and not known.spent.total:
        return Empty("No times are stored: nothing of this study was trained here.")
    found = [
        (name, verdict, getattr(seconds, name))
        for name in ("training", "validating")
        for verdict, seconds in known.by_verdict.items()
    ]
    found += [(name, "", seconds) for name, seconds in known.parts.items() if name in OTHERS]
    return Spent(rows=pd.DataFrame(found, columns=["went_into", "verdict", "seconds"]), known=known)


def blocks(spent: Spent) -> tuple[Block, ...]:
    """A sentence, a bar for each thing that time went into, and the runs."""
    runs = (_runs(spent.known.runs),) if spent.known.runs else ()
    return (Prose(sentence(spent.known)), _draw(spent), *runs)


def sentence(known: TimeSpent) -> str:
    """What the picture shows, in words."""
    work = known.spent.total
    wasted = known.wasted / work if work else 0.0
    of = f"{wasted:.0%} of training and validating went into trials that diverged, were pruned or failed."
    if not isfinite(known.waiting):
        since = "Waiting is not known, since trials were trained before runs were recorded. "
        return f"{formatting.duration(work)} of training and validating. {since}{of}"
    total = known.worker_seconds
    parts = [f"{seconds / total:.0%} {name}" for name, seconds in known.parts.items() if total and seconds]
    runs = formatting.counted(len(known.runs), "run")
    return f"{formatting.duration(total)} of workers in {runs}: {formatting.listed(parts)}. {of}"


def _draw(spent: Spent) -> go.Figure:
    by_place = spent.rows.groupby("went_into", sort=False)["seconds"].sum()
    _, unit, name = next(found for found in UNITS if by_place.max() >= found[0])
    figure = theme.new_figure(height=HEIGHT, x=f"{name} of a worker", y="went into", showlegend=True, barmode="stack")
    of_trials = spent.rows[spent.rows["verdict"] != ""]
    for verdict, part in theme.by_verdict(of_trials):
        _add(figure, part, unit, name=verdict, color=theme.style(verdict).color)
    for what, color in OTHERS.items():
        if len(part := spent.rows[spent.rows["went_into"] == what]):
            _add(figure, part, unit, name=what, color=color)
    order = list(by_place.index)
    figure.update_layout(yaxis={"categoryorder": "array", "categoryarray": order[::-1]})
    return figure


def _add(figure: go.Figure, part: pd.DataFrame, unit: float, *, name: str, color: str) -> None:
    figure.add_bar(
        x=part["seconds"] / unit,
        y=part["went_into"],
        orientation="h",
        name=name,
        marker={"color": color, "line": {"width": 0}},
        text=[formatting.duration(seconds) for seconds in part["seconds"]],
        textposition="none",
        hovertemplate=f"<b>%{{y}}</b> {theme.label(name)}<br>%{{text}}<extra></extra>",
    )


def _runs(runs: tuple[RunSpan, ...]) -> Table:
    columns = (
        Column(title="began"),
        Column(title="took"),
        Column(title="end"),
        Column(title="workers", kind="number", digits=0),
        Column(title="trials at once in each", kind="number", digits=0),
        Column(title="engine"),
        Column(title="host"),
        Column(title="device"),
    )
    return Table(name="runs", columns=columns, rows=tuple(map(_run, runs)))


def _run(run: RunSpan) -> tuple[Cell, ...]:
    end = "ended" if run.has_ended else "last heard of"
    took = formatting.duration(run.seconds)
    return formatting.moment(run.started), took, end, run.workers, run.lanes, run.engine, run.host, run.device


PANEL = Panel(
    key="time",
    title="Where did the time go?",
    caption="Of all trials, filtered or not. Waiting is what is left of workers times wall time: starting up, checking "
    "data, saving, and having nothing to do. Lost is what was trained again after a worker or a run was killed.",
    rows=rows,
    blocks=blocks,
)
