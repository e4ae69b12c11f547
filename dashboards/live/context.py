"""For whom a panel is drawn."""

from __future__ import annotations

from dataclasses import dataclass

from dashboards.state import PageState


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelContext:
    """Where blocks are drawn: the state of the page, the key of the panel, and the reader's device."""

    state: PageState
    panel: str
    is_dark: bool = False
    is_touch: bool = False
