"""Blocks of panels as components of a live page; the report draws the same blocks as HTML."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from functools import singledispatch
from math import isfinite
from typing import Any

import dash_ag_grid as dag
import numpy as np
import plotly.graph_objects as go
from dash import dcc, html
from numpy.typing import NDArray

from dashboards.blocks import Cell, Column, Disclosure, Empty, Key, Prose, Table, Tiles, VerdictCounts, VerdictMark
from dashboards.figures import theme
from dashboards.figures.brush import mark_selected, trial_numbers
from dashboards.figures.series import curve_look
from dashboards.questions.panel import Block
from dashboards.state import DIRECTIONS, PageState, to_search
from evolve import formatting

GRAPH_CONFIG: Any = {
    "displaylogo": False,
    "showSendToCloud": False,  # nothing leaves this machine
    "responsive": True,
    "modeBarButtonsToRemove": ["autoScale2d", "toImage"],
}
GRID_HEIGHT = 460
ROW_PIXELS, LINE_PIXELS, HEADER_PIXELS = 34, 19, 56
# Sentences beside a pinned column: as wide as a phone has room for, and a third of a page elsewhere.
LONG_PIXELS, LONG_PIXELS_TOUCH, LETTER_PIXELS = 360, 250, 7
MAX_LINES = 5
BLOCK_ROWS = 100
CSS_DASHES = {"solid": "solid", "dash": "dashed", "dot": "dotted"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where blocks are drawn: the page's state, the panel's key, and the reader's device."""

    state: PageState
    panel: str
    is_dark: bool = False
    is_touch: bool = False


def attributes(**values: str) -> dict[str, Any]:
    """Attributes whose names have hyphens, such as aria-label."""
    return {name.replace("_", "-"): value for name, value in values.items()}


def draw_all(blocks: tuple[Block, ...], place: Place) -> list[Any]:
    """Components of all blocks; neighbouring pictures share a row."""
    drawn: list[Any] = []
    figures: list[Any] = []
    for index, block in enumerate(blocks):
        if isinstance(block, go.Figure):
            figures.append(_graph(block, place, index))
            continue
        drawn += _row_of_figures(figures)
        figures = []
        drawn.append(_table(block, place, index) if isinstance(block, Table) else component(block))
    return drawn + _row_of_figures(figures)


@singledispatch
def component(block: object) -> Any:
    """A block that is the same wherever it stands."""
    raise TypeError(f"page: no way to draw a {type(block).__name__}")


@component.register
def _(block: Prose) -> Any:
    return html.P(text_parts(block.text))


@component.register
def _(block: Empty) -> Any:
    return html.P(text_parts(block.text), className="empty")


@component.register
def _(block: Disclosure) -> Any:
    return html.Details([html.Summary(block.summary), html.Pre(block.text)])


@component.register
def _(block: Tiles) -> Any:
    tiles = [html.Div([html.Dt(tile.label), html.Dd(tile.value), html.Dd(tile.detail)]) for tile in block.tiles]
    return html.Dl(tiles, className="tiles")


@component.register
def _(block: VerdictCounts) -> Any:
    items = [html.Li([verdict_mark(verdict), html.B(f" {count:,}")]) for verdict, count in block.counts]
    return html.Ul(items, className="verdicts")


@component.register
def _(block: Key) -> Any:
    return html.Ul([html.Li([_swatch(slot), name]) for name, slot in block.entries], className="verdicts key")


@component.register
def _(block: VerdictMark) -> Any:
    return html.P(html.B(verdict_mark(block.verdict)))


def text_parts(text: str) -> list[Any]:
    """Text with words in backticks as code."""
    parts = re.split(r"`([^`]+)`", text)
    return [html.Code(part) if index % 2 else part for index, part in enumerate(parts) if part]


def verdict_mark(verdict: str) -> Any:
    """A verdict with its colour and symbol."""
    known = verdict if verdict in theme.VERDICT_STYLES else "unjudged"
    return html.Span(verdict, className=f"verdict verdict-{known}")


def cell_text(column: Column, cell: Cell) -> str:
    """A cell as people read it."""
    if isinstance(cell, str):
        return cell
    value = float(cell)
    return formatting.number(value) if column.digits is None or not isfinite(value) else f"{value:,.{column.digits}f}"


def link_to(table: Table, cell: Cell, study: str) -> str:
    """Address of what a cell in the first column names."""
    if table.links_to == "study":
        return "/study" + to_search(PageState(page="/study", study=str(cell)))
    return "/trial" + to_search(PageState(page="/trial", study=study, number=int(cell)))


def grid_rows(table: Table, request: dict[str, Any], study: str) -> dict[str, Any]:
    """The rows a grid asks for, sorted as it asks, each cell as text.

    Args:
        table: All rows.
        request: startRow, endRow and sortModel.
        study: For links to its trials.
    """
    rows = list(table.rows)
    for order in reversed(request.get("sortModel") or []):
        index = int(str(order.get("colId", "c0"))[1:])
        if 0 <= index < len(table.columns):
            rows = _sorted_rows(rows, index, is_descending=order.get("sort") == "desc")
    part = rows[max(int(request.get("startRow") or 0), 0) : max(int(request.get("endRow") or BLOCK_ROWS), 0)]
    return {"rowData": [_grid_row(table, row, study) for row in part], "rowCount": len(rows)}


