"""What became of trials side by side, and what differs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import nan
from typing import Any

from dashboards.blocks import Cell, Column, Empty, Prose, Table
from dashboards.data.compared import CompareView, Entry
from dashboards.questions.panel import Panel
from evolve import formatting

NOTHING = Empty(
    "Nothing is chosen yet. Choose trials or studies above, or select trials in a picture of a study and press Compare."
)
SETTINGS = ("model", "data", "image_size", "batch_size", "nominal_batch_size", "epochs", "seeds", "sampler", "pruner")
RESULTS = ("fitness", "map50", "map50_95", "test_map50", "precision", "recall", "epochs", "seconds")
TITLES = {"map50": "mAP50, val", "map50_95": "mAP50\N{EN DASH}95, val", "test_map50": "mAP50, test"}


def outcome_rows(view: CompareView) -> tuple[Table] | tuple[Prose, Table] | Empty:
    """What became of each, and how they were chosen where they are not all."""
    if not view.entries:
        return NOTHING
    rows = [_row_of("verdict", view, lambda row: str(row["verdict"]))]
    rows += [
        _row_of(TITLES.get(name, "training time, s" if name == "seconds" else name), view, _value(name))
        for name in RESULTS
    ]
    rows.append(_row_of("reason", view, lambda row: str(row["reason"])))
    columns = tuple(replace(column, is_long=True) for column in _columns(view, "result"))  # reasons are
    table = Table(name="outcomes", columns=columns, rows=tuple(rows))
    if view.num_chosen == len(view.entries):
        return (table,)
    chosen = f"{view.num_chosen:,} selected, the best {len(view.entries)} are shown"
    return (Prose(f"{chosen}: by fitness, those that diverged after all others that have one."), table)


def setting_rows(view: CompareView) -> Table | Empty:
    """Hyperparameters and settings, those that differ first."""
    if not view.entries:
        return NOTHING
    found = [_settings(entry) for entry in view.entries]
    names = list(dict.fromkeys(name for cells in found for name in cells))
    differing = [name for name in names if len({repr(cells.get(name)) for cells in found}) > 1]
    ordered = differing + [name for name in names if name not in differing]
    rows = tuple(
        (name, "differs" if name in differing else "same", *(cells.get(name, "") for cells in found))
        for name in ordered
    )
    columns = _columns(view, "setting")
    return Table(name="settings", columns=(columns[0], Column(title=""), *columns[1:]), rows=rows)


def _columns(view: CompareView, title: str) -> tuple[Column, ...]:
    return (
        Column(title=title),
        *(Column(title=entry.label, kind="number", slot=slot) for slot, entry in enumerate(view.entries)),
    )


def _row_of(title: str, view: CompareView, cell: Callable[[Mapping[str, Any]], Cell]) -> tuple[Cell, ...]:
    return (title, *("" if entry.number is None else cell(entry.study.trial(entry.number)) for entry in view.entries))


def _value(name: str) -> Callable[[Mapping[str, Any]], Cell]:
    return lambda row: float(row.get(name, nan))


def _settings(entry: Entry) -> dict[str, Cell]:
    facts = entry.study.facts
    fixed = facts.config.get("hyperparameters")
    own: dict[str, Cell] = {} if entry.number is None else dict(entry.study.params_of(entry.number))
    given = {str(name): _cell(value) for name, value in fixed.items()} if isinstance(fixed, Mapping) else {}
    return given | own | {name.replace("_", " "): facts.text(name) for name in SETTINGS if facts.text(name)}


def _cell(value: object) -> Cell:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else formatting.as_text(value)


OUTCOME = Panel(key="outcomes", title="What became of each", rows=outcome_rows)

SETTING = Panel(
    key="settings",
    title="What differs",
    caption="Hyperparameters and settings; those that differ come first.",
    rows=setting_rows,
)
