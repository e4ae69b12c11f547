"""Where a hyperparameter parts the trials that diverged from the others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboards.data.study import Parameter, StudyView
from dashboards.data.trial_sets import started
from dashboards.figures import theme
from evolve import analysis
from evolve.formatting import counted, number

LEAST_SEPARATION = 0.6
LEAST_DIVERGED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A value of one hyperparameter that parts the trials that diverged from the others.

    Attributes:
        name: Name of the hyperparameter.
        value: Most trials at or beyond it diverged, in the hyperparameter's own unit.
        is_above: Whether beyond means larger.
        beyond, others: Trials on either side, and how many of them diverged.
        separation: Share of diverged trials beyond the value minus share of the others beyond it, in 0..1.
    """

    name: str
    value: float
    is_above: bool
    beyond: tuple[int, int]
    others: tuple[int, int]
    separation: float

    @property
    def label(self) -> str:
        """What stands beside its line: `above 0.29: 5 of 5 diverged`."""
        total, diverged = self.beyond
        return f"{'above' if self.is_above else 'below'} {number(self.value)}: {diverged:,} of {total:,} diverged"


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
    return trials[~trials["verdict"].isin(["running", "failed", "doomed"])]


def _edge(view: StudyView, trials: pd.DataFrame, axis: Parameter) -> Edge | None:
    values = view.params[axis.name].reindex(trials["number"]).to_numpy(dtype=float)
    found = analysis.divergence_threshold(np.log(values) if axis.is_log else values, trials["verdict"] == "diverged")
    if found is None or found.num_diverged < LEAST_DIVERGED or found.separation < LEAST_SEPARATION:
        return None
    num_known = int(np.isfinite(values).sum())
    return Edge(
        name=axis.name,
        value=exp(found.value) if axis.is_log else found.value,
        is_above=found.is_above,
        beyond=(found.num_beyond, found.num_diverged_beyond),
        others=(num_known - found.num_beyond, found.num_diverged - found.num_diverged_beyond),
        separation=found.separation,
    )


def edge_sentence(edge: Edge) -> str:
    (num_beyond, lost_beyond), (num_others, lost_others) = edge.beyond, edge.others
    here, there = ("Above", "below") if edge.is_above else ("Below", "above")
    return (
        f"{here} {edge.name} {number(edge.value)}, {lost_beyond:,} of {counted(num_beyond, 'trial')} diverged; "
        f"{there}, {lost_others:,} of {num_others:,}."
    )


def mark_edges(figure: go.Figure, edges: Iterable[Edge], *, x: Parameter, y: Parameter | None = None) -> None:
    """Lines where trials begin to diverge, for those of the edges that are on an axis of the figure."""
    for edge in edges:
        for axis, parameter in (("x", x), ("y", y)):
            if parameter is not None and edge.name == parameter.name:
                is_late = theme.is_in_later_half(parameter, edge.value)
                theme.add_edge(figure, edge.value, edge.label, axis=axis, is_log=parameter.is_log, is_late=is_late)
