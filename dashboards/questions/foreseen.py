"""Was it foreseen?"""

from __future__ import annotations

import pandas as pd

from dashboards.blocks import Column, Empty, Prose, Table
from dashboards.data.study import StudyView
from dashboards.questions.panel import Panel
from evolve.formatting import counted
from evolve.outcome.verdict import TRAINED_THROUGH, Verdict
from evolve.storage.ledger import EventKind


def warnings_of(view: StudyView) -> pd.DataFrame:
    """Events of the trainings of the trials in view that foretold that they would be lost, the earliest first."""
    events = view.events
    return events[(events["kind"] == EventKind.WARNED) & events["number"].isin(view.trials["number"])]


def rows(view: StudyView) -> tuple[Prose, Table] | Empty:
    """What became of the trials that warned, with the numbers by which they did."""
    warned = warnings_of(view)
    if warned.empty:
        return Empty("No warning of a training is stored.")
    verdicts = dict(zip(view.trials["number"], view.trials["verdict"], strict=True))
    columns = (
        Column(title="trial", kind="number", digits=0),
        Column(title="then", kind="verdict"),
        Column(title="by what", is_long=True),
    )
    table_rows = tuple(
        (int(number), verdicts[int(number)], message)
        for number, message in zip(warned["number"], warned["message"], strict=True)
    )
    table = Table(name="foreseen", columns=columns, rows=table_rows, is_sortable=True, links_to="trial")
    return Prose(_counts(verdicts, set(warned["number"]))), table


def _counts(verdicts: dict[int, str], warned: set[float]) -> str:
    """How many of the diverged trials warned, and how many others."""
    lost = {number for number, verdict in verdicts.items() if verdict == Verdict.DIVERGED}
    stopped = {number for number, verdict in verdicts.items() if verdict == Verdict.DOOMED}
    through = {number for number, verdict in verdicts.items() if verdict in TRAINED_THROUGH}
    parts = [f"{len(lost & warned):,} of {counted(len(lost), 'trial')} that diverged"]
    if stopped:
        parts.append(f"{len(stopped & warned):,} that were stopped for it")
    parts.append(f"{len(through & warned):,} of {len(through):,} that trained through")
    return f"Warned: {', '.join(parts[:-1])} and {parts[-1]}."


PANEL = Panel(
    key="foreseen",
    title="Was it foreseen?",
    caption="A training warns at the first step whose signs are above their levels; it trains on, and may recover. The "
    "pruner doomed stops it at the end of an epoch unless it recovers, learns or leads.",
    rows=rows,
    is_optional=True,
)
