"""How do the arms learn?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from dashboards.blocks import Empty
from dashboards.data.arms import arms_of, short_names
from dashboards.data.study import StudyView
from dashboards.figures import theme
from dashboards.figures.series import arm_style
from dashboards.questions.panel import Panel
from evolve.formatting import counted
from evolve.study.ablation import BASELINE

MOST_BANDS = 5  # which lie over each other


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmCurve:
    """The runs of an arm by epoch: columns epoch (from 1), mean, low, high and runs.

    Attributes:
        arm: Name of the arm.
        points: One row an epoch, over the runs that reached it with a finite value.
    """

    arm: str
    points: pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmCurves:
    """The curves of all arms, the baseline first.

    Attributes:
        metric: Name of the metric, such as fitness.
        curves: Curve of each arm that has an epoch.
        names: What the picture calls each arm, by the name of the arm.
    """

    metric: str
    curves: tuple[ArmCurve, ...]
    names: Mapping[str, str]


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
    known = tuple(curve for curve in curves if len(curve.points))
    return ArmCurves(metric=arms.metric, curves=known, names=short_names(arms.plan)[1])


def _points(rows: pd.DataFrame) -> pd.DataFrame:
    by_epoch = rows.dropna(subset=["fitness"]).groupby("epoch")["fitness"]
    found = by_epoch.agg(["mean", "min", "max", "count"]).reset_index()
    found.columns = pd.Index(["epoch", "mean", "low", "high", "runs"])
    return found.assign(epoch=found["epoch"] + 1)


def draw(data: ArmCurves) -> go.Figure:
    """The mean of each arm, over a band from its lowest to its highest run; of many arms the baseline's alone."""
    # A legend takes a line for two arms on a telephone.
    height = 420 + 12 * max(len(data.curves) - MOST_BANDS, 0)
    figure = theme.new_figure(height=height, x="epochs trained", y=f"{data.metric}, validation", showlegend=True)
    longest = max((float(curve.points["epoch"].max()) for curve in data.curves), default=0.0)
    figure.update_layout(xaxis=theme.integer_axis(longest))
    slots = {arm: slot for slot, arm in enumerate(data.names)}
    for curve in data.curves:
        has_band = len(data.curves) <= MOST_BANDS or curve.arm == BASELINE
        _add(figure, curve, data.names[curve.arm], slots[curve.arm], has_band=has_band)
    return figure


def _add(figure: go.Figure, curve: ArmCurve, arm: str, slot: int, *, has_band: bool) -> None:
    style, name, points = arm_style(slot), theme.label(arm), curve.points
    edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "legendgroup": name, "showlegend": False}
    if has_band:
        figure.add_scatter(x=points["epoch"], y=points["low"], **edge)
        figure.add_scatter(x=points["epoch"], y=points["high"], fill="tonexty", fillcolor=_faint(style.color), **edge)
    figure.add_scatter(
        x=points["epoch"],
        y=points["mean"],
        mode="lines+markers",
        line={"color": style.color, "width": 2.2, "dash": style.dash},
        marker={"color": style.color, "size": 6, "symbol": style.symbol},
        name=name,
        legendgroup=name,
        text=[counted(int(runs), "run") for runs in points["runs"]],
        hovertemplate=f"<b>{name}</b><br>%{{x:,}}: %{{y:.4f}}, %{{text}}<extra></extra>",
    )


def _faint(color: str) -> str:
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.14)"


PANEL = Panel(
    key="arm_curves",
    title="How do the arms learn?",
    caption="After each epoch, the mean over an arm's runs, with a band from the lowest to the highest; of more than "
    f"{MOST_BANDS} arms the baseline's alone. A run that diverged counts up to its last epoch, so that a mean may rise "
    "when a bad run ends: see the crosses above.",
    rows=rows,
    blocks=draw,
)
