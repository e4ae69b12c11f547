"""What a panel is made of besides figures: tables, text, numbers to notice; plain data, drawn by the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "number", "verdict", "place"]
Cell = str | float | int


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes:
        title: Above the column.
        kind: What its cells are; a place is a number in 0..1, drawn as a point on a line.
        unit: Beneath the title.
        digits: Digits after the point, or None for as many as tell the numbers apart.
        slot: Place of the curve that is about the same, whose colour then stands beside the title.
        is_long: Whether its cells are sentences, which take several lines.
    """

    title: str
    kind: Kind = "text"
    unit: str = ""
    digits: int | None = None
    slot: int | None = None
    is_long: bool = False

    @property
    def heading(self) -> str:
        """Title and unit on one line."""
        return f"{self.title}, {self.unit}" if self.unit else self.title


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under titled columns.

    Attributes:
        name: Unique within a page.
        columns: Left to right.
        rows: A cell for each column; NaN is shown as missing.
        is_sortable: Whether a click on a title sorts the rows.
        links_to: What the first column names, where pages of its own exist: a trial or a study.

    Raises:
        ValueError: A row has more or fewer cells than there are columns.
    """

    name: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    is_sortable: bool = False
    links_to: Literal["", "trial", "study"] = ""

    def __post_init__(self) -> None:
        for index, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.name}: row {index} has {len(row)} cells for {len(self.columns)} columns")


@dataclass(frozen=True, slots=True)
class Prose:
    """A paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Empty:
    """Why there is nothing to see, and what to do about it."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Disclosure:
    """Long text behind one line, as written: a traceback, a list of versions."""

    summary: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One number to notice."""

    label: str
    value: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A picture of pixels: the bytes of a JPEG file, and what is seen on it."""

    jpeg: bytes
    caption: str


@dataclass(frozen=True, slots=True)
class Gallery:
    """Pictures of pixels, side by side."""

    snapshots: tuple[Snapshot, ...]


@dataclass(frozen=True, slots=True)
class Tiles:
    """Numbers to notice, side by side."""

    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True)
class VerdictCounts:
    """How many trials came to which verdict, in the order of `VERDICTS`; the key to all colours and symbols."""

    counts: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Key:
    """Names of curves, with the place whose colour each has in all pictures of a page."""

    entries: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class VerdictMark:
    """What became of one trial, with its colour and symbol."""

    verdict: str
