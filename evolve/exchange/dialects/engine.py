"""The one reader of the dialects' tables: ours to theirs, theirs to ours, what a trainer makes of its own file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Protocol

from detector.hyperparameters import Hyperparameters, allowed_choices, declarations, names
from evolve.exchange.dialects.context import (
    Context,
    DialectError,
    Explanation,
    Export,
    Imported,
    RefusedError,
    Used,
    is_image_size,
)
from evolve.exchange.dialects.source import Entry, Source, as_decimal
from evolve.exchange.dialects.table import Case, Fixed, Table, words


class Dialect(Protocol):
    """One trainer's way to write hyperparameters."""

    def to_dialect(self, values: Hyperparameters, context: Context) -> Export: ...
    def from_source(self, source: Source, context: Context) -> Imported: ...
    def explain(self, source: Source, context: Context) -> Explanation: ...
    def read(self, text: str, origin: str) -> Source: ...
    def training_in(self, text: str, origin: str) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Tabled:
    """A dialect that is given by a table."""

    table: Table

    def to_dialect(self, values: Hyperparameters, context: Context) -> Export:
        """The file with which the other trainer ends up at our values, as far as it can.

        Raises:
            RefusedError: A value would be read there with another meaning.
        """
        table = self.table
        case = Case(table=table, context=context, source=_source("", {}), values=values, is_export=True)
        for reason in (*_unknown_choices(case), *_said(table.refusals, case)):
            raise RefusedError(f"{table.name}: {reason}")
        texts = {key.name: key.write(key, case) for key in table.keys if key.write}
        case = replace(case, source=_source("", {name: text for name, text in texts.items() if text}))
        body = "".join(f"{name}{table.between}{case.text(name)}\n" for name in case.source)
        return Export(
            dialect=table.name,
            body=table.head + body,
            how=tuple(_said(table.how, case)),
            notes=(*_not_exported(case), *_said(table.export_notes, case)),
        )

    def from_source(self, source: Source, context: Context) -> Imported:
        """Our values of a file; what it has no keys for has our defaults.

        Raises:
            DialectError: The file is not of the dialect, or a value is not allowed here.
        """
        case = self._case(source, context)
        for key, text in self.table.errors(case):
            raise source.error(key, text)
        read = {key.ours: key.read(key, case) for key in self.table.carried if key.read}
        read |= {fixed.ours: _value(fixed, case) for fixed in _fixed_here(self.table)}
        values = source.hyperparameters(
            {name: value for name, value in read.items() if value is not None},
            {key.ours: key.name for key in self.table.carried if key.name in source},
        )
        case = replace(case, values=values)
        return Imported(values=values, notes=(*_not_imported(case), *_said(self.table.import_notes, case)))

    def explain(self, source: Source, context: Context) -> Explanation:
        """What the trainer uses after its own arithmetic, and which keys do nothing.

        Raises:
            DialectError: A value is not a number.
        """
        case = self._case(source, context)
        problems = tuple(_problems(case))
        return Explanation(dialect=self.table.name, used=tuple(_used(case)), idle=dict(_idle(case)), problems=problems)

    def read(self, text: str, origin: str) -> Source:
        """Keys of a file's text.

        Raises:
            DialectError: It cannot be read.
        """
        return self.table.read(text, origin)

    def training_in(self, text: str, origin: str) -> dict[str, Any]:
        """What a file says itself of the training that it is for, as fields of `Context`.

        Raises:
            DialectError: It cannot be read.
        """
        return _training_in(self.table, self.read(text, origin))

    def preset(self, context: Context) -> Imported:
        """Our values that come nearest to a usual training there, and what differs."""
        source = _source(f"preset of {self.table.name}", {**self.table.defaults, **self.table.preset})
        imported = self.from_source(source, context)
        return replace(imported, notes=(f"preset: {self.table.preset_of}.", *imported.notes))

    def _case(self, source: Source, context: Context) -> Case:
        if self.table.nominal_batch_size is not None:
            context = context.with_nominal(self.table.nominal_batch_size)
        try:  # the file itself knows best what it is for
            context = replace(context, **_training_in(self.table, source))
        except ValueError as error:
            raise DialectError(f"{source.origin}: {error}") from None
        for name, default in self.table.defaults.items():
            if as_decimal(default) is not None:
                source.number(name, default)  # its trainer reads every number that it has a key for
        return Case(table=self.table, context=context, source=source)


def _source(origin: str, texts: Mapping[str, str]) -> Source:
    """A source of keys that are in no file."""
    return Source(origin=origin, entries={name: Entry(text=text, line=0, column=0) for name, text in texts.items()})


def _training_in(table: Table, source: Source) -> dict[str, Any]:
    counts = {key.training: source.count(key.name) for key in table.keys if key.training}
    found = {name: count for name, count in counts.items() if count is not None} | table.training(source)
    if not is_image_size(found.get("image_size", 0)):
        found.pop("image_size", None)  # its trainer takes another one
    return found


def _said(sentences: Iterable[str], case: Case) -> Iterator[str]:
    return (said for sentence in sentences if (said := case.sentence(sentence)) is not None)


# What is fixed there


