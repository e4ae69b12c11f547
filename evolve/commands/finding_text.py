"""What should be known of a search, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the rules load statistics
    from evolve.findings import Finding


def finding_lines(found: Sequence[Finding], study: str) -> str:
    """Each finding with what to do next, whole lines; empty where there is none.

    Args:
        found: In their order.
        study: Name of the study they are of.
    """
    lines = [(f"found   {each.key}: {each.text}", f"  try   {each.next_command(study)}") for each in found]
    return "\n".join(line for pair in lines for line in pair)
