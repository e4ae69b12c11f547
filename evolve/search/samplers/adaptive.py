"""Optuna's own samplers, made anew for every trial and shown the history.

Optuna's samplers keep random state, and some keep what they suggested in the study. Both would make a study that was
stopped suggest other values than one that was not, and would count a half-suggested trial twice. A fresh sampler with a
seed of the trial's own, in a study in memory that ends with the trial before, has neither. It is asked what Optuna's
`Study.ask` asks it, in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, final

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from evolve.search.samplers.history import DIVERGED, running, trial_seed
from evolve.search.samplers.told import fitness_at_full_length, told
from evolve.search.shown import shown_study

_TOLD = (TrialState.COMPLETE, TrialState.PRUNED)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Suggestions of one of Optuna's samplers.

    Attributes:
        make: Makes the sampler with a given seed.
        view: Gives the history as the sampler learns most from it.
        distributions: The whole search space.
        study_seed: Seed of the study.
    """

    make: Callable[[int], BaseSampler]
    view: Callable[[Sequence[FrozenTrial]], Sequence[FrozenTrial]]
    distributions: Mapping[str, BaseDistribution]
    study_seed: int

    def __call__(self, history: Sequence[FrozenTrial], number: int) -> Mapping[str, Any]:
        """Parameters of a trial, as the sampler suggests them after the history."""
        sampler, shown = self.make(trial_seed(self.study_seed, number)), self.view(history)
        study, _ = shown_study(shown, sampler=sampler)
        trial = running(number)
        # All of the history have the same distributions, which Optuna would compare trial by trial.
        of_one, _ = shown_study(list(islice((seen for seen in shown if seen.state in _TOLD), 1)), sampler=sampler)
        space = sampler.infer_relative_search_space(of_one, trial)
        together = sampler.sample_relative(study, trial, space)
        return {
            name: together[name] if name in together else _alone(study, trial, name, distribution)
            for name, distribution in self.distributions.items()
        }


def _alone(study: optuna.Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
    """Value of a parameter that is not chosen together with others; the one there is, where there is one."""
    if not distribution.single():
        return study.sampler.sample_independent(study, trial, name, distribution)
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return distribution.low


def random(*, distributions: Mapping[str, BaseDistribution], study_seed: int) -> Replay:
    """Independent draws, uniform under each parameter's scale."""
    return Replay(make=RandomSampler, view=_nothing, distributions=distributions, study_seed=study_seed)


def tpe(*, distributions: Mapping[str, BaseDistribution], study_seed: int) -> Replay:
    """Tree-structured Parzen estimator over all parameters at once; diverged trials are last in its bad half."""
    return Replay(make=_tpe, view=full_length, distributions=distributions, study_seed=study_seed)


def gp(*, distributions: Mapping[str, BaseDistribution], study_seed: int) -> Replay:
    """Gaussian process with expected improvement times the probability not to diverge."""
    return Replay(make=_gp, view=all_valued, distributions=distributions, study_seed=study_seed)


def _tpe(seed: int) -> BaseSampler:
    return TPESampler(seed=seed, multivariate=True, constant_liar=True)


def _gp(seed: int) -> BaseSampler:
    return GPSampler(seed=seed, warn_independent_sampling=False)


def _nothing(history: Sequence[FrozenTrial]) -> list[FrozenTrial]:  # noqa: ARG001
    return []


def full_length(history: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The history with pruned trials as if they had been trained to the end, where finished ones say to what.

    The others stay pruned: Optuna ranks them behind all complete trials and takes no early value for a final one.
    """
    full = fitness_at_full_length(history)
    return [
        trial if value is None or trial.state is TrialState.COMPLETE else _complete(trial, value, trial.constraints)
        for trial, value in zip(history, full, strict=True)
    ]


def all_valued(history: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The history as the Gaussian process needs it: it reads complete trials alone, with the same constraints on all.

    Where all trials are equally far from the edge nothing can be learned of it, and there is no constraint: a constant
    one would drown the fitness.
    """
    known = told(history)
    is_constrained = len({ended.margin for ended in known}) > 1
    complete = [
        _complete(ended.trial, ended.fitness, {DIVERGED: ended.margin} if is_constrained else {}) for ended in known
    ]
    return complete + [trial for trial in history if trial.state is TrialState.RUNNING]


def _complete(trial: FrozenTrial, fitness: float, constraints: Mapping[str, float]) -> FrozenTrial:
    made = create_trial(
        state=TrialState.COMPLETE,
        value=fitness,
        params=trial.params,
        distributions=trial.distributions,
        constraints=dict(constraints),
    )
    made.number = trial.number
    return made
