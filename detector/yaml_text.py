"""YAML as people read it: YAML 1.2's core schema, each key once, nothing that grows beyond what is written.

`yes`, `no`, `on` and `off` are text, and so are dates, `1:30`, `1_0` and `010`; `1e-3` is a number. PyYAML scans the
text; what its scalars mean is decided here. Source: YAML 1.2.2, section 10.3.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from math import inf, isnan, nan
from typing import Any

import yaml

from detector.written_numbers import MAX_CHARACTERS, as_float, is_number, is_whole

MAX_TEXT = 2**18  # characters; ten thousand class names have fewer
MAX_NODES = 4_000  # keys and values, each counted as often as an alias repeats it; a second for 20,000
MAX_DEPTH = 20

_TAG = "tag:yaml.org,2002:"
_NULLS = ("", "~", "null", "Null", "NULL")
_TRUTHS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NOT_FINITE = {".inf": inf, "+.inf": inf, "-.inf": -inf, ".nan": nan}
_OTHER_BASE = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_NO_TEXT = re.compile("[\0\ud800-\udfff]")  # no file, database or screen takes them
_WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "null": "null"}


class YamlError(ValueError):
    """A text is not YAML that can be read in one way only.

    Attributes:
        problem: What was found and what is allowed, in one line.
        line, column: Line and column of the problem, from 1; 0 where it is not known or the text as a whole is meant.
    """

    def __init__(self, problem: str, line: int = 0, column: int = 0) -> None:
        self.problem, self.line, self.column = " ".join(problem.split()), line, column
        super().__init__(f"line {line}: {self.problem}" if line else self.problem)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """A value as written.

    Attributes:
        text: Characters of the value, without quotes.
        line, column: Line and column where it begins, from 1.
        tag: Short name of the type it is said to have, such as str; empty where its characters decide.
    """

    text: str
    line: int
    column: int
    tag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """A list, and where it begins."""

    items: tuple[Node, ...]
    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """Keys, each once, with their values, and where the mapping begins."""

    items: tuple[tuple[Scalar, Node], ...]
    line: int
    column: int


Node = Scalar | Sequence | Mapping


def load(text: str, *, as_text: Collection[str] = (), max_nodes: int = MAX_NODES) -> Any:
    """The values in a YAML text: dict, list, str, int, float, bool or None.

    Args:
        text: The YAML text, which holds one document.
        as_text: Keys at the top whose values are kept as written, so that a class may be called `no` or `1e3`.
        max_nodes: Largest number of keys and values, each counted as often as an alias repeats it.

    Raises:
        YamlError: It is not YAML, repeats a key, has a number that nothing holds, or is larger than it may be.
    """
    node = compose(text, max_nodes=max_nodes)
    if not isinstance(node, Mapping):
        return None if node is None else value_of(node)
    return {key_of(key): value_of(value, as_text=key.text in as_text) for key, value in node.items}


def dump(values: dict[str, Any]) -> str:
    """YAML that `load` reads back to the same values, in their order, and PyYAML's own loader as well."""
    text: str = yaml.dump(values, Dumper=_Dumper, sort_keys=False)
    return text


class _Dumper(yaml.SafeDumper):
    """PyYAML's, with quotes around text such as 1e3, which is a number here and none in YAML 1.1."""


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "'" if is_number(text) or _OTHER_BASE.fullmatch(text) else None
    return dumper.represent_scalar(f"{_TAG}str", text, style=style)


_Dumper.add_representer(str, _quoted)


def compose(text: str, *, max_nodes: int = MAX_NODES) -> Node | None:
    """The nodes of a YAML text, None if it holds nothing.

    Raises:
        YamlError: As for `load`, but for numbers.
    """
    if len(text) > MAX_TEXT:
        raise YamlError(f"is longer than {MAX_TEXT:,} characters, which is the most such a file may have")
    try:
        return _document(yaml.parse(text, Loader=yaml.SafeLoader), max_nodes)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise YamlError(f"is not YAML: {error.problem or error.context}", *place) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(f"is not YAML: character {error.character!r} is not allowed", line) from None
    except (yaml.YAMLError, OverflowError) as error:
        raise YamlError(f"is not YAML: {error}") from None
    except ValueError as error:
        if isinstance(error, YamlError):
            raise
        raise YamlError(f"is not YAML: {error}") from None  # an escape such as "\UFFFFFFFF"


def value_of(node: Node, *, as_text: bool = False) -> Any:
    """The value that a node stands for.

    Args:
        node: A node that `compose` returned.
        as_text: Whether its scalars are kept as written; one that is null stays None unless it is within a list.

    Raises:
        YamlError: A number is beyond what a float holds, or a scalar is not of the type that its tag says.
    """
    if isinstance(node, Sequence):
        return [_text_or_value(item, as_text=as_text) for item in node.items]
    if isinstance(node, Mapping):
        return {key_of(key): _text_or_value(value, as_text=as_text) for key, value in node.items}
    return node.text if as_text and (node.tag or node.text not in _NULLS) else _scalar(node)


def _text_or_value(node: Node, *, as_text: bool) -> Any:
    return node.text if as_text and isinstance(node, Scalar) else value_of(node, as_text=as_text)


