"""What was asked, where it ran, and what else happened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dashboards.blocks import Column, Empty, Prose, Table
from dashboards.data.study import StudyView
from dashboards.questions import headline
from dashboards.questions.panel import Panel
from evolve import formatting
from evolve.storage.ledger import EventKind

_APART = ("ablation", "noise")


def rows(view: StudyView) -> tuple[Table | Empty, ...]:
    """What the study asked for, and the space it searched."""
    whole = {key: value for key, value in view.facts.config.items() if key not in ("name", "space")}
    # What is compared, and what noise is made of, takes a line for each of its keys.
    apart = {f"{key} {inner}": item for key in _APART for inner, item in (whole.pop(key, None) or {}).items()}
    config = {str(key): formatting.as_text(value) for key, value in (whole | apart).items()}
    asked: Table | Empty = Empty("This study has no configuration of ours; it was not started by `evolve run`.")
    if config:
        asked = pairs("setup", "setting", {key.replace("_", " "): value for key, value in config.items() if value})
    columns = (
        Column(title="searched"),
        Column(title="from", kind="number"),
        Column(title="to", kind="number"),
        Column(title="scale"),
    )
    rows = tuple((axis.name, *headline.range_cells(axis)) for axis in view.space)
    return asked, Table(name="space", columns=columns, rows=rows) if rows else Empty("No hyperparameter is searched.")


def environment_rows(view: StudyView) -> tuple[Table, ...] | Empty:
    """Versions, device and machine the trials ran on, one table for each."""
    if not view.environments:
        return Empty("No trial has stored its environment yet; it is stored when a trial starts.")
    return tuple(
        pairs(
            f"environment-{index}",
            formatting.counted(count, "trial"),
            {key: formatting.as_text(value) for key, value in _flat(facts).items()} or {"identity": identity},
        )
        for index, (identity, facts, count) in enumerate(view.environments)
    )


def event_rows(view: StudyView) -> Table | Prose:
    """Events of the study besides the results of its trials, and what these warned of."""
    events = view.events[view.events["kind"] != EventKind.WARNED]
    if events.empty:
        return Prose("Nothing: no worker was lost, every checkpoint could be used, and the data stayed as they were.")
    columns = (Column(title="trial", kind="number"), Column(title="event"), Column(title="what", is_long=True))
    known = events[["number", "kind", "message"]].to_dict("records")
    rows = tuple((float(row["number"]), str(row["kind"]).replace("_", " "), str(row["message"])) for row in known)
    return Table(name="events", columns=columns, rows=rows)


def pairs(name: str, title: str, pairs: Mapping[str, str]) -> Table:
    return Table(name=name, columns=(Column(title=title), Column(title="value")), rows=tuple(pairs.items()))


def _flat(facts: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in facts.items():
        if isinstance(value, Mapping):
            flat.update({f"{key} {inner}": item for inner, item in value.items()})
        else:
            flat[str(key)] = value if not isinstance(value, list) else json.dumps(value)
    return flat


EVENT = Panel(
    key="events",
    title="What else happened?",
    caption="Workers that were lost, checkpoints that could not be used, data that changed. What was lost that way "
    "was trained again.",
    rows=event_rows,
)

PANEL = Panel(key="setup", title="What was asked", rows=rows)

ENVIRONMENT = Panel(key="environment", title="Where it ran", rows=environment_rows)
