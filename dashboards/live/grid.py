"""Long tables of the live pages: a grid that asks for its rows as they are scrolled to."""

from __future__ import annotations

from typing import Any

import dash_ag_grid as dag

from dashboards.blocks import Cell, Column, Table
from dashboards.live.context import PanelContext
from dashboards.rendering import cell_text
from dashboards.state import DIRECTIONS, PageState, to_address

GRID_HEIGHT = 460
ROW_PIXELS, LINE_PIXELS, HEADER_PIXELS = 34, 19, 56
# Sentences beside a pinned column: as wide as a phone has room for, and a third of a page elsewhere.
LONG_PIXELS, LONG_PIXELS_TOUCH, LETTER_PIXELS = 360, 250, 7
HALF_WORD = 3  # letters, which a line is left short of, since the next word goes to the next line as a whole
MAX_LINES = 5
BLOCK_ROWS = 100


def link_to(table: Table, cell: Cell, study: str) -> str:
    """Address of what a cell in the first column names; empty where it has no page."""
    if table.links_to == "study":
        return to_address(PageState(page="/study", study=str(cell)))
    return to_address(PageState(page="/trial", study=study, number=int(cell))) if table.links_to else ""


def grid(table: Table, context: PanelContext, index: int) -> Any:
    """The grid of a table; its rows come when the browser asks."""
    long_pixels = LONG_PIXELS_TOUCH if context.is_touch else LONG_PIXELS
    lines = _lines(table, long_pixels)
    row_pixels = ROW_PIXELS + LINE_PIXELS * (lines - 1)
    height = min(max(GRID_HEIGHT, 6 * row_pixels), HEADER_PIXELS + 20 + row_pixels * max(len(table.rows), 1))
    columns = [_grid_column(number, column, table) for number, column in enumerate(table.columns)]
    for column, definition in zip(table.columns, columns, strict=True):
        if column.is_long:
            definition |= {"minWidth": long_pixels, "maxWidth": long_pixels}
    orders = [order for order in context.state.sorts if order.table == f"{context.panel}-{index}"]
    for at, order in enumerate(orders):
        if order.column < len(columns):
            columns[order.column] |= {"sort": DIRECTIONS[order.is_descending], "sortIndex": at}
    return dag.AgGrid(
        id={"type": "grid", "panel": context.panel, "index": index},
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
        style={"height": f"{height}px", "width": "100%", "--lines": lines},
    )


def _lines(table: Table, long_pixels: int) -> int:
    """Lines of every row, which are all equally high, since they are loaded as they are scrolled to."""
    letters = (long_pixels - 32) // LETTER_PIXELS - HALF_WORD
    columns = [index for index, column in enumerate(table.columns) if column.is_long]
    return max((_lines_of([str(row[index]) for row in table.rows], letters) for index in columns), default=1)


def _lines_of(sentences: list[str], letters: int) -> int:
    # Where most sentences of a column are short, the few long ones get a second line, and are whole in their tooltip.
    lines = sorted(-(-len(sentence) // letters) for sentence in sentences) or [1]
    most = MAX_LINES if lines[len(lines) // 2] > 1 else 2
    return min(max(lines[-1], 1), most)


def _grid_column(number: int, column: Column, table: Table) -> dict[str, Any]:
    definition: dict[str, Any] = {
        "field": f"c{number}",
        "colId": f"c{number}",
        "headerName": column.heading,
        "maxWidth": 420,
    }
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


def grid_rows(table: Table, request: dict[str, Any], study: str) -> dict[str, Any]:
    """The rows a grid asks for, sorted as it asks, each cell as text.

    Args:
        table: The table with all its rows.
        request: What the grid asks for, with the keys startRow, endRow and sortModel; any may be missing.
        study: Name of the study, for links to its trials.
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
    # Text and numbers have no order between them; text comes after numbers, whichever way each is sorted.
    numbers = [row for row in known if not isinstance(row[index], str)]
    texts = [row for row in known if isinstance(row[index], str)]
    for alike in (numbers, texts):
        alike.sort(key=lambda row: row[index], reverse=is_descending)
    return numbers + texts + [row for row in rows if is_missing(row)]


def _grid_row(table: Table, row: tuple[Cell, ...], study: str) -> dict[str, str]:
    cells = {
        f"c{index}": cell_text(column, cell)
        for index, (column, cell) in enumerate(zip(table.columns, row, strict=True))
    }
    link = link_to(table, row[0], study)
    return cells | {"link": link} if link else cells
