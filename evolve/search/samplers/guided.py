"""A search that a person's belief guides at first and two Gaussian processes more and more: fitness, and divergence.

Trial 0 is the defaults, four more are drawn from the prior, and then each is the point where the expected improvement
over all that did not diverge, weighted by the prior to a power that falls with every trial, is largest.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import fmean
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from evolve.errors import StudyError
from evolve.search.samplers.believed import Around, Believed, Likely, believed
from evolve.search.samplers.columns import Columns, LogPrior, Seen
from evolve.search.samplers.design import sobol_points
from evolve.search.samplers.evolving import ALIKE, mutated
from evolve.search.samplers.history import moved_into, trial_seed
from evolve.search.samplers.told import Told, told
from evolve.search.samplers.unit_cube import from_unit, to_unit

if TYPE_CHECKING:
    from evolve.study import Study

NUM_DRAWN = 4  # from the prior, after the defaults and before the model
LEAST_KNOWN = 2  # trials that a model is made of
# The prior's power is a tenth of the budget over the trials that ended: 1 after as many, and a tenth at the end.
PRIOR_WEIGHT = 0.1
# Candidates: all over the space, as believed, and at small steps from the best trials.
_NUM_EVEN, _NUM_LIKELY, _NUM_NEAR = 512, 64, 64
_NUM_BEST, _STEP = 3, 0.1
INSTALL = "pip install '.[guided]'"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Guided:
    """The defaults, draws from what is believed, then the most promising point by two Gaussian processes.

    Attributes:
        distributions: The whole search space.
        defaults: Value of each parameter where nobody searches; moved into the space.
        beliefs: What is believed of each parameter, in the order of the space.
        num_trials: Number of trials in the study's budget, by which the prior fades.
        study_seed: Seed of the study.
    """

    distributions: Mapping[str, BaseDistribution]
    defaults: Mapping[str, Any]
    beliefs: Sequence[Believed]
    num_trials: int
    study_seed: int

    @classmethod
    def of(cls, study: Study) -> Guided:
        """The sampler of a study.

        Raises:
            StudyError: BoTorch is not installed.
        """
        if find_spec("botorch") is None:
            raise StudyError(f"study {study.name}: sampler: 'guided' needs botorch, which is not installed: {INSTALL}")
        distributions, defaults = study.space.distributions(), study.baseline_params()
        return cls(
            distributions=distributions,
            defaults=defaults,
            beliefs=[believed(axis, distributions[name], defaults[name]) for name, axis in study.space.items()],
            num_trials=study.budget.trials,
            study_seed=study.seed,
        )

    def __call__(self, history: Sequence[FrozenTrial], number: int) -> Mapping[str, Any]:
        """The defaults first, then a draw or the most promising point that neither runs nor ended."""
        if number == 0:
            return {
                name: _nearest(distribution, self.defaults[name]) for name, distribution in self.distributions.items()
            }
        known = told(history)
        num_earlier = sum(trial.number < 0 for trial in history)
        if number + num_earlier <= NUM_DRAWN or len(known) < LEAST_KNOWN:
            (point,) = sobol_points(len(self.distributions), seed=trial_seed(self.study_seed, 0), first=number)
            return self._quantile(point)
        columns = Columns(self.distributions)
        tried_NP = np.array([columns.encoded(trial.params) for trial in history])
        points = [columns.decoded(point) for point in self._promising(known, history, columns, number).tolist()]
        return next((point for point in points if _is_new(columns.encoded(point), tried_NP)), points[0])

    def _promising(
        self, known: Sequence[Told], history: Sequence[FrozenTrial], columns: Columns, number: int
    ) -> NDArray[np.float64]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what torch uses itself
            from evolve.search.samplers.surrogate import by_promise  # loads torch, which takes seconds

        seed = trial_seed(self.study_seed, number)
        return by_promise(
            _seen(known, [trial for trial in history if trial.state is TrialState.RUNNING], columns),
            self._log_prior(columns, len(known)),
            np.array([columns.encoded(params) for params in self._candidates(known, seed)]),
            num_numbers=len(columns.numbers),
            seed=seed,
        )

    def _quantile(self, point: Sequence[float]) -> dict[str, Any]:
        """Where the believed distributions have a point of the unit cube."""
        parts = [belief.quantile(part) for belief, part in zip(self.beliefs, point, strict=True)]
        return from_unit(self.distributions, parts)

    def _candidates(self, known: Sequence[Told], seed: int) -> list[dict[str, Any]]:
        """Points all over the space, points as they are believed to be good, and points near the best trials."""
        size, generator = len(self.distributions), np.random.default_rng(seed)
        even = [from_unit(self.distributions, point) for point in sobol_points(size, seed=seed, count=_NUM_EVEN)]
        likely = [self._quantile(point) for point in sobol_points(size, seed=seed + 1, count=_NUM_LIKELY)]
        best = sorted(known, key=lambda ended: (ended.has_diverged, -ended.fitness))[:_NUM_BEST]
        parents = [np.array(to_unit(self.distributions, ended.trial.params)) for ended in best]
        near = [
            mutated(self.distributions, parents[place % len(parents)], _STEP, generator) for place in range(_NUM_NEAR)
        ]
        return [*even, *likely, *(from_unit(self.distributions, point.tolist()) for point in near)]

    def _log_prior(self, columns: Columns, num_known: int) -> LogPrior:
        by_name = dict(zip(self.distributions, self.beliefs, strict=True))
        rows = [_terms(by_name[name]) for name in columns.numbers]
        weights = [0.0] * len(rows)
        for name, choices in columns.choices.items():
            belief = by_name[name]
            weights += belief.logs if isinstance(belief, Likely) else [0.0] * len(choices)
        rows += [(0.0, 0.0)] * (len(weights) - len(rows))
        centre_P, precision_P = np.array(rows).T
        exponent = PRIOR_WEIGHT * self.num_trials / num_known
        return LogPrior(centre_P=centre_P, precision_P=precision_P, weight_P=np.array(weights), exponent=exponent)


def _nearest(distribution: BaseDistribution, value: Any) -> Any:
    """The value itself where the space has it; else the nearest number, or the first choice."""
    if isinstance(distribution, CategoricalDistribution) and value not in distribution.choices:
        return distribution.choices[0]
    return moved_into(distribution, value)


def _terms(belief: Believed) -> tuple[float, float]:
    """Centre and precision; no precision where nothing is believed."""
    return (belief.centre, belief.spread**-2) if isinstance(belief, Around) else (0.0, 0.0)


def _seen(known: Sequence[Told], running: Sequence[FrozenTrial], columns: Columns) -> Seen:
    errors = [ended.standard_error for ended in known if ended.standard_error is not None]
    return Seen(
        known_NP=np.array([columns.encoded(ended.trial.params) for ended in known]),
        fitness_N=np.array([ended.fitness for ended in known]),
        margin_N=np.array([ended.margin for ended in known]),
        # Of a few seeds each alone says little: all trials together do.
        variance=fmean(error**2 for error in errors) if errors else None,
        running_MP=np.array([columns.encoded(trial.params) for trial in running]),
    )


def _is_new(point: Sequence[float], tried_NP: NDArray[np.float64]) -> bool:
    return bool(np.abs(tried_NP - point).max(1).min() > ALIKE)
