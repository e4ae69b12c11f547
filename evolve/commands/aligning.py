"""Rows of cells as a table for the terminal or for Markdown."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from io import StringIO
from textwrap import dedent

from evolve.formatting import number

WIDE = 160  # characters of a line where there is no terminal


def aligned(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, left: Collection[int], width: int | None
) -> list[str]:
    """The rows beneath their heads, as lines.

    Args:
        heads: Heading of each column.
        rows: Rows of cells, one cell for each column.
        left: Indices of the columns whose cells begin at the left; those of the others end at the right.
        width: Characters of a line; None where there is no terminal, which takes WIDE.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if place in left else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    drawn = Console(file=StringIO(), width=width or WIDE, color_system=None, markup=False, emoji=False, highlight=False)
    drawn.print(table)
    assert isinstance(drawn.file, StringIO)
    return [line.rstrip() for line in dedent(drawn.file.getvalue()).splitlines() if line.strip()]


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, left: Collection[int]) -> list[str]:
    """The rows beneath their heads, as lines of a Markdown table; a bar in a cell becomes a slash."""
    rule = "|".join("---" if place in left else "---:" for place in range(len(heads)))
    cells = [" | ".join(cell.replace("|", "/") for cell in row) for row in rows]
    return [f"| {' | '.join(heads)} |", f"|{rule}|", *(f"| {row} |" for row in cells)]


def signed(value: float) -> str:
    """A difference to four decimals with its sign."""
    return f"{value:+.4f}" if value == value else number(value)


def interval(low: float, high: float) -> str:
    """Both ends of an interval of differences; a dash where there is none."""
    return f"{signed(low)} to {signed(high)}" if low == low else number(low)
