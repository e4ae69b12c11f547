"""Rows about training: convergence, losses, and learning rate and momentum as applied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboards.views.blocks import Empty
from dashboards.views.search import none_finished
from dashboards.views.study import TRAINED, VERDICTS, StudyView, none_shown, number_in, spread_evenly
from dashboards.views.thinning import polyline, thin
from dashboards.views.wording import counted, listed, spans
from evolve import analysis
from evolve.storage.schema import TERMS

MAX_CURVES = 60
MAX_CURVE_BUCKETS = 40
BAND = (0.1, 0.5, 0.9)
BAND_COLUMNS = ("low", "median", "high")
NO_EPOCHS = "No trial has finished an epoch yet; curves start with the first evaluation."


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A measurement of one trial over epochs or steps; NaN is a gap."""

    number: int
    verdict: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Convergence:
    """Average precision by epoch.

    Attributes:
        curves: All trials, or where they are too many a faithful choice of each verdict and the best.
        band: 10, 50 and 90 % of all trials that ran to their end, by epoch; empty where every curve is drawn.
        num_curves: Trials that finished an epoch.
        best_number: Trial of the best fitness, or None.
        ends: number and x of every trial that diverged, x in epochs trained; also of those that finished no epoch.
        selected: Trials that stand out because the reader selected them.
    """

    curves: tuple[Curve, ...]
    band: pd.DataFrame
    num_curves: int
    best_number: int | None
    ends: pd.DataFrame
    selected: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Training and validation loss by epoch.

    Attributes:
        name: Which term, or total.
        best_number: Trial of the best fitness, or None.
        best: Its epochs with train and val.
        train, val: 10, 50 and 90 % over the trials that ran to their end, by epoch.
        num_trials: How many those are.
        not_finite: Every trial with a validation loss that was no number, and after which epochs, counted from 1.
    """

    name: str
    best_number: int | None
    best: pd.DataFrame
    train: pd.DataFrame
    val: pd.DataFrame
    num_trials: int
    not_finite: tuple[tuple[int, tuple[int, ...]], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedules:
    """Learning rate and momentum by step, each different curve once, and the biases' rate of the best trial."""

    lr: tuple[Curve, ...]
    momentum: tuple[Curve, ...]
    bias_lr: Curve | None
    best_number: int | None


def convergence(view: StudyView) -> Convergence | Empty:
    """Average precision on the validation images by epoch, for every trial or a faithful choice."""
    rows = view.epochs[view.epochs["split"] == "val"]
    ends = _ends(view, rows)
    if rows.empty and ends.empty:
        return Empty(none_shown(view, "finished an epoch", _with_epochs) or NO_EPOCHS)
    best = view.best
    best_number = None if best is None else int(best["number"])
    last = rows.drop_duplicates("number", keep="last")
    chosen = _faithful(last, best_number) if len(last) > MAX_CURVES else set(last["number"])
    selected = frozenset(spread_evenly(sorted(view.focus.selected & set(last["number"])), MAX_CURVES))
    drawn = rows[rows["number"].isin(chosen | selected)]
    curves = tuple(_epoch_curve(part) for _, part in drawn.groupby("number"))
    trained = rows[rows["verdict"].isin(TRAINED)]
    band = _band(trained, "map50") if len(last) > MAX_CURVES else _band(trained.iloc[:0], "map50")
    return Convergence(
        curves=curves, band=band, num_curves=len(last), best_number=best_number, ends=ends, selected=selected
    )


def losses(view: StudyView) -> Losses | Empty:
    """The whole loss of the best trial and of all that ran to their end, on training and validation images."""
    return _losses(view, "total", TERMS)


def loss_terms(view: StudyView) -> tuple[Losses, ...] | Empty:
    """The same for each term of the loss."""
    terms = [_losses(view, term, (term,)) for term in TERMS]
    if missing := [each for each in terms if isinstance(each, Empty)]:
        return missing[0]
    return tuple(each for each in terms if isinstance(each, Losses))


def schedules(view: StudyView) -> Schedules | Empty:
    """Learning rate and momentum as they were applied, from the steps of a few trials."""
    if view.steps.empty:
        return Empty("No steps are stored yet; the curves appear with the first trial that is trained.")
    best = view.best
    best_number = None if best is None else int(best["number"])
    bias = [each for each in _step_curves(view, "bias_lr") if each.number == best_number]
    return Schedules(
        lr=_distinct(_step_curves(view, "lr"), best_number),
        momentum=_distinct(_step_curves(view, "momentum"), best_number),
        bias_lr=bias[0] if bias else None,
        best_number=best_number,
    )


def _faithful(last: pd.DataFrame, best_number: int | None) -> set[int]:
    # An equal share for each verdict, spread over the ranks, so that rare outcomes stay visible.
    present = [verdict for verdict in VERDICTS if (last["verdict"] == verdict).any()]
    share = MAX_CURVES // len(present)
    chosen = set() if best_number is None else {best_number}
    for verdict in present:
        ranked = last[last["verdict"] == verdict].sort_values(["map50", "number"])["number"]
        chosen.update(spread_evenly([int(number) for number in ranked], share))
    return chosen


