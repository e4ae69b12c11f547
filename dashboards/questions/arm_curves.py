"""How do the arms learn?"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from dashboards.blocks import Empty
from dashboards.data.arms import arms_of
from dashboards.data.study import StudyView
from dashboards.figures import theme
from dashboards.figures.series import curve_style
from dashboards.questions.panel import Panel
from evolve.study.ablation import BASELINE


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmCurve:
    """The runs of an arm by epoch: columns epoch (from 1), mean, low, high and runs.

    Attributes:
        arm: Its name.
        points: One row an epoch, over the runs that reached it with a finite value.
    """

    arm: str
    points: pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmCurves:
    """The curves of all arms, the baseline first."""

    metric: str
    curves: tuple[ArmCurve, ...]


def rows(view: StudyView) -> ArmCurves | Empty:
    """Fitness by epoch of every arm: mean, lowest and highest run."""
    arms = arms_of(view)
    if isinstance(arms, Empty):
        return arms
    epochs = view.seed_epochs
    numbers: dict[str, list[int]] = {}
    for number, arm in arms.plan.verdicts():
        numbers.setdefault(arm.name, []).append(number)
    curves = [ArmCurve(arm=arm, points=_points(epochs[epochs["number"].isin(own)])) for arm, own in numbers.items()]
    return ArmCurves(metric=arms.metric, curves=tuple(curve for curve in curves if len(curve.points)))


def _points(rows: pd.DataFrame) -> pd.DataFrame:
    by_epoch = rows.dropna(subset=["fitness"]).groupby("epoch")["fitness"]
    found = by_epoch.agg(["mean", "min", "max", "count"]).reset_index()
    found.columns = pd.Index(["epoch", "mean", "low", "high", "runs"])
    return found.assign(epoch=found["epoch"] + 1)


def draw(data: ArmCurves) -> go.Figure:
    """The mean of each arm, over a band from its lowest to its highest run."""
    figure = theme.new_figure(height=420, x="epochs trained", y=f"{data.metric}, validation", showlegend=True)
    longest = max((float(curve.points["epoch"].max()) for curve in data.curves), default=0.0)
    figure.update_layout(xaxis=theme.integer_axis(longest))
    for slot, curve in enumerate(data.curves):
        color, dash = (theme.NEUTRAL, "solid") if curve.arm == BASELINE else curve_style(slot - 1)
        _add(figure, curve, color=color, dash=dash)
    return figure


def _add(figure: go.Figure, curve: ArmCurve, *, color: str, dash: str) -> None:
    name, points = theme.label(curve.arm), curve.points
    edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "legendgroup": name, "showlegend": False}
    figure.add_scatter(x=points["epoch"], y=points["low"], **edge)
    figure.add_scatter(x=points["epoch"], y=points["high"], fill="tonexty", fillcolor=_faint(color), **edge)
    figure.add_scatter(
        x=points["epoch"],
        y=points["mean"],
        mode="lines+markers",
        line={"color": color, "width": 2.2, "dash": dash},
        marker={"color": color, "size": 5},
        name=name,
        legendgroup=name,
        customdata=points["runs"],
        hovertemplate=f"<b>{name}</b><br>%{{x:,}}: %{{y:.4f}}, %{{customdata}} runs<extra></extra>",
    )


def _faint(color: str) -> str:
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.14)"


PANEL = Panel(
    key="arm_curves",
    title="How do the arms learn?",
    caption="After each epoch, the mean over an arm's runs, with a band from the lowest to the highest. A run that "
    "diverged counts up to its last epoch, so that a mean may rise when a bad run ends: see the crosses above.",
    rows=rows,
    blocks=draw,
)
