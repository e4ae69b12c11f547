"""Figures about the search: history, slices, the map of divergence, importances, seeds."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboards.figures import theme
from dashboards.views import wording
from dashboards.views.search import DivergenceMap, Edge, History, SeedSpread, Slice, is_rated
from dashboards.views.study import Parameter
from evolve.analysis import Importances

LEGEND = {"itemsizing": "constant"}  # symbols stay legible where the trials' are small


def history(data: History) -> go.Figure:
    """Every trial by number, the best so far as a line, trials without a fitness in a strip beneath."""
    figure = theme.new_figure(height=400, x="trial", y="fitness", showlegend=True)
    figure.update_layout(xaxis=theme.integer_axis(data.trials["number"].max()), legend=LEGEND)
    if data.best_number is not None:
        _add_best_so_far(figure, data)
    hover = theme.hover_texts(data.trials, data.params)
    _add_trials(figure, data.trials.assign(x=data.trials["number"], hover=hover), x_name="trial")
    best = data.trials[data.trials["number"] == data.best_number]
    if len(best):
        _ring(figure, best["number"], best["fitness"])
    return figure


def slices(data: tuple[Slice, ...]) -> tuple[go.Figure, ...]:
    """Fitness against each hyperparameter, one small figure each."""
    return tuple(_slice(each) for each in data)


def divergence_map(data: DivergenceMap) -> go.Figure:
    """Trials over two hyperparameters, coloured by fitness, diverged ones as crosses; over one, in rows by verdict."""
    if data.y is None:
        return _map_of_one(data)
    figure = theme.new_figure(height=440, x=data.x.name, y=data.y.name, showlegend=True)
    rows = data.rows.assign(
        x=theme.positions(data.x, data.rows["x"], data.rows["number"]),
        y=theme.positions(data.y, data.rows["y"], data.rows["number"]),
        hover=theme.hover_texts(data.rows, data.params),
    )
    axes = {"xaxis": theme.axis_layout(data.x, rows["x"]), "yaxis": theme.axis_layout(data.y, rows["y"])}
    figure.update_layout(**axes, legend=LEGEND)
    _add_mapped(figure, rows)
    mark_edges(figure, data.edges, x=data.x, y=data.y)
    return figure


def mark_edges(figure: go.Figure, edges: Iterable[Edge], *, x: Parameter, y: Parameter | None = None) -> None:
    """Lines where trials begin to diverge, for those of the edges that are on an axis of the figure."""
    for edge in edges:
        for axis, parameter in (("x", x), ("y", y)):
            if parameter is not None and edge.name == parameter.name:
                is_late = theme.is_in_later_half(parameter, edge.value)
                theme.add_edge(figure, edge.value, edge.label, axis=axis, is_log=parameter.is_log, is_late=is_late)


def importances(data: Importances) -> go.Figure:
    """Shares as bars, the most important on top."""
    names = [theme.label(name) for name, _ in data.shares]
    shares = [share for _, share in data.shares]
    figure = theme.new_figure(height=90 + 30 * len(names), x="share of importance", y="")
    figure.add_bar(
        x=shares,
        y=names,
        orientation="h",
        marker={"color": theme.ACCENT},
        text=[f"{share:.0%}" for share in shares],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y} %{x:.1%}<extra></extra>",
    )
    figure.update_layout(
        xaxis={"tickformat": ".0%", "range": [0, max(shares) * 1.12]},
        yaxis={"autorange": "reversed", "type": "category", "showgrid": False},
        bargap=0.35,
    )
    return figure


def seed_spread(data: SeedSpread) -> go.Figure:
    """Fitness of each seed of the best trials, and their means with 95 % intervals."""
    names = [f"trial {number}" for number in data.numbers]
    figure = theme.new_figure(height=110 + 28 * len(names), x="fitness", y="", showlegend=True)
    figure.add_scatter(
        x=[value for values in data.values for value in values],
        y=[name for name, values in zip(names, data.values, strict=True) for _ in values],
        mode="markers",
        marker={"color": theme.NEUTRAL, "symbol": "line-ns-open", "size": 11, "line": {"width": 2}},
        name="one seed",
        hovertemplate="%{y}: %{x:.3f}<extra></extra>",
    )
    means = [each.mean for each in data.intervals]
    reach = [each.high - each.mean for each in data.intervals]
    figure.add_scatter(
        x=means,
        y=names,
        mode="markers",
        marker={"color": theme.ACCENT, "size": 9},
        error_x={"type": "data", "array": np.nan_to_num(reach), "color": theme.ACCENT, "thickness": 1.5, "width": 5},
        name="mean, 95 % interval" if any(isfinite(each) for each in reach) else "mean",
        hovertext=[_interval_text(name, mean, each) for name, mean, each in zip(names, means, reach, strict=True)],
        hoverinfo="text",
    )
    figure.update_layout(yaxis={"type": "category", "autorange": "reversed"})
    return figure


def _interval_text(name: str, mean: float, reach: float) -> str:
    return f"{name}: {wording.score(mean)}" + (f" ± {wording.score(reach)}" if isfinite(reach) else "")


def _slice(data: Slice) -> go.Figure:
    parameter = data.parameter
    figure = theme.new_figure(height=270, x=parameter.name, y="fitness")
    rows = data.rows.assign(x=theme.positions(parameter, data.rows["value"], data.rows["number"]))
    figure.update_layout(xaxis=theme.axis_layout(parameter, rows["x"]))
    if parameter.is_categorical:
        own = data.rows.set_index("number")[["value"]].rename(columns={"value": parameter.name})
        rows = rows.assign(hover=theme.hover_texts(data.rows, own))
    # One line besides the trial: with all hyperparameters in every figure the page would grow with their square.
    _add_trials(figure, rows, x_name=parameter.name)
    theme.mark_range(figure, parameter)
    mark_edges(figure, [data.edge] if data.edge else [], x=parameter)
    return figure


def _hover(rows: pd.DataFrame, verdict: str, x_name: str, *, is_rated: bool) -> dict[str, Any]:
    if "hover" in rows:
        return {"hovertext": rows["hover"], "hoverinfo": "text"}
    return {"hovertemplate": _point_text(verdict, x_name, is_rated=is_rated)}


def _point_text(verdict: str, x_name: str, *, is_rated: bool) -> str:
    fitness = "<br>fitness %{y:.3f}" if is_rated else ""
    title = theme.trial_title("%{customdata}", verdict)
    return f"{title}{fitness}<br>{theme.label(x_name)} %{{x:,.4~g}}<extra></extra>"


def _add_trials(figure: go.Figure, rows: pd.DataFrame, *, x_name: str) -> None:
    rated = is_rated(rows)
    without = [verdict for verdict, _ in theme.by_verdict(rows[~rated])]
    strip = theme.add_strip(figure, without, is_alone=not rated.any())
    figure.update_layout(yaxis={"range": theme.score_range(rows[rated]["fitness"])})
    for verdict, part in theme.by_verdict(rows):
        has_place = is_rated(part)
        for group, y, axis in (
            (part[has_place], part[has_place]["fitness"], "y"),
            (part[~has_place], [strip.get(verdict, 0)] * int((~has_place).sum()), "y2"),
        ):
            if group.empty:
                continue
            figure.add_scatter(
                x=group["x"],
                y=y,
                yaxis=axis,
                mode="markers",
                marker=theme.marker(verdict, len(rows)),
                name=verdict,
                legendgroup=verdict,
                showlegend=axis == "y" or not has_place.any(),
                customdata=group["number"],
                **_hover(group, verdict, x_name, is_rated=axis == "y"),
            )


def _add_best_so_far(figure: go.Figure, data: History) -> None:
    figure.add_scatter(
        x=data.trials["number"],
        y=data.best,
        mode="lines",
        line={"color": theme.ACCENT, "width": 2, "shape": "hv"},
        name="best so far",
        hoverinfo="skip",
    )


def _ring(figure: go.Figure, x: pd.Series[int], y: pd.Series[float]) -> None:
    figure.add_scatter(
        x=x,
        y=y,
        mode="markers",
        marker={"symbol": "circle-open", "size": 17, "color": theme.ACCENT, "line": {"width": 2.5}},
        name=f"best: trial {int(x.iloc[0])}",
        hoverinfo="skip",
    )


def _add_mapped(figure: go.Figure, rows: pd.DataFrame) -> None:
    """Rated trials by the colour of their fitness, the others by verdict."""
    rated = is_rated(rows)
    _add_rated(figure, rows[rated])
    for verdict, part in theme.by_verdict(rows[~rated]):
        figure.add_scatter(
            x=part["x"],
            y=part["y"],
            mode="markers",
            marker=theme.marker(verdict, len(rows)),
            name=verdict,
            customdata=part["number"],
            hovertext=part["hover"],
            hoverinfo="text",
        )


def _add_rated(figure: go.Figure, rows: pd.DataFrame) -> None:
    bar = {
        "title": {"text": "fitness", "side": "right", "font": {"size": 12.5}},
        "tickfont": {"size": 12},
        "thickness": 12,
        "outlinewidth": 0,
        "len": 1,
        "x": 1.01,
    }
    for verdict, part in theme.by_verdict(rows):
        look = theme.marker(verdict, len(rows)) | {
            "color": part["fitness"],
            "coloraxis": "coloraxis",
            "opacity": 0.95,
            "line": {"width": 0.5, "color": theme.NEUTRAL},
        }
        figure.add_scatter(
            x=part["x"],
            y=part["y"],
            mode="markers",
            marker=look,
            name=verdict,
            showlegend=False,
            customdata=part["number"],
            hovertext=part["hover"],
            hoverinfo="text",
        )
        # The colour of these is their fitness, so the legend shows the symbol alone.
        symbol = {"color": theme.NEUTRAL, "symbol": theme.style(verdict).symbol, "size": 9}
        figure.add_scatter(x=[None], y=[None], mode="markers", marker=symbol, name=verdict, hoverinfo="skip")
    figure.update_layout(
        coloraxis={"colorscale": theme.SCALE, "colorbar": bar, "showscale": rows["fitness"].nunique() > 1}
    )


def _map_of_one(data: DivergenceMap) -> go.Figure:
    verdicts = [verdict for verdict, _ in theme.by_verdict(data.rows)]
    figure = theme.new_figure(height=120 + 34 * len(verdicts), x=data.x.name, y="")
    rows = data.rows.assign(
        x=theme.positions(data.x, data.rows["x"], data.rows["number"]),
        y=data.rows["verdict"],
        hover=theme.hover_texts(data.rows, data.params),
    )
    _add_mapped(figure, rows)
    order = {"type": "category", "categoryorder": "array", "categoryarray": verdicts[::-1]}
    figure.update_layout(xaxis=theme.axis_layout(data.x, rows["x"]), yaxis=order)
    theme.mark_range(figure, data.x)
    mark_edges(figure, data.edges, x=data.x)
    return figure
