"""What a screening has shown: what each of many changes does to the fitness, judged by all trainings at once.

Shapes: N trials, K changes.

Source: least squares on a two-level design, Box, Hunter & Hunter 2005, Statistics for Experimenters, chapter 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from scipy.stats import t as student

from evolve.study.screening import Change

LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one change does.

    Attributes:
        change: The change.
        difference: Fitness with it less that without it, all else alike.
        error: Standard error of the difference.
        low, high: 95 % interval of the difference, of this change by itself.
        p: Probability of a difference as large by luck alone, corrected for all changes (Bonferroni).
    """

    change: Change
    difference: float
    error: float
    low: float
    high: float
    p: float

    @property
    def verdict(self) -> str:
        """What may be said of it among all changes: better, worse or unclear."""
        if self.p >= 1 - LEVEL:
            return "unclear"
        return "better" if self.difference > 0 else "worse"

    @property
    def text(self) -> str:
        """The change and what it does: `scale 0.25 +0.021 (+0.009 to +0.033)`."""
        return f"{self.change.text} {self.difference:+.3f} ({self.low:+.3f} to {self.high:+.3f})"

    @property
    def is_recommended(self) -> bool:
        """Whether the change is better by more than the standard error; else the study's own value is kept."""
        return self.difference > self.error


@dataclass(frozen=True, slots=True, kw_only=True)
class Screened:
    """What a screening has shown so far.

    Attributes:
        effects: What each change does, the best first; empty as long as there are too few trials.
        own_fitness: What the model says of the study's own values; NaN as long as there are too few trials.
        num_trials: Number of trials that it rests on.
        num_needed: Number of trials that it needs at least.
    """

    effects: tuple[Effect, ...] = ()
    own_fitness: float = nan
    num_trials: int
    num_needed: int

    @property
    def recommended(self) -> dict[str, object]:
        """The value of each hyperparameter that the trials recommend."""
        return {
            effect.change.name: effect.change.other if effect.is_recommended else effect.change.own
            for effect in self.effects
        }

    @property
    def advice(self) -> str:
        """The changes that the trials recommend, in words."""
        taken = [effect.change.text for effect in self.effects if effect.is_recommended]
        return ", ".join(taken) or "the study's own values"

    def estimated(self, params: Mapping[str, object]) -> float:
        """Fitness of some values by the model: that of the study's own, and what each change among them adds.

        NaN as long as there are too few trials.
        """
        made = (effect for effect in self.effects if params[effect.change.name] == effect.change.other)
        return self.own_fitness + sum(effect.difference for effect in made)


def screened(params: Sequence[Mapping[str, object]], fitness: Sequence[float], changes: Sequence[Change]) -> Screened:
    """What changes do, by least squares over all trials: each adds its own, whatever the others are.

    Args:
        params: Hyperparameters of each trial, with one of the two values of each change.
        fitness: Fitness of each of these trials; of one that diverged the worst there was.
        changes: The changes.
    """
    count, needed = len(fitness), len(changes) + 2
    if count < needed:
        return Screened(num_trials=count, num_needed=needed)
    made_NK = np.array([[param[change.name] == change.other for change in changes] for param in params], dtype=float)
    design_NK = np.column_stack([np.ones(count), made_NK])
    y_N = np.array(fitness)
    spare = count - design_NK.shape[1]
    if np.linalg.matrix_rank(design_NK) < design_NK.shape[1]:  # two changes that were always made together
        return Screened(num_trials=count, num_needed=needed)
    inverse_KN = np.linalg.pinv(design_NK)
    coefficients_K = inverse_KN @ y_N
    variance = float(((y_N - design_NK @ coefficients_K) ** 2).sum()) / spare
    errors_K = np.sqrt(variance * (inverse_KN**2).sum(1))
    reach = float(student.ppf((1 + LEVEL) / 2, spare))
    found = [
        Effect(
            change=change,
            difference=value,
            error=error,
            low=value - reach * error,
            high=value + reach * error,
            p=_corrected(value, error, spare, len(changes)),
        )
        for change, value, error in zip(changes, coefficients_K[1:].tolist(), errors_K[1:].tolist(), strict=True)
    ]
    return Screened(
        effects=tuple(sorted(found, key=lambda effect: -effect.difference)),
        own_fitness=float(coefficients_K[0]),
        num_trials=count,
        num_needed=needed,
    )


def _corrected(value: float, error: float, spare: int, num_changes: int) -> float:
    if error == 0:
        return 0.0 if value else 1.0
    return min(1.0, num_changes * 2 * float(student.sf(abs(value) / error, spare)))
