"""Many changes screened at once, then what the screening recommends, and what is as likely to be right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any, final

from optuna.trial import FrozenTrial

from evolve.screened import screened
from evolve.search.samplers.design import hadamard
from evolve.search.samplers.history import OfEnded
from evolve.search.samplers.told import told
from evolve.study.screening import ScreeningPlan

Marks = tuple[bool, ...]  # of each change whether it is made


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Screening:
    """The rows of a two-level design in an order shuffled once, the study's own values first; then what they recommend.

    After the rows each trial is the recommended one that nobody has tried: first every change that is better by more
    than its standard error, then the same with the least certain of them turned round, and so on.

    Attributes:
        plan: The changes and the number of rows.
        study_seed: Seed of the order.
    """

    plan: ScreeningPlan
    study_seed: int
    _rows: tuple[Marks, ...] = field(init=False, repr=False, compare=False)
    _tried: OfEnded[Marks] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        matrix = hadamard(self.plan.num_runs)
        # The last columns: half of the rows mirrors the other half there.
        own, *rest = (tuple(sign < 0 for sign in row[-len(self.plan.changes) :]) for row in matrix)
        Random(self.study_seed).shuffle(rest)
        object.__setattr__(self, "_rows", (own, *rest))
        object.__setattr__(self, "_tried", OfEnded(lambda trial: self._marks(trial.params)))

    def __call__(self, history: Sequence[FrozenTrial], number: int) -> Mapping[str, Any]:  # noqa: ARG002
        """The first row that was not tried, or a recommended point; a failed or running trial counts as tried."""
        tried = set(self._tried(history))
        row = next((row for row in self._rows if row not in tried), None)
        return self._params(self._recommended(history, tried) if row is None else row)

    def _recommended(self, history: Sequence[FrozenTrial], tried: set[Marks]) -> Marks:
        known = told(history)
        found = screened([ended.trial.params for ended in known], [ended.fitness for ended in known], self.plan.changes)
        effects = {effect.change.name: effect for effect in found.effects}
        best = [change.name in effects and effects[change.name].is_recommended for change in self.plan.changes]
        doubts = {name: abs(effect.difference - effect.error) for name, effect in effects.items()}
        order = sorted(range(len(best)), key=lambda place: doubts.get(self.plan.changes[place].name, 0.0))
        # Counting in binary, the least certain change as its last digit, turns the least certain ones round first.
        for code in count():
            turned = {place for digit, place in enumerate(order) if code >> digit & 1}
            marks = tuple(is_made != (place in turned) for place, is_made in enumerate(best))
            if marks not in tried or code >> len(order):
                return marks
        raise AssertionError("count has no end")

    def _marks(self, params: Mapping[str, Any]) -> Marks:
        return tuple(params[change.name] == change.other for change in self.plan.changes)

    def _params(self, marks: Marks) -> dict[str, Any]:
        return {
            change.name: change.other if is_made else change.own
            for change, is_made in zip(self.plan.changes, marks, strict=True)
        }
