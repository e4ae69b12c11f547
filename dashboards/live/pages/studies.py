"""The list of studies."""

from __future__ import annotations

from typing import Any

from dashboards.live.pages import frame
from dashboards.panels import STUDIES


def page(where: str) -> list[Any]:
    """The page of all studies of a database."""
    return [frame.heading("Studies", details=[where]), *frame.sections(STUDIES)]
