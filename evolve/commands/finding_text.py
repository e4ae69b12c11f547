"""What should be known of a search, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evolve.commands.output import typed_for

if TYPE_CHECKING:  # the rules load statistics
    from evolve.findings import Finding


def finding_lines(found: Sequence[Finding], study: str, storage: str) -> str:
    """Each finding with what to do next, whole lines; empty where there is none.

    Args:
        found: Findings in the order in which they are shown.
        study: Name of the study they are of.
        storage: URL of the database that has the study.
    """
    then = [typed_for(finding.next_command(study), storage) for finding in found]
    lines = [
        (f"found   {finding.key}: {finding.text}", f"  try   {command}")
        for finding, command in zip(found, then, strict=True)
    ]
    return "\n".join(line for pair in lines for line in pair)
