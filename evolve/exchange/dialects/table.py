"""What a dialect says of itself as data: its keys, what is fixed there, what of ours it lacks, and its sentences.

A key's coding converts both ways; a sentence is a template over the names of a `Case`. `engine` reads the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import TypeAlias

from detector.hyperparameters import Hyperparameters, names
from evolve.exchange.dialects.context import Context, short
from evolve.exchange.dialects.exact import plain, scaled
from evolve.exchange.dialects.source import Source, read_yaml


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One file at hand, being written, read or explained; `case["name"]` is a name's words in a sentence.

    Attributes:
        table: The file's dialect.
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

    def __getitem__(self, name: str) -> str:
        if name in self.table.facts:
            return words(self.table.facts[name](self))
        if self.is_export and name in names():
            return words(getattr(self.values, name))
        if name in self.source or name in self.table.defaults:
            return self.text(name)
        return words(getattr(self.context, name))


def words(value: object) -> str:
    """A value in a sentence: numbers to five digits, truths in lower case."""
    if isinstance(value, bool):
        return str(value).lower()
    return short(value) if isinstance(value, float | Fraction) else str(value)


Fact: TypeAlias = Callable[[Case], object]
Condition: TypeAlias = Callable[[Case], bool]


def always(_case: Case) -> bool:
    """The condition of what is said, used or idle in every case."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """A sentence that is said in some cases.

    Attributes:
        text: A template: `{lr0}` is a key, a fact, one of our values or a field of the context.
        when: Whether it is said.
    """

    text: str
    when: Condition = always


def said(text: str, when: Condition = always) -> Sentence:
    """A sentence, always or in some cases."""
    return Sentence(text=text, when=when)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key of a dialect's file.

    Attributes:
        name: As that trainer calls it.
        default: Text that the trainer takes where the key is missing; None where it has to be there.
        ours: Our hyperparameter that the key carries; empty for none.
        write: The key's text in an export; None where an export leaves the key out.
        read: The value of `ours` that a file means; None where the key carries none.
        as_if: Text at which the trainer does what we do, of a key without counterpart; None for other keys.
        why: The trainer's arithmetic on the key in words, of keys that are explained with what becomes of them.
        training: Field of `Context` that the key holds; empty for none.
        is_optional: Whether a file without the key leaves ours at our default.
    """

    name: str
    default: str | None = None
    ours: str = ""
    write: Callable[[Key, Case], str] | None = None
    read: Callable[[Key, Case], object] | None = None
    as_if: str | None = None
    why: str = ""
    training: str = ""
    is_optional: bool = False


def _write_same(key: Key, case: Case) -> str:
    return plain(getattr(case.values, key.ours))


def _read_same(key: Key, case: Case) -> float:
    return float(case.number(key.name))


def same(name: str, default: str | None = None, *, ours: str = "", why: str = "", is_optional: bool = False) -> Key:
    """A key whose number means the same in both trainers."""
    return Key(
        name=name,
        default=default,
        ours=ours or name,
        write=_write_same,
        read=_read_same,
        why=why,
        is_optional=is_optional,
    )


def times(name: str, default: str, factor: Callable[[Context], Fraction], *, ours: str = "", why: str = "") -> Key:
    """A key that its trainer multiplies by a factor above 0 before it means what ours means."""
    return Key(
        name=name,
        default=default,
        ours=ours or name,
        write=lambda key, case: scaled(getattr(case.values, key.ours), 1 / factor(case.context)),
        read=lambda key, case: float(case.number(key.name) * factor(case.context)),
        why=why,
    )


def unlike(name: str, default: str, *, as_if: str = "0.0") -> Key:
    """A key of what is not done here; exports switch it off."""
    return Key(name=name, default=default, as_if=as_if, write=lambda _key, _case: as_if)


def written(name: str, text: Callable[[Case], object], default: str | None = None, *, training: str = "") -> Key:
    """A key that an export needs besides hyperparameters."""
    return Key(name=name, default=default, training=training, write=lambda _key, case: str(text(case)))


