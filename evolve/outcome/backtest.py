"""What a rule would have done to trainings that nobody stopped: hits, false alarms, and steps saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from statistics import median

from evolve.outcome.cured import exact_interval
from evolve.outcome.stop_rules import Recorded, StopRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A count out of a total, with its share and the interval of that.

    Attributes:
        count: Number of cases that are so, 0 to `total`.
        total: Number of cases that were looked at.
    """

    count: int
    total: int

    @property
    def value(self) -> float:
        """The share, 0..1; NaN where the total is 0."""
        return self.count / self.total if self.total else nan

    @property
    def interval(self) -> tuple[float, float]:
        """Limits of a two-sided 95 % interval of the probability; the whole range where the total is 0."""
        return exact_interval(self.count, self.total)

    @property
    def text(self) -> str:
        """`31 of 34, 0.76 to 0.98`."""
        if not self.total:
            return "none"
        low, high = self.interval
        return f"{self.count} of {self.total}, {low:.3f} to {high:.3f}"

    def as_json(self) -> dict[str, float]:
        """Count, total and limits."""
        low, high = self.interval
        return {"count": self.count, "total": self.total, "low": low, "high": high}


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How a rule did on trainings that nobody stopped.

    Attributes:
        rule: Name of the rule.
        hits: Share of the doomed trainings that the rule stops before they end by themselves.
        alarms: Share of the trainings that are not doomed that the rule stops.
        best: Share of the trainings that ended in the best quarter that the rule stops, although they are not doomed.
        stopped_at: Median share of the planned steps after which hits are stopped; NaN where there are none.
        saved: Share of the steps of all trainings that are not trained, by hits.
        wasted: Share of the steps of all trainings that are not trained, by false alarms.
    """

    rule: str
    hits: Share
    alarms: Share
    best: Share
    stopped_at: float
    saved: float
    wasted: float

    def as_json(self) -> dict[str, object]:
        """The score as plain values, for machines."""
        shares = {name: getattr(self, name).as_json() for name in ("hits", "alarms", "best")}
        numbers = {name: _or_none(getattr(self, name)) for name in ("stopped_at", "saved", "wasted")}
        return {"rule": self.rule, **shares, **numbers}


def score(name: str, rule: StopRule, runs: Sequence[Recorded]) -> Score:
    """How a rule does on trainings that nobody stopped."""
    return scored(name, [(run, rule(run)) for run in runs])


def scored(name: str, stops: Sequence[tuple[Recorded, int | None]]) -> Score:
    """How a rule does whose stops are known: each training with the index of the step it is stopped after, or None."""
    # One that ends at the same step by itself was not stopped.
    stopped = [(run, index) for run, index in stops if index is not None and index + 1 < len(run.steps)]
    hits = [(run, index) for run, index in stopped if run.is_doomed]
    alarms = [(run, index) for run, index in stopped if not run.is_doomed]
    all_steps = sum(len(run.steps) for run, _ in stops)
    return Score(
        rule=name,
        hits=Share(count=len(hits), total=sum(run.is_doomed for run, _ in stops)),
        alarms=Share(count=len(alarms), total=sum(not run.is_doomed for run, _ in stops)),
        best=Share(count=sum(run.is_best for run, _ in alarms), total=sum(run.is_best for run, _ in stops)),
        stopped_at=median((index + 1) / run.total_steps for run, index in hits) if hits else nan,
        saved=_left(hits) / all_steps if all_steps else nan,
        wasted=_left(alarms) / all_steps if all_steps else nan,
    )


def scores(rules: Mapping[str, StopRule], runs: Sequence[Recorded]) -> tuple[Score, ...]:
    """How each of some rules does on trainings that nobody stopped."""
    return tuple(score(name, rule, runs) for name, rule in rules.items())


def _left(stopped: Sequence[tuple[Recorded, int]]) -> int:
    return sum(len(run.steps) - index - 1 for run, index in stopped)


def _or_none(value: float) -> float | None:
    return None if value != value else value  # nan is not equal to itself
