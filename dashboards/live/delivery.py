"""What goes over the wire: compressed responses, and the data of each picture and table as CSV."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache

import plotly.graph_objects as go
from flask import Flask, Response, request
from plotly.offline import get_plotlyjs, get_plotlyjs_version

from dashboards.blocks import Album, Table
from dashboards.data.reader import Reader, UnavailableError, explained
from dashboards.figures.brush import figure_rows
from dashboards.panels import panels_of
from dashboards.questions.panel import Block
from dashboards.state import AddressError, PageState, from_address

PLOTLY_PATH = f"/plotly.js?v={get_plotlyjs_version()}"
LEAST_BYTES = 800
LEVEL = 6  # zlib's default
TEXTS = ("text/", "application/json", "application/javascript", "image/svg+xml")
# A spreadsheet takes a cell that begins with one of these for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def compress(server: Flask) -> None:
    """Compresses what browsers can unpack; parts of Dash that never change are compressed once."""

    @server.after_request
    def _compress(response: Response) -> Response:
        if not _is_worthwhile(response):
            return response
        response.direct_passthrough = False
        body = response.get_data()
        if len(body) < LEAST_BYTES:
            return response
        is_fixed = request.path.startswith(("/_dash-component-suites/", "/plotly.js"))
        response.set_data(_packed_once(body) if is_fixed else gzip.compress(body, LEVEL))
        response.headers["Content-Encoding"] = "gzip"
        response.headers["Vary"] = "Accept-Encoding"
        return response


def serve_data(server: Flask, reader: Reader) -> None:
    """Adds `/data/PAGE/PANEL/INDEX.csv`: what one block of a panel shows, for the rest of the page's address."""

    @server.get("/data/<page>/<panel>/<int:index>.csv")
    def _data(page: str, panel: str, index: int) -> Response:
        path = "/" if page == "studies" else f"/{page}"
        try:
            state = from_address(f"{path}?{request.query_string.decode()}")
            blocks = block_list(reader, state, panel, has_all=True)
        except (AddressError, UnavailableError) as error:
            return Response(f"{error}\n", status=404, mimetype="text/plain")
        if index >= len(blocks) or not isinstance(blocks[index], go.Figure | Table | Album):
            return Response(f"{panel} has no picture or table {index}\n", status=404, mimetype="text/plain")
        name = f"{page}-{panel}-{index}.csv"
        response = Response(as_csv(blocks[index]), mimetype="text/csv")
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response


def serve_plotly(server: Flask) -> None:
    """Adds Plotly's script with a word to the browser to compile it whole, and aside, while the page is made."""

    @server.get("/plotly.js")
    def _plotly() -> Response:
        response = Response(plotly_script(), mimetype="text/javascript")
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


@cache
def plotly_script() -> bytes:
    """Plotly's script as it is sent."""
    # Without the hint Chromium reads five megabytes twice in the page's own thread: 0.9 s, not 0.5 s.
    return f"//# allFunctionsCalledOnLoad\n{get_plotlyjs()}".encode()


def pack_plotly() -> None:
    """Compresses Plotly's script, the largest part of a first visit, before anybody asks for it."""
    _packed_once(plotly_script())


def block_list(reader: Reader, state: PageState, key: str, *, has_all: bool = False) -> tuple[Block, ...]:
    """The blocks of one panel.

    Args:
        reader: Reader of the database.
        state: What the page shows.
        key: Key of the panel.
        has_all: Whether every trial is drawn, however many there are.

    Raises:
        UnavailableError: There is no such panel, or its study cannot be read.
    """
    # Panels read what they show; a database that is busy or gone is reported as everywhere.
    with explained():
        view = reader.view(state, has_all=has_all)
        found = [panel for panel in panels_of(state.page, view) if panel.key == key]
        if not found:
            raise UnavailableError(f"There is no panel {key!r} on the page {state.page}.")
        return found[0].draw(view)


def as_csv(block: Block) -> str:
    """A table, or the points of a figure, as CSV with a heading."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows([_safe(cell) for cell in row] for row in _rows(block))
    return text.getvalue()


def _rows(block: Block) -> Iterator[Iterable[object]]:
    if isinstance(block, go.Figure):
        yield from figure_rows(block)
    elif isinstance(block, Table):
        yield _unique([column.heading for column in block.columns])
        yield from block.rows
    elif isinstance(block, Album):
        yield from block.rows()


def _unique(names: Sequence[str]) -> list[str]:
    # A hyperparameter may be called as one of our own columns is.
    found: list[str] = []
    for name in names:
        count = 1
        while (unique := name if count == 1 else f"{name} {count}") in found:
            count += 1
        found.append(unique)
    return found


def _safe(cell: object) -> object:
    if isinstance(cell, str):
        return f"'{cell}" if cell.startswith(FORMULA) else cell
    return "" if isinstance(cell, float) and cell != cell else cell


def _is_worthwhile(response: Response) -> bool:
    accepts = "gzip" in request.headers.get("Accept-Encoding", "")
    is_text = (response.mimetype or "").startswith(TEXTS)
    return accepts and is_text and response.status_code == 200 and "Content-Encoding" not in response.headers


@lru_cache(maxsize=64)
def _packed_once(body: bytes) -> bytes:
    return gzip.compress(body, 9)
