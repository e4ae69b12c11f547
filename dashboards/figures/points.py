"""Points of trials in a plot, with a strip beneath it for those that have no fitness."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from dashboards.data.trial_sets import is_rated
from dashboards.figures import theme

LEGEND = {"itemsizing": "constant"}  # symbols stay legible where the trials' are small


def add_trials(figure: go.Figure, rows: pd.DataFrame, *, x_name: str) -> None:
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


def _hover(rows: pd.DataFrame, verdict: str, x_name: str, *, is_rated: bool) -> dict[str, Any]:
    if "hover" in rows:
        return {"hovertext": rows["hover"], "hoverinfo": "text"}
    return {"hovertemplate": _point_text(verdict, x_name, is_rated=is_rated)}


def _point_text(verdict: str, x_name: str, *, is_rated: bool) -> str:
    fitness = "<br>fitness %{y:.3f}" if is_rated else ""
    title = theme.trial_title("%{customdata}", verdict)
    return f"{title}{fitness}<br>{theme.label(x_name)} %{{x:,.4~g}}<extra></extra>"