def key_of(key: Scalar) -> str | int:
    """A key as text or whole number.

    Raises:
        YamlError: It is neither.
    """
    value = _scalar(key)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise YamlError(f"key {key.text!r} is neither text nor a whole number", key.line, key.column)
    return value


def _scalar(node: Scalar) -> Any:
    found: Any = node.text if node.tag == "str" else _plain(node)
    if node.tag in ("", "str"):
        return found
    kind = "null" if found is None else type(found).__name__
    if node.tag == "float" and kind == "int":
        return float(found)
    if kind != node.tag:
        raise YamlError(f"!!{node.tag} {node.text[:40]!r} is not {_WORDS[node.tag]}", node.line, node.column)
    return found


def _plain(node: Scalar) -> Any:
    text = node.text
    if text in _NULLS:
        return None
    if text in _TRUTHS:
        return _TRUTHS[text]
    if text.lower() in _NOT_FINITE:
        return _NOT_FINITE[text.lower()]
    is_based = _OTHER_BASE.fullmatch(text) is not None
    if not is_based and not is_number(text):
        return text
    if len(text) > MAX_CHARACTERS:
        raise YamlError(f"a number of {len(text):,} characters; allowed: {MAX_CHARACTERS}", node.line, node.column)
    if is_based or is_whole(text):
        return int(text, 0)
    if isnan(value := as_float(text)):
        raise YamlError(f"{text[:40]} is beyond what a number can hold, 1e-308 to 1e+308", node.line, node.column)
    return value


def _document(events: Iterator[Any], max_nodes: int) -> Node | None:
    builder = _Builder(events, max_nodes)
    node: Node | None = None
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            if node is not None:
                raise YamlError("holds several documents; allowed: one", *_place(event))
            node = builder.node(next(events))
    is_empty = isinstance(node, Scalar) and not node.tag and node.text in _NULLS
    return None if is_empty else node


def _place(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


class _Builder:
    """Nodes from events, counted as they come."""

    def __init__(self, events: Iterator[Any], max_nodes: int) -> None:
        self._events, self._max_nodes = events, max_nodes
        self._anchored: dict[str, tuple[Node, int]] = {}  # with the number of nodes in it
        self._num_nodes = 0

    def node(self, event: Any, depth: int = 0) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._repeated(event)
        if depth > MAX_DEPTH:
            raise YamlError(f"is nested deeper than {MAX_DEPTH} levels", *_place(event))
        before = self._num_nodes
        self._count(1, event)
        if isinstance(event, yaml.ScalarEvent):
            node: Node = _scalar_node(event)
        else:
            _tag_of(event, ("seq", "map"))
            made = self._sequence if isinstance(event, yaml.SequenceStartEvent) else self._mapping
            node = made(event, depth)
        if event.anchor:
            self._anchored[event.anchor] = (node, self._num_nodes - before)
        return node

    def _sequence(self, event: Any, depth: int) -> Node:
        items = []
        while not isinstance(item_event := next(self._events), yaml.SequenceEndEvent):
            items.append(self.node(item_event, depth + 1))
        line, column = _place(event)
        return Sequence(items=tuple(items), line=line, column=column)

    def _mapping(self, event: Any, depth: int) -> Node:
        items: dict[str | int, tuple[Scalar, Node]] = {}
        while not isinstance(key_event := next(self._events), yaml.MappingEndEvent):
            place, key = _place(key_event), self.node(key_event, depth + 1)
            if not isinstance(key, Scalar):
                raise YamlError("a key is a list or a mapping; allowed: text", *place)
            if key.text == "<<" and not key.tag:
                raise YamlError("keys of another mapping are taken over with <<; write them out", *place)
            if (name := key_of(key)) in items:
                raise YamlError(f"key {key.text[:40]!r} is given twice", *place)
            items[name] = (key, self.node(next(self._events), depth + 1))
        line, column = _place(event)
        return Mapping(items=tuple(items.values()), line=line, column=column)

    def _repeated(self, event: Any) -> Node:
        if event.anchor not in self._anchored:
            problem = f"*{event.anchor[:40]} stands for what is not written before it, or holds itself"
            raise YamlError(problem, *_place(event))
        node, num_nodes = self._anchored[event.anchor]
        self._count(num_nodes, event)
        return node

    def _count(self, more: int, event: Any) -> None:
        self._num_nodes += more
        if self._num_nodes > self._max_nodes:
            problem = f"holds more than {self._max_nodes:,} keys and values, counted as often as aliases repeat them"
            raise YamlError(problem, *_place(event))


def _scalar_node(event: Any) -> Scalar:
    line, column = _place(event)
    if _NO_TEXT.search(event.value):
        raise YamlError("text has a NUL or half of a surrogate pair", line, column)
    # A quoted scalar is text, whatever it looks like.
    tag = _tag_of(event, ("str", *_WORDS)) or ("" if event.implicit[0] else "str")
    return Scalar(text=event.value, line=line, column=column, tag=tag)


def _tag_of(event: Any, known: Collection[str]) -> str:
    if event.tag is None:
        return ""
    if event.tag == "!" and isinstance(event, yaml.ScalarEvent):
        return "str"
    name = str(event.tag).removeprefix(_TAG)
    if name == event.tag or name not in known:
        shown = event.tag if name == event.tag else f"!!{name}"
        raise YamlError(f"tag {shown[:60]} is not known; allowed: values without a tag", *_place(event))
    return name
