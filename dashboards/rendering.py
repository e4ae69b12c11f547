"""Blocks of panels as a tree of elements: what a block looks like is said here, for the report and the live pages.

The two differ in pictures, tables and albums, which are leaves that each of them draws, and in how a tree is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from math import isfinite
from typing import TypeAlias

import plotly.graph_objects as go

from dashboards.blocks import (
    Album,
    Cell,
    Column,
    Disclosure,
    Empty,
    Gallery,
    Key,
    Marked,
    Photo,
    Prose,
    Snapshot,
    Table,
    Tiles,
    VerdictCounts,
    VerdictMark,
)
from dashboards.figures import theme
from dashboards.figures.overlay import jpeg_address, overlay_address
from dashboards.figures.series import curve_style
from dashboards.questions.panel import Block
from evolve import formatting

CSS_DASHES = {"solid": "solid", "dash": "dashed", "dot": "dotted"}


@dataclass(frozen=True, slots=True)
class Element:
    """An HTML element: its tag, what it holds, and its attributes by their HTML names, `style` as CSS."""

    tag: str
    children: tuple[Node, ...]
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A picture, table or album in its place among the blocks of a panel, counted from 0."""

    block: go.Figure | Table | Album
    index: int


Node: TypeAlias = Element | Leaf | str


def element(tag: str, *children: Node, **attributes: str) -> Element:
    """An element; an underscore at the end of an attribute's name is left out, as in `class_`."""
    return Element(tag, children, {name.rstrip("_"): value for name, value in attributes.items()})


def panel_body(blocks: Iterable[Block]) -> list[Node]:
    """All blocks of a panel, top to bottom; neighbouring pictures share a row."""
    body: list[Node] = []
    for is_figure, members in groupby(enumerate(blocks), key=lambda item: isinstance(item[1], go.Figure)):
        nodes = [_node(block, index) for index, block in members]
        # Three in a row at most, and no row with a single one where that can be had.
        columns = len(nodes) if len(nodes) < 3 else 2 if len(nodes) == 4 else 3
        body += [element("div", *nodes, class_=f"figures columns-{columns}")] if is_figure else nodes
    return body


def _node(block: Block, index: int) -> Node:
    match block:
        case Prose(text):
            return element("p", *text_nodes(text))
        case Empty(text):
            return element("p", *text_nodes(text), class_="empty")
        case Disclosure():
            # Any value opens it in HTML; on a live page an empty one does not.
            is_open = {"open": "open"} if block.is_open else {}
            return element("details", element("summary", block.summary), element("pre", block.text), **is_open)
        case Tiles(tiles):
            shown = [
                (element("dt", tile.label), element("dd", tile.value), element("dd", tile.detail)) for tile in tiles
            ]
            return element("dl", *(element("div", *parts) for parts in shown), class_="tiles")
        case Gallery(snapshots):
            return element("div", *map(_snapshot, snapshots), class_="gallery")
        case VerdictCounts(counts):
            of = [element("li", block.text)] if counts else []
            items = (element("li", _verdict(name), " ", element("b", f"{count:,}")) for name, count in counts)
            return element("ul", *of, *items, class_="verdicts")
        case Key(entries):
            items = (element("li", _swatch(slot), name) for name, slot in entries)
            return element("ul", *items, class_="verdicts key")
        case VerdictMark(verdict):
            return element("p", element("b", _verdict(verdict)))
        case Table(fold=fold) if fold:
            return element("details", element("summary", fold), Leaf(block, index))
        case go.Figure() | Table() | Album():
            return Leaf(block, index)
    raise TypeError(f"no way to draw a {type(block).__name__}")


def table_element(table: Table, link_of: Callable[[Cell], str] = lambda _: "") -> Element:
    """A table as it stands in a page; its headings are buttons where it can be sorted.

    Args:
        table: Table to show.
        link_of: Function from a cell of the first column to the address of what it names; empty where that has no page.
    """
    head = (_heading(column, is_button=table.is_sortable) for column in table.columns)
    body = (element("tr", *_cells(table, row, link_of(row[0]))) for row in table.rows)
    whole = element("table", element("thead", element("tr", *head)), element("tbody", *body), id=f"table-{table.name}")
    return element("div", whole, class_="scroll sortable" if table.is_sortable else "scroll", tabindex="0")


