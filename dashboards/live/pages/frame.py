"""What all pages have: a heading, places for panels that fill as they come into sight, a bar about the selection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from dash import dcc, html

from dashboards.data.compared import MAX_ENTRIES
from dashboards.live.components import attributes
from dashboards.questions.panel import Panel
from dashboards.rendering import parts_of
from dashboards.state import MAX_ADDRESS, PageState, to_address

NOTHING: Mapping[str, Any] = MappingProxyType({})


def heading(title: str, *, details: Sequence[Any] = ()) -> Any:
    """The page's title with a line beneath it."""
    line = [html.P(list(details))] if details else []
    # A long name breaks after an underscore.
    first, *others = title.split("_")
    broken = [part for other in others for part in ("_", html.Wbr(), other)]
    return html.Header([html.H1([first, *broken] if others else title), *line])


def sections(panels: Sequence[Panel], *, beneath: Mapping[str, Any] = NOTHING) -> list[Any]:
    """Links to the panels, and a place for each.

    Args:
        panels: Panels of the page, top to bottom.
        beneath: What stands at the end of a panel, by its key, and stays when the panel is drawn anew.
    """
    links = [html.A(panel.title, href=f"#{panel.key}") for panel in panels]
    return [
        html.Nav(links, **attributes(aria_label="Sections")),
        html.Main([_section(panel, beneath.get(panel.key)) for panel in panels]),
    ]


def _section(panel: Panel, beneath: Any) -> Any:
    kind = {"key": panel.key, "lines": "yes" if panel.follows_selection else "no"}
    said = [html.Code(part) if is_code else part for part, is_code in parts_of(panel.caption)]
    caption = [html.P(said, className="caption")] if panel.caption else []
    return html.Section(
        [
            html.H2(panel.title),
            *caption,
            # What was asked for and what stands there, as attributes: each store would cost the browser milliseconds.
            html.Div(id={"type": "panel", **kind}, className="body", **attributes(data_asked="", data_drawn="")),
            *([] if beneath is None else [beneath]),
        ],
        id=panel.key,
        className="panel",
    )


def selection_bar(state: PageState) -> Any:
    """How many trials are selected, and what can be done with them."""
    if not state.selected:
        return []
    count = len(state.selected)
    links = [_compare_link(state)]
    if count == 1:
        trial = PageState(page="/trial", study=state.study, number=state.selected[0])
        links.insert(0, dcc.Link(f"open trial {state.selected[0]}", href=to_address(trial)))
    message = f"trial {state.selected[0]} selected" if count == 1 else f"{count:,} trials selected"
    return [html.B(message), *links, html.Button("clear", id={"type": "clear", "what": "selection"}, n_clicks=0)]


def _compare_link(state: PageState) -> Any:
    # All of them are named, and the page takes the best: which those are changes while a study runs.
    compared = tuple((state.study, number) for number in state.selected)
    address = to_address(PageState(page="/compare", compared=compared))
    if len(address) > MAX_ADDRESS:
        return html.Span("too scattered to compare: select fewer")
    return dcc.Link("compare" if len(compared) <= MAX_ENTRIES else f"compare the best {MAX_ENTRIES}", href=address)


def problem(text: str) -> list[Any]:
    """A page that cannot be shown, and why."""
    return [
        heading("This page cannot be shown"),
        html.P(text, className="empty", role="alert"),
        html.P(dcc.Link("All studies", href="/")),
    ]
