"""Waiting for what a page shows, never for a number of seconds."""

from __future__ import annotations

import time
from typing import Any


def wait_filled(page: Any, key: str) -> None:
    """Brings a panel into sight and waits until it shows something."""
    page.locator(f"section#{key}").scroll_into_view_if_needed()
    page.wait_for_selector(f"section#{key} .body[data-drawn]:not([data-drawn='']) > *", state="attached")


def wait_until(page: Any, expression: str) -> None:
    """Waits until an expression is true; the page's own policy forbids Playwright's way of waiting for one."""
    until = time.monotonic() + 60
    while not page.evaluate(f"Boolean({expression})"):
        assert time.monotonic() < until, f"not true within a minute: {expression}"
        page.wait_for_timeout(100)


def show_all(page: Any, panels: Any) -> None:
    """Brings every panel into sight once."""
    for panel in panels:
        wait_filled(page, panel.key)


def wait_ready(page: Any, key: str) -> None:
    """Waits until the first picture of a panel is drawn and its page hears of what is done to it."""
    wait_filled(page, key)
    page.wait_for_selector(f"#{key} .nsewdrag")
    wait_until(page, f"document.querySelector('#{key} .js-plotly-plot')._ev?._events?.plotly_relayout")


def wait_steady(page: Any, selector: str) -> None:
    """Waits until nothing above an element grows any more."""
    place, before = page.locator(selector).first, None
    until = time.monotonic() + 60
    while (box := place.bounding_box()) != before:
        assert time.monotonic() < until, f"{selector} moves for a minute"
        before = box
        page.wait_for_timeout(400)
