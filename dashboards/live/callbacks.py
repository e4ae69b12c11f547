"""What happens when something changes: controls, panels in sight, tables, and what the browser does by itself."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

from dash import ALL, MATCH, ClientsideFunction, Dash, Input, Output, State, ctx, no_update
from dash.exceptions import PreventUpdate
from plotly.io.json import to_json_plotly

from dashboards.blocks import Empty, Table
from dashboards.data.reader import Reader, UnavailableError
from dashboards.live.components import draw_all
from dashboards.live.context import PanelContext
from dashboards.live.controls import ViewState, state_of, with_view_state
from dashboards.live.delivery import block_list
from dashboards.live.grid import grid_rows
from dashboards.live.pages import frame, study
from dashboards.state import AddressError, PageState, from_address, to_address

log = logging.getLogger(__name__)


def add_state(app: Dash) -> None:
    @app.callback(
        Output("query", "data", allow_duplicate=True),
        Output("written", "data"),
        Output({"type": "message", "key": ALL}, "children"),
        Output("selected", "children"),
        Input({"type": "filter", "key": ALL}, "value"),
        Input({"type": "range", "name": ALL, "end": ALL}, "value"),
        Input({"type": "pair", "axis": ALL}, "value"),
        Input("selection", "data"),
        Input("view", "data"),
        State("query", "data"),
        prevent_initial_call=True,
    )
    def _gather(
        _filters: Any, _ranges: Any, _pair: Any, selection: str, view_state: ViewState, query: str
    ) -> tuple[Any, Any, Any, Any]:
        if not query:
            raise PreventUpdate
        values = [(control["id"], control.get("value")) for group in ctx.inputs_list[:3] for control in group]
        try:
            state = state_of(from_address(query), values, selection, view_state)
            bar: Any = frame.selection_bar(state)
        except (AddressError, ValueError) as error:
            return no_update, no_update, [str(error)] * len(ctx.outputs_list[2]), no_update
        asked = no_update if state.query == query else state.query
        message = "" if state.filters.is_empty else "active"
        return asked, [to_address(state), state.query], [message] * len(ctx.outputs_list[2]), bar


def add_panels(app: Dash, reader: Reader) -> None:
    # The browser asks for panels in sight alone; see `ask` in the page's script.
    panel = {"type": "panel", "key": MATCH, "lines": MATCH}

    @app.callback(
        Output(panel, "children"),
        Output(panel, "data-drawn"),
        Input(panel, "data-asked"),
        State("query", "data"),
        State("device", "data"),
        State("selection", "data"),
        State("view", "data"),
        State(panel, "data-drawn"),
        State(panel, "id"),
        prevent_initial_call=True,
    )
    def _fill(_asked: str, query: str, device: Any, selection: str, view_state: ViewState, drawn: str, own: Any) -> Any:
        if not (query and device):
            raise PreventUpdate
        state = with_view_state(from_address(query), selection, view_state)
        is_dark, is_touch = bool(device.get("dark")), bool(device.get("touch"))
        content = panel_content(reader, PanelContext(state=state, panel=own["key"], is_dark=is_dark, is_touch=is_touch))
        # A panel that would look the same is left alone.
        mark = sha256(to_json_plotly(content).encode()).hexdigest()[:16]
        if mark == drawn:
            raise PreventUpdate
        return content, mark


def add_clock(app: Dash, reader: Reader) -> None:
    @app.callback(
        Output("version", "data"),
        Output("news", "children"),
        Output({"type": "filter", "key": ALL}, "options"),
        Input("clock", "n_intervals"),
        State("query", "data"),
        State("version", "data"),
        prevent_initial_call=True,
    )
    def _check_version(_count: int, query: str, before: str) -> Any:
        if not query:
            raise PreventUpdate
        controls = [output["id"]["key"] for output in ctx.outputs_list[2]]
        same = [no_update] * len(controls)
        try:
            state = from_address(query)
            version = version_of(reader, state)
            if version == before:
                return no_update, "", same
            return version, "", fresh_options(reader, state, controls)
        except UnavailableError as error:
            return no_update, str(error), same


def fresh_options(reader: Reader, state: PageState, controls: Sequence[str]) -> list[Any]:
    """Options of each control of a page that has changed; those that do not follow the trials stay as they are.

    Raises:
        UnavailableError: The study cannot be read.
    """
    if state.page != "/study" or "verdicts" not in controls:
        return [no_update] * len(controls)
    verdicts = study.options(study.verdict_choices(reader.study(state.study), state.filters))
    return [verdicts if key == "verdicts" else no_update for key in controls]


def version_of(reader: Reader, state: PageState) -> str:
    """A short text that changes when what the page shows may have changed.

    Raises:
        UnavailableError: The database cannot be read, or has no such study.
    """
    return sha256(reader.version(state).encode()).hexdigest()[:16]


def panel_content(reader: Reader, context: PanelContext) -> list[Any]:
    """What stands in a panel; a panel that cannot be drawn says why and leaves the others alone."""
    try:
        return draw_all(block_list(reader, context.state, context.panel), context)
    except UnavailableError as error:
        return draw_all((Empty(str(error)),), context)
    except Exception as error:
        log.exception("panel %s of %s", context.panel, context.state.query)
        return draw_all((Empty(f"This cannot be drawn: {type(error).__name__}: {error}"),), context)


def add_tables(app: Dash, reader: Reader) -> None:
    @app.callback(
        Output({"type": "grid", "panel": MATCH, "index": MATCH}, "getRowsResponse"),
        Input({"type": "grid", "panel": MATCH, "index": MATCH}, "getRowsRequest"),
        State("query", "data"),
        State("selection", "data"),
        State({"type": "grid", "panel": MATCH, "index": MATCH}, "id"),
        prevent_initial_call=True,
    )
    def _rows(asked: dict[str, Any] | None, query: str, selection: str, own: dict[str, Any]) -> Any:
        if not asked or not query:
            raise PreventUpdate
        state = with_view_state(from_address(query), selection, {})
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


def add_clientside(app: Dash) -> None:
    """Adds what the browser does by itself, in the page's script."""
    graphs, grids = ({"type": kind, "panel": ALL, "index": ALL} for kind in ("graph", "grid"))
    panels = {"type": "panel", "key": ALL, "lines": ALL}
    asks = [Input(name, "data") for name in ("seen", "query", "version", "device", "selection")]
    _there(app, "device", Output("device", "data"), Input("page", "id"), at_start=True)
    _there(app, "watch", Output("page", "title"), Input("page", "children"), at_start=True)
    # One callback for all panels: the page's script takes some milliseconds for each.
    _there(app, "ask", Output(panels, "data-asked"), *asks, State(panels, "data-asked"), State(panels, "id"))
    _there(app, "address", Output("written", "data", allow_duplicate=True), Input("written", "data"))
    selection = Output("selection", "data", allow_duplicate=True)
    marked = [Input(graphs, "selectedData"), Input(graphs, "clickData")]
    _there(app, "select", selection, *marked, State("selection", "data"))
    _there(app, "highlight", Output("selected", "title"), Input("selection", "data"))
    changes_of_view = [Input(graphs, "relayoutData"), Input(graphs, "restyleData"), Input(grids, "getRowsRequest")]
    _there(app, "view", Output("view", "data", allow_duplicate=True), *changes_of_view, State("view", "data"))
    changes = [Input(name, "data") for name in ("version", "query", "selection")]
    _there(app, "refresh", Output("news", "title"), *changes)
    _there(app, "clear", Output("page", "lang"), Input({"type": "clear", "what": ALL}, "n_clicks"))


def _there(app: Dash, name: str, *parts: Output | Input | State, at_start: bool = False) -> None:
    add: Any = app.clientside_callback  # its types are not declared
    add(ClientsideFunction("evolve", name), *parts, prevent_initial_call=not at_start)