def _unknown_choices(case: Case) -> Iterator[str]:
    """Why a choice of ours cannot be told to the trainer."""
    for fixed in case.table.fixed:
        value = getattr(case.values, fixed.ours, None)
        if isinstance(fixed.value, tuple) and value not in fixed.value:
            yield f"{fixed.ours} {value!r}{fixed.there}; allowed: {', '.join(fixed.value)}"


def _fixed_here(table: Table) -> list[Fixed]:
    """What is fixed there and can be chosen here."""
    return [
        fixed
        for fixed in table.fixed
        if fixed.ours in names()
        and not isinstance(fixed.value, tuple)
        and (callable(fixed.value) or fixed.value in (allowed_choices(fixed.ours) or (fixed.value,)))
    ]


def _value(fixed: Fixed, case: Case) -> object:
    return fixed.value(case) if callable(fixed.value) else fixed.value


# Notes


def _not_exported(case: Case) -> Iterator[str]:
    table = case.table
    for fixed in table.fixed:
        if not fixed.there or isinstance(fixed.value, tuple):
            continue
        if fixed.ours not in names():
            yield f"{fixed.ours}: {fixed.there}"
        elif getattr(case.values, fixed.ours) != _value(fixed, case):
            yield f"{_with_values([fixed.ours], case)}: {fixed.there}"
    yield from (f"{_with_values(absent, case)}: {text}" for absent, text in table.absent.items())
    if others := _unmentioned(case):
        yield f"{_with_values(others, case)}: no keys for these; there they are as that trainer has them."
    if switched_off := [key for key in table.keys if key.as_if not in (None, key.default)]:
        listed = ", ".join(f"{key.name} is {key.as_if}" for key in switched_off)
        yield f"{listed}, since nothing was found with it here."


def _with_values(ours: Iterable[str], case: Case) -> str:
    return ", ".join(f"{name} {words(getattr(case.values, name))}" for name in ours)


def _unmentioned(case: Case) -> list[str]:
    """Ours of which the table says nothing: choices with what belongs to them, and numbers that are not the default."""
    mentioned = {key.ours for key in case.table.keys} | {fixed.ours for fixed in case.table.fixed}
    mentioned |= {name for absent in case.table.absent for name in absent}
    usual = Hyperparameters()
    return [
        name
        for name in names()
        if name not in mentioned and (name in of_choices() or getattr(case.values, name) != getattr(usual, name))
    ]


def of_choices() -> frozenset[str]:
    """Ours that are chosen by a name, which no other trainer's file has a key for, and what needs one of them."""
    ours = declarations()
    chosen = {name for name, known in ours.items() if isinstance(known.default, str)}
    return frozenset(chosen | {name for name, known in ours.items() if any(need in chosen for need, *_ in known.needs)})


def _not_imported(case: Case) -> Iterator[str]:
    table, source = case.table, case.source
    if missing := [key.name for key in table.carried if key.default is not None and key.name not in source]:
        yield f"missing keys have that trainer's defaults: {', '.join(missing)}."
    for key in table.keys:
        if key.as_if is not None and case.number(key.name) != Fraction(key.as_if):
            yield f"{key.name} {case.text(key.name)}: is not done here (as if {key.as_if})."
    for lost, text in table.unconverted.items():
        if found := [name for name in lost if name in source]:
            yield f"{', '.join(found)}: {text}"
    if table.foreign is None and (others := _foreign(case)):
        yield f"keys of no meaning here: {', '.join(others)}."
    here = _fixed_here(table)
    for fixed in table.fixed:
        if fixed not in here and not isinstance(fixed.value, tuple):
            yield f"{fixed.ours} {fixed.value}: cannot be chosen here; {fixed.there}"


def _foreign(case: Case) -> list[str]:
    """Keys of a file that its trainer does not have, as far as the table can tell."""
    foreign, known = case.table.foreign, {key.name for key in case.table.keys}
    return [name for name in case.source if name not in known and (foreign is None or name in foreign)]


# Explanations


def _used(case: Case) -> Iterator[Used]:
    for key in case.table.keys:
        if key.why and key.read and (number := key.read(key, case)) is not None:
            why = case.sentence(key.why) or ""
            yield Used(name=key.name, given=case.source.text(key.name), used=words(number), why=why)
    for quantity in case.table.used:
        if (used := case.sentence(quantity.used)) is not None:
            why = case.sentence(quantity.why) or ""
            yield Used(name=quantity.name, given=case.source.text(quantity.given), used=used, why=why)


def _idle(case: Case) -> Iterator[tuple[str, str]]:
    known = {key.name for key in case.table.keys}
    for template, reason in case.table.idle.items():
        name, why = case.sentence(template), case.sentence(reason)
        if name and why and (name in case.source or template not in known):
            yield name, why


def _problems(case: Case) -> Iterator[str]:
    table, source = case.table, case.source
    if table.if_missing:
        yield from (table.if_missing.format(key=name) for name in table.defaults if name not in source)
    if table.if_foreign:
        yield from (table.if_foreign.format(key=name) for name in _foreign(case))
    if table.is_pyyaml:
        for key in source.texts_for_numbers():
            yield f"{key}: {source.text(key)} is text to PyYAML; write it with a point"
    yield from _said(table.problems, case)
