"""Is it so for every seed?"""

from __future__ import annotations

from math import nan
from statistics import fmean

import plotly.graph_objects as go

from dashboards.data.arms import arms_of, short_names
from dashboards.figures import theme
from dashboards.questions.panel import Panel
from evolve.ablation.compared import Compared

MAX_NAME = 20
MAX_UPRIGHT = 28  # characters of all names side by side, as a telephone has room for


def draw(data: Compared) -> go.Figure:
    """A line for each seed through its runs of all arms, their means, and a cross for each run without a value."""
    arms = [arm.name for arm in data.plan.arms]
    by_arm = {arm: {run.seed: run.value for run in data.runs_of(arm)} for arm in arms}
    differs, short = short_names(data.plan)
    figure = theme.new_figure(height=420, x=differs, y=data.metric, showlegend=True)
    places = list(range(len(arms)))
    for seed in data.plan.seeds:
        values = [by_arm[arm].get(seed) for arm in arms]
        figure.add_scatter(
            x=places,
            y=[nan if value is None else value for value in values],
            mode="lines+markers",
            line={"color": theme.NEUTRAL, "width": 1.2},
            marker={"color": theme.NEUTRAL, "size": 5},
            opacity=0.75,
            name="one seed",
            legendgroup="seed",
            showlegend=seed == data.plan.seeds[0],
            hovertemplate=f"seed {seed}: %{{y:.4f}}<extra></extra>",
            connectgaps=False,
        )
    found = [[value for value in by_arm[arm].values() if value is not None] for arm in arms]
    figure.add_scatter(
        x=places,
        y=[fmean(values) if values else nan for values in found],
        mode="markers",
        marker={"color": theme.ACCENT, "size": 13, "symbol": "line-ew-open", "line": {"width": 3}},
        name="mean",
        hovertemplate="mean %{y:.4f}<extra></extra>",
    )
    _add_lost(figure, data, arms, is_alone=not any(found))
    names = [theme.label(short[arm], most=MAX_NAME) for arm in arms]
    # Plotly leaves out names that would run into each other; aslant all have room.
    angle = -35 if sum(map(len, names)) > MAX_UPRIGHT else 0
    axis = {"tickvals": places, "ticktext": names, "tickangle": angle, "range": [-0.4, len(arms) - 0.6]}
    figure.update_layout(xaxis=axis)
    return figure


def _add_lost(figure: go.Figure, data: Compared, arms: list[str], *, is_alone: bool) -> None:
    kinds = [kind for kind in ("diverged", "failed") if any(run.outcome == kind for run in data.runs)]
    rows = theme.add_strip(figure, kinds, is_alone=is_alone)
    for kind in kinds:
        lost = [(arms.index(run.arm), run.seed) for run in data.runs if run.outcome == kind]
        # Side by side where an arm has several.
        spread = {
            key: 0.7 * (place / max(len(data.plan.seeds) - 1, 1) - 0.5) for place, key in enumerate(data.plan.seeds)
        }
        figure.add_scatter(
            x=[place + spread[seed] for place, seed in lost],
            y=[rows[kind]] * len(lost),
            yaxis="y2",
            mode="markers",
            marker=theme.marker(kind, len(lost)),
            name=f"{kind}: {len(lost)}",
            text=[f"seed {seed} {kind}" for _, seed in lost],
            hovertemplate="%{text}<extra></extra>",
        )


PANEL = Panel(
    key="paired",
    title="Is it so for every seed?",
    caption="A line joins the runs of one seed, which share initialisation and order of the data: where lines run side "
    "by side, the arms differ more surely than the spread of one arm says. Crosses beneath are runs without a value.",
    rows=arms_of,
    blocks=draw,
)