def of_training(name: str, training: str) -> Key:
    """A key that holds a whole number of the training, a field of `Context`."""
    return written(name, lambda case: getattr(case.context, training), training=training)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """What of ours a trainer always does, whatever its file says.

    Attributes:
        ours: Our hyperparameter; one that we do not have yet is a difference by itself.
        value: What it is equal to there; a function where that depends on the file.
        there: What is done there, in words; empty where another sentence of the table says it.
    """

    ours: str
    value: object
    there: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Among:
    """A choice of ours of which a trainer knows some.

    Attributes:
        ours: Our hyperparameter.
        values: What the trainer knows; an export with another is refused.
        otherwise: What the trainer makes of another, in words.
        way_out: What to do instead, in words.
    """

    ours: str
    values: tuple[str, ...]
    otherwise: str
    way_out: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """Names without counterpart in the other trainer, of ours in an export and of theirs in an import.

    Attributes:
        names: Hyperparameters or keys.
        text: What that means.
    """

    names: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A number that a trainer really uses, for `explain`.

    Attributes:
        name: Of the quantity.
        given: Key that it is from; empty for none.
        used: Template of the number after the trainer's arithmetic.
        why: Template of the arithmetic.
        when: Whether there is such a number.
    """

    name: str
    given: str = ""
    used: str
    why: str = ""
    when: Condition = always


def quantity(name: str, used: str, why: str = "", *, given: str = "", when: Condition = always) -> Quantity:
    """A number that a trainer uses."""
    return Quantity(name=name, used=used, why=why, given=given, when=when)


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Keys without effect.

    Attributes:
        names: The keys, of which those in the file are named; or a template of a name that is said in any case.
        text: Template of the reason.
        when: Whether they have no effect.
    """

    names: tuple[str, ...] | str
    text: str
    when: Condition = always


def idle(names: tuple[str, ...] | str, text: str, when: Condition = always) -> Idle:
    """Keys without effect in some cases."""
    return Idle(names=names, text=text, when=when)


@dataclass(frozen=True, kw_only=True)  # without slots, for what is kept of the first look-up
class Table:
    """A dialect.

    Attributes:
        name: As the command line calls it.
        keys: In the order of the file.
        signs: Keys that no other dialect has.
        fixed: What of ours the trainer always does.
        among: Choices of ours of which the trainer knows some.
        absent: Ours that the file cannot say.
        unconverted: Theirs that have no conversion to ours.
        facts: Quantities that sentences name, as functions of the file at hand.
        refusals: Why else a file would be read with another meaning; the first that holds is the reason.
        errors: Key and text of what makes a file no file of the dialect, or of one that we cannot follow.
        how: How to train with an export there.
        export_notes, import_notes: What differs besides what the rest of the table tells.
        used, idle, problems: What `explain` prints.
        adjust: Values that a file means, corrected by what only the whole file shows.
        training: Fields of `Context` that a file says, besides those of its keys.
        preset: Keys of a usual training there, laid over the defaults.
        preset_of: Whose training that is.
        names_others: Whether keys that the table lacks are named in an import, as its trainer has no others.
        foreign: Keys that its trainer is known not to have; with `names_others` all that the table lacks.
        if_missing, if_foreign: What its trainer does without a key and with a foreign one, `{key}`; empty for nothing.
        is_pyyaml: Whether its trainer reads the file with PyYAML, for which 1e-4 is text.
        nominal_batch_size: Images between two updates there, where neither file nor anybody says; None for ours.
        names_missing: Whether missing keys are named in an import, as the trainer's defaults were taken for them.
        read: Keys of a file's text; the second argument is the file's name for errors.
        head, between: How an export's text begins, and what stands between key and value.
    """

    name: str
    keys: tuple[Key, ...]
    signs: frozenset[str] = frozenset()
    fixed: tuple[Fixed, ...] = ()
    among: tuple[Among, ...] = ()
    absent: tuple[Absent, ...] = ()
    unconverted: tuple[Absent, ...] = ()
    facts: Mapping[str, Fact] = field(default_factory=dict)
    refusals: tuple[Sentence, ...] = ()
    errors: Callable[[Case], Iterable[tuple[str, str]]] = lambda _case: ()
    how: tuple[Sentence, ...] = ()
    export_notes: tuple[Sentence, ...] = ()
    import_notes: tuple[Sentence, ...] = ()
    used: tuple[Quantity, ...] = ()
    idle: tuple[Idle, ...] = ()
    problems: tuple[Sentence, ...] = ()
    adjust: Callable[[dict[str, object], Case], dict[str, object]] = lambda values, _case: values
    training: Callable[[Source], dict[str, int]] = lambda _source: {}
    preset: Mapping[str, str] = field(default_factory=dict)
    preset_of: str = ""
    names_others: bool = False
    names_missing: bool = False
    foreign: tuple[str, ...] = ()
    if_missing: str = ""
    if_foreign: str = ""
    is_pyyaml: bool = False
    nominal_batch_size: int | None = None
    read: Callable[[str, str], Source] = read_yaml
    head: str = ""
    between: str = ": "

    @cached_property
    def key_names(self) -> frozenset[str]:
        """Names of all keys that the table knows, carried or not."""
        return frozenset(key.name for key in self.keys)

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
