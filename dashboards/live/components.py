"""Trees of elements as components of a live page, with its pictures and tables."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import plotly.graph_objects as go
from dash import dcc, html
from numpy.typing import NDArray

from dashboards.blocks import Album, Table
from dashboards.figures import theme
from dashboards.figures.brush import mark_selected, trial_numbers
from dashboards.live.context import PanelContext
from dashboards.live.grid import grid, link_to
from dashboards.questions.panel import Block
from dashboards.rendering import Leaf, Node, album_element, panel_body, table_element
from dashboards.state import to_search

GRAPH_CONFIG: Any = {
    "displaylogo": False,
    "showSendToCloud": False,  # nothing leaves this machine
    "responsive": True,
    "modeBarButtonsToRemove": ["autoScale2d", "toImage"],
}
# What Dash calls otherwise than HTML does.
NAMES = {"class": "className", "tabindex": "tabIndex"}


def attributes(**values: str) -> dict[str, Any]:
    """Attributes whose names have hyphens, such as aria-label."""
    return {name.replace("_", "-"): value for name, value in values.items()}


def draw_all(blocks: Iterable[Block], context: PanelContext) -> list[Any]:
    """Components of all blocks of a panel."""
    return [_component(node, context) for node in panel_body(blocks)]


def _component(node: Node, context: PanelContext) -> Any:
    if isinstance(node, str):
        return node
    if isinstance(node, Leaf):
        draw: Any = {Table: _table, Album: _album}.get(type(node.block), _graph)
        return draw(node.block, context, node.index)
    kind = dcc.Link if node.tag == "a" else getattr(html, node.tag.capitalize())
    properties: dict[str, Any] = {NAMES.get(name, name): value for name, value in node.attributes.items()}
    if "style" in properties:
        name, _, value = properties["style"].partition(": ")
        properties["style"] = {name: value} if name.startswith("--") else {_camel_case(name): value}
    return kind([_component(child, context) for child in node.children], **properties)


def _camel_case(name: str) -> str:
    return re.sub("-(.)", lambda found: found[1].upper(), name)


def _graph(figure: go.Figure, context: PanelContext, index: int) -> Any:
    name = f"{context.panel}-{index}"
    has_trials = any(trial_numbers(trace) is not None for trace in figure.data)
    # As plain data from here on: Plotly's classes check every value once more, which takes longer than drawing did.
    shown = mark_selected(figure, context.state.selected).to_dict()
    gone = {hidden.curve for hidden in context.state.hidden if hidden.figure == name}
    shown["data"] = [_trace(trace, gone) for trace in shown["data"]]
    shown["layout"] |= {
        "template": theme.template(is_dark=context.is_dark),
        # The reader's zoom, selection and hidden curves outlast new data, as long as the query is the same.
        "uirevision": context.state.query,
        "dragmode": False if context.is_touch else "select" if has_trials else "zoom",
    }
    for zoom in context.state.zooms:
        if zoom.figure == name and re.fullmatch(r"[xy]axis\d?", zoom.axis):
            axis = dict(shown["layout"].get(zoom.axis, {}))
            shown["layout"][zoom.axis] = axis | {"range": [zoom.low, zoom.high], "autorange": False}
    if context.is_dark:
        shown = theme.recoloured(shown)
    graph = dcc.Graph(
        id={"type": "graph", "panel": context.panel, "index": index},
        figure=shown,
        # Under a finger the buttons would always lie over the legend.
        config=GRAPH_CONFIG | ({"displayModeBar": False} if context.is_touch else {}),
        style={"height": f"{int(figure.layout.height)}px"},
        className="plot",
    )
    return html.Div(
        [graph, _downloads(context, index, ["png", "svg"])], className="picture", **attributes(data_picture=name)
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


def _downloads(context: PanelContext, index: int, images: Iterable[str]) -> Any:
    page = context.state.page.strip("/") or "studies"
    href = f"/data/{page}/{context.panel}/{index}.csv{to_search(context.state)}"
    name = f"{page}-{context.panel}-{index}"
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


def _table(table: Table, context: PanelContext, index: int) -> Any:
    if table.is_sortable:
        body = grid(table, context, index)
    else:
        link = partial(link_to, table, study=context.state.study)
        body = _component(table_element(table, link), context)
    return html.Div([body, _downloads(context, index, [])], className="picture")


def _album(album: Album, context: PanelContext, index: int) -> Any:
    body = _component(album_element(album), context)
    return html.Div([body, _downloads(context, index, [])], className="picture")
