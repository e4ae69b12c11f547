"""The controls of a page make its state, and a state sets them."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from dashboards.data.reader import Reader
from dashboards.live.callbacks import panel_content
from dashboards.live.context import PanelContext
from dashboards.live.controls import state_of
from dashboards.state import Hidden, PageState, Range, Sort
from tests.dashboards.examples import NAME, found


def test_the_controls_of_a_page_make_its_address() -> None:
    before = PageState(page="/study", study=NAME)
    values: list[tuple[dict[str, str], Any]] = [
        ({"type": "filter", "key": "verdicts"}, ["diverged"]),
        ({"type": "filter", "key": "text"}, " nan "),
        ({"type": "range", "name": "lr0", "end": "low"}, "1e-3"),
        ({"type": "range", "name": "lr0", "end": "high"}, ""),
        ({"type": "range", "name": "schedule", "end": "choices"}, ["cosine"]),
        ({"type": "pair", "axis": "y"}, "box"),
    ]

    state = state_of(before, values, "3-5", {"zooms": [["history-0", "xaxis", 0, 9]]})

    assert state.filters.verdicts == ("diverged",)
    assert state.filters.ranges == (Range(name="lr0", low=1e-3, high=inf), Range(name="schedule", choices=("cosine",)))
    assert (state.pair, state.selected, state.zooms[0].high) == (("", "box"), (3, 4, 5), 9.0)
    with pytest.raises(ValueError, match="lr0: 'fast' is not a number"):
        state_of(before, [({"type": "range", "name": "lr0", "end": "low"}, "fast")], "", {})


def test_a_page_opens_as_its_sender_left_it(reader: Reader) -> None:
    orders = [Sort(table="trials-0", column=column, is_descending=column == 2) for column in (2, 999)]
    hidden = Hidden(figure="history-0", curve="diverged")
    state = PageState(page="/study", study=NAME, sorts=tuple(orders), hidden=(hidden,))

    grid = found(panel_content(reader, PanelContext(state=state, panel="trials")), "columnDefs")
    assert [each.get("sort") for each in grid.columnDefs][:4] == [None, None, "desc", None]
    graph = found(panel_content(reader, PanelContext(state=state, panel="history")), "figure")
    visible = {trace["name"]: trace.get("visible") for trace in graph.figure["data"]}
    assert visible.pop("diverged") == "legendonly"
    assert set(visible.values()) == {None}
