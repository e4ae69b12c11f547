"""What pages say, without a browser."""

from __future__ import annotations

from plotly.io.json import to_json_plotly

from dashboards.data.reader import Reader
from dashboards.live.app import page_of
from dashboards.live.callbacks import panel_content
from dashboards.live.context import PanelContext
from dashboards.panels import PAGES
from dashboards.state import PageState


def drawn(reader: Reader, state: PageState) -> str:
    """Everything a page says, as it is sent."""
    contents = [page_of(reader, state)]
    contents += [panel_content(reader, PanelContext(state=state, panel=panel.key)) for panel in PAGES[state.page]]
    return "".join(to_json_plotly(content) for content in contents)
