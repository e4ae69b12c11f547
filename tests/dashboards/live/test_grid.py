"""Long tables: the rows that are asked for, and how high they are."""

from __future__ import annotations

from math import nan

import pytest

from dashboards.blocks import Column, Table
from dashboards.data.reader import Reader
from dashboards.live.callbacks import only_selected
from dashboards.live.components import draw_all
from dashboards.live.context import PanelContext
from dashboards.live.grid import LINE_PIXELS, ROW_PIXELS, grid_rows
from dashboards.state import PageState
from tests.dashboards.examples import found


def test_rows_are_as_high_as_their_sentences(reader: Reader) -> None:
    columns = (Column(title="trial", kind="number", digits=0), Column(title="what happened", is_long=True))
    heights = {}
    for name, reasons in {"short": ["no"] * 9, "long": ["word " * 30] * 9, "few": ["no"] * 9 + ["word " * 30]}.items():
        table = Table(name="t", columns=columns, rows=tuple(enumerate(reasons)), is_sortable=True)
        grid = found(draw_all((table,), PanelContext(state=PageState(), panel="t")), "columnDefs")
        heights[name] = grid.dashGridOptions["rowHeight"]

        assert grid.columnDefs[1]["wrapText"]

    assert heights["short"] < heights["few"] < heights["long"]


def test_rows_are_as_high_as_the_longest_sentences_of_any_column_and_cells_end_at_a_line() -> None:
    columns = (Column(title="trial", kind="number", digits=0), *[Column(title=each, is_long=True) for each in "abc"])
    long, short = "word " * 30, "no"
    heights = {}
    for name, cells in {"alone": (long, long, long), "beside": (short, short, long), "short": (short,) * 3}.items():
        table = Table(name="t", columns=columns, rows=tuple((row, *cells) for row in range(9)), is_sortable=True)
        grid = found(draw_all((table,), PanelContext(state=PageState(), panel="t")), "columnDefs")
        heights[name] = grid.dashGridOptions["rowHeight"]

        assert heights[name] == ROW_PIXELS + LINE_PIXELS * (grid.style["--lines"] - 1)

    assert heights["short"] < heights["beside"] == heights["alone"]


@pytest.mark.parametrize(("direction", "order"), [("asc", "2031"), ("desc", "0231")])
def test_text_comes_after_numbers_whichever_way_a_column_is_sorted(direction: str, order: str) -> None:
    columns = (Column(title="trial", kind="number", digits=0), Column(title="batch", kind="text"))
    table = Table(name="t", columns=columns, rows=((0, 16), (1, ""), (2, 8), (3, "auto")))

    found = grid_rows(table, {"sortModel": [{"colId": "c1", "sort": direction}]}, "study")

    assert "".join(row["c0"] for row in found["rowData"]) == order


def test_a_grid_gets_the_rows_it_asks_for_sorted_with_missing_ones_last() -> None:
    columns = (Column(title="trial", kind="number", digits=0), Column(title="fitness", kind="number", digits=3))
    table = Table(name="t", columns=columns, rows=((0, 0.5), (1, nan), (2, 0.75), (3, 0.1)), links_to="trial")

    asked = {"startRow": 0, "endRow": 3, "sortModel": [{"colId": "c1", "sort": "desc"}]}
    found = grid_rows(table, asked, "a/b?c")

    assert [row["c0"] for row in found["rowData"]] == ["2", "0", "3"]
    assert found["rowCount"] == 4
    assert found["rowData"][0]["link"] == "/trial?study=a%2Fb%3Fc&trial=2"
    assert [row[0] for row in only_selected(table, (3, 0)).rows] == [0, 3]
