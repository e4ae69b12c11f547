"""How trials side by side trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboards.blocks import Empty, Key
from dashboards.data.compared import STEP_TITLES, CompareView, Entry
from dashboards.data.trial_sets import finished, started
from dashboards.figures.curves import Curve
from dashboards.figures.downsampling import polyline
from dashboards.figures.series import Series, series
from dashboards.questions.compared import NOTHING
from dashboards.questions.panel import Block, Panel
from evolve import analysis
from evolve.storage.schema import TERMS

NO_STEPS = Empty("No steps of these are stored. They appear while a trial trains.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """Pictures in which every entry has its own colour, and whose colour is whose."""

    key: Key
    series: tuple[Series, ...]


def step_rows(view: CompareView) -> Overlay | Empty:
    """Loss, gradient norm and learning rate by step of one seed of each: the one that diverged, or the first."""
    if not view.entries:
        return NOTHING
    found = view.measured.frame("steps")
    if found.empty:
        return NO_STEPS
    return _overlay(view, [_step_series(view, found, name, title) for name, title in STEP_TITLES.items()])


def curve_rows(view: CompareView) -> Overlay | Empty:
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


def _blocks(found: Overlay, *, x: str) -> tuple[Block, ...]:
    return (found.key, *series(found.series, x=x))


STEP = Panel(
    key="steps",
    title="How did training go, step by step?",
    caption="Of each the seed that diverged, or its first. A cross in a trial's own colour is where it diverged; a "
    "gap is a zero, which a logarithmic axis has no place for, or a number that was not finite.",
    rows=step_rows,
    blocks=partial(_blocks, x="steps trained"),
)

CURVE = Panel(
    key="curves",
    title="How did they converge?",
    caption="After each epoch, mean over the seeds of a trial; a cross is the last number of one that diverged.",
    rows=curve_rows,
    blocks=partial(_blocks, x="trial"),
)
