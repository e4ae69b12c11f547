"""A line of JSON, each key once and each number within what a float holds."""

from __future__ import annotations

import json
from math import isnan
from typing import Any

from detector.written_numbers import as_float
from evolve.exchange.dialects.context import DialectError


def read_json(line: str, where: str) -> Any:
    """What a line of JSON holds.

    Args:
        line: Text of one JSON value.
        where: File and line, for errors.

    Raises:
        DialectError: It is not JSON, repeats a key, or has a number that nothing holds.
    """
    try:
        return json.loads(line, object_pairs_hook=_object, parse_int=_whole, parse_float=_float)
    except json.JSONDecodeError as error:
        raise DialectError(f"{where}:{error.colno}: is not JSON: {error.msg}") from None
    except RecursionError:
        raise DialectError(f"{where}:1: is nested too deeply; allowed: an object of objects") from None
    except ValueError as error:
        raise DialectError(f"{where}:1: {error}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key {twice!r:.80} is given twice")
    return found


def _whole(text: str) -> int:
    _float(text)
    return int(text)


def _float(text: str) -> float:
    if isnan(value := as_float(text)):
        raise ValueError(f"{text:.40} is beyond what a number can hold, 1e-308 to 1e+308")
    return value
