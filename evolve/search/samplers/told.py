"""What ended trials are worth to a sampler: no invented number for a diverged one, no early value for a pruned one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from evolve.outcome.margin import UNKNOWN
from evolve.search.samplers.history import DIVERGED, STANDARD_ERROR, WORST_FITNESS, has_diverged

# Finished curves that say what an early value comes to at the end; with fewer, chance would.
LEAST_CURVES = 5
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A trial that ended, but not by a failure.

    Attributes:
        trial: Trial as it is in the history.
        fitness: Fitness at full length: of a pruned trial what it would have come to, of a diverged one the worst that
            any trial has that did not diverge.
        margin: Margin to divergence, as `evolve.outcome.margin` measures it: above 0 where the trial diverged, below
            where it did not.
    """

    trial: FrozenTrial
    fitness: float
    margin: float

    @property
    def standard_error(self) -> float | None:
        """Standard error of the fitness; None where one seed was trained, which cannot tell."""
        return self.trial.system_attrs.get(STANDARD_ERROR)

    @property
    def has_diverged(self) -> bool:
        """Whether it diverged."""
        return self.margin > 0


def told(history: Sequence[FrozenTrial]) -> list[Told]:
    """What samplers learn of each ended trial, in the order of the history.

    Pruned trials are left out where too few finished ones reported as early. Divergences of old studies and of results
    of other trainers have no measured margin: they are 1 beyond the edge, and what did not diverge is 1 before it.
    """
    full = fitness_at_full_length(history)
    worst = min((value for value in full if value is not None), default=WORST_FITNESS)
    return [
        Told(trial=trial, fitness=worst if value is None else value, margin=_margin(trial))
        for trial, value in zip(history, full, strict=True)
        if value is not None or (trial.state in _ENDED and has_diverged(trial))
    ]


def fitness_at_full_length(history: Sequence[FrozenTrial]) -> list[float | None]:
    """Fitness of each trial at its end; None of one that diverged, failed or runs, and where too few curves tell.

    A pruned trial has what it would have come to: a curve that is higher at an epoch is taken to end no lower, and the
    finished curves say where, by isotonic regression of their last values on those at the epoch. Below the lowest of
    them nothing is guessed: there it is the lowest.

    Source: Barlow & Brunk 1972, The isotonic regression problem and its dual.
    """
    healthy = [trial.state in _ENDED and not has_diverged(trial) for trial in history]
    full = [
        trial.value if is_healthy and trial.state is TrialState.COMPLETE else None
        for trial, is_healthy in zip(history, healthy, strict=True)
    ]
    stopped: dict[int, list[int]] = defaultdict(list)
    for place, trial in enumerate(history):
        if healthy[place] and trial.state is TrialState.PRUNED and trial.last_step is not None:
            stopped[trial.last_step].append(place)
    finished = [trial for trial, value in zip(history, full, strict=True) if value is not None] if stopped else []
    for epoch, places in stopped.items():
        curves = [
            (trial.intermediate_values[epoch], trial.value) for trial in finished if epoch in trial.intermediate_values
        ]
        if len(curves) >= LEAST_CURVES:
            values = _isotonic(curves, [history[place].intermediate_values[epoch] for place in places])
            for place, value in zip(places, values, strict=True):
                full[place] = value
    return full


def _isotonic(curves: Sequence[tuple[float, float | None]], early: Sequence[float]) -> list[float]:
    from sklearn.isotonic import IsotonicRegression  # takes a second to import

    before, after = zip(*curves, strict=True)
    found: list[float] = IsotonicRegression(out_of_bounds="clip").fit(before, after).predict(early).tolist()
    return found


def _margin(trial: FrozenTrial) -> float:
    constraints = trial.constraints
    violation = sum(value for value in constraints.values() if value > 0)  # somebody may have constraints of their own
    return violation or constraints.get(DIVERGED) or -UNKNOWN
