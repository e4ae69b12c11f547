"""Is the best still the best with fresh seeds?"""

from __future__ import annotations

from math import isfinite

import plotly.graph_objects as go

from dashboards.blocks import Column, Empty, Prose, Table
from dashboards.data.study import StudyView
from dashboards.figures import theme
from dashboards.questions.panel import Block, Panel
from evolve import formatting
from evolve.confirmed import Candidate, Confirmation


def rows(view: StudyView) -> Confirmation | Empty:
    """What training the best again has shown, or that nobody has."""
    found = view.standing.confirmation
    if found is not None:
        return found
    if not view.standing.text:
        return Empty("No trial has run to its end yet that was chosen among others, so there is nothing to confirm.")
    command = view.standing.command
    again = view.facts.as_typed(command) if command else "evolve confirm"
    return Empty(
        f"The best of the study is {view.standing.said}. The best of many trials is partly the luckiest: `{again}` "
        "trains the best of them again, with seeds that the study has not used, beside the defaults."
    )


def draw(data: Confirmation) -> go.Figure:
    """What the search found of each candidate, and its mean with fresh seeds and their 95 % interval."""
    names = [candidate.name for candidate in data.candidates]
    means = [candidate.again.mean for candidate in data.candidates]
    reaches = [candidate.again.high - candidate.again.mean for candidate in data.candidates]
    figure = theme.new_figure(height=140 + 34 * len(names), x="fitness", y="", showlegend=True)
    figure.add_scatter(
        x=[candidate.found for candidate in data.candidates],
        y=names,
        mode="markers",
        marker={"color": theme.NEUTRAL, "symbol": "circle-open", "size": 11, "line": {"width": 2}},
        name="in the search",
        hovertemplate="%{y}: %{x:.3f} in the search<extra></extra>",
    )
    figure.add_scatter(
        x=means,
        y=names,
        mode="markers",
        marker={"color": theme.ACCENT, "size": 9},
        error_x={
            "type": "data",
            "array": [reach if isfinite(reach) else 0 for reach in reaches],
            "color": theme.ACCENT,
            "width": 5,
        },
        name="with fresh seeds, 95 % interval",
        hovertext=[f"{candidate.name}: {candidate.text} with fresh seeds" for candidate in data.candidates],
        hoverinfo="text",
    )
    figure.update_layout(yaxis={"type": "category", "autorange": "reversed"})
    return figure


def _table(data: Confirmation) -> Table:
    verdicts = {effect.arm: effect for effect in data.effects}
    return Table(
        name="candidates",
        columns=(
            Column(title="candidate"),
            Column(title="found", kind="number", digits=3),
            Column(title="again", kind="number", unit="mean", digits=3),
            Column(title="from", kind="number", unit="95 %", digits=3),
            Column(title="to", kind="number", unit="95 %", digits=3),
            Column(title="shrinkage", kind="number", digits=4),
            Column(title="diverged", kind="number", unit=f"of {len(data.seeds)}"),
            Column(title="against the defaults", is_long=True),
        ),
        rows=tuple(
            (*_numbers(candidate), verdicts[candidate.arm].sentence if candidate.arm in verdicts else "")
            for candidate in data.candidates
        ),
    )


def _numbers(candidate: Candidate) -> tuple[str | float, ...]:
    again = candidate.again
    found = (candidate.found, again.mean, again.low, again.high, candidate.shrinkage)
    return candidate.name, *found, candidate.diverged


def _blocks(data: Confirmation) -> tuple[Block, ...]:
    ranks = data.ranks
    order = ""
    if isfinite(ranks.tau):
        order = (
            f" Kendall's tau between the order of the search and that of the fresh seeds is {ranks.tau:+.2f} "
            f"(n {ranks.n}, p {formatting.number(ranks.p)})."
        )
    luck = ""
    if isfinite(data.mean_shrinkage):
        luck = f" Of what the search found {data.mean_shrinkage:+.3f} is gone, a mean over all but the defaults."
    sentence = f"{formatting.capitalised(data.sentence)}."
    length = f" Trained again for {formatting.counted(data.epochs, 'epoch')} each, in the study {data.name}."
    return Prose(f"{sentence}{length}{luck}{order}"), draw(data), _table(data)


PANEL = Panel(
    key="confirmed",
    title="Is the best still the best with fresh seeds?",
    caption="Rings are what the search found, the best of many and so partly luck; points are means over seeds that it "
    "has not used. A point far below its ring was a lucky one.",
    rows=rows,
    blocks=_blocks,
)
