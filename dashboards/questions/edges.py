"""Where a hyperparameter parts the trials that diverged from the others."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
import plotly.graph_objects as go

from dashboards.data.study import Parameter, StudyView
from dashboards.data.trial_sets import started
from dashboards.figures import theme
from evolve.findings.edges import LEAST_DIVERGED, Edge, edge_of, edge_sentence
from evolve.formatting import counted


def find_edges(view: StudyView) -> tuple[Edge, ...]:
    """Where each numeric hyperparameter parts the trials that diverged from the others, the clearest first."""
    trials = started(view.trials)
    decided = _decided(trials)
    numeric = [axis for axis in view.space if axis.name in view.params and not axis.is_categorical]
    found = [edge for axis in numeric if (edge := _edge(view, decided, axis)) is not None]
    return tuple(sorted(found, key=lambda edge: -edge.separation))


def divergence_sentence(view: StudyView) -> str:
    """Where training diverges, in a sentence; empty while no trial has come to its end."""
    trials = started(view.trials)
    decided = _decided(trials)
    diverged = int((decided["verdict"] == "diverged").sum())
    if decided.empty:
        return ""
    if found := find_edges(view):
        return edge_sentence(found[0])
    if not diverged:
        return f"None of {counted(len(decided), 'trial')} diverged."
    if diverged == len(decided):
        return f"Every one of {counted(len(decided), 'trial')} diverged."
    message = f"{diverged:,} of {counted(len(decided), 'trial')} diverged"
    # Of one or two nobody can tell.
    return f"{message}; no single hyperparameter tells which." if diverged >= LEAST_DIVERGED else f"{message}."


def _decided(trials: pd.DataFrame) -> pd.DataFrame:
    """Trials of which it is known whether they diverge: not of those that a rule stopped since they were going to."""
    return trials[~trials["verdict"].isin(["running", "interrupted", "failed", "doomed"])]


def _edge(view: StudyView, trials: pd.DataFrame, axis: Parameter) -> Edge | None:
    values = view.params[axis.name].reindex(trials["number"]).to_numpy(dtype=float)
    return edge_of(axis.name, values, list(trials["verdict"] == "diverged"), is_log=axis.is_log)


def mark_edges(figure: go.Figure, edges: Iterable[Edge], *, x: Parameter, y: Parameter | None = None) -> None:
    """Lines where trials begin to diverge, for those of the edges that are on an axis of the figure."""
    for edge in edges:
        for axis, parameter in (("x", x), ("y", y)):
            if parameter is not None and edge.name == parameter.name:
                is_late = theme.is_in_later_half(parameter, edge.value)
                theme.add_edge(figure, edge.value, edge.label, axis=axis, is_log=parameter.is_log, is_late=is_late)
