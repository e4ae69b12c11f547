"""Norms by module and step as a map: where a training broke, and what had grown or vanished before."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, log10, nan

import plotly.graph_objects as go

from dashboards.figures import theme
from detector.observations import ModuleTraced, StepTraced
from evolve import formatting

BROKEN = theme.style("diverged")
_ROW_PIXELS, _LEAST_PIXELS, _MOST_PIXELS = 13, 260, 1500


def module_map(traced: Sequence[StepTraced], norm: str, *, title: str) -> go.Figure:
    """One norm of every module in every step, by powers of ten; a cross where it is no finite number.

    Args:
        traced: Traced steps in order, at least one; the modules of the last one are shown.
        norm: Name of the norm, a field of `ModuleTraced`; a module that has none in any step is left out.
        title: Title above the picture, which says what it is a norm of.
    """
    steps = [step.step for step in traced]
    found = {
        module.name: [norm_at(step.modules, place, norm) for step in traced]
        for place, module in enumerate(traced[-1].modules)
    }
    found = {name: norms for name, norms in found.items() if any(value is not None for value in norms)}
    figure = theme.new_figure(height=_height(len(found)), x="step", y="")
    figure.add_heatmap(
        x=steps,
        y=[*found],
        z=[[_power(value) for value in norms] for norms in found.values()],
        customdata=[
            ["none" if value is None else formatting.number(value) for value in norms] for norms in found.values()
        ],
        colorscale=theme.SCALE,
        colorbar={"title": {"text": "power of ten", "side": "right"}, "thickness": 12, "outlinewidth": 0},
        hovertemplate="<b>%{y}</b>, step %{x}<br>" + title + " %{customdata}<extra></extra>",
        hoverongaps=False,
    )
    crosses = [
        (step, name)
        for name, norms in found.items()
        for step, value in zip(steps, norms, strict=True)
        if value is not None and not isfinite(value)
    ]
    figure.add_scatter(
        x=[step for step, _ in crosses],
        y=[name for _, name in crosses],
        mode="markers",
        marker={"symbol": BROKEN.symbol, "color": BROKEN.color, "size": 9},
        hovertemplate="<b>%{y}</b>, step %{x}<br>" + title + " is no finite number<extra></extra>",
    )
    figure.update_layout(
        title={"text": title, "x": 0, "xanchor": "left", "font": {"size": 13}},
        margin={"t": 34},
        xaxis={"dtick": 1, "showgrid": False, "tickformat": "d"},
        # As a step computes: the first module at the top.
        yaxis={"autorange": "reversed", "showgrid": False, "tickfont": {"size": 10}, "type": "category"},
    )
    return figure


def _height(rows: int) -> int:
    return min(max(_ROW_PIXELS * rows + 80, _LEAST_PIXELS), _MOST_PIXELS)


def norm_at(modules: Sequence[ModuleTraced], place: int, norm: str) -> float | None:
    """A norm of the module at a place; None where it has none, or the pass of a step that broke ended before it."""
    value: float | None = getattr(modules[place], norm) if place < len(modules) else None
    return value


def _power(value: float | None) -> float:
    """Power of ten of a norm; nothing of one that is 0, which the words say, or no number."""
    return log10(value) if value is not None and isfinite(value) and value > 0 else nan
