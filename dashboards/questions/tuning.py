"""How was each arm tuned?"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from dashboards.blocks import Empty
from dashboards.data.arms import arms_of, short_names
from dashboards.data.study import Parameter, StudyView
from dashboards.data.trial_sets import is_rated
from dashboards.figures import theme
from dashboards.figures.series import arm_style
from dashboards.questions.panel import Panel


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """Fitness of the trials that tuned one nuisance hyperparameter, arm by arm.

    Attributes:
        parameter: Hyperparameter that was tuned.
        arms: What the picture calls each arm, the baseline first.
        rows: Settings that were tried, with the columns number, arm, value and fitness; NaN where one has no fitness.
        chosen: Setting that each arm was compared with, by what the picture calls the arm.
    """

    parameter: Parameter
    arms: tuple[str, ...]
    rows: pd.DataFrame
    chosen: dict[str, float | str]


def rows(view: StudyView) -> tuple[Tuned, ...] | Empty:
    """What was tried for each arm, and what was taken."""
    arms = arms_of(view)
    if isinstance(arms, Empty):
        return arms
    plan, nuisance = arms.plan, arms.ablation.nuisance
    if nuisance is None:
        return Empty("Nothing was tuned for the arms: all but what they differ in is fixed.")
    _, names = short_names(plan)
    tried = view.trials[view.trials["number"] < plan.num_tuning]
    own = pd.DataFrame(
        {
            "number": tried["number"],
            "arm": [names[plan.arm_of(int(number)).name] for number in tried["number"]],
            "fitness": tried["fitness"].where(is_rated(tried)),
        }
    )
    axes = [axis for axis in view.space if axis.name in nuisance.space and axis.name in view.params]
    chosen = {tuned.name: tuned.chosen for tuned in arms.tuned}
    return tuple(
        Tuned(
            parameter=axis,
            arms=tuple(names.values()),
            rows=own.assign(value=view.params[axis.name].reindex(own["number"]).to_numpy()),
            chosen={
                names[arm]: str(value) if axis.is_categorical else value  # a view has choices as text
                for arm, value in chosen.get(axis.name, {}).items()
            },
        )
        for axis in axes
    )


def draw(data: tuple[Tuned, ...]) -> tuple[go.Figure, ...]:
    """Fitness over each nuisance hyperparameter, a line an arm, with a ring around what was taken."""
    return tuple(_draw(tuned) for tuned in data)


def _draw(data: Tuned) -> go.Figure:
    figure = theme.new_figure(height=380, x=data.parameter.name, y="fitness, tuning seeds", showlegend=True)
    places = theme.positions(data.parameter, data.rows["value"], data.rows["number"])
    rows = data.rows.assign(x=places).sort_values("x")
    figure.update_layout(xaxis=theme.axis_layout(data.parameter, rows["x"]))
    mode = "markers" if data.parameter.is_categorical else "lines+markers"
    for slot, arm in enumerate(data.arms):
        own, style = rows[rows["arm"] == arm], arm_style(slot)
        taken = own[(own["value"] == data.chosen.get(arm)) & own["fitness"].notna()].head(1)
        look = {"color": style.color, "width": 1.6, "dash": style.dash}
        figure.add_scatter(
            x=own["x"], y=own["fitness"], mode=mode, line=look,
            marker={"color": style.color, "size": 7, "symbol": style.symbol},
            name=theme.label(arm), legendgroup=arm, customdata=own["number"],
            hovertemplate=f"<b>{theme.label(arm)}</b>, trial %{{customdata}}<br>%{{y:.4f}}<extra></extra>",
        )  # fmt: skip
        figure.add_scatter(
            x=taken["x"], y=taken["fitness"], mode="markers", legendgroup=arm, showlegend=False, hoverinfo="skip",
            marker={"symbol": "circle-open", "size": 15, "color": style.color, "line": {"width": 2}},
        )  # fmt: skip
    return figure


PANEL = Panel(
    key="tuning",
    title="How was each arm tuned?",
    caption="Fitness of the trials that tuned, on seeds of their own. A ring marks the setting that an arm was "
    "compared with. It is the best of several, so part of it is luck: other seeds, of the comparison, give less.",
    rows=rows,
    blocks=draw,
)
