"""Keys of a hyp file with the place of each, so that an error can say where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction

import yaml

from detector.hyperparameters import Hyperparameters
from evolve.dialects.context import DialectError

# Of ten; no trainer takes larger numbers, and products of several still fit a float.
_SMALLEST_EXPONENT, _LARGEST_EXPONENT = -400, 30
_NUMBER_TAGS = ("tag:yaml.org,2002:float", "tag:yaml.org,2002:int")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A value as it is written.

    Attributes:
        text: Characters of the value.
        line, column: Where it begins, from 1.
        is_text: Whether YAML takes it for text, although it looks like a number.
    """

    text: str
    line: int
    column: int
    is_text: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file's keys.

    Attributes:
        origin: Name of the file, for errors.
        entries: Values by key, in the order of the file.
    """

    origin: str
    entries: Mapping[str, Entry]

    def __contains__(self, key: str) -> bool:
        return key in self.entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def text(self, key: str, default: str = "") -> str:
        """A value as written, or the default where the key is missing."""
        return self.entries[key].text if key in self.entries else default

    def number(self, key: str, default: str | None = None) -> Fraction:
        """A value as the decimal that is written.

        Args:
            key: Must be there if it has no default.
            default: Decimal text.

        Raises:
            DialectError: It is missing or not a finite number.
        """
        if key not in self.entries:
            if default is None:
                raise DialectError(f"{self.origin}: {key} is missing; found: {list(self.entries)}")
            return Fraction(default)
        number = as_decimal(self.entries[key].text)
        if number is None:
            raise self.error(key, f"{self.entries[key].text!r} is not a finite number")
        return Fraction(number)

    def whole(self, key: str, default: str | None = None) -> int:
        """A value that must be a whole number.

        Raises:
            DialectError: It is missing or not one.
        """
        number = self.number(key, default)
        if number.denominator != 1:
            raise self.error(key, f"{self.text(key)!r} is not a whole number")
        return int(number)

    def count(self, key: str) -> int | None:
        """A value that is a whole number from 1 to 999,999,999; None where it is missing or anything else."""
        text = self.text(key)
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 and int(text) else None

    def truth(self, key: str, *, default: bool = False) -> bool:
        """A value that must be true or false.

        Raises:
            DialectError: It is neither.
        """
        if key not in self.entries:
            return default
        found = {"true": True, "false": False, "1": True, "0": False}.get(self.text(key).lower())
        if found is None:
            raise self.error(key, f"{self.text(key)!r} is not true or false")
        return found

    def error(self, key: str, text: str) -> DialectError:
        """An error at the place of a key."""
        if key not in self.entries:
            return DialectError(f"{self.origin}: {key}: {text}")
        entry = self.entries[key]
        return DialectError(f"{self.origin}:{entry.line}:{entry.column}: {key}: {text}")

    def hyperparameters(self, values: Mapping[str, object], keys: Mapping[str, str] | None = None) -> Hyperparameters:
        """Hyperparameters made of this source.

        Args:
            values: In our meaning.
            keys: Key of this source that each of our names came from, where it differs.

        Raises:
            DialectError: A value is not allowed; names the place of its key.
        """
        try:
            return Hyperparameters.from_mapping(values)
        except ValueError as error:
            name, _, text = str(error).partition(": ")
            key = (keys or {}).get(name, name)
            raise self.error(key, text if key == name else f"as our {name}: {text}") from None

    def texts_for_numbers(self) -> list[str]:
        """Keys whose value looks like a number but is text to YAML, such as 1e-4."""
        return [key for key, entry in self.entries.items() if entry.is_text and as_decimal(entry.text) is not None]


def as_decimal(text: str) -> Decimal | None:
    """The number that a text shows; None if it is none, not finite, or beyond what a float holds."""
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() and _SMALLEST_EXPONENT <= number.adjusted() <= _LARGEST_EXPONENT else None


def read_yaml(text: str, origin: str) -> Source:
    """Keys of a flat YAML mapping; sections below a key are left out.

    Raises:
        DialectError: It is not YAML, not a mapping, or has a key twice.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{origin}:{mark.line + 1}:{mark.column + 1}" if mark else origin
        raise DialectError(f"{where}: is not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise DialectError(f"{origin}: is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(node, yaml.MappingNode) or not node.value:
        raise DialectError(f"{origin}:1:1: holds no hyperparameters; a hyp file is a mapping such as lr0: 0.01")
    entries: dict[str, Entry] = {}
    for key, value in node.value:
        name, mark = str(key.value), key.start_mark
        if name in entries:
            raise DialectError(f"{origin}:{mark.line + 1}:{mark.column + 1}: key {name!r} is given twice")
        entries[name] = _entry(value)
    return Source(origin=origin, entries=entries)


def _entry(node: yaml.Node) -> Entry:
    line, column = node.start_mark.line + 1, node.start_mark.column + 1
    if not isinstance(node, yaml.ScalarNode):
        return Entry(text="...", line=line, column=column)
    return Entry(text=str(node.value), line=line, column=column, is_text=node.tag not in _NUMBER_TAGS)
