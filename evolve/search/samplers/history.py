"""The one Optuna sampler of ours: what it suggests follows from the trials before, and from nothing it remembers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from math import isclose, isfinite
from typing import Any, Protocol, final

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

# Name of the constraint a diverged trial violates.
DIVERGED = "diverged"

# Fitness of a trial that learned nothing; no fitness is lower.
WORST_FITNESS = 0.0


class Suggest(Protocol):
    """A way to choose parameters: a pure function, so that a stopped study goes on as if it had not been."""

    def __call__(self, history: Sequence[FrozenTrial], number: int) -> Mapping[str, Any]:
        """Parameters of a trial.

        Args:
            history: Earlier trials with parameters, in order of number, as `history_before` returns them.
            number: The trial's number in its study.
        """


@final
class HistorySampler(BaseSampler):
    """Optuna's view of a `Suggest`; the same number and history always give the same parameters.

    Args:
        distributions: The whole search space; every trial must be asked with it.
        suggest: Chooses the parameters.
    """

    def __init__(self, *, distributions: Mapping[str, BaseDistribution], suggest: Suggest) -> None:
        self._distributions = dict(distributions)
        self._suggest = suggest

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:  # noqa: ARG002
        """The whole space: all parameters are chosen together."""
        return dict(self._distributions)

    def sample_relative(
        self,
        study: Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],  # noqa: ARG002
    ) -> dict[str, Any]:
        """Parameters of a trial.

        Raises:
            ValueError: The study minimises.
        """
        if study.direction is not StudyDirection.MAXIMIZE:
            raise ValueError(f"study {study.study_name!r} minimises; fitness is maximised")
        history = history_before(trial.number, study.get_trials(deepcopy=False), self._distributions)
        params = self._suggest(history, trial.number)
        return {name: moved_into(distribution, params[name]) for name, distribution in self._distributions.items()}

    def sample_independent(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Nothing: a parameter outside the space is a mistake.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"trial {trial.number}: {param_name} over {param_distribution} is not in the space {self._distributions}"
        )


def trial_seed(study_seed: int, number: int) -> int:
    """Seed of a trial's suggestion, in 0..2**32 - 1, unrelated to that of its neighbours."""
    return int.from_bytes(sha256(f"{study_seed}:{number}".encode()).digest()[:4], "big")


def history_before(
    number: int, trials: Iterable[FrozenTrial], distributions: Mapping[str, BaseDistribution]
) -> list[FrozenTrial]:
    """Copies of the trials before a number that have all their parameters, moved into the space, in order.

    Later trials and the trial itself are left out, so that asking again after a crash gives the same suggestion. A
    value that is not finite counts as diverged. Failed trials are kept; those yet without parameters are left out.
    """
    earlier = sorted((trial for trial in trials if trial.number < number), key=lambda trial: trial.number)
    return [_copied(trial, distributions) for trial in earlier if _fits(trial.params, distributions)]


def has_diverged(trial: FrozenTrial) -> bool:
    """Whether a trial violates a constraint."""
    return any(value > 0 for value in trial.constraints.values())


def with_fitness(history: Iterable[FrozenTrial]) -> list[tuple[FrozenTrial, float]]:
    """Trials that ended well or badly but not by a failure, with a finite fitness: the worst one for the diverged.

    A pruned trial has the fitness it last reported: too low for what it might have become, but it was stopped because
    that was low.
    """
    ended = [trial for trial in history if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    return [(trial, WORST_FITNESS if has_diverged(trial) or trial.value is None else trial.value) for trial in ended]


def moved_into(distribution: BaseDistribution, value: Any) -> Any:
    """The value a distribution has nearest to a number; categories are returned as they are."""
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        return value
    value = min(max(value, distribution.low), distribution.high)
    if distribution.step is None:
        return value
    nearest = distribution.low + distribution.step * round((value - distribution.low) / distribution.step)
    return value if isclose(value, nearest, abs_tol=1e-9 * distribution.step) else nearest


def _fits(params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]) -> bool:
    return distributions.keys() <= params.keys() and all(
        params[name] in distribution.choices
        for name, distribution in distributions.items()
        if isinstance(distribution, CategoricalDistribution)
    )


def _copied(trial: FrozenTrial, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    is_finite = trial.value is None or isfinite(trial.value)
    reported = {step: value for step, value in trial.intermediate_values.items() if isfinite(value)}
    copy = create_trial(
        state=trial.state,
        value=trial.value if is_finite else WORST_FITNESS,
        params={name: moved_into(distribution, trial.params[name]) for name, distribution in distributions.items()},
        distributions=dict(distributions),
        intermediate_values=reported,
        constraints={} if is_finite and not has_diverged(trial) else {DIVERGED: 1.0},
    )
    copy.number = trial.number
    return copy
