"""Which settings are good?"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from dashboards.blocks import Empty
from dashboards.data.shown import drawn_trials, none_started
from dashboards.data.study import Parameter, StudyView
from dashboards.figures import theme
from dashboards.figures.points import add_trials
from dashboards.questions.edges import find_edges, mark_edges
from dashboards.questions.panel import Panel
from evolve.findings.edges import Edge


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Fitness against one hyperparameter: rows with number, verdict, fitness and value, and where trials diverge."""

    parameter: Parameter
    rows: pd.DataFrame
    edge: Edge | None = None


def rows(view: StudyView) -> tuple[Slice, ...] | Empty:
    """Fitness against each hyperparameter that was searched."""
    trials = drawn_trials(view)
    if trials.empty:
        return none_started(view)
    axes = [axis for axis in view.space if axis.name in view.params]
    if not axes:
        return Empty("No hyperparameter was searched. Name some under `space` in the study's file.")
    found = {edge.name: edge for edge in find_edges(view)}
    return tuple(
        Slice(parameter=axis, rows=with_values(trials, view, {"value": axis}), edge=found.get(axis.name))
        for axis in axes
    )


def with_values(trials: pd.DataFrame, view: StudyView, axes: dict[str, Parameter]) -> pd.DataFrame:
    # A conditional hyperparameter has no value in some trials; they have no place in its picture.
    values = {column: view.params[axis.name].reindex(trials["number"]).to_numpy() for column, axis in axes.items()}
    return trials.assign(**values).dropna(subset=list(axes)).reset_index(drop=True)


def draw(data: tuple[Slice, ...]) -> tuple[go.Figure, ...]:
    """Fitness against each hyperparameter, one small figure each."""
    return tuple(_slice(axis_slice) for axis_slice in data)


def _slice(data: Slice) -> go.Figure:
    parameter = data.parameter
    figure = theme.new_figure(height=270, x=parameter.name, y="fitness")
    rows = data.rows.assign(x=theme.positions(parameter, data.rows["value"], data.rows["number"]))
    figure.update_layout(xaxis=theme.axis_layout(parameter, rows["x"]))
    if parameter.is_categorical:
        own = data.rows.set_index("number")[["value"]].rename(columns={"value": parameter.name})
        rows = rows.assign(hover=theme.hover_texts(data.rows, own))
    # One line besides the trial: with all hyperparameters in every figure the page would grow with their square.
    add_trials(figure, rows, x_name=parameter.name)
    theme.mark_range(figure, parameter)
    mark_edges(figure, [data.edge] if data.edge else [], x=parameter)
    return figure


PANEL = Panel(
    key="slices",
    title="Which settings are good?",
    caption="Fitness against each hyperparameter. Dotted lines are the ends of the range that was searched: where "
    "the best trials crowd at one, widen it. Pruned and partial trials had fewer epochs, and stand lower for that.",
    rows=rows,
    blocks=draw,
    has_points=True,
)
