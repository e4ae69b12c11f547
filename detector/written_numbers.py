"""Numbers as people write them: ASCII digits, one meaning whoever reads them, and within what a float holds.

Python itself also reads `1_0`, digits of other scripts, and blanks around them; YAML 1.1 reads `010` as eight and
`1:30` as ninety. None of these is a number here. Standard library only.
"""

from __future__ import annotations

import re
from math import isfinite, nan

MAX_CHARACTERS = 400  # the largest float has 309 digits before its point
_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?(?:nan|inf|infinity)", re.IGNORECASE)


def is_whole(text: str) -> bool:
    """Whether a text is a whole number, such as `-12`; `012`, `1_2` and `1.0` are none."""
    return _WHOLE.fullmatch(text) is not None


def is_number(text: str) -> bool:
    """Whether a text is a number with or without point and exponent, however large."""
    return _NUMBER.fullmatch(text) is not None


def as_float(text: str) -> float:
    """The number that a text shows; nan if it is none, or beyond what a float holds on either side."""
    if len(text) > MAX_CHARACTERS or not is_number(text):
        return nan
    value = float(text)
    is_lost = value == 0 and any(digit in "123456789" for digit in re.split("[eE]", text)[0])
    return nan if is_lost or not isfinite(value) else value


def is_not_finite(text: str) -> bool:
    """Whether a text is how programs print what is no finite number: nan, inf, -inf, in any case."""
    return _NOT_FINITE.fullmatch(text) is not None
