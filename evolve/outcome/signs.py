"""What is looked at in the steps of a training that diverged: where it left its course, and what came before.

Everything is a function of telemetry. A sign is an update above `WARNING_UPDATE` of the weights, a loss above
`LOSS_JUMP` times what it had been, or a step that is no number.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf, isfinite, nan
from statistics import median

from detector.hyperparameters import Hyperparameters
from detector.telemetry import TERMS, StepTelemetry

# Norm of an update over the norm of the weights, from which on a training is in danger. On small networks it flagged
# every run that became NaN and no healthy one, some 15 steps ahead: fitted and tested on one network, a lead, no law.
WARNING_UPDATE = 0.2
# The area of a box e^44 times its anchor is more than float32 holds.
LARGE_BOX_LOGIT = 44.0
# Loss over its median so far. Batches of a few images differ by less once a training is on its way.
LOSS_JUMP = 3.0


@dataclass(frozen=True, kw_only=True)
class Course:
    """A training that diverged, up to its end.

    Attributes:
        steps: Its steps in order, the last of them the first of those that stayed no numbers; the last of all where
            all are numbers. At least one.
        values: Hyperparameters that it was trained with.
        precision: Precision that it was trained in, one of `detector.plan.PRECISIONS`.
    """

    steps: Sequence[StepTelemetry]
    values: Hyperparameters
    precision: str = "float32"

    @property
    def end(self) -> StepTelemetry:
        """The step at which it ended."""
        return self.steps[-1]

    @cached_property
    def onset(self) -> int:
        """Place of the first step with a sign; that of the end where none has one."""
        losses: list[float] = []  # sorted, since sorting anew at each step takes a minute for 32,000 of them
        for place, step in enumerate(self.steps):
            if not step.is_finite or step.update_ratio > WARNING_UPDATE:
                return place
            if losses and step.loss > LOSS_JUMP * _middle(losses):
                return place
            insort(losses, step.loss)
        return len(self.steps) - 1

    @cached_property
    def culprit(self) -> StepTelemetry:
        """The step whose update led to the first sign: that step where its own is too large, else the one before."""
        step = self.steps[self.onset]
        return step if step.update_ratio > WARNING_UPDATE else self.steps[max(self.onset - 1, 0)]

    @property
    def before(self) -> Sequence[StepTelemetry]:
        """Steps without a sign, from the first on."""
        return self.steps[: self.onset]

    @cached_property
    def update(self) -> float:
        """The culprit's update over the weights; the largest of all where that is no number; 0 where none is."""
        own = self.culprit.update_ratio
        return own if isfinite(own) else largest((step.update_ratio for step in self.steps), default=0.0)

    @cached_property
    def largest_update(self) -> float:
        """The largest update over the weights of any step; 0 where none is a number."""
        return largest((step.update_ratio for step in self.steps), default=0.0)

    @cached_property
    def box_logit(self) -> float:
        """The largest raw box output of any step; 0 where none is a number."""
        return largest((step.max_box_logit for step in self.steps), default=0.0)

    @property
    def warmup_steps(self) -> int:
        """Number of steps of the warm-up that were made."""
        return sum(step.in_warmup for step in self.steps)

    @property
    def typical_grad_norm(self) -> float:
        """Median gradient norm of the steps before any sign; nan where there are none."""
        norms = [step.grad_norm for step in self.before if isfinite(step.grad_norm)]
        return median(norms) if norms else nan

    def typical_term(self, term: str) -> float:
        """Median of a loss term over the steps before any sign, summed over scales; nan where there are none."""
        sums = [step.terms.sums()[term] for step in self.before]
        return median(sums) if sums else nan

    def share_of(self, term: str) -> float:
        """Part of the loss that a term has over the steps before any sign, or in the first step where there are none.

        Returns:
            0..1; nan where the loss is no number.
        """
        looked_at = self.before or self.steps[:1]
        of_term = sum(step.terms.sums()[term] for step in looked_at)
        whole = sum(step.loss for step in looked_at)
        return of_term / whole if isfinite(whole) and whole > 0 else nan

    def jump_of(self, term: str) -> float:
        """A term at the first sign over its median before; inf where it is no number there, nan where it had none."""
        now, before = self.steps[self.onset].terms.sums()[term], self.typical_term(term)
        if not isfinite(now):
            return inf
        return now / before if before > 0 else nan


def _middle(ordered: Sequence[float]) -> float:
    """Median of at least one value in ascending order, as `statistics.median` has it."""
    place = len(ordered) // 2
    return ordered[place] if len(ordered) % 2 else (ordered[place - 1] + ordered[place]) / 2


def broken_terms(step: StepTelemetry) -> tuple[str, ...]:
    """Names of the loss terms that are no numbers at some scale."""
    return tuple(name for name in TERMS if not all(map(isfinite, getattr(step.terms, name))))


def largest(values: Iterable[float], *, default: float = nan) -> float:
    """The largest of the finite values; `default` where there are none."""
    return max((value for value in values if isfinite(value)), default=default)
