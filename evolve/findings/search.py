"""What findings are made of: a search with its trials, and what a finding is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil, exp, isfinite, log, nan
from typing import Any, final

from evolve.outcome.verdict import TRAINED_THROUGH, Verdict
from evolve.study import Study
from evolve.study.space import Range, Scalar

TOP_SHARE, LEAST_TOP = 0.25, 3  # the best quarter, and never fewer than can outvote one


def num_top(num_trained: int) -> int:
    """How many of the trials that trained through are the best ones, by which the search is judged."""
    return max(ceil(TOP_SHARE * num_trained), LEAST_TOP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A trial that has ended.

    Attributes:
        number: Number of the trial within its study, from 0.
        verdict: What became of the trial, such as `converged` or `diverged`.
        params: Value of every parameter that is searched, by name.
        fitness: Mean fitness over its seeds after the last epoch, higher is better; NaN where it has none.
        curve: Fitness after each epoch; empty where the trial is none of the best, or has none.
    """

    number: int
    verdict: str
    params: Mapping[str, Scalar]
    fitness: float = nan
    curve: Sequence[float] = ()

    @property
    def is_trained_through(self) -> bool:
        """Whether its fitness can be compared with that of others."""
        return self.verdict in TRAINED_THROUGH and isfinite(self.fitness)

    @property
    def is_diverged(self) -> bool:
        """Whether its loss or its weights left all bounds."""
        return self.verdict == Verdict.DIVERGED


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """A term of the loss after each epoch: its mean over the training batches, and on the validation images."""

    train: Sequence[float]
    val: Sequence[float]


@final
@dataclass(frozen=True, kw_only=True)
class Search:
    """A search as it is now.

    Attributes:
        study: What is searched, and how.
        tried: Trials of the search that have ended, in any order.
        losses: Terms of the loss of the best trial, by name; empty where they are not known.
    """

    study: Study
    tried: Sequence[Tried]
    losses: Mapping[str, Losses] = field(default_factory=dict)

    @cached_property
    def trained(self) -> tuple[Tried, ...]:
        """Trials that trained through, the best first, of equals the earliest."""
        return tuple(
            sorted(
                (tried for tried in self.tried if tried.is_trained_through),
                key=lambda tried: (-tried.fitness, tried.number),
            )
        )

    @cached_property
    def diverged(self) -> tuple[Tried, ...]:
        """Trials that diverged, the earliest first."""
        return tuple(sorted((tried for tried in self.tried if tried.is_diverged), key=lambda tried: tried.number))

    @property
    def best(self) -> Tried:
        """The best trial, of at least one."""
        return self.trained[0]

    @property
    def top(self) -> tuple[Tried, ...]:
        """The best quarter of those that trained through, at least three where there are as many."""
        return self.trained[: num_top(len(self.trained))]

    @property
    def ranges(self) -> Mapping[str, Range]:
        """Numbers that are searched, without those in steps, whose ends are where a person wants them."""
        return {name: axis for name, axis in self.study.space.ranges().items() if axis.step is None}


def place(axis: Range, value: Scalar) -> float:
    """Where a value lies in a range, in the range's own scale: 0 at the lower end, 1 at the upper.

    Args:
        axis: Range of the hyperparameter.
        value: A number; the baseline's may lie outside.
    """
    low, high, at = (_scaled(axis, number) for number in (axis.low, axis.high, float(value)))
    return (at - low) / (high - low)


def value_at(axis: Range, part: float) -> float:
    """The number at a place in a range, which may be outside it: the reverse of `place`.

    Args:
        axis: Range of the hyperparameter.
        part: Place in the range: 0 at the lower end, 1 at the upper, others in between or outside.
    """
    low, high = _scaled(axis, axis.low), _scaled(axis, axis.high)
    at = low + part * (high - low)
    return exp(at) if axis.log else at


def _scaled(axis: Range, value: float) -> float:
    if not axis.log:
        return value
    return log(value) if value > 0 else -float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that a person should know of a search, and what to do about it.

    Attributes:
        key: Name by which the finding is followed, used once in a study.
        text: What was found, with the numbers that show it.
        evidence: The numbers that show it, by name.
        changes: Keys of the study with the values that follow it up, sections whole; none where nothing is to change.
        fixes: Hyperparameters to fix at a value when it is followed.
        command: What to do next, as it is typed; empty where that is to follow the finding.
    """

    key: str
    text: str
    evidence: Mapping[str, float | int | str]
    changes: Mapping[str, Any] = field(default_factory=dict)
    fixes: Mapping[str, Scalar] = field(default_factory=dict)
    command: str = ""

    def next_command(self, study: str) -> str:
        """What to do next, as it is typed."""
        return self.command or f"evolve follow {study} {self.key}"

    def as_mapping(self, study: str) -> dict[str, Any]:
        """The finding as plain values, for machines."""
        changes = dict(self.changes) | ({"hyperparameters": dict(self.fixes)} if self.fixes else {})
        return {
            "finding": self.key,
            "text": self.text,
            "evidence": dict(self.evidence),
            "changes": changes,
            "next": self.next_command(study),
        }
