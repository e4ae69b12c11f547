"""Where does training diverge?"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from dashboards.blocks import Empty, Prose
from dashboards.data.shown import chosen_axes, drawn_trials, none_started, ordered_params
from dashboards.data.study import Parameter, StudyView
from dashboards.data.trial_sets import is_rated
from dashboards.figures import theme
from dashboards.figures.points import LEGEND
from dashboards.questions import slices
from dashboards.questions.critical import CriticalRate, critical_rate, mark_critical
from dashboards.questions.edges import find_edges, mark_edges
from dashboards.questions.panel import Block, Panel
from evolve.findings.edges import Edge, edge_sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class DivergenceMap:
    """Where in the space trainings diverge.

    Attributes:
        x, y: Hyperparameters on the two axes; `y` is None if the study has one axis.
        rows: Trials, with the columns number, verdict, fitness, and the values x and, where there is a second axis, y.
        params: Hyperparameters by number of the trial, one column each.
        sentences: What parts the diverged trials from the others, in sentences.
        edges: Values that part the diverged trials from the others, for each axis of the study that has one.
        critical: Where critical ratios put the edge, before a trial is lost; None where none were measured.
    """

    x: Parameter
    y: Parameter | None
    rows: pd.DataFrame
    params: pd.DataFrame
    sentences: tuple[str, ...]
    edges: tuple[Edge, ...]
    critical: CriticalRate | None


def rows(view: StudyView) -> DivergenceMap | Empty:
    """Fitness and divergence over the learning rate (or the first axis) and the next axis of the study."""
    trials = drawn_trials(view)
    axes = chosen_axes(view)
    if trials.empty or not axes:
        return none_started(view) if trials.empty else Empty("No hyperparameter was searched; there is nothing to map.")
    found, critical = find_edges(view), critical_rate(view)
    x, y = axes[0], axes[1] if len(axes) > 1 else None
    return DivergenceMap(
        x=x,
        y=y,
        rows=slices.with_values(trials, view, {"x": x} if y is None else {"x": x, "y": y}),
        params=ordered_params(view).reindex(trials["number"]),
        sentences=(*(edge_sentence(edge) for edge in found), *(() if critical is None else (critical.sentence,))),
        edges=found,
        critical=critical,
    )


def draw(data: DivergenceMap) -> go.Figure:
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
    mark_critical(figure, data.critical, x=data.x, y=data.y)
    return figure


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
    # Said in numbers: Plotly looks at the first trace alone, which may be a single trial.
    fitness = rows["fitness"]
    ends = {"cmin": fitness.min(), "cmax": fitness.max()} if fitness.nunique() > 1 else {}
    figure.update_layout(coloraxis={"colorscale": theme.SCALE, "colorbar": bar, "showscale": bool(ends)} | ends)


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
    mark_critical(figure, data.critical, x=data.x)
    return figure


def _blocks(found: DivergenceMap) -> tuple[Block, ...]:
    return (*(Prose(sentence) for sentence in found.sentences), draw(found))


PANEL = Panel(
    key="map",
    title="Where does training diverge?",
    caption="Brighter is better, but pruned and partial trials had fewer epochs; crosses diverged.",
    rows=rows,
    blocks=_blocks,
    has_points=True,
)
