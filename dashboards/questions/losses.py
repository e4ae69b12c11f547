"""Do training and validation loss agree?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from dashboards.blocks import Empty, Prose
from dashboards.data.shown import none_finished
from dashboards.data.study import StudyView
from dashboards.data.trial_sets import TRAINED
from dashboards.figures import theme
from dashboards.figures.curves import add_band, add_line, quantile_band
from dashboards.questions.panel import Block, Panel
from detector.plan import images_used
from evolve.formatting import counted, listed, spans
from evolve.storage.schema import TERMS

LEAST_BAND = 2  # trials, of which a band would be their own curves


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Training and validation loss by epoch.

    Attributes:
        name: Name of a term of the loss, or total.
        best_number: Number of the trial with the best fitness; None where there is none.
        best: Epochs of that trial with its train and val loss.
        train, val: 10, 50 and 90 % quantiles of the loss over the trials that ran to their end, by epoch.
        num_trials: Number of trials that ran to their end.
        by_images: Training and validation loss after the last epoch by number of training images, mean of all trials
            that ran to their end with so many; empty where that number was not searched.
        not_finite: Every trial with a validation loss that was no number, and after which epochs, counted from 1.
    """

    name: str
    best_number: int | None
    best: pd.DataFrame
    train: pd.DataFrame
    val: pd.DataFrame
    num_trials: int
    by_images: pd.DataFrame
    not_finite: tuple[tuple[int, tuple[int, ...]], ...] = ()


def rows(view: StudyView) -> Losses | Empty:
    """The whole loss of the best trial and of all that ran to their end, on training and validation images."""
    return _rows_of(view, "total", TERMS)


def term_rows(view: StudyView) -> tuple[Losses, ...] | Empty:
    """Each term of the loss, of the best trial and of all that ran to their end, on training and validation images."""
    terms = [_rows_of(view, term, (term,)) for term in TERMS]
    if missing := [term for term in terms if isinstance(term, Empty)]:
        return missing[0]
    known = tuple(term for term in terms if isinstance(term, Losses))
    # With a single class there is nothing to tell apart.
    return tuple(term for term in known if term.name != "cls" or _shown(term).any()) or known


def not_finite_text(found: Sequence[tuple[int, tuple[int, ...]]]) -> str:
    """Which trials had a validation loss that was no number, and after which epochs; empty where none had."""
    if not found:
        return ""
    named = [
        f"trial {number} after {'epoch' if len(epochs) == 1 else 'epochs'} {spans(epochs).replace('-', ' to ')}"
        for number, epochs in found
    ]
    return f"Validation loss was not finite in {counted(len(found), 'trial')}: {listed(named, limit=8)}."


def _not_finite(rows: pd.DataFrame) -> tuple[tuple[int, tuple[int, ...]], ...]:
    broken = rows[~np.isfinite(rows["val"].to_numpy(dtype=float))]
    return tuple(
        (int(str(number)), tuple(int(epoch) + 1 for epoch in part["epoch"]))
        for number, part in broken.groupby("number")
    )


def _rows_of(view: StudyView, name: str, terms: tuple[str, ...]) -> Losses | Empty:
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
        train=quantile_band(rows, "train"),
        val=quantile_band(rows, "val"),
        num_trials=rows["number"].nunique(),
        by_images=_by_images(view, rows),
        not_finite=not_finite,
    )


def _by_images(view: StudyView, rows: pd.DataFrame) -> pd.DataFrame:
    count = view.facts.data_summary.get("splits", {}).get("train", {}).get("images")
    if count is None or "train_share" not in view.params:
        return pd.DataFrame({"images": [], "train": [], "val": []}, dtype=float)
    last = rows[rows["epoch"] == rows.groupby("number")["epoch"].transform("max")]
    shares = view.params["train_share"].astype(float)
    images = last["number"].map(lambda number: images_used(int(count), float(shares[number])))
    return last.assign(images=images).groupby("images", as_index=False)[["train", "val"]].mean()


