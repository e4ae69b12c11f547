"""What a dialect says of itself as data: its keys, what is fixed there, what of ours it lacks, and its sentences.

A key converts both ways. A sentence is a template over names: facts of the dialect, keys of the file, our values,
fields of the context; a fact that is None silences it. `engine` reads the tables. Their rows are given by position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from string import Formatter
from typing import TypeAlias

from detector.hyperparameters import Hyperparameters, names
from evolve.exchange.dialects.context import Context, short
from evolve.exchange.dialects.exact import plain, scaled
from evolve.exchange.dialects.source import Source, read_yaml


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One file at hand, being written, read or explained.

    Attributes:
        table: Table of the file's dialect.
        context: The training that the file is for.
        source: The file's keys; in an export those that were written so far.
        values: Hyperparameters in our meaning; our defaults where a file is only explained.
        is_export: Whether names in sentences mean our values rather than the file's.
    """

    table: Table
    context: Context
    source: Source
    values: Hyperparameters = field(default_factory=Hyperparameters)
    is_export: bool = False

    def number(self, key: str) -> Fraction:
        """A key's number as written, or the dialect's default.

        Raises:
            DialectError: It is not a finite number, or missing without a default.
        """
        return self.source.number(key, self.table.defaults.get(key))

    def text(self, key: str) -> str:
        """A key's text as written, or the dialect's default."""
        return self.source.text(key, self.table.defaults.get(key, ""))

    def sentence(self, template: str) -> str | None:
        """A template with its names filled in; None where one of its facts is None."""
        found = {name: self._meaning(name) for _, name, _, _ in Formatter().parse(template) if name}
        if None in found.values():
            return None
        return template.format(**{name: words(value) for name, value in found.items()})

    def _meaning(self, name: str) -> object:
        if name in self.table.facts:
            return self.table.facts[name](self)
        if self.is_export and name in names():
            return getattr(self.values, name)
        if name in self.source or name in self.table.defaults:
            return self.text(name)
        return getattr(self.context, name)


def words(value: object) -> str:
    """A value in a sentence: numbers to five digits, truths in lower case."""
    if isinstance(value, bool):
        return str(value).lower()
    return short(value) if isinstance(value, float | Fraction) else str(value)


Fact: TypeAlias = Callable[[Case], object]


def silent_unless(condition: Callable[[Case], bool], fact: Fact = lambda _case: "") -> Fact:
    """A fact that is None, and so silences its sentence, unless a condition holds."""
    return lambda case: fact(case) if condition(case) else None


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a dialect's file.

    Attributes:
        name: The trainer's name of the key.
        default: Text that the trainer takes where the key is missing; None where there is no such text.
        ours: Our hyperparameter that the key carries; empty for none.
        write: Gives the key's text in an export, empty to leave it out; None where an export never has the key.
        read: Gives the value of `ours` that a file means, None where ours keeps its default; None where the key is not
            read.
        as_if: Text at which the trainer does what we do, of a key without counterpart; None for other keys.
        why: The trainer's arithmetic on the key, of keys that are explained with what becomes of them; else empty.
        training: Field of `Context` that the key holds; empty for none.
    """

    name: str
    default: str | None = None
    ours: str = ""
    write: Callable[[Key, Case], str] | None = None
    read: Callable[[Key, Case], object] | None = None
    as_if: str | None = None
    why: str = ""
    training: str = ""


def _write_same(key: Key, case: Case) -> str:
    return plain(getattr(case.values, key.ours))


def read_same(key: Key, case: Case) -> float | None:
    """The number as it is; None where the file lacks the key and its trainer has no default."""
    return float(case.number(key.name)) if key.name in case.source or key.default is not None else None


def renamed(name: str, ours: str, default: str | None = None, why: str = "") -> Key:
    """A key whose number means the same in both trainers under two names."""
    return Key(name, default, ours, _write_same, read_same, why=why)


def same(**defaults: str) -> Iterable[Key]:
    """Keys that mean the same in both trainers, with that trainer's defaults."""
    return (renamed(name, name, default) for name, default in defaults.items())


def times(name: str, default: str, factor: Callable[[Context], Fraction], *, ours: str = "", why: str = "") -> Key:
    """A key that its trainer multiplies by a factor above 0 before it means what ours means."""
    return Key(
        name,
        default,
        ours or name,
        write=lambda key, case: scaled(getattr(case.values, key.ours), 1 / factor(case.context)),
        read=lambda key, case: float(case.number(key.name) * factor(case.context)),
        why=why,
    )