def album_element(album: Album) -> Element:
    """Pictures beside each other for each time, in a strip that is scrolled sideways and begins at its end."""
    pages = (_album_page(album, title, found) for title, found in reversed(album.pages))
    label = {"aria-label": "what was found, by epoch; the arrow keys scroll"} if len(album.pages) > 1 else {}
    body = element("div", *pages, class_="album", tabindex="0", **({"role": "group"} | label))
    for number, photo in enumerate(album.photos):
        # Said once for all times; labels lie over the picture and beneath what was found.
        addresses = overlay_address(photo, photo.labels), jpeg_address(photo.jpeg)
        layers = ", ".join(f"url({address})" for address in addresses)
        body = element("div", body, style=f"--photo-{number}: {layers}")
    return body


def _album_page(album: Album, title: str, found: tuple[tuple[Marked, ...], ...]) -> Element:
    photos = (
        element(
            "div",
            element("img", src=overlay_address(photo, objects), alt=_what_is_seen(photo, objects)),
            class_="photo",
            style=f"background-image: var(--photo-{number})",
        )
        for number, (photo, objects) in enumerate(zip(album.photos, found, strict=False))
    )
    heading = [element("p", title)] if title else []
    return element("div", *heading, element("div", *photos, class_="photos"), class_="album-page")


def _what_is_seen(photo: Photo, objects: tuple[Marked, ...]) -> str:
    labels = formatting.listed([mark.text for mark in photo.labels]) or "nothing"
    found = formatting.listed([mark.text for mark in objects]) or "nothing"
    return f"labelled: {labels}; found: {found}"


def cell_text(column: Column, cell: Cell) -> str:
    """A cell as people read it."""
    if isinstance(cell, str):
        return cell
    value = float(cell)
    return formatting.number(value) if column.digits is None or not isfinite(value) else f"{value:,.{column.digits}f}"


def _heading(column: Column, *, is_button: bool) -> Element:
    title: list[Node] = [] if column.slot is None else [_swatch(column.slot)]
    title += [column.title, *([element("small", column.unit)] if column.unit else [])]
    inner = [element("button", *title, type="button")] if is_button else title
    return element("th", *inner, scope="col", class_=column.kind)


def _cells(table: Table, row: Iterable[Cell], link: str) -> list[Element]:
    cells = [_cell(column, cell) for column, cell in zip(table.columns, row, strict=True)]
    if link:
        first = cells[0]
        cells[0] = Element(first.tag, (element("a", *first.children, href=link),), first.attributes)
    return cells


def _cell(column: Column, cell: Cell) -> Element:
    if column.kind == "verdict":
        return element("td", _verdict(str(cell)))
    if isinstance(cell, str):
        # Cut where the column is narrow, so that the title has it whole.
        look = "text long" if column.is_long else "number" if column.kind == "number" else "text"
        return element("td", cell, class_=look, title=cell)
    if column.kind == "place":
        place = element("span", style=f"--at: {float(cell):.3f}", title=f"{float(cell):.0%}")
        return element("td", place, class_="place")
    return element("td", cell_text(column, cell), class_="number")


def text_nodes(text: str) -> list[Node]:
    """A text with names of commands and keys as code."""
    return [element("code", part) if is_code else part for part, is_code in parts_of(text)]


def parts_of(text: str) -> list[tuple[str, bool]]:
    """The parts of a text, and of each whether it is code, which stands in backticks: names of commands and keys."""
    return [(part, index % 2 == 1) for index, part in enumerate(re.split(r"`([^`]+)`", text)) if part]


def _snapshot(snapshot: Snapshot) -> Element:
    image = element("img", src=jpeg_address(snapshot.jpeg), alt=snapshot.caption)
    return element("figure", image, element("figcaption", snapshot.caption))


def _verdict(verdict: str) -> Element:
    known = verdict if verdict in theme.VERDICT_STYLES else "unjudged"
    return element("span", verdict, class_=f"verdict verdict-{known}")


def _swatch(slot: int) -> Element:
    color, dash = curve_style(slot)
    return element("span", class_="swatch", style=f"border-top: 3px {CSS_DASHES[dash]} {color}")
