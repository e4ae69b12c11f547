"""The one reader of the dialects' tables: ours to theirs, theirs to ours, what a trainer makes of its own file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from detector.hyperparameters import Hyperparameters, allowed_choices, names
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
from evolve.exchange.dialects.source import Entry, Source
from evolve.exchange.dialects.table import Case, Fixed, Key, Sentence, Table, words


@dataclass(frozen=True, slots=True, kw_only=True)
class Tabled:
    """A dialect that is given by a table."""

    table: Table

    def to_dialect(self, values: Hyperparameters, context: Context) -> Export:
        """The file with which the other trainer ends up at our values, as far as it can.

        Raises:
            RefusedError: A value would be read there with another meaning.
        """
        table = self.table
        case = Case(table=table, context=context, source=Source(origin="", entries={}), values=values, is_export=True)
        for reason in (*_beyond_choice(case), *_said(table.refusals, case)):
            raise RefusedError(f"{table.name}: {reason}")
        for key in table.keys:
            if key.write is not None and (text := key.write(key, case)):
                entries = {**case.source.entries, key.name: Entry(text=text, line=0, column=0)}
                case = replace(case, source=Source(origin="", entries=entries))
        body = "".join(f"{name}{table.between}{entry.text}\n" for name, entry in case.source.entries.items())
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
        read = {key.ours: key.read(key, case) for key in self.table.carried if key.read and _counts(key, source)}
        read = self.table.adjust(read | {each.ours: _value(each, case) for each in _fixed_here(self.table)}, case)
        values = source.hyperparameters(read, {key.ours: key.name for key in self.table.carried if key.name in source})
        case = replace(case, values=values)
        return Imported(values=values, notes=(*_not_imported(case), *_said(self.table.import_notes, case)))

    def explain(self, source: Source, context: Context) -> Explanation:
        """What the trainer uses after its own arithmetic, and which keys do nothing.

        Raises:
            DialectError: A value is not a number.
        """
        case = self._case(source, context)
        return Explanation(
            dialect=self.table.name,
            used=tuple(_used(case)),
            idle=dict(_idle(case)),
            problems=tuple(_problems(case)),
        )

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
        entries = {name: Entry(text=text, line=0, column=0) for name, text in self.table.preset.items()}
        source = Source(origin=f"preset of {self.table.name}", entries=entries)
        imported = self.from_source(source, context)
        return replace(imported, notes=(f"preset: {self.table.preset_of}.", *imported.notes))

    def _case(self, source: Source, context: Context) -> Case:
        if self.table.nominal_batch_size is not None:
            context = context.with_nominal(self.table.nominal_batch_size)
        # The file itself knows best what it is for.
        try:
            context = replace(context, **_training_in(self.table, source))
        except ValueError as error:
            raise DialectError(f"{source.origin}: {error}") from None
        return Case(table=self.table, context=context, source=source)


def _counts(key: Key, source: Source) -> bool:
    """Whether a key has a value: its own, or the default that its trainer takes."""
    return key.name in source or not key.is_optional


def _training_in(table: Table, source: Source) -> dict[str, Any]:
    counts = {key.training: source.count(key.name) for key in table.keys if key.training}
    said = {name: count for name, count in counts.items() if count is not None} | table.training(source)
    if not is_image_size(said.get("image_size", 0)):
        said.pop("image_size", None)  # its trainer takes another one
    return said


def _said(sentences: Iterable[Sentence], case: Case) -> Iterator[str]:
    for sentence in sentences:
        if sentence.when(case):
            yield sentence.text.format_map(case)


def _beyond_choice(case: Case) -> Iterator[str]:
    for among in case.table.among:
        value = getattr(case.values, among.ours)
        if value not in among.values:
            allowed = f"allowed: {', '.join(among.values)}{among.way_out}"
            yield f"{among.ours} {value!r}{among.otherwise}; {allowed}"


# What is fixed there


def _fixed_here(table: Table) -> Iterator[Fixed]:
    """What is fixed there and can be chosen here."""
    for fixed in table.fixed:
        choices = allowed_choices(fixed.ours)
        if fixed.ours in names() and (not choices or callable(fixed.value) or fixed.value in choices):
            yield fixed


def _value(fixed: Fixed, case: Case) -> object:
    return fixed.value(case) if callable(fixed.value) else fixed.value


# Notes


def _not_exported(case: Case) -> Iterator[str]:
    table = case.table
    for fixed in table.fixed:
        if fixed.there and fixed.ours not in names():
            yield f"{fixed.ours}: {fixed.there}"
        elif fixed.there and getattr(case.values, fixed.ours) != _value(fixed, case):
            yield f"{fixed.ours} {case[fixed.ours]}: {fixed.there}"
    for absent in table.absent:
        yield f"{_with_values(absent.names, case)}: {absent.text}"
    if others := _unmentioned(case):
        yield f"{_with_values(others, case)}: no key there."
    if switched_off := [key for key in table.keys if key.as_if not in (None, key.default)]:
        listed = ", ".join(f"{key.name} is {key.as_if}" for key in switched_off)
        yield f"{listed}: nothing was found with it here."


def _with_values(ours: Iterable[str], case: Case) -> str:
    return ", ".join(f"{name} {case[name]}" for name in ours)


def _unmentioned(case: Case) -> list[str]:
    """Ours of which the table says nothing and that differ from their defaults, as new ones may."""
    table = case.table
    mentioned = {key.ours for key in table.keys} | {fixed.ours for fixed in table.fixed}
    mentioned |= {name for absent in table.absent for name in absent.names}
    usual = Hyperparameters()
    return [name for name in names() if name not in mentioned and getattr(case.values, name) != getattr(usual, name)]


def _not_imported(case: Case) -> Iterator[str]:
    table, source = case.table, case.source
    if table.names_missing and (
        missing := [key.name for key in table.carried if key.default is not None and key.name not in source]
    ):
        yield f"missing keys have that trainer's defaults: {', '.join(missing)}."
    for key in table.keys:
        if key.as_if is not None and case.number(key.name) != Fraction(key.as_if):
            yield f"{key.name} {case.text(key.name)}: is not done here (as if {key.as_if})."
    for lost in table.unconverted:
        if found := [name for name in lost.names if name in source]:
            yield f"{', '.join(found)}: {lost.text}"
    if table.names_others and (others := _unknown(case)):
        yield f"keys of no meaning here: {', '.join(others)}."
    here = tuple(_fixed_here(table))
    for fixed in table.fixed:
        if fixed not in here:
            yield f"{fixed.ours} {fixed.value}: cannot be chosen here; {fixed.there}"


def _unknown(case: Case) -> list[str]:
    """Keys of a file that its trainer does not have, as far as the table can tell."""
    table = case.table
    unconverted = {name for lost in table.unconverted for name in lost.names}
    others = [name for name in case.source if name not in table.key_names and name not in unconverted]
    return others if table.names_others else [name for name in others if name in table.foreign]


# Explanations


def _used(case: Case) -> Iterator[Used]:
    for key in case.table.keys:
        if key.why and _counts(key, case.source):
            why, number = key.why.format_map(case), key.read(key, case) if key.read else case.number(key.name)
            yield Used(name=key.name, given=case.text(key.name), used=words(number), why=why)
    for each in case.table.used:
        if each.when(case):
            yield Used(
                name=each.name,
                given=case.text(each.given),
                used=each.used.format_map(case),
                why=each.why.format_map(case),
            )


def _idle(case: Case) -> Iterator[tuple[str, str]]:
    for each in case.table.idle:
        if not each.when(case):
            continue
        text = each.text.format_map(case)
        if isinstance(each.names, str):
            yield each.names.format_map(case), text
        else:
            yield from ((name, text) for name in each.names if name in case.source)


def _problems(case: Case) -> Iterator[str]:
    table, source = case.table, case.source
    if table.if_missing:
        yield from (table.if_missing.format(key=name) for name in table.defaults if name not in source)
    if table.if_foreign:
        yield from (table.if_foreign.format(key=name) for name in _unknown(case))
    if table.is_pyyaml:
        for key in source.texts_for_numbers():
            yield f"{key}: {source.text(key)} is text to PyYAML; write it with a point"
    yield from _said(table.problems, case)
