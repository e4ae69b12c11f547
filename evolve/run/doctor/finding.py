"""One thing that a crash left, and what can be done about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """Kinds of things that a crash leaves and that may be found."""

    NOT_OURS = "not ours"
    DAMAGED = "damaged"
    NEWER_SCHEMA = "newer schema"
    OLDER_SCHEMA = "older schema"
    ORPHAN_ROWS = "orphan rows"
    DEAD_LEASE = "dead lease"
    UNFINISHED = "unfinished"
    HALF_TOLD = "half told"
    PARTIAL_FILE = "partial file"
    PICTURES = "pictures"
    SPARE_WEIGHTS = "spare weights"
    UNKNOWN_TRIAL = "unknown trial"
    UNOWNED_WEIGHTS = "unowned weights"
    UNKNOWN_STUDY = "unknown study"


class State(StrEnum):
    """What became of a finding."""

    LEFT = "left"
    FIXED = "fixed"
    FOR_NEXT_RUN = "left to the next run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a crash left.

    Attributes:
        kind: Kind of what was found.
        where: Database, table, study, trial, file or folder that it was found in.
        what: What the finding is about that place, in words.
        remedy: What a repair does, or the command that helps.
        state: What became of the finding: left, fixed, or left to the next run.
        mend: Makes the repair; None where none is safe.
    """

    kind: Kind
    where: str
    what: str
    remedy: str
    state: State = State.LEFT
    mend: Callable[[], object] | None = field(default=None, repr=False, compare=False)

    @property
    def is_fixable(self) -> bool:
        """Whether there is a repair."""
        return self.mend is not None

    def mended(self) -> Finding:
        """The same after its repair; a trial that is unfinished is none's to repair but the next run's."""
        if self.kind is Kind.UNFINISHED:
            return replace(self, state=State.FOR_NEXT_RUN)
        if self.mend is None:
            return self
        self.mend()
        return replace(self, state=State.FIXED)

    def as_json(self) -> dict[str, Any]:
        """The finding as plain values, for machines."""
        return {
            "kind": self.kind.value,
            "where": self.where,
            "what": self.what,
            "remedy": self.remedy,
            "fixable": self.is_fixable,
            "state": self.state.value,
        }
