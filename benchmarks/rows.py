"""CSV files that a benchmark adds to as results come, and goes on with where they are there."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path


def rows_of(path: Path) -> list[dict[str, str]]:
    """Rows of a file, by column; none where there is none."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def add_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Adds rows to the end of a file, which begins with the names of its columns."""
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        file.write(text_of([columns, *rows] if is_new else rows))


def text_of(rows: Iterable[Sequence[object]]) -> str:
    """Rows as they are in a file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
