"""Keys of a hyp file with the place of each, so that an error can say where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import yaml

from detector import yaml_text
from detector.hyperparameters import Hyperparameters
from detector.written_numbers import MAX_CHARACTERS, is_number, is_whole
from evolve.exchange.dialects.context import DialectError

# Of ten; no trainer takes larger numbers, and products of several still fit a float.
_SMALLEST_EXPONENT, _LARGEST_EXPONENT = -400, 30
# What their trainers take for numbers: PyYAML reads YAML 1.1.
_NUMBER_TAGS = ("tag:yaml.org,2002:float", "tag:yaml.org,2002:int")
_resolver = yaml.resolver.Resolver()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A value as it is written.

    Attributes:
        text: Characters of the value.
        line, column: Line and column where the value begins, from 1.
        is_text: Whether PyYAML takes it for text, although it looks like a number.
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
            key: Key of the file; it must be there if no default is given.
            default: Decimal text that stands for a missing key; None for none.

        Raises:
            DialectError: The key is missing, or its value is not a finite number.
        """
        if key not in self.entries:
            if default is None:
                raise DialectError(f"{self.origin}: {key} is missing; found: {list(self.entries)}")
            return Fraction(default)
        number = as_decimal(self.entries[key].text)
        if number is None:
            raise self.error(key, f"{self.entries[key].text!r:.80} is not a finite number")
        return Fraction(number)

    def count(self, key: str) -> int | None:
        """A value that is a whole number from 1 to 999,999,999; None where it is missing or anything else."""
        text = self.text(key)
        return int(text) if is_whole(text) and len(text) < 10 and int(text) > 0 else None

    def truth(self, key: str, *, default: bool = False) -> bool:
        """A value that must be true or false.

        Raises:
            DialectError: The value is neither.
        """
        if key not in self.entries:
            return default
        found = {"true": True, "false": False, "1": True, "0": False}.get(self.text(key).lower())
        if found is None:
            raise self.error(key, f"{self.text(key)!r:.80} is not true or false")
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
            values: Hyperparameters by our names, in our meaning.
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
        """Keys whose value looks like a number but is text to PyYAML, such as 1e-4."""
        return [key for key, entry in self.entries.items() if entry.is_text and as_decimal(entry.text) is not None]


def as_decimal(text: str) -> Decimal | None:
    """The number that a text shows; None if it is none, not finite, or beyond what a float holds."""
    if len(text) > MAX_CHARACTERS or not is_number(text.strip()):
        return None
    number = Decimal(text.strip())
    return number if number.is_finite() and _SMALLEST_EXPONENT <= number.adjusted() <= _LARGEST_EXPONENT else None


def read_yaml(text: str, origin: str) -> Source:
    """Keys of a flat YAML mapping; sections below a key are left out.

    Raises:
        DialectError: It is not YAML that can be read in one way only, or not a mapping.
    """
    try:
        node = yaml_text.compose(text)
    except yaml_text.YamlError as error:
        where = f"{origin}:{error.line}:{error.column}" if error.line else origin
        raise DialectError(f"{where}: {error.problem}") from None
    if not isinstance(node, yaml_text.Mapping) or not node.items:
        raise DialectError(f"{origin}:1:1: holds no hyperparameters; a hyp file is a mapping such as lr0: 0.01")
    return Source(origin=origin, entries={key.text: _entry(value) for key, value in node.items})


def _entry(node: yaml_text.Node) -> Entry:
    if not isinstance(node, yaml_text.Scalar):
        return Entry(text="...", line=node.line, column=node.column)
    tag = _resolver.resolve(yaml.ScalarNode, node.text, (True, False))  # type: ignore[no-untyped-call]
    is_text = bool(node.tag) or tag not in _NUMBER_TAGS
    return Entry(text=node.text, line=node.line, column=node.column, is_text=is_text)
