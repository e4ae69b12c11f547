"""The page that sets trials and studies side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import dcc, html

from dashboards.data.compared import MAX_ENTRIES
from dashboards.data.study import StudyView
from dashboards.data.trial_sets import best_numbers
from dashboards.live.pages import frame
from dashboards.panels import COMPARE
from dashboards.state import PageState, compared_of, compared_texts

NUM_OFFERED = 30  # trials of each study that is compared already


def page(state: PageState, names: Sequence[str], studies: Sequence[StudyView]) -> list[Any]:
    """The page, with the columns of the address chosen.

    Args:
        state: State of the page, as the address says.
        names: Names of all studies.
        studies: Studies that are compared already; their best trials are offered.
    """
    offered: list[tuple[str, int | None]] = [(name, None) for name in names]
    for study in studies:
        offered += [(study.facts.name, number) for number in best_numbers(study.candidates, NUM_OFFERED)]
    chosen = compared_texts(state.compared)
    # One by one, since the trials offered are not a selection.
    values = dict.fromkeys([*chosen, *(text for column in offered for text in compared_texts([column]))])
    chooser = dcc.Dropdown(
        id={"type": "filter", "key": "with"},
        options=[{"label": _label(text), "value": text} for text in values],
        value=chosen,
        multi=True,
        placeholder="choose studies; then their best trials are offered too",
        className="choice wide",
    )
    return [
        frame.heading(
            "Compare",
            details=[
                "Any trials or studies side by side; a study is stood for by its best trial. "
                f"Of more than {MAX_ENTRIES}, the best are shown."
            ],
        ),
        html.Div(chooser, className="steps"),
        *frame.sections(COMPARE),
    ]


def _label(text: str) -> str:
    columns = compared_of([text])
    name, number = columns[0]
    if len(columns) > 1:
        return f"{name} · {len(columns):,} trials"
    return f"study {name}" if number is None else f"{name} · trial {number}"
