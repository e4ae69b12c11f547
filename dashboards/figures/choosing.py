"""A slider beneath a plot that shows one of several groups of what is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from dashboards.figures import theme


def add_choice(
    figure: go.Figure,
    labels: Sequence[str],
    *,
    shown: int,
    prefix: str = "",
    layouts: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Lets a reader choose which traces are visible; where there is one label, there is nothing to choose.

    Args:
        figure: Figure whose traces stand in groups of the same size, one after another; it is changed in place.
        labels: Label of each group, in the order of the groups.
        shown: Place of the group that is visible at first.
        prefix: Text that stands before the label that is chosen.
        layouts: What else a choice changes in the layout, by Plotly's path; one for each group or none at all.
    """
    size = len(figure.data) // len(labels)
    for place, trace in enumerate(figure.data):
        trace.visible = place // size == shown
    steps = [
        {
            "label": label,
            "method": "update",
            "args": [
                {"visible": [other // size == place for other in range(len(figure.data))]},
                dict(layouts[place]) if layouts else {},
            ],
        }
        for place, label in enumerate(labels)
    ]
    slider = {"active": shown, "steps": steps, "currentvalue": {"prefix": prefix}, "pad": {"t": 46}}
    figure.update_layout(sliders=[slider | {"bgcolor": theme.NEUTRAL}] if len(labels) > 1 else [])
