"""Does it help, and how sure is that?"""

from __future__ import annotations

from math import isfinite

import plotly.graph_objects as go

from dashboards.blocks import Column, Prose, Table
from dashboards.data.arms import arms_of, short_names
from dashboards.figures import theme
from dashboards.questions.panel import Block, Panel
from evolve import formatting
from evolve.ablation.compared import Compared
from evolve.ablation.effects import Effect
from evolve.ablation.verdicts import coverage_text

# As verdicts of trials look, where they mean the same: better, worse, no difference that matters.
_COLORS = {"better": "#009E73", "worse": "#D55E00", "equivalent": theme.ACCENT}
MAX_NAME = 28  # characters beside the plot, which has to fit on a telephone


def draw(data: Compared) -> go.Figure:
    """Each arm's difference from the baseline with its interval, the margin shaded around no difference."""
    effects = data.effects
    differs, short = short_names(data.plan)
    names = [_name(short[effect.arm], effect) for effect in effects]
    places = list(range(len(effects)))
    figure = theme.new_figure(height=110 + 40 * len(effects), x=f"difference in {data.metric}", y=differs)
    margin = data.ablation.margin
    figure.add_shape(
        type="rect", x0=-margin, x1=margin, y0=0, y1=1, yref="paper", layer="below",
        fillcolor=theme.NEUTRAL, opacity=0.18, line={"width": 0},
    )  # fmt: skip
    theme.add_mark(figure, 0)
    reaches = [effect.high - effect.mean for effect in effects]
    colors = [_COLORS.get(str(effect.verdict), theme.NEUTRAL) for effect in effects]
    for place, effect, reach, color in zip(places, effects, reaches, colors, strict=True):
        if not isfinite(effect.mean):
            figure.add_annotation(x=0, y=place, text="no pair finished", showarrow=False)
        figure.add_scatter(
            x=[effect.mean],
            y=[place],
            mode="markers",
            marker={"color": color, "size": 10},
            error_x={"type": "data", "array": [reach if isfinite(reach) else 0], "color": color, "width": 6},
            hovertext=[_hover(effect)],
            hoverinfo="text",
        )
    figure.update_layout(
        yaxis={"tickvals": places, "ticktext": names, "range": [len(effects) - 0.5, -0.5], "showgrid": False},
        xaxis={"tickformat": "+.3~f", "tickangle": 0},
    )
    return figure


def _name(arm: str, effect: Effect) -> str:
    name = theme.label(arm, most=MAX_NAME)
    return f"{name}<br>{effect.diverged} of {effect.num_seeds} diverged" if effect.diverged else name


def _hover(effect: Effect) -> str:
    return (
        f"<b>{theme.label(effect.arm)}</b> {theme.label(effect.verdict)}<br>{effect.mean:+.4f}, "
        f"{effect.low:+.4f} to {effect.high:+.4f} ({effect.n_pairs} of {effect.num_seeds} pairs)"
        f"<br>corrected p {formatting.number(effect.p_corrected)}"
    )


def _table(data: Compared) -> Table:
    return Table(
        name="effects",
        columns=(
            Column(title="arm"),
            Column(title="what to make of it", is_long=True),
            Column(title="pairs", kind="number"),
            Column(title="difference", kind="number", unit="mean", digits=4),
            Column(title="from", kind="number", unit="95 %", digits=4),
            Column(title="to", kind="number", unit="95 %", digits=4),
            Column(title="p", kind="number", unit="corrected"),
            Column(title="wins", kind="number", unit="of seeds"),
            Column(title="diverged", kind="number", unit="arm, baseline"),
        ),
        rows=tuple(
            (
                effect.arm,
                effect.sentence,
                effect.n_pairs,
                effect.mean,
                effect.low,
                effect.high,
                effect.shown_p,
                f"{effect.wins} of {effect.num_seeds}",
                f"{effect.diverged}, {effect.baseline_diverged}",
            )
            for effect in data.effects
        ),
    )


def _blocks(data: Compared) -> tuple[Block, ...]:
    note = f" {data.missing} of {len(data.runs)} runs are missing, so all of it may change." if data.missing else ""
    basis = (
        f"{len(data.plan.seeds)} seeds, the same for every arm. The grey band is the margin, {data.ablation.margin:g}: "
        f"a smaller difference does not matter.{note}"
    )
    said = [Prose(text) for text in (data.question, basis, coverage_text(data.effects)) if text]
    return (*said, *_looks(data), draw(data), _table(data))


def _looks(data: Compared) -> tuple[Prose, ...]:
    """Which look this is, and which arms have ended at one."""
    if not data.plan.looks:
        return ()
    return (Prose(f"{'. '.join([formatting.capitalised(data.standing.look_text), *data.endings])}."),)


PANEL = Panel(
    key="effects",
    title="Does it help, and how sure is that?",
    caption="The difference of each arm from the baseline, a mean over pairs of runs with the same seed, with its 95 % "
    "interval. p is corrected for the number of arms (Holm). A run that diverged loses its pair; it has no value, so "
    "the mean is over the other pairs, and the counts stand beside it.",
    rows=arms_of,
    blocks=_blocks,
)