def _epoch_curve(rows: pd.DataFrame) -> Curve:
    y = rows["map50"].to_numpy(dtype=float)
    kept = thin(y, num_buckets=MAX_CURVE_BUCKETS)
    # Epochs count from 0 in the tables; the first evaluation is shown after epoch 1.
    x = rows["epoch"].to_numpy(dtype=float) + 1
    return Curve(number=int(rows["number"].iloc[0]), verdict=str(rows["verdict"].iloc[0]), x=x[kept], y=y[kept])


def _band(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    table = rows.pivot(index="number", columns="epoch", values=column)
    if table.empty:
        return pd.DataFrame({"epoch": [], **{name: [] for name in BAND_COLUMNS}}, dtype=float)
    levels = dict(zip(BAND_COLUMNS, analysis.quantiles(table, at=BAND), strict=True))
    return pd.DataFrame({"epoch": table.columns.to_numpy(dtype=float) + 1, **levels})


def not_finite_text(found: Sequence[tuple[int, tuple[int, ...]]]) -> str:
    """Which trials had a validation loss that was no number, and after which epochs; empty where none had."""
    if not found:
        return ""
    told = [
        f"trial {number} after {'epoch' if len(epochs) == 1 else 'epochs'} {spans(epochs).replace('-', ' to ')}"
        for number, epochs in found
    ]
    return f"Validation loss was not finite in {counted(len(found), 'trial')}: {listed(told, limit=8)}."


def _ends(view: StudyView, epochs: pd.DataFrame) -> pd.DataFrame:
    diverged = view.trials[view.trials["verdict"] == "diverged"]
    per_epoch = float((epochs["step"] / (epochs["epoch"] + 1)).median())
    at = [
        _epochs_trained(view.diagnoses.get(int(number), {}), int(done), per_epoch)
        for number, done in zip(diverged["number"], diverged["epochs"], strict=True)
    ]
    return pd.DataFrame({"number": diverged["number"].to_numpy(), "x": np.asarray(at, dtype=float)})


def _epochs_trained(diagnosis: Mapping[str, Any], num_done: int, per_epoch: float) -> float:
    step = number_in(diagnosis, "step")
    if isfinite(step) and isfinite(per_epoch):
        return step / per_epoch
    # Somewhere in the epoch that followed the last one it finished.
    epoch = number_in(diagnosis, "epoch")
    return (epoch if isfinite(epoch) else num_done) + 0.5


def _with_epochs(trials: pd.DataFrame) -> pd.DataFrame:
    return trials[trials["epochs"] > 0]


def _not_finite(rows: pd.DataFrame) -> tuple[tuple[int, tuple[int, ...]], ...]:
    broken = rows[~np.isfinite(rows["val"].to_numpy(dtype=float))]
    return tuple(
        (int(str(number)), tuple(int(epoch) + 1 for epoch in part["epoch"]))
        for number, part in broken.groupby("number")
    )


def _losses(view: StudyView, name: str, terms: tuple[str, ...]) -> Losses | Empty:
    rows = view.epochs[view.epochs["split"] == "val"]
    rows = rows.assign(
        train=sum(rows[f"train_{term}"] for term in terms), val=sum(rows[f"loss_{term}"] for term in terms)
    )
    not_finite, rows = _not_finite(rows), rows[rows["verdict"].isin(TRAINED)]
    if rows.empty:
        waiting = none_finished(view, "No trial has run to its end yet; losses are compared once one has.")
        return Empty(" ".join(part for part in (waiting.text, not_finite_text(not_finite)) if part))
    best = view.best
    number = None if best is None else int(best["number"])
    own = rows[rows["number"] == number]
    return Losses(
        name=name,
        best_number=number,
        best=own.assign(epoch=own["epoch"] + 1)[["epoch", "train", "val"]].reset_index(drop=True),
        train=_band(rows, "train"),
        val=_band(rows, "val"),
        num_trials=rows["number"].nunique(),
        not_finite=not_finite,
    )


def _step_curves(view: StudyView, column: str) -> list[Curve]:
    curves = []
    for number, rows in view.steps.groupby("number"):
        x, y = polyline(rows, column)
        curves.append(Curve(number=int(str(number)), verdict=str(rows["verdict"].iloc[0]), x=x, y=y))
    return curves


def _distinct(curves: list[Curve], best_number: int | None) -> tuple[Curve, ...]:
    kept: list[Curve] = []
    for curve in sorted(curves, key=lambda each: (each.number != best_number, -len(each.x), each.number)):
        if not any(_is_part_of(curve, other) for other in kept):
            kept.append(curve)
    return tuple(kept)


def _is_part_of(curve: Curve, other: Curve) -> bool:
    # A trial that stopped early repeats the beginning of one that went on.
    length = len(curve.x)
    return np.array_equal(curve.x, other.x[:length]) and np.allclose(curve.y, other.y[:length], equal_nan=True)
