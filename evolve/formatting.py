"""Numbers, times, lists and settings as text for people: no more digits than can be told apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite, isnan
from typing import Any

MISSING = "\N{EN DASH}"


def number(value: float) -> str:
    """A number to four significant digits, or whole from ten thousand on."""
    if isnan(value):
        return MISSING
    if not isfinite(value):
        return "inf" if value > 0 else "-inf"
    rounded = f"{value:.4g}"
    # Exponents only where the digits themselves would be hard to read.
    return f"{value:,.0f}" if abs(float(rounded)) >= 1e4 and abs(value) < 1e7 else rounded


def parameter(value: object) -> str:
    """A hyperparameter as it can be typed again: four significant digits, or its name."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def choice(text: str) -> str:
    """A choice that is stored as text, as people read it: of a long number four significant digits."""
    try:
        value = float(text)
    except ValueError:
        return text
    return min(parameter(value), text, key=len) if isfinite(value) else text


def score(value: float) -> str:
    """A fitness or average precision to three decimals."""
    return f"{value:.3f}" if isfinite(value) else number(value)


def duration(seconds: float) -> str:
    """A time in the two largest units that matter."""
    if not isfinite(seconds):
        return MISSING
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min"


def elapsed(seconds: float) -> str:
    """A time that a terminal counts up or down, in whole seconds; empty where it is unknown."""
    if not isfinite(seconds):
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def rough_duration(seconds: float) -> str:
    """A time that is only guessed, in one unit."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def moment(seconds: float) -> str:
    """Seconds since 1970 as date and time in UTC."""
    if not isfinite(seconds):
        return MISSING
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def counted(count: int, noun: str, nouns: str = "") -> str:
    """A count with its noun, plural (with an s, unless `nouns` says otherwise) unless it is one."""
    return f"{count:,} {noun if count == 1 else nouns or f'{noun}s'}"


def listed(items: Sequence[str], *, limit: int = 6) -> str:
    """Items with commas and a final `and`; of those beyond the limit the number, if it is above one."""
    if len(items) > limit + 1:
        return f"{', '.join(items[:limit])} and {len(items) - limit:,} more"
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def spans(numbers: Iterable[int]) -> str:
    """Numbers as text, runs written with a hyphen: 1-4,7."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


def last_line(text: str) -> str:
    """The last line of a traceback that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def short(text: str, *, most: int = 40) -> str:
    """Text on one line, cut to `most` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def as_text(value: object) -> str:
    """A value of a configuration as a person would write it; empty for None."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return _mapping_text(value)
    if isinstance(value, Sequence):
        return ", ".join(as_text(item) for item in value)
    return str(value)


def _mapping_text(value: Mapping[Any, Any]) -> str:
    filled = {key: item for key, item in value.items() if item is not None and item not in ({}, "", [], ())}
    name = filled.pop("name", None)
    options = ", ".join(
        f"{key} ({as_text(item)})" if isinstance(item, Mapping) else f"{key} {as_text(item)}"
        for key, item in filled.items()
    )
    if name is None:
        return options
    return f"{as_text(name)} ({options})" if options else as_text(name)


def capitalised(text: str) -> str:
    """A text, not empty, as the beginning of a sentence: its first letter large and the others as they are."""
    return text[0].upper() + text[1:]
