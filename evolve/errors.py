"""Errors meant for people: they say where, what was found and what is allowed."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from difflib import get_close_matches

MAX_SHOWN = 80


class EvolveError(Exception):
    """Something a person can put right; its text is shown as it stands, without a traceback."""


class StudyError(EvolveError):
    """A study is not allowed, such as `studies/smoke.yaml: space.lr0: low 0.1 is not below high 0.01`."""


class StorageError(EvolveError):
    """The database cannot be used as asked; the text says which and why."""


class HeldError(StorageError):
    """A living process runs the study that was to be run or changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with a definition.

    Attributes:
        path: Keys that lead to it, joined by points; empty for the definition as a whole.
        text: What was found and what is allowed.
    """

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text

    def under(self, parent: str) -> Problem:
        """The same problem as seen from a definition that holds this one under the key `parent`."""
        return Problem(path=".".join(key for key in (parent, self.path) if key), text=self.text)


class DefinitionError(ValueError):
    """Everything wrong with one definition, so that it can be put right in one go."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


def shown(value: object) -> str:
    """A value as Python writes it, cut where it is longer than a reader needs."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def unknown_text(kind: str, word: object, known: Collection[str]) -> str:
    """Text about a misspelt word, with the word probably meant and all that are known."""
    matches = get_close_matches(str(word)[:MAX_SHOWN], list(known), n=1)
    meant = f"did you mean {matches[0]!r}? " if matches else ""
    return f"unknown {kind} {shown(word)}; {meant}known: {list(known)}"
