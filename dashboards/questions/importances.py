"""Which hyperparameters matter?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import pandas as pd
import plotly.graph_objects as go

from dashboards.blocks import Empty, Prose
from dashboards.data.shown import none_finished
from dashboards.data.study import StudyView
from dashboards.data.trial_sets import finished
from dashboards.figures import theme
from dashboards.questions.panel import Block, Panel
from evolve.importances import Importances, divergence_importances, importances

KEPT = 16  # answers, of as many studies and choices of trials


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Importances of the hyperparameters of a study.

    Attributes:
        best: Importances for the fitness, over the trials that ran to their end.
        diverging: Importances for diverging, over these and the trials that diverged.
        num_diverged: Number of trials that diverged.
    """

    best: Importances
    diverging: Importances
    num_diverged: int


_Params = tuple[tuple[tuple[str, object], ...], ...]


def rows(view: StudyView) -> Rows | Empty:
    """Shares of importance of the hyperparameters, for the fitness and for diverging."""
    trials = finished(view.trials)
    if trials.empty and not view.left_out.empty:
        return none_finished(view, "")
    diverged = view.trials[view.trials["verdict"] == "diverged"]
    found = _worked_out(
        _params(view, trials["number"]),
        tuple(float(value) for value in trials["fitness"]),
        _params(view, diverged["number"]),
        tuple(view.distributions.items()),
    )
    if found.best.reason and found.diverging.reason:
        reason = found.best.reason
        return Empty(f"No importances yet: {reason}. Give the study a larger budget of trials and run it again.")
    return found


@lru_cache(maxsize=KEPT)
def _worked_out(
    ended: _Params,
    fitness: tuple[float, ...],
    diverged: _Params,
    distributions: tuple[tuple[str, tuple[str, ...]], ...],
) -> Rows:
    """What follows of these trials; kept until another one ends, since resampling takes longer than drawing."""
    good, bad = [dict(params) for params in ended], [dict(params) for params in diverged]
    known = dict(distributions)
    is_diverged = [False] * len(good) + [True] * len(bad)
    return Rows(
        best=importances(good, fitness, known),
        diverging=divergence_importances([*good, *bad], is_diverged, known),
        num_diverged=len(bad),
    )


def _params(view: StudyView, numbers: pd.Series[int]) -> _Params:
    """Names and values of these trials' hyperparameters, without those that a trial does not have."""
    return tuple(
        tuple((str(name), value) for name, value in row.items() if not _is_missing(value))
        for row in view.params.astype(object).reindex(numbers).to_dict("records")
    )


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def draw(data: Importances) -> go.Figure:
    """Shares as bars, the most important on top."""
    names = [theme.label(name + (" (unclear)" if name in data.unclear else "")) for name, _ in data.shares]
    shares = [share for _, share in data.shares]
    highs = [high for _, high in data.intervals] or shares
    ends = [max(share, high) for share, high in zip(shares, highs, strict=True)]
    figure = theme.new_figure(height=90 + 30 * len(names), x="share of importance", y="")
    figure.add_bar(
        x=shares,
        y=names,
        orientation="h",
        marker={"color": theme.ACCENT},
        error_x=_reach(data),
        hovertemplate="%{y} %{x:.1%}<extra></extra>",
    )
    figure.add_scatter(
        x=ends,
        y=names,
        mode="text",
        text=[f" {share:.0%}" for share in shares],
        textposition="middle right",
        cliponaxis=False,
        showlegend=False,
        hoverinfo="skip",
    )
    figure.update_layout(
        showlegend=False,
        margin={"r": 44},  # pixels for the shares in words, on a telephone as well
        xaxis={"tickformat": ".0%", "range": [0, max(ends) * 1.02]},
        yaxis={"autorange": "reversed", "type": "category", "showgrid": False},
        bargap=0.35,
    )
    return figure


def _reach(data: Importances) -> dict[str, object]:
    """Error bars from the middle 90 % over resamples."""
    pairs = [*zip((share for _, share in data.shares), data.intervals, strict=False)]
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(high - share, 0.0) for share, (_, high) in pairs],
        "arrayminus": [max(share - low, 0.0) for share, (low, _) in pairs],
        "visible": bool(pairs),
        "color": theme.NEUTRAL,
        "thickness": 1,
    }


def _blocks(found: Rows) -> tuple[Block, ...]:
    best, diverging = found.best, found.diverging
    shown: tuple[Block, ...] = (
        (Empty(f"None for the fitness: {best.reason}."),)
        if best.reason
        else (Prose(f"For the fitness, {_basis(best)}."), draw(best))
    )
    if diverging.reason:
        return shown
    counts = f"{found.num_diverged:,} of {diverging.num_trials:,} trials did"
    return (*shown, Prose(f"And for diverging, as {counts}, {_basis(diverging)}."), draw(diverging))


def _basis(found: Importances) -> str:
    return f"over {found.num_trials:,} trials: {found.explained:.0%} of how they differ is foretold by the others"


PANEL = Panel(
    key="importances",
    title="Which hyperparameters matter?",
    caption="Share of each hyperparameter in how the fitness varies over the trials, by a curve for each (an additive "
    "model of splines: what two do only together does not show), and below in whether a trial diverges; those that did "
    "do not count above. Thin lines span 90 % of resamples of the trials; where ranks overlap the order is unclear.",
    rows=rows,
    blocks=_blocks,
)