def _sorted_rows(rows: list[tuple[Cell, ...]], index: int, *, is_descending: bool) -> list[tuple[Cell, ...]]:
    def is_missing(row: tuple[Cell, ...]) -> bool:
        return row[index] == "" or row[index] != row[index]

    known = [row for row in rows if not is_missing(row)]
    # Text and numbers have no order between them; text comes last.
    known.sort(key=lambda row: (isinstance(row[index], str), row[index]), reverse=is_descending)
    return known + [row for row in rows if is_missing(row)]


def _grid_row(table: Table, row: tuple[Cell, ...], study: str) -> dict[str, str]:
    cells = {
        f"c{index}": cell_text(column, cell)
        for index, (column, cell) in enumerate(zip(table.columns, row, strict=True))
    }
    if table.links_to:
        cells["link"] = link_to(table, row[0], study)
    return cells


def _row_of_figures(figures: list[Any]) -> list[Any]:
    if not figures:
        return []
    columns = len(figures) if len(figures) < 3 else 2 if len(figures) == 4 else 3
    return [html.Div(figures, className=f"figures columns-{columns}")]


def _graph(figure: go.Figure, place: Place, index: int) -> Any:
    name = f"{place.panel}-{index}"
    has_trials = any(trial_numbers(trace) is not None for trace in figure.data)
    # As plain data from here on: Plotly's classes check every value once more, which takes longer than drawing did.
    shown = mark_selected(figure, place.state.selected).to_dict()
    gone = {each.curve for each in place.state.hidden if each.figure == name}
    shown["data"] = [_trace(trace, gone) for trace in shown["data"]]
    shown["layout"] |= {
        "template": theme.template(is_dark=place.is_dark),
        # The reader's zoom, selection and hidden curves outlast new data, as long as the question is the same.
        "uirevision": place.state.question,
        "dragmode": False if place.is_touch else "select" if has_trials else "zoom",
    }
    for zoom in place.state.zooms:
        if zoom.figure == name and re.fullmatch(r"[xy]axis\d?", zoom.axis):
            axis = dict(shown["layout"].get(zoom.axis, {}))
            shown["layout"][zoom.axis] = axis | {"range": [zoom.low, zoom.high], "autorange": False}
    if place.is_dark:
        shown = theme.recoloured(shown)
    graph = dcc.Graph(
        id={"type": "graph", "panel": place.panel, "index": index},
        figure=shown,
        # Under a finger the buttons would always lie over the legend.
        config=GRAPH_CONFIG | ({"displayModeBar": False} if place.is_touch else {}),
        style={"height": f"{int(figure.layout.height)}px"},
        className="plot",
    )
    return html.Div(
        [graph, _downloads(place, index, ["png", "svg"])], className="picture", **attributes(data_picture=name)
    )


def _trace(trace: dict[str, Any], gone: set[str]) -> dict[str, Any]:
    """A curve with its numbers in fewer bytes, and in the legend alone where the reader took it away."""
    hidden = {"visible": "legendonly"} if _curve_name(trace) in gone else {}
    return {key: _halved(value) for key, value in trace.items()} | hidden


def _curve_name(trace: dict[str, Any]) -> str:
    """What a click on the legend takes away or brings back: a group of curves, or one."""
    return str(trace.get("legendgroup") or trace.get("name") or "")


def _halved(value: Any) -> Any:
    """Packed numbers of double precision in single precision, far finer than a pixel; all else as it is."""
    if not isinstance(value, dict) or value.get("dtype") != "f8":
        return value
    single = np.frombuffer(b64decode(value["bdata"]), dtype="<f8").astype("<f4")
    if not np.array_equal(single, np.round(single), equal_nan=True):
        single = _rounded(single)
    return value | {"dtype": "f4", "bdata": b64encode(single.tobytes()).decode()}


