"""Points of trials that are selected stand out."""

from __future__ import annotations

import plotly.graph_objects as go

from dashboards.data.reader import Reader
from dashboards.figures.brush import mark_selected, trial_numbers
from dashboards.panels import STUDY
from dashboards.state import PageState
from tests.dashboards.examples import NAME


def test_selected_points_stand_out_in_every_trace_of_trials() -> None:
    figure = go.Figure()
    figure.add_scatter(x=[1, 2, 3], y=[1, 2, 3], mode="markers", customdata=[4, 5, 6])
    figure.add_scatter(x=[1], y=[1], mode="markers", customdata=[[7, 0.5]])
    figure.add_scatter(x=[1, 2], y=[1, 1], mode="lines")

    marked = mark_selected(figure, {5, 9})

    assert [list(trace.selectedpoints or ()) for trace in marked.data] == [[1], [], []]
    assert marked.data[1].selectedpoints is not None
    assert marked.data[2].selectedpoints is None
    assert figure.data[0].selectedpoints is None


def test_every_picture_of_trials_can_be_brushed(reader: Reader) -> None:
    state = PageState(page="/study", study=NAME)
    view = reader.view(state)
    for key in ("history", "convergence", "slices", "map", "contour", "parallel", "timeline"):
        panel = next(each for each in STUDY if each.key == key)
        figures = [block for block in panel.draw(view) if isinstance(block, go.Figure)]

        assert figures, key
        for figure in figures:
            found = [trial_numbers(trace) for trace in figure.data]
            assert any(numbers is not None for numbers in found), key
