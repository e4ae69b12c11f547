"""Any trials side by side, also of different studies; a study is stood for by its best trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, nan
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboards.views.blocks import Cell, Column, Empty, Key, Prose, Table
from dashboards.views.curves import Curve
from dashboards.views.measured import Measured
from dashboards.views.search import started
from dashboards.views.study import TRAINED, StudyView, as_text, finished
from dashboards.views.thinning import polyline
from dashboards.views.trial import Series
from evolve import analysis
from evolve.storage.schema import TERMS

MAX_ENTRIES = 12
STEP_TITLES = {"loss": "loss, sum of all terms", "grad_norm": "gradient norm", "lr": "learning rate"}
NO_STEPS = Empty("No steps of these are stored. They appear while a trial trains.")
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
    """What is compared.

    Attributes:
        entries: Left to right, at most `MAX_ENTRIES`.
        num_chosen: How many the reader chose.
        measured: Steps of the entries in buckets, with the place of the entry as `slot`, read when they are drawn.
    """

    entries: tuple[Entry, ...]
    num_chosen: int
    measured: Measured


def entry_of(study: StudyView, number: int | None) -> Entry:
    """The column of a trial, or without a number that of a whole study, which its best trial stands for."""
    if number is not None:
        return Entry(study=study, number=number, is_study=False)
    best = study.best
    return Entry(study=study, number=None if best is None else int(best["number"]), is_study=True)


def best_of(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """At most `MAX_ENTRIES` columns: all as they came, or where they are more, the best first.

    Whole studies are kept; then come trials that ran to their end, by fitness, those that were stopped before, those
    that diverged, and those without any number.
    """
    if len(entries) <= MAX_ENTRIES:
        return tuple(entries)
    studies = {entry.study.facts.name: entry.study.trials for entry in entries}
    ranks = {name: _ranks(trials) for name, trials in studies.items()}

    def rank(entry: Entry) -> tuple[int, float]:
        if entry.is_study or entry.number is None:
            return (0, 0.0)
        return ranks[entry.study.facts.name][entry.number]

    return tuple(sorted(entries, key=rank)[:MAX_ENTRIES])


def outcomes(view: CompareView) -> tuple[Table] | tuple[Prose, Table] | Empty:
    """What became of each, and how they were chosen where they are not all."""
    if not view.entries:
        return NOTHING
    rows = [_row_of("verdict", view, lambda row: str(row["verdict"]))]
    rows += [
        _row_of(TITLES.get(name, "training time, s" if name == "seconds" else name), view, _value(name))
        for name in RESULTS
    ]
    rows.append(_row_of("reason", view, lambda row: str(row["reason"])))
    table = Table(name="outcomes", columns=_columns(view, "result"), rows=tuple(rows))
    if view.num_chosen == len(view.entries):
        return (table,)
    chosen = f"{view.num_chosen:,} selected, the best {len(view.entries)} are shown"
    return (Prose(f"{chosen}: by fitness, those that diverged after all others that have one."), table)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """Pictures in which every entry has its own colour, and whose colour is whose."""

    key: Key
    series: tuple[Series, ...]


def steps(view: CompareView) -> Overlay | Empty:
    """Loss, gradient norm and learning rate by step of one seed of each: the one that diverged, or the first."""
    if not view.entries:
        return NOTHING
    found = view.measured.frame("steps")
    if found.empty:
        return NO_STEPS
    return _overlay(view, [_step_series(view, found, name, title) for name, title in STEP_TITLES.items()])


def curves(view: CompareView) -> Overlay | Empty:
    """Average precision and validation loss by epoch, and the best so far of whole studies."""
    if not view.entries:
        return NOTHING
    found = [
        _epoch_series(view, "mAP50, validation", lambda rows: rows["map50"]),
        _epoch_series(view, "validation loss, sum of all terms", _val_loss, is_log=True),
    ]
    searches = [(slot, entry) for slot, entry in enumerate(view.entries) if entry.is_study]
    if searches:
        found.append(
            Series(
                title="best fitness so far",
                curves=tuple((entry.label, _search(entry)) for _, entry in searches),
                slots=tuple(slot for slot, _ in searches),
                is_overlay=True,
            )
        )
    drawn = [series for series in found if series.curves]
    if not drawn:
        return Empty("None of these has finished an epoch yet; curves start with the first evaluation.")
    return _overlay(view, drawn)


def _overlay(view: CompareView, found: Sequence[Series]) -> Overlay:
    slots = sorted({slot for series in found for slot in series.slots})
    return Overlay(key=Key(tuple((view.entries[slot].label, slot) for slot in slots)), series=tuple(found))


def _ranks(trials: pd.DataFrame) -> dict[int, tuple[int, float]]:
    return {
        int(number): _rank(str(verdict), float(fitness))
        for number, verdict, fitness in zip(trials["number"], trials["verdict"], trials["fitness"], strict=True)
    }


def _rank(verdict: str, fitness: float) -> tuple[int, float]:
    if verdict == "diverged":
        return (3, 0.0)
    if not isfinite(fitness):
        return (4, 0.0)
    return (1 if verdict in TRAINED else 2, -fitness)


def _columns(view: CompareView, title: str) -> tuple[Column, ...]:
    return (
        Column(title=title),
        *(Column(title=entry.label, kind="number", slot=slot) for slot, entry in enumerate(view.entries)),
    )


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
    found: dict[int, Curve] = {}
    for slot, entry in enumerate(view.entries):
        epochs = entry.study.epochs
        rows = epochs[(epochs["number"] == entry.number) & (epochs["split"] == "val")]
        if len(rows):
            x = np.asarray(rows["epoch"], dtype=np.float64) + 1
            found[slot] = _curve(entry, x, np.asarray(values(rows), dtype=np.float64))
    return replace(_series(view, title, found, is_log=is_log), by_epoch=True)


def _step_series(view: CompareView, frame: pd.DataFrame, name: str, title: str) -> Series:
    lines = {int(str(slot)): polyline(rows, name) for slot, rows in frame.groupby("slot")}
    # Steps count from 0 in the tables; the first one is drawn where one has been trained, as with epochs.
    found = {slot: _curve(view.entries[slot], x + 1, y) for slot, (x, y) in lines.items()}
    return _series(view, title, found, is_log=True)


def _series(view: CompareView, title: str, found: Mapping[int, Curve], *, is_log: bool) -> Series:
    curves = tuple((view.entries[slot].label, curve) for slot, curve in found.items())
    return Series(title=title, curves=curves, slots=tuple(found), is_log=is_log, is_overlay=True)


def _curve(entry: Entry, x: NDArray[np.float64], y: NDArray[np.float64]) -> Curve:
    number = int(entry.number or 0)
    return Curve(number=number, verdict=str(entry.study.trial(number)["verdict"]), x=x, y=y)


def _val_loss(rows: pd.DataFrame) -> pd.Series[float]:
    return rows[[f"loss_{term}" for term in TERMS]].sum(axis=1, skipna=False)


def _search(entry: Entry) -> Curve:
    trials = started(entry.study.trials)
    is_finished = trials["number"].isin(finished(trials)["number"])
    best = analysis.best_so_far(trials["fitness"].where(is_finished))
    return Curve(number=entry.number or 0, verdict="", x=trials["number"].to_numpy(dtype=float), y=best)
