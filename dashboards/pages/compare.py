"""The page that sets trials and studies side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import dcc, html

from dashboards.live_panels import COMPARE
from dashboards.pages.frame import heading, sections
from dashboards.state import PageState
from dashboards.views import StudyView
from dashboards.views.study import best_numbers

NUM_OFFERED = 30  # trials of each study that is compared already


def page(state: PageState, names: Sequence[str], studies: Sequence[StudyView]) -> list[Any]:
    """The page, with the columns of the address chosen.

    Args:
        state: What the address says.
        names: Of all studies.
        studies: Those that are compared already; their best trials are offered.
    """
    offered: list[tuple[str, int | None]] = [(name, None) for name in names]
    offered += [(each.facts.name, number) for each in studies for number in best_numbers(each.trials, NUM_OFFERED)]
    chooser = dcc.Dropdown(
        id={"type": "filter", "key": "with"},
        options=[
            {"label": _label(*each), "value": value(*each)} for each in dict.fromkeys([*state.compared, *offered])
        ],
        value=[value(*each) for each in state.compared],
        multi=True,
        placeholder="choose studies; then their best trials are offered too",
        className="choice wide",
    )
    return [
        heading("Compare", details=["Any trials or studies side by side; a study is stood for by its best trial."]),
        html.Div(chooser, className="steps"),
        *sections(COMPARE),
    ]


def value(name: str, number: int | None) -> str:
    """A column as the chooser holds it; the address holds the same."""
    return f"{'' if number is None else number}:{name}"


def _label(name: str, number: int | None) -> str:
    return f"study {name}" if number is None else f"{name} · trial {number}"
