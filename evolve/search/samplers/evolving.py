"""Evolution: a good trial is the parent of the next one, which differs from it a little.

`Evolution` is the search that YOLOv3's trainers are evolved with, without its faults: steps are in each parameter's own
scale, so a learning rate moves by factors and a value at 0 may leave it; bounds reflect; what diverged is no parent,
and children stay away from it; a trial that runs counts, so no two are alike. `Classic` is the rule as it was, for
comparison.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from evolve.search.samplers.design import Qmc
from evolve.search.samplers.history import Suggestion, has_diverged, trial_seed
from evolve.search.samplers.unit_cube import from_unit, to_unit

NUM_PARENTS = 5  # of the best, as in the classic rule
_LEAST_WEIGHT = 1e-6
_SHARE = 0.8  # of the parameters that change
_STEP = 0.2  # standard deviation of a change: of a parameter's range, or of its value in the classic rule
# A search that finds nothing better looks nearer to its parents, down to four fifths of the step.
_NARROWING, _STALE = 0.2, 25
_TRIES = 100
ALIKE = 1e-3  # of each parameter's range: nearer is the same trial again

Unit = NDArray[np.float64]


def ranked_parents(history: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Trials that may have children, best first, of equal ones the earliest: they are complete and did not diverge."""
    feasible = [trial for trial in history if trial.state is TrialState.COMPLETE and not has_diverged(trial)]
    return sorted(feasible, key=lambda trial: (-(trial.value or 0.0), trial.number))[:NUM_PARENTS]


def drawn_parent(parents: Sequence[FrozenTrial], generator: np.random.Generator) -> FrozenTrial:
    """One of the parents, the more likely the more it is better than the worst of them.

    Source: print_mutation and the evolution of ultralytics/yolov3, train.py.
    """
    values = np.array([trial.value for trial in parents], dtype=np.float64)
    weights = values - values.min() + _LEAST_WEIGHT
    return parents[int(generator.choice(len(parents), p=weights / weights.sum()))]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Evolution:
    """Children of the best trials, by steps in the unit cube; the first trials are evenly spread.

    Attributes:
        distributions: The whole search space.
        study_seed: Seed of the study.
    """

    distributions: Mapping[str, BaseDistribution]
    study_seed: int

    def __call__(self, history: Sequence[FrozenTrial], number: int) -> Mapping[str, Any]:
        """A child of one of the best, away from what runs and what diverged; an even point before there are any."""
        return self.suggestion(history, number).params

    def suggestion(self, history: Sequence[FrozenTrial], number: int) -> Suggestion:
        """Parameters of a trial, those that the call returns, and the number of its parent, if it has one."""
        parents = ranked_parents(history)
        num_earlier = sum(trial.number < 0 for trial in history)
        if number + num_earlier < NUM_PARENTS or not parents:
            params = Qmc(distributions=self.distributions, study_seed=self.study_seed)([], number)
            return Suggestion(params=params)
        generator = np.random.default_rng(trial_seed(self.study_seed, number))
        known_HP = np.array([self._unit(trial) for trial in history])
        is_bad_H = np.array([has_diverged(trial) for trial in history])
        step = _STEP * (1 - _NARROWING * min(_stale(history, parents[0]) / _STALE, 1.0))
        # What is never far enough from all others is taken where it is farthest.
        farthest: Suggestion | None = None
        best_room = -1.0
        for _ in range(_TRIES):
            parent = drawn_parent(parents, generator)
            point_P = mutated(self.distributions, self._unit(parent), step, generator)
            child = Suggestion(params=from_unit(self.distributions, point_P.tolist()), parent=parent.number)
            # Of what the space really has, where steps and choices make one of many points.
            away_H = np.abs(known_HP - to_unit(self.distributions, child.params)).max(1)
            nearest = int(away_H.argmin())
            if away_H[nearest] > ALIKE and not is_bad_H[nearest]:
                return child
            if away_H[nearest] > best_room:
                farthest, best_room = child, float(away_H[nearest])
        assert farthest is not None
        return farthest

    def _unit(self, trial: FrozenTrial) -> Unit:
        return np.array(to_unit(self.distributions, trial.params))


def mutated(
    distributions: Mapping[str, BaseDistribution], parent_P: Unit, step: float, generator: np.random.Generator
) -> Unit:
    """A point of the unit cube near a parent; choices are drawn anew where they change.

    Args:
        distributions: Distribution of each coordinate's parameter, by name, in the order of the coordinates.
        parent_P: The parent, as `to_unit` places it.
        step: Standard deviation of the longest steps, in parts of a range, and the share of choices that change.
        generator: Generator of all random draws.
    """
    changes_P = generator.random(len(parent_P)) < _SHARE
    changes_P[generator.integers(len(parent_P))] = True
    moved_P = _reflected(parent_P + step * generator.standard_normal(len(parent_P)) * generator.random())
    anew_P = generator.random(len(parent_P))
    # A choice has no neighbours; as rarely as a number leaves its surroundings it becomes another one.
    is_choice_P = np.array(
        [isinstance(distribution, CategoricalDistribution) for distribution in distributions.values()]
    )
    changes_P &= ~is_choice_P | (generator.random(len(parent_P)) < step)
    return np.where(changes_P, np.where(is_choice_P, anew_P, moved_P), parent_P)


def _stale(history: Sequence[FrozenTrial], best: FrozenTrial) -> int:
    """Trials since the best one."""
    return sum(trial.number > best.number for trial in history)


def _reflected(point_P: Unit) -> Unit:
    """A point of the line folded into 0..1."""
    folded: Unit = np.abs((point_P + 1) % 2 - 1)
    return folded


# How strongly a key mutates; 1 where nothing is said (meta of ultralytics/yolov3, train.py).
_GAINS: Mapping[str, float] = {"momentum": 0.3, "focal_gamma": 0.0, "perspective": 0.0, "fliplr": 0.0}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Classic:
    """The evolution of ultralytics/yolov3 as it is in its train.py: one parent's values times factors near 1.

    A value of 0 stays 0, rates move by steps of the same size up and down, and a child may be one that was there
    before; bounds are the space's. What a trial that is no parent was worth is not looked at.

    Attributes:
        distributions: The whole search space; numbers only.
        study_seed: Seed of the study.
    """

    distributions: Mapping[str, BaseDistribution]
    study_seed: int

    def __call__(self, history: Sequence[FrozenTrial], number: int) -> Mapping[str, Any]:
        """A mutation of one of the five best; of the middle of the space, on each parameter's scale, before any."""
        return self.suggestion(history, number).params

    def suggestion(self, history: Sequence[FrozenTrial], number: int) -> Suggestion:
        """Parameters of a trial, those that the call returns, and the number of its parent, if it has one."""
        generator = np.random.default_rng(trial_seed(self.study_seed, number))
        parents = ranked_parents(history)
        parent = drawn_parent(parents, generator) if parents else None
        values = from_unit(self.distributions, [0.5] * len(self.distributions)) if parent is None else parent.params
        gain_P = np.array([_GAINS.get(name, 1.0) for name in self.distributions])
        factor_P = np.ones(len(gain_P))
        while (factor_P == 1).all() and gain_P.any():
            changes_P = generator.random(len(gain_P)) < _SHARE
            steps_P = generator.standard_normal(len(gain_P)) * generator.random()
            factor_P = (1 + gain_P * changes_P * steps_P * _STEP).clip(0.3, 3.0)
        params = {
            name: round(float(values[name]) * float(factor), 5)
            for name, factor in zip(self.distributions, factor_P, strict=True)
        }
        return Suggestion(params=params, parent=None if parent is None else parent.number)
