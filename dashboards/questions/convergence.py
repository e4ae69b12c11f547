"""How did trials converge?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboards.blocks import Empty, Prose
from dashboards.data.shown import none_shown
from dashboards.data.study import StudyView, number_in
from dashboards.data.trial_sets import TRAINED, VERDICTS, spread_evenly
from dashboards.figures import theme
from dashboards.figures.curves import Curve, add_band, add_best, add_by_verdict, add_line, quantile_band
from dashboards.figures.downsampling import downsample
from dashboards.questions.panel import Block, Panel

MAX_CURVES = 60
MAX_CURVE_BUCKETS = 40
NO_EPOCHS = "No trial has finished an epoch yet; curves start with the first evaluation."


@dataclass(frozen=True, slots=True, kw_only=True)
class Convergence:
    """Average precision by epoch.

    Attributes:
        curves: Curves of all trials, or where they are too many of a faithful choice of each verdict and the best.
        band: 10, 50 and 90 % quantiles over all trials that ran to their end, by epoch; empty where every curve is
            drawn.
        num_curves: Number of trials that finished an epoch.
        best_number: Number of the trial with the best fitness; None where there is none.
        ends: Every trial that diverged, also those that finished no epoch, with the columns number and x, in epochs
            trained.
        selected: Numbers of the trials that stand out because the reader selected them.
    """

    curves: tuple[Curve, ...]
    band: pd.DataFrame
    num_curves: int
    best_number: int | None
    ends: pd.DataFrame
    selected: frozenset[int] = frozenset()


def rows(view: StudyView) -> Convergence | Empty:
    """Average precision on the validation images by epoch, for every trial or a faithful choice."""
    rows = view.epochs[view.epochs["split"] == "val"]
    ends = _divergences(view, rows)
    if rows.empty and ends.empty:
        return Empty(none_shown(view, "finished an epoch", _with_epochs) or NO_EPOCHS)
    best = view.best
    best_number = None if best is None else int(best["number"])
    last = rows.drop_duplicates("number", keep="last")
    chosen = _faithful(last, best_number) if len(last) > MAX_CURVES else set(last["number"])
    selected = frozenset(spread_evenly(sorted(view.options.selected & set(last["number"])), MAX_CURVES))
    drawn = rows[rows["number"].isin(chosen | selected)]
    curves = tuple(_epoch_curve(part) for _, part in drawn.groupby("number"))
    trained = rows[rows["verdict"].isin(TRAINED)]
    band = quantile_band(trained, "map50") if len(last) > MAX_CURVES else quantile_band(trained.iloc[:0], "map50")
    return Convergence(
        curves=curves, band=band, num_curves=len(last), best_number=best_number, ends=ends, selected=selected
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
    kept = downsample(y, num_buckets=MAX_CURVE_BUCKETS)
    # Epochs count from 0 in the tables; the first evaluation is shown after epoch 1.
    x = rows["epoch"].to_numpy(dtype=float) + 1
    return Curve(number=int(rows["number"].iloc[0]), verdict=str(rows["verdict"].iloc[0]), x=x[kept], y=y[kept])


def _divergences(view: StudyView, epochs: pd.DataFrame) -> pd.DataFrame:
    diverged = view.trials[view.trials["verdict"] == "diverged"]
    last = epochs.drop_duplicates("number", keep="last").set_index("number")
    per_epoch = last["step"] / (last["epoch"] + 1)
    # A trial that finished no epoch has the pace of all others; they differ where the batch or the images are searched.
    shared = float(per_epoch.iloc[0]) if per_epoch.nunique() == 1 else nan
    at = [
        _epochs_trained(view.diagnoses.get(int(number), {}), int(done), float(per_epoch.get(number, shared)))
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


def draw(data: Convergence) -> go.Figure:
    """Average precision by epoch, one trace for each verdict, the best trial in front, a cross for each divergence."""
    figure = theme.new_figure(height=420, x="epochs trained", y="mAP50, validation", showlegend=True)
    last = max([*(curve.x[-1] for curve in data.curves), *data.ends["x"]])
    figure.update_layout(xaxis=theme.integer_axis(last) | {"range": [0, 1.02 * last or 1.0]})
    if len(data.band):
        add_band(figure, data.band, "10 to 90 % of trained trials")
        add_line(figure, data.band["epoch"], data.band["median"], "median of trained trials", dash="dash")
    others = [curve for curve in data.curves if curve.number != data.best_number]
    if data.selected:
        add_by_verdict(
            figure, [curve for curve in others if curve.number not in data.selected], opacity=0.12, showlegend=False
        )
        others = [curve for curve in others if curve.number in data.selected]
    add_by_verdict(figure, others, opacity=0.75 if len(others) <= 40 else 0.5)
    for curve in data.curves:
        if curve.number == data.best_number:
            add_best(figure, curve, f"best: trial {curve.number}")
    _add_ends(figure, [curve for curve in others if curve.verdict == "diverged"])
    if len(data.ends):
        _add_divergences(figure, data)
    return figure


def _add_ends(figure: go.Figure, curves: Sequence[Curve]) -> None:
    ends = [(curve, np.flatnonzero(np.isfinite(curve.y))) for curve in curves]
    points = [(curve.x[finite[-1]], curve.y[finite[-1]], curve.number) for curve, finite in ends if len(finite)]
    if not points:
        return
    x, y, numbers = zip(*points, strict=True)
    figure.add_scatter(
        x=x,
        y=y,
        mode="markers",
        marker=theme.marker("diverged", 1),
        name="last epoch before divergence",
        customdata=numbers,
        hovertemplate="<b>trial %{customdata}</b> diverged after this epoch<br>%{x}: %{y:.3f}<extra></extra>",
    )


def _add_divergences(figure: go.Figure, data: Convergence) -> None:
    # Every one, also of trials that finished no epoch and so have no curve.
    strip = theme.add_strip(figure, ["diverged"], is_alone=not data.curves)
    figure.add_scatter(
        x=data.ends["x"],
        y=[strip["diverged"]] * len(data.ends),
        yaxis="y2",
        mode="markers",
        marker=theme.marker("diverged", len(data.ends)),
        name=f"diverged: {len(data.ends):,}",
        customdata=data.ends["number"],
        hovertemplate="<b>trial %{customdata}</b> diverged<br>after %{x:.2f} epochs<extra></extra>",
    )


def _blocks(found: Convergence) -> tuple[Block, ...]:
    figure = draw(found)
    if len(found.curves) == found.num_curves:
        return (figure,)
    shown = f"{len(found.curves):,} of {found.num_curves:,} trials are drawn, spread over the ranks of each verdict."
    return (Prose(shown), figure)


PANEL = Panel(
    key="convergence",
    title="How did trials converge?",
    caption="Average precision on the validation images after each epoch, mean over the seeds of a trial. A curve "
    "that still rises at its end was trained too short. The strip beneath has a cross for every trial that "
    "diverged, where it did.",
    rows=rows,
    blocks=_blocks,
    follows_selection=True,
)