def _rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fractions to 17 binary digits, five decimal ones, so that the rest is zeros that pack to nothing."""
    rounded = ((values.view("<u4") + 0x40) & 0xFFFFFF80).view("<f4")
    return np.where(np.isfinite(values), rounded, values)


def _downloads(place: Place, index: int, images: Iterable[str]) -> Any:
    page = place.state.page.strip("/") or "studies"
    href = f"/data/{page}/{place.panel}/{index}.csv{to_search(place.state)}"
    name = f"{page}-{place.panel}-{index}"
    buttons = [
        html.Button(
            kind.upper(),
            className="save",
            title=f"save this picture as {kind.upper()}",
            **attributes(data_save=f"{kind}:{name}"),
        )
        for kind in images
    ]
    return html.Div([html.A("CSV", href=href, title="save what is shown here as CSV"), *buttons], className="downloads")


def _table(table: Table, place: Place, index: int) -> Any:
    body = _grid(table, place, index) if table.is_sortable else _plain_table(table, place)
    return html.Div([body, _downloads(place, index, [])], className="picture")


def _grid(table: Table, place: Place, index: int) -> Any:
    long_pixels = LONG_PIXELS_TOUCH if place.is_touch else LONG_PIXELS
    row_pixels = _row_pixels(table, long_pixels)
    height = min(max(GRID_HEIGHT, 6 * row_pixels), HEADER_PIXELS + 20 + row_pixels * max(len(table.rows), 1))
    columns = [_grid_column(number, column, table) for number, column in enumerate(table.columns)]
    for column, definition in zip(table.columns, columns, strict=True):
        if column.is_long:
            definition |= {"minWidth": long_pixels, "maxWidth": long_pixels}
    orders = [each for each in place.state.sorts if each.table == f"{place.panel}-{index}"]
    for at, order in enumerate(orders):
        if order.column < len(columns):
            columns[order.column] |= {"sort": DIRECTIONS[order.is_descending], "sortIndex": at}
    return dag.AgGrid(
        id={"type": "grid", "panel": place.panel, "index": index},
        columnDefs=columns,
        rowModelType="infinite",
        defaultColDef={
            "sortable": True,
            "resizable": True,
            "suppressHeaderMenuButton": True,
            "wrapHeaderText": True,
            "minWidth": 80,
        },
        columnSize="autoSize",
        dashGridOptions={
            "cacheBlockSize": BLOCK_ROWS,
            "infiniteInitialRowCount": min(len(table.rows), BLOCK_ROWS),
            "maxBlocksInCache": 20,
            "rowHeight": row_pixels,
            "headerHeight": HEADER_PIXELS,
            "enableCellTextSelection": True,
            "ensureDomOrder": True,
            "suppressColumnVirtualisation": len(table.columns) <= 24,
        },
        style={"height": f"{height}px", "width": "100%"},
    )


def _row_pixels(table: Table, long_pixels: int) -> int:
    # Rows that are loaded as they are scrolled to are all equally high. Where most sentences are short, the few long
    # ones get a second line, and are whole in their tooltip.
    letters = (long_pixels - 32) // LETTER_PIXELS
    columns = [index for index, column in enumerate(table.columns) if column.is_long]
    lines = sorted(-(-len(str(row[index])) // letters) for index in columns for row in table.rows) or [1]
    most = MAX_LINES if lines[len(lines) // 2] > 1 else 2
    return ROW_PIXELS + LINE_PIXELS * (min(max(lines[-1], 1), most) - 1)


def _grid_column(number: int, column: Column, table: Table) -> dict[str, Any]:
    title = f"{column.title}, {column.unit}" if column.unit else column.title
    definition: dict[str, Any] = {"field": f"c{number}", "colId": f"c{number}", "headerName": title, "maxWidth": 420}
    if column.kind == "number":
        definition |= {
            "type": "rightAligned",
            "sortingOrder": ["desc", "asc", None],
            "cellClass": "number ag-right-aligned-cell",
        }
        # Narrower than a title with its unit, which then takes two lines.
        definition |= {"minWidth": 72 if column.digits == 0 else 108, "maxWidth": 120}
    if column.kind == "verdict":
        definition |= {"cellRenderer": "Verdict", "minWidth": 142}
    if column.kind == "text":
        definition["minWidth"] = 130
    if column.is_long:
        definition |= {"wrapText": True, "tooltipField": f"c{number}"}
    if number == 0 and table.links_to:
        definition |= {"cellRenderer": "RowLink", "pinned": "left", "sortingOrder": ["asc", "desc", None]}
    return definition


def _plain_table(table: Table, place: Place) -> Any:
    head = html.Tr([html.Th(_heading(column), scope="col", className=column.kind) for column in table.columns])
    body = [html.Tr([_td(table, place, number, cell) for number, cell in enumerate(row)]) for row in table.rows]
    inner = html.Table([html.Thead(head), html.Tbody(body)], id=f"table-{table.name}")
    return html.Div(inner, className="scroll", tabIndex=0)


def _heading(column: Column) -> list[Any]:
    unit = [html.Small(column.unit)] if column.unit else []
    swatch = [] if column.slot is None else [_swatch(column.slot)]
    return [*swatch, column.title, *unit]


def _swatch(slot: int) -> Any:
    color, dash = curve_look(slot)
    return html.Span(className="swatch", style={"borderTop": f"3px {CSS_DASHES[dash]} {color}"})


def _td(table: Table, place: Place, number: int, cell: Cell) -> Any:
    column = table.columns[number]
    if column.kind == "verdict":
        return html.Td(verdict_mark(str(cell)))
    if column.kind == "place" and not isinstance(cell, str):
        return html.Td(html.Span(style={"--at": f"{float(cell):.3f}"}, title=f"{float(cell):.0%}"), className="place")
    text = cell_text(column, cell)
    if number == 0 and table.links_to:
        return html.Td(dcc.Link(text, href=link_to(table, cell, place.state.study)), className=column.kind)
    is_text = isinstance(cell, str)
    return html.Td(text, className="text" if is_text else column.kind, title=text if is_text else None)
