"""What a panel is made of besides figures: tables, text, numbers to notice; plain data, drawn by the page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from evolve.formatting import counted

Kind = Literal["text", "number", "verdict", "place"]
Cell = str | float | int


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes:
        title: Heading of the column.
        kind: What its cells are; a place is a number in 0..1, drawn as a point on a line.
        unit: Unit of the cells, or another short note, shown beneath the title; empty for none.
        digits: Digits after the point, or None for as many as tell the numbers apart.
        slot: Place of the curve that is about the same, whose colour stands beside the title; None for no colour.
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
        name: Name of the table, unique within a page.
        columns: Columns, left to right.
        rows: Rows, top to bottom, with a cell for each column; NaN is shown as missing.
        is_sortable: Whether a click on a title sorts the rows.
        links_to: What the cells of the first column name, where it has a page: a trial or a study; else empty.
        fold: Line that the table stands behind until it is opened; empty where it is seen at once.

    Raises:
        ValueError: A row has more or fewer cells than there are columns.
    """

    name: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    is_sortable: bool = False
    links_to: Literal["", "trial", "study"] = ""
    fold: str = ""

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
    """Long text behind one line, as written: a traceback, a list of versions.

    Attributes:
        summary: Line that the text stands behind.
        text: The text.
        is_open: Whether the text is seen at once, and can be folded away.
    """

    summary: str
    text: str
    is_open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """An object in a picture.

    Attributes:
        corners: Left, upper, right and lower edge, in thousandths of the picture's width and height.
        name: Name of its class, as a person wrote it.
        slot: Index of its class, from 0, which decides the colour.
        score: Score of an object that was found, 0..1; None for one that is labelled.
    """

    corners: tuple[int, ...]
    name: str
    slot: int
    score: float | None = None

    @property
    def text(self) -> str:
        """Name and score."""
        return self.name if self.score is None else f"{self.name} {self.score:.2f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A small picture: the content of its JPEG, its width and height in pixels, and what is labelled in it."""

    jpeg: bytes
    width: int
    height: int
    labels: tuple[Marked, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Album:
    """Pictures, and what was found in them at several times.

    Attributes:
        name: Name of the album, unique within a page.
        photos: Pictures, each with its labels.
        pages: For each time, such as an epoch, its title and the objects found in each picture; the last page is seen
            first.
    """

    name: str
    photos: tuple[Photo, ...]
    pages: tuple[tuple[str, tuple[tuple[Marked, ...], ...]], ...]

    def rows(self) -> Iterator[tuple[object, ...]]:
        """All objects as rows beneath a heading."""
        yield "when", "picture", "class", "score", "x0", "y0", "x1", "y1"
        times = [("labelled", tuple(photo.labels for photo in self.photos)), *self.pages]
        for when, found in times:
            for number, objects in enumerate(found, start=1):
                for mark in objects:
                    score = "" if mark.score is None else mark.score
                    yield when, number, mark.name, score, *(corner / 1000 for corner in mark.corners)


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
    """How many came to which verdict, in the order of `VERDICTS`; the key to all colours and symbols.

    Attributes:
        counts: Each verdict and its number.
        of: What is counted. A trial has the verdict of the worst of its trainings, so that the two differ.
    """

    counts: tuple[tuple[str, int], ...]
    of: Literal["trial", "training"]

    @property
    def text(self) -> str:
        """How many there are in all, and of what."""
        return f"of {counted(sum(count for _, count in self.counts), self.of)}:"


@dataclass(frozen=True, slots=True)
class Key:
    """Names of curves, with the place whose colour each has in all pictures of a page."""

    entries: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class VerdictMark:
    """What became of one trial, with its colour and symbol."""

    verdict: str
