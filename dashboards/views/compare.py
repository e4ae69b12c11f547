"""Any trials side by side, also of different studies; a study is stood for by its best trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from dashboards.views.blocks import Cell, Column, Empty, Table
from dashboards.views.curves import Curve
from dashboards.views.search import started
from dashboards.views.study import StudyView, as_text, finished
from dashboards.views.trial import Series
from evolve import analysis
from evolve.schema import TERMS

MAX_ENTRIES = 12
NOTHING = Empty(
    "Nothing is chosen yet. Choose trials or studies above, or select trials in a picture of a study and press Compare."
)
SETTINGS = ("model", "data", "image_size", "batch_size", "nominal_batch_size", "epochs", "seeds", "sampler", "pruner")
RESULTS = ("fitness", "map50", "map50_95", "test_map50", "precision", "recall", "epochs", "seconds")
TITLES = {"map50": "mAP50, val", "map50_95": "mAP50\N{EN DASH}95, val", "test_map50": "mAP50, test"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One column of the comparison; `number` is None for a study without a trial that ran to its end."""

    study: StudyView
    number: int | None
    is_study: bool

    @property
    def label(self) -> str:
        """The study, and the trial unless the whole study is meant."""
        name = self.study.facts.name
        return f"{name} (best: {self.number})" if self.is_study else f"{name} · {self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareView:
    """What is compared, left to right."""

    entries: tuple[Entry, ...]


def outcomes(view: CompareView) -> Table | Empty:
    """What became of each."""
    if not view.entries:
        return NOTHING
    rows = [_row_of("verdict", view, lambda row: str(row["verdict"]))]
    rows += [
        _row_of(TITLES.get(name, "training time, s" if name == "seconds" else name), view, _value(name))
        for name in RESULTS
    ]
    rows.append(_row_of("reason", view, lambda row: str(row["reason"])))
    return Table(name="outcomes", columns=_columns(view, "result"), rows=tuple(rows))


def settings(view: CompareView) -> Table | Empty:
    """Hyperparameters and settings, those that differ first."""
    if not view.entries:
        return NOTHING
    found = [_settings(each) for each in view.entries]
    names = list(dict.fromkeys(name for each in found for name in each))
    differing = [name for name in names if len({repr(each.get(name)) for each in found}) > 1]
    ordered = differing + [name for name in names if name not in differing]
    rows = tuple(
        (name, "differs" if name in differing else "same", *(each.get(name, "") for each in found)) for name in ordered
    )
    columns = _columns(view, "setting")
    return Table(name="settings", columns=(columns[0], Column(title=""), *columns[1:]), rows=rows)


def curves(view: CompareView) -> tuple[Series, ...] | Empty:
    """Average precision and validation loss by epoch, and the best so far of whole studies."""
    if not view.entries:
        return NOTHING
    found = [
        _epoch_series(view, "mAP50, validation", lambda rows: rows["map50"]),
        _epoch_series(view, "validation loss, sum of all terms", _val_loss, is_log=True),
    ]
    searches = tuple((each.label, _search(each)) for each in view.entries if each.is_study)
    if searches:
        found.append(Series(title="best fitness so far", curves=searches))
    drawn = tuple(each for each in found if each.curves)
    return drawn or Empty("None of these has finished an epoch yet; curves start with the first evaluation.")


def _columns(view: CompareView, title: str) -> tuple[Column, ...]:
    return (Column(title=title), *(Column(title=each.label, kind="number") for each in view.entries))


def _row_of(title: str, view: CompareView, cell: Callable[[Mapping[str, Any]], Cell]) -> tuple[Cell, ...]:
    return (title, *("" if each.number is None else cell(each.study.trial(each.number)) for each in view.entries))


def _value(name: str) -> Callable[[Mapping[str, Any]], Cell]:
    return lambda row: float(row.get(name, nan))


def _settings(entry: Entry) -> dict[str, Cell]:
    facts = entry.study.facts
    fixed = facts.config.get("hyperparameters")
    own: dict[str, Cell] = {} if entry.number is None else dict(entry.study.params_of(entry.number))
    given = {str(name): _cell(value) for name, value in fixed.items()} if isinstance(fixed, Mapping) else {}
    return given | own | {name.replace("_", " "): facts.text(name) for name in SETTINGS if facts.text(name)}


def _cell(value: object) -> Cell:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else as_text(value)


def _epoch_series(
    view: CompareView, title: str, values: Callable[[pd.DataFrame], pd.Series[float]], *, is_log: bool = False
) -> Series:
    found = []
    for each in view.entries:
        rows = each.study.epochs[(each.study.epochs["number"] == each.number) & (each.study.epochs["split"] == "val")]
        if len(rows):
            x = np.asarray(rows["epoch"], dtype=np.float64) + 1
            verdict = str(rows["verdict"].iloc[0])
            found.append(
                (
                    each.label,
                    Curve(
                        number=int(each.number or 0), verdict=verdict, x=x, y=np.asarray(values(rows), dtype=np.float64)
                    ),
                )
            )
    return Series(title=title, curves=tuple(found), by_epoch=True, is_log=is_log)


def _val_loss(rows: pd.DataFrame) -> pd.Series[float]:
    return rows[[f"loss_{term}" for term in TERMS]].sum(axis=1, skipna=False)


def _search(entry: Entry) -> Curve:
    trials = started(entry.study.trials)
    is_finished = trials["number"].isin(finished(trials)["number"])
    best = analysis.best_so_far(trials["fitness"].where(is_finished))
    return Curve(number=entry.number or 0, verdict="", x=trials["number"].to_numpy(dtype=float), y=best)
