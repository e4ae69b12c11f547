"""Keys of a darknet cfg file with the place of each."""

from __future__ import annotations

from fractions import Fraction

from evolve.exchange.dialects.context import DialectError
from evolve.exchange.dialects.source import Entry, Source

YOLO = "[yolo].ignore_thresh"  # the one key that is read outside of [net]
_NET = ("[net]", "[network]")


def is_cfg(text: str) -> bool:
    """Whether a text is a cfg file, which has a section of the network."""
    return any(line.strip().lower() in _NET for line in text.splitlines())


def numbers_of(source: Source, name: str) -> list[Fraction]:
    """Numbers that a key lists between commas; none where the key is missing.

    Raises:
        DialectError: One is not a finite number.
    """
    if name not in source:
        return []
    place = source.entries[name]
    entries = {
        str(number): Entry(text=text, line=place.line, column=place.column)
        for number, text in enumerate(place.text.split(","))
    }
    listed = Source(origin=source.origin, entries=entries)
    return [listed.number(entry) for entry in entries]


def read_cfg(text: str, origin: str) -> Source:
    """Keys of `[net]`, and ignore_thresh of the first `[yolo]`.

    Raises:
        DialectError: The text is not a cfg with a [net] section.
    """
    section, entries = "", {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.partition("#")[0].partition(";")[0].strip()
        if not line:
            continue
        if line.startswith("["):
            section = line.lower()
            continue
        name, equals, value = line.partition("=")
        if not equals or not section:
            column = raw.index(line[0]) + 1
            raise DialectError(f"{origin}:{number}:{column}: {line!r} is neither [section] nor key=value in one")
        entry = Entry(text=value.strip(), line=number, column=raw.index("=") + 2)
        if section in _NET:
            if name.strip() in entries:
                raise DialectError(f"{origin}:{number}:1: key {name.strip()!r} is given twice")
            entries[name.strip()] = entry
        elif section == "[yolo]" and name.strip() == "ignore_thresh":
            entries.setdefault(YOLO, entry)
    if not any(name != YOLO for name in entries):
        raise DialectError(f"{origin}:1:1: has no [net] section with keys")
    return Source(origin=origin, entries=entries)