def unlike(as_if: str = "0.0", **defaults: str) -> Iterable[Key]:
    """Keys of what is not done here, with that trainer's defaults; exports have the text at which it is not done."""
    return (Key(name, text, write=lambda _key, _case: as_if, as_if=as_if) for name, text in defaults.items())


def written(name: str, text: Callable[[Case], object], default: str | None = None, training: str = "") -> Key:
    """A key that an export needs besides hyperparameters."""
    return Key(name, default, write=lambda _key, case: str(text(case)), training=training)


def of_training(name: str, training: str) -> Key:
    """A key that holds a whole number of the training, a field of `Context`."""
    return written(name, lambda case: getattr(case.context, training), training=training)


@dataclass(frozen=True, slots=True)
class Fixed:
    """What of ours a trainer always does, whatever its file says.

    Attributes:
        ours: Our hyperparameter; one that we do not have yet is a difference by itself.
        value: What it is equal to there; a function where the file decides; a tuple where some choices are known
            there, and an export with another is refused.
        there: What is done there, in words; empty where another sentence of the table says it.
    """

    ours: str
    value: object
    there: str = ""


# For each of them the update is SGD's, and a rate found with another rule is none for it.
SGD = Fixed("optimizer", ("sgd",), ": the file would be read with SGD, for which its lr0 is none")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number that a trainer really uses, for `explain`.

    Attributes:
        name: Name of the quantity.
        given: Key of the file that the quantity is made of; empty for none.
        used: Template of the number after the trainer's arithmetic.
        why: Template of the arithmetic.
    """

    name: str
    given: str
    used: str
    why: str = ""


@dataclass(frozen=True, kw_only=True)  # without slots, for what is kept of the first look-up
class Table:
    """A dialect.

    Attributes:
        name: The dialect's name on the command line.
        keys: Keys in the order of the file.
        signs: Keys that no other dialect has.
        fixed: What of ours the trainer always does.
        absent: What it means that the file cannot say some of ours, by their names.
        unconverted: What it means that some of theirs have no conversion to ours, by their names.
        facts: Quantities that sentences name, as functions of the file at hand.
        refusals: Why a file would be read with another meaning, besides choices; the first is the reason.
        errors: Gives key and text of each thing that makes a file none of the dialect, or one that we cannot follow.
        how: How to train with an export there.
        export_notes, import_notes: What differs besides what the rest of the table tells.
        used, problems: What `explain` prints, besides keys with a reason why.
        idle: Why a key has no effect, by key, said where the file has it; or by a template of what is always named.
        training: Gives the fields of `Context` that a file says, besides those of its keys.
        preset: Keys of a usual training there, laid over the defaults.
        preset_of: Whose training the preset is, for people.
        foreign: Keys that its trainer is known not to have; None for all that the table lacks.
        if_missing, if_foreign: What its trainer does without a key and with a foreign one, `{key}`; empty for nothing.
        is_pyyaml: Whether its trainer reads the file with PyYAML, for which 1e-4 is text.
        nominal_batch_size: Images between two updates there, where neither file nor anybody says; None for ours.
        read: Gives the keys of a file's text; the second argument is the file's name for errors.
        head, between: How an export's text begins, and what stands between key and value.
    """

    name: str
    keys: tuple[Key, ...]
    signs: frozenset[str] = frozenset()
    fixed: tuple[Fixed, ...] = ()
    absent: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    unconverted: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    facts: Mapping[str, Fact] = field(default_factory=dict)
    refusals: tuple[str, ...] = ()
    errors: Callable[[Case], Iterable[tuple[str, str]]] = lambda _case: ()
    how: tuple[str, ...] = ()
    export_notes: tuple[str, ...] = ()
    import_notes: tuple[str, ...] = ()
    used: tuple[Quantity, ...] = ()
    idle: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    training: Callable[[Source], dict[str, int]] = lambda _source: {}
    preset: Mapping[str, str] = field(default_factory=dict)
    preset_of: str = ""
    foreign: tuple[str, ...] | None = ()
    if_missing: str = ""
    if_foreign: str = ""
    is_pyyaml: bool = False
    nominal_batch_size: int | None = None
    read: Callable[[str, str], Source] = read_yaml
    head: str = ""
    between: str = ": "

    @cached_property
    def carried(self) -> tuple[Key, ...]:
        """Keys that hold one of our hyperparameters."""
        return tuple(key for key in self.keys if key.ours)

    @cached_property
    def defaults(self) -> dict[str, str]:
        """Texts of the keys that have a default, in the order of the file."""
        return {key.name: key.default for key in self.keys if key.default is not None}

    @property
    def same(self) -> tuple[str, ...]:
        """Keys that are called as ours and mean the same."""
        return tuple(key.name for key in self.keys if key.write is _write_same and key.name == key.ours)
