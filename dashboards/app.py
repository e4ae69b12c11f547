"""The live dashboard: pages of panels over a database that is only read."""

from __future__ import annotations

import logging
from dataclasses import replace
from hashlib import sha256
from math import inf
from typing import Any

from dash import ALL, MATCH, ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.exceptions import PreventUpdate
from plotly.io.json import to_json_plotly

from dashboards.components import Place, draw_all, grid_rows
from dashboards.delivery import PLOTLY_PATH, block_list, compress, serve_data, serve_plotly
from dashboards.figures import theme
from dashboards.pages import compare, frame, studies, study, trial
from dashboards.reading import Reader, UnavailableError
from dashboards.security import Access, protect
from dashboards.state import AddressError, PageState, Zoom, from_address, numbers_of, spans, to_address
from dashboards.views.blocks import Empty, Table
from dashboards.views.filters import Filters, Range
from dashboards.views.trial import TrialView
from evolve.errors import EvolveError

LOOK_SECONDS = 2.0
log = logging.getLogger(__name__)

INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
{%metas%}
<meta name="color-scheme" content="light dark">
<script async src="PLOTLY"></script>
<title>{%title%}</title>
<link rel="icon" href="data:,">
{%css%}
<style>VERDICTS</style>
</head>
<body>
{%app_entry%}
<footer>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>"""


def make_app(storage_url: str, access: Access | None = None) -> Dash:
    """The dashboard over a database, ready to be served.

    Args:
        storage_url: Any SQLAlchemy URL; an SQLite file may come later.
        access: Who may read; by default this machine alone.

    Raises:
        UnavailableError: The URL cannot be used.
    """
    reader = Reader(storage_url)
    app = Dash(
        __name__,
        assets_ignore=r"report\.(js|html)$",
        serve_locally=True,
        suppress_callback_exceptions=True,
        title="evolve",
        update_title="",
        index_string=INDEX.replace("VERDICTS", theme.verdict_css()).replace("PLOTLY", PLOTLY_PATH),
        eager_loading=False,
    )
    app.layout = _layout()
    _add_routing(app, reader)
    _add_state(app)
    _add_panels(app, reader)
    _add_tables(app, reader)
    _add_clientside(app)
    compress(app.server)
    serve_data(app.server, reader)
    serve_plotly(app.server)
    hashes = app.csp_hashes()
    protect(app.server, access or Access(), lambda: hashes)
    return app


def _layout() -> Any:
    stores: dict[str, Any] = dict.fromkeys(("question", "selection", "written", "stamp"), "")
    stores |= {"seen": [], "zooms": [], "device": None}
    return html.Div(
        [
            dcc.Location(id="address", refresh=False),
            *(dcc.Store(id=name, data=value) for name, value in stores.items()),
            dcc.Interval(id="clock", interval=int(LOOK_SECONDS * 1000)),
            html.Div(
                [
                    dcc.Link("evolve", href="/", className="brand"),
                    dcc.Link("Studies", href="/"),
                    dcc.Link("Compare", href="/compare"),
                    html.Span(id="news", role="status"),
                ],
                className="top",
            ),
            html.Div(id="page"),
            html.Div(id="selected", className="selected", role="status"),
        ]
    )


def _add_routing(app: Dash, reader: Reader) -> None:
    @app.callback(
        Output("page", "children"),
        Output("selection", "data"),
        Output("zooms", "data"),
        Output("question", "data"),
        Input("address", "pathname"),
        Input("address", "search"),
    )
    def _show_page(pathname: str | None, search: str | None) -> Any:
        try:
            state = from_address(f"{pathname or '/'}{search or ''}")
            content = page_of(reader, state)
        except (AddressError, UnavailableError, EvolveError) as error:
            return frame.problem(str(error)), "", [], ""
        zooms = [[each.figure, each.axis, each.low, each.high] for each in state.zooms]
        return content, spans(state.selected), zooms, state.question


def page_of(reader: Reader, state: PageState) -> list[Any]:
    """The frame of the page that a state names; its panels fill later.

    Raises:
        UnavailableError: There is no such page, or what it is about cannot be read.
    """
    if state.page == "/":
        return studies.page(reader.where)
    if state.page == "/study":
        return study.page(reader.study(state.study), state)
    if state.page == "/trial":
        view = reader.view(state)
        assert isinstance(view, TrialView)
        return trial.page(view, state)
    if state.page == "/compare":
        names = dict.fromkeys(name for name, _ in state.compared)
        return compare.page(state, reader.study_names(), [reader.study(name) for name in names])
    raise UnavailableError(f"There is no page {state.page}; there are /, /study, /trial and /compare.")


def _add_state(app: Dash) -> None:
    @app.callback(
        Output("question", "data", allow_duplicate=True),
        Output("written", "data"),
        Output({"type": "told", "key": ALL}, "children"),
        Output("selected", "children"),
        Input({"type": "filter", "key": ALL}, "value"),
        Input({"type": "range", "name": ALL, "end": ALL}, "value"),
        Input({"type": "pair", "axis": ALL}, "value"),
        Input("selection", "data"),
        Input("zooms", "data"),
        State("question", "data"),
        prevent_initial_call=True,
    )
    def _gather(
        _filters: Any, _ranges: Any, _pair: Any, selection: str, zooms: list[Any], question: str
    ) -> tuple[Any, Any, Any, Any]:
        if not question:
            raise PreventUpdate
        values = [(each["id"], each.get("value")) for group in ctx.inputs_list[:3] for each in group]
        try:
            state = state_of(from_address(question), values, selection or "", zooms or [])
            bar: Any = frame.selection_bar(state)
        except (AddressError, ValueError) as error:
            return no_update, no_update, [str(error)] * len(ctx.outputs_list[2]), no_update
        asked = no_update if state.question == question else state.question
        told = "" if state.filters.is_empty else "active"
        return asked, to_address(state), [told] * len(ctx.outputs_list[2]), bar


def state_of(
    before: PageState, values: list[tuple[dict[str, str], Any]], selection: str, zooms: list[Any]
) -> PageState:
    """The state that the controls of a page say.

    Args:
        before: What the page is about, and what it showed.
        values: Identity and value of each control.
        selection: Selected trials as text.
        zooms: Figure, axis and ends of each picture that is zoomed.

    Raises:
        ValueError: A control holds what cannot be understood.
    """
    said = {key: value for identity, value in values if (key := identity.get("key"))}
    pair = {identity["axis"]: value or "" for identity, value in values if identity["type"] == "pair"}
    state = replace(before, selected=tuple(numbers_of(selection)), zooms=_zooms(zooms))
    if state.page == "/study":
        filters = Filters(
            states=tuple(said.get("states") or ()),
            verdicts=tuple(said.get("verdicts") or ()),
            ranges=_ranges([each for each in values if each[0]["type"] == "range"]),
            text=str(said.get("text") or ""),
        )
        return replace(state, filters=filters, pair=(pair.get("x", ""), pair.get("y", "")))
    if state.page == "/trial" and said.get("seed") is not None:
        return replace(state, seed=int(said["seed"]))
    if state.page == "/compare" and "with" in said:
        chosen = [str(each).partition(":") for each in said["with"] or ()]
        return replace(state, compared=tuple((name, int(number) if number else None) for number, _, name in chosen))
    return state


def _ranges(values: list[tuple[dict[str, str], Any]]) -> tuple[Range, ...]:
    by_name: dict[str, dict[str, Any]] = {}
    for identity, value in values:
        if value:
            by_name.setdefault(identity["name"], {})[identity["end"]] = value
    return tuple(
        Range(
            name=name,
            low=_end(name, ends.get("low"), -inf),
            high=_end(name, ends.get("high"), inf),
            choices=tuple(ends.get("choices", ())),
        )
        for name, ends in by_name.items()
    )


def _end(name: str, text: str | None, missing: float) -> float:
    try:
        return missing if not text else float(str(text).replace(",", ""))
    except ValueError:
        raise ValueError(f"{name}: {text!r} is not a number such as 0.01 or 1e-3") from None


def _zooms(zooms: list[Any]) -> tuple[Zoom, ...]:
    return tuple(
        Zoom(figure=str(figure), axis=str(axis), low=float(low), high=float(high)) for figure, axis, low, high in zooms
    )


def _add_panels(app: Dash, reader: Reader) -> None:
    # The browser asks for panels in sight alone; see `ask` in the page's script.
    panel = {"type": "panel", "key": MATCH, "lines": MATCH}

    @app.callback(
        Output(panel, "children"),
        Output(panel, "data-drawn"),
        Input(panel, "data-asked"),
        State("question", "data"),
        State("device", "data"),
        State("selection", "data"),
        State("zooms", "data"),
        State(panel, "data-drawn"),
        State(panel, "id"),
        prevent_initial_call=True,
    )
    def _fill(_asked: str, question: str, device: Any, selection: str, zooms: list[Any], drawn: str, own: Any) -> Any:
        if not (question and device):
            raise PreventUpdate
        state = replace(from_address(question), selected=tuple(numbers_of(selection or "")), zooms=_zooms(zooms or []))
        is_dark, is_touch = bool(device.get("dark")), bool(device.get("touch"))
        content = panel_content(reader, Place(state=state, panel=own["key"], is_dark=is_dark, is_touch=is_touch))
        # A panel that would look the same is left alone.
        mark = sha256(to_json_plotly(content).encode()).hexdigest()[:16]
        if mark == drawn:
            raise PreventUpdate
        return content, mark

    @app.callback(
        Output("stamp", "data"),
        Output("news", "children"),
        Input("clock", "n_intervals"),
        State("question", "data"),
        State("stamp", "data"),
        prevent_initial_call=True,
    )
    def _look(_count: int, question: str, before: str) -> Any:
        if not question:
            raise PreventUpdate
        try:
            stamp = sha256(reader.stamp(from_address(question)).encode()).hexdigest()[:16]
        except UnavailableError as error:
            return no_update, str(error)
        if stamp == before:
            return no_update, ""
        return stamp, ""


def panel_content(reader: Reader, place: Place) -> list[Any]:
    """What stands in a panel; a panel that cannot be drawn says why and leaves the others alone."""
    try:
        return draw_all(block_list(reader, place.state, place.panel), place)
    except UnavailableError as error:
        return draw_all((Empty(str(error)),), place)
    except Exception as error:
        log.exception("panel %s of %s", place.panel, place.state.question)
        return draw_all((Empty(f"This cannot be drawn: {type(error).__name__}: {error}"),), place)


def _add_tables(app: Dash, reader: Reader) -> None:
    @app.callback(
        Output({"type": "grid", "panel": MATCH, "index": MATCH}, "getRowsResponse"),
        Input({"type": "grid", "panel": MATCH, "index": MATCH}, "getRowsRequest"),
        State("question", "data"),
        State("selection", "data"),
        State({"type": "grid", "panel": MATCH, "index": MATCH}, "id"),
        prevent_initial_call=True,
    )
    def _rows(asked: dict[str, Any] | None, question: str, selection: str, own: dict[str, Any]) -> Any:
        if not asked or not question:
            raise PreventUpdate
        state = replace(from_address(question), selected=tuple(numbers_of(selection or "")))
        try:
            blocks = block_list(reader, state, own["panel"])
        except UnavailableError:
            return {"rowData": [], "rowCount": 0}
        block = blocks[own["index"]] if own["index"] < len(blocks) else None
        if not isinstance(block, Table):
            return {"rowData": [], "rowCount": 0}
        return grid_rows(only_selected(block, state.selected), asked, state.study)


def only_selected(table: Table, selected: tuple[int, ...]) -> Table:
    """A table of trials with the selected ones alone, where any are selected."""
    if table.links_to != "trial" or not selected:
        return table
    kept = set(selected)
    return replace(table, rows=tuple(row for row in table.rows if row[0] in kept))


def _add_clientside(app: Dash) -> None:
    def there(name: str) -> ClientsideFunction:
        return ClientsideFunction("evolve", name)

    add: Any = app.clientside_callback  # its types are not declared

    graphs = {"type": "graph", "panel": ALL, "index": ALL}
    add(there("device"), Output("device", "data"), Input("page", "id"))
    panels = {"type": "panel", "key": ALL, "lines": ALL}
    # One callback for all panels: the page's script takes some milliseconds for each.
    add(
        there("ask"),
        Output(panels, "data-asked"),
        Input("seen", "data"),
        Input("question", "data"),
        Input("stamp", "data"),
        Input("device", "data"),
        Input("selection", "data"),
        State(panels, "data-asked"),
        State(panels, "id"),
        prevent_initial_call=True,
    )
    add(
        there("address"), Output("written", "data", allow_duplicate=True), Input("written", "data"),
        prevent_initial_call=True,
    )  # fmt: skip
    add(
        there("select"),
        Output("selection", "data", allow_duplicate=True),
        Input(graphs, "selectedData"),
        Input(graphs, "clickData"),
        State("selection", "data"),
        prevent_initial_call=True,
    )
    add(there("highlight"), Output("selected", "title"), Input("selection", "data"), prevent_initial_call=True)
    add(
        there("zoom"),
        Output("zooms", "data", allow_duplicate=True),
        Input(graphs, "relayoutData"),
        State("zooms", "data"),
        prevent_initial_call=True,
    )
    add(
        there("refresh"),
        Output("news", "title"),
        Input("stamp", "data"),
        Input("question", "data"),
        Input("selection", "data"),
        prevent_initial_call=True,
    )
    add(there("watch"), Output("page", "title"), Input("page", "children"))
    add(
        there("clear"),
        Output("page", "lang"),
        Input({"type": "clear", "what": ALL}, "n_clicks"),
        prevent_initial_call=True,
    )
