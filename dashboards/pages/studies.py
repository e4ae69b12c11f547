"""The list of studies."""

from __future__ import annotations

from typing import Any

from dashboards.live_panels import STUDIES
from dashboards.pages.frame import heading, sections


def page(where: str) -> list[Any]:
    """The page of all studies of a database."""
    return [heading("Studies", details=[where]), *sections(STUDIES)]