def draw(data: Losses) -> tuple[go.Figure, ...]:
    """Training and validation loss of the best trial, and of the median trial with its band; then by images."""
    whole = _draw(data, height=380, y="loss, sum of all terms", showlegend=True)
    return whole, *_draw_by_images([data], height=380, showlegend=True)


def draw_terms(data: tuple[Losses, ...]) -> tuple[go.Figure, ...]:
    """The same for each term, one small figure each."""
    terms = (_draw(term, height=250, y=f"{term.name} loss", showlegend=False) for term in data)
    return *terms, *_draw_by_images(data, height=250, showlegend=False)


def _draw_by_images(data: Sequence[Losses], *, height: int, showlegend: bool) -> Iterator[go.Figure]:
    for losses in data:
        if losses.by_images.empty:
            continue
        images = losses.by_images["images"]
        figure = theme.new_figure(
            height=height, x="training images", y=f"{losses.name} loss, last", showlegend=showlegend
        )
        figure.update_layout(xaxis=theme.log_axis_over(images), yaxis={"rangemode": "tozero"})
        for name, column, dash in (("training", "train", "solid"), ("validation", "val", "dash")):
            add_line(figure, images, losses.by_images[column], name, color=theme.ACCENT, width=2.5, dash=dash)
            figure.data[-1].update(mode="lines+markers")
        yield figure


def _draw(data: Losses, *, height: int, y: str, showlegend: bool) -> go.Figure:
    figure = theme.new_figure(height=height, x="epochs trained", y=y, showlegend=showlegend)
    figure.update_layout(xaxis=theme.integer_axis(data.train["epoch"].max()))
    if data.num_trials > LEAST_BAND:
        add_band(figure, data.val, f"10 to 90 % of {data.num_trials:,} trials, validation")
        add_line(figure, data.train["epoch"], data.train["median"], "median, training")
        add_line(figure, data.val["epoch"], data.val["median"], "median, validation", dash="dash")
    if len(data.best):
        name = f"trial {data.best_number}"
        add_line(figure, data.best["epoch"], data.best["train"], f"{name}, training", color=theme.ACCENT, width=2.5)
        add_line(
            figure,
            data.best["epoch"],
            data.best["val"],
            f"{name}, validation",
            color=theme.ACCENT,
            width=2.5,
            dash="dash",
        )
    if _spans_decades(data):
        figure.update_layout(yaxis=theme.log_axis_over(_shown(data)))
    else:
        figure.update_layout(yaxis={"rangemode": "tozero"})
    return figure


def _spans_decades(data: Losses) -> bool:
    shown = _shown(data)
    positive = shown[np.isfinite(shown) & (shown > 0)]
    return bool(len(positive)) and bool(positive.max() > 30 * positive.min())


def _shown(data: Losses) -> NDArray[np.float64]:
    band = [data.val["high"], data.val["low"]] if data.num_trials > LEAST_BAND else []
    shown = pd.concat([data.best["train"], data.best["val"], *band])
    return np.asarray(shown, dtype=np.float64)


def _blocks(found: Losses) -> tuple[Block, ...]:
    message = not_finite_text(found.not_finite)
    return (*draw(found), *([Prose(message)] if message else []))


PANEL = Panel(
    key="losses",
    title="Do training and validation loss agree?",
    caption="A validation loss that turns upwards while the training loss falls is over-fitting. Training loss is "
    "measured on augmented images, so it may lie above. Where train_share is searched, both after the last epoch stand "
    "over the number of training images: they part where these are too few.",
    rows=rows,
    blocks=_blocks,
)

TERM = Panel(
    key="loss-terms",
    title="Which term of the loss?",
    caption="The same, for the terms the loss is the sum of: blue is the best trial, grey the median; solid lines "
    "are training, dashed ones validation.",
    rows=term_rows,
    blocks=draw_terms,
)
