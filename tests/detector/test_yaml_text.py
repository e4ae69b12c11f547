"""YAML as a person reads it: what a scalar means, what is refused, and that nothing grows beyond its file."""

from __future__ import annotations

import math
from typing import Any

import pytest

from detector.yaml_text import MAX_DEPTH, MAX_NODES, MAX_TEXT, YamlError, load


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((word, word) for word in ("yes", "no", "on", "off", "Yes", "NO", "y", "n", "tRUE")),
        *((word, word) for word in ("1:30", "1_0", "010", "-010", "09", "2001-12-14", "2001-99-99", "0b11")),
        *((word, word) for word in ("=", "1e", ".", "\u0661\u0662", "1\uff12", "1.\u0665", "\u00b2")),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("null", None),
        ("1e-3", 0.001),
        ("1.0e+5", 100000.0),
        ("+.5", 0.5),
        ("2.", 2.0),
        ("-7", -7),
        ("0o17", 15),
        ("0x1F", 31),
        ("-.inf", -math.inf),
        ("'10'", "10"),
        ('"true"', "true"),
        ("! 10", "10"),
        ("!!str 10", "10"),
        ("!!int 10", 10),
        ("!!float 10", 10.0),
        ("[1, [a, {b: c}]]", [1, ["a", {"b": "c"}]]),
    ],
)
def test_a_scalar_means_what_a_person_reads(text: str, value: Any) -> None:
    read = load(f"key: {text}")["key"]

    assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: key 'a' is given twice"),
        ("a: {b: 1, b: 2}", "line 1: key 'b' is given twice"),
        ("names: {0: a, 0x0: b}", "line 1: key '0x0' is given twice"),
        ("a: [1\n", "line 2: is not YAML: expected ',' or ']'"),
        ("a: !!int abc", "line 1: !!int 'abc' is not a whole number"),
        ("a: !!bool yes", "line 1: !!bool 'yes' is not true or false"),
        ("a: !!binary aGk=", "line 1: tag !!binary is not known"),
        ("a: !local 1", "line 1: tag !local is not known"),
        ("a: !!python/name:os.system", "line 1: tag !!python/name:os.system is not known"),
        (f"a: {'1' * 4301}", "line 1: a number of 4,301 characters; allowed: 400"),
        (f"a: 0x{'f' * 4301}", "line 1: a number of 4,303 characters"),
        ("a: 1e999", "line 1: 1e999 is beyond what a number can hold"),
        ("a: 1e-999", "line 1: 1e-999 is beyond what a number can hold"),
        ("true: 1", "line 1: key 'true' is neither text nor a whole number"),
        ("0.0: 1", "line 1: key '0.0' is neither text nor a whole number"),
        ("? [a]\n: 1", "line 1: a key is a list or a mapping"),
        ("a: &a {x: 1}\nb: {<<: *a}", "line 2: keys of another mapping are taken over with <<"),
        ("a: &a [*a]", "line 1: *a stands for what is not written before it, or holds itself"),
        ("a: *b", "line 1: *b stands for what is not written before it"),
        ("a: 1\n---\nb: 2\n", "line 2: holds several documents; allowed: one"),
        ('a: "\\0"', "line 1: text has a NUL"),
        ('a: "\\ud800"', "line 1: text has a NUL or half of a surrogate pair"),
        ('a: "\\UFFFFFFFF"', "is not YAML: "),
        ("a: 1\nb: \x01", "line 2: is not YAML: character"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(YamlError) as caught:
        load(text)

    assert str(caught.value).startswith(problem)
    assert "\n" not in str(caught.value)


def test_an_alias_repeats_what_it_stands_for() -> None:
    assert load("a: &range {low: 0, high: 1}\nb: *range\n") == {"a": {"low": 0, "high": 1}, "b": {"low": 0, "high": 1}}


def test_an_alias_bomb_is_counted_before_it_is_unpacked() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]

    with pytest.raises(YamlError, match=f"line 4: holds more than {MAX_NODES:,} keys and values"):
        load("\n".join(lines))


def test_deep_nesting_and_long_files_are_refused() -> None:
    with pytest.raises(YamlError, match=f"nested deeper than {MAX_DEPTH} levels"):
        load("[" * 100_000)
    with pytest.raises(YamlError, match=f"is longer than {MAX_TEXT:,} characters"):
        load("#" * (MAX_TEXT + 1))
    with pytest.raises(YamlError, match=f"holds more than {MAX_NODES:,}"):
        load("- 1\n" * (MAX_NODES + 1))


def test_values_of_some_keys_are_kept_as_written() -> None:
    text = "names: [yes, no, 1e3, 007, true, null, 12]\nother: [1e3]\n"

    assert load(text, as_text=["names"]) == {
        "names": ["yes", "no", "1e3", "007", "true", "null", "12"],
        "other": [1000.0],
    }
    assert load("names:\nby: {0: yes}", as_text=["names", "by"]) == {"names": None, "by": {0: "yes"}}


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n...\n", "~"])
def test_a_text_without_values_is_none(text: str) -> None:
    assert load(text) is None
