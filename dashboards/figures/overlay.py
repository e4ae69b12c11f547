"""Boxes as a drawing that lies over a picture: SVG in an address, so that no script and no other file is needed."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape

from dashboards.blocks import Marked, Photo
from dashboards.figures.series import curve_style
from evolve import formatting

DRAWN = 260  # units from top to bottom, so that lines and letters are of one size on pictures of one height
LETTERS = 17  # height of text in these units
NAME_LENGTH = 18  # characters of a class
NAMED_SCORE = 0.25


def jpeg_address(content: bytes) -> str:
    """A JPEG file as a data: address."""
    return _address("image/jpeg", content)


def overlay_address(photo: Photo, marked: Sequence[Marked]) -> str:
    """Objects as a drawing of the picture's shape, transparent but for them: labelled ones dashed, the best on top."""
    width, height = max(round(DRAWN * photo.width / photo.height), 1), DRAWN
    shapes = "".join(_shape(mark, width, height) for mark in reversed(marked))
    style = f"font:600 {LETTERS}px system-ui,sans-serif;fill:none"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
    svg = f'{head}width="{width}" height="{height}"><g style="{style}">{shapes}</g></svg>'
    return _address("image/svg+xml", svg.encode())


def _shape(mark: Marked, width: int, height: int) -> str:
    x0, y0, x1, y1 = (corner * side / 1000 for corner, side in zip(mark.corners, (width, height) * 2, strict=True))
    place = f'x="{x0:.0f}" y="{y0:.0f}" width="{max(x1 - x0, 1):.0f}" height="{max(y1 - y0, 1):.0f}"'
    if mark.score is None:
        # White on black is seen on any picture.
        line = f'{place} stroke="#fff" stroke-width="2" stroke-dasharray="7 4"'
        return f'<rect {place} stroke="#000" stroke-width="4"/><rect {line}/>'
    color, _ = curve_style(mark.slot)
    baseline = max(y0 - 4, LETTERS)
    # What nobody would take for found is drawn without words, which would hide what is beneath.
    text = escape(formatting.short(mark.text, most=NAME_LENGTH + 5)) if mark.score >= NAMED_SCORE else ""
    letters = f'<text x="{x0 + 1:.0f}" y="{baseline:.0f}" stroke="#fff" stroke-width="4">{text}</text>'
    letters += f'<text x="{x0 + 1:.0f}" y="{baseline:.0f}" fill="{color}">{text}</text>'
    box = f'<rect {place} stroke="#fff" stroke-width="5"/><rect {place} stroke="{color}" stroke-width="3"/>'
    # What the network is less sure of is fainter.
    return f'<g opacity="{0.25 + 0.75 * mark.score:.2f}">{box}{letters}</g>'


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{b64encode(content).decode()}"
