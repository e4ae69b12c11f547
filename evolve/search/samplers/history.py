"""The one Optuna sampler of ours: what it suggests follows from the trials before, and from nothing it remembers."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from math import isclose, isfinite
from typing import Any, Generic, Protocol, TypeVar, final, runtime_checkable

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from evolve.outcome.margin import UNKNOWN

# Name of the constraint a diverged trial violates; its value is that of `evolve.outcome.margin.divergence_margin`.
DIVERGED = "diverged"
# What is kept with a trial of several seeds: the standard error of its fitness, from how much they differ.
STANDARD_ERROR = "evolve:standard_error"
# What is kept with a trial that may have been paused: whether it is now.
PAUSED = "evolve:paused"

Found = TypeVar("Found")

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """Parameters of a trial and where they are from.

    Attributes:
        params: Values of the parameters, by name.
        parent: Number of the trial whose parameters they were changed from; None where there is none.
    """

    params: Mapping[str, Any]
    parent: int | None = None


@runtime_checkable
class Breeds(Protocol):
    """A `Suggest` that knows a trial's parent."""

    def suggestion(self, history: Sequence[FrozenTrial], number: int) -> Suggestion:
        """Parameters of a trial, those that the call returns, and its parent."""


@final
class HistorySampler(BaseSampler):
    """Optuna's view of a `Suggest`; the same number and history always give the same parameters.

    Args:
        distributions: The whole search space; every trial must be asked with it.
        suggest: Chooses the parameters.
        looks_back: Whether they depend on the history, which else nobody needs to hold.
        earlier: Trials of earlier searches in this space, with numbers below 0; they are before all others.
    """

    def __init__(
        self,
        *,
        distributions: Mapping[str, BaseDistribution],
        suggest: Suggest,
        looks_back: bool = True,
        earlier: Sequence[FrozenTrial] = (),
    ) -> None:
        self.looks_back = looks_back
        self._distributions = dict(distributions)
        self._suggest = suggest
        self._history = History(self._distributions)
        self._earlier = list(earlier)

    def params(self, trials: Sequence[FrozenTrial], number: int) -> dict[str, Any]:
        """Parameters of a trial.

        Args:
            trials: Trials of the study, in the order of their numbers; may be empty where the sampler does not look
                back.
            number: The trial's number.
        """
        return dict(self.suggestion(trials, number).params)

    def suggestion(self, trials: Sequence[FrozenTrial], number: int) -> Suggestion:
        """Parameters of a trial and its parent; takes the same arguments as `params`."""
        history = self._earlier + self._history.before(number, trials) if self.looks_back else []
        if isinstance(self._suggest, Breeds):
            found = self._suggest.suggestion(history, number)
        else:
            found = Suggestion(params=self._suggest(history, number))
        params = {
            name: moved_into(distribution, found.params[name]) for name, distribution in self._distributions.items()
        }
        return replace(found, params=params)

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
        return self.params(study.get_trials(deepcopy=False), trial.number)

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


@final
class OfEnded(Generic[Found]):
    """What a function finds in each of a growing list of trials; found once in those that have ended.

    Args:
        find: Finds something in a trial, or None. Of a trial that has ended it always finds the same.
    """

    def __init__(self, find: Callable[[FrozenTrial], Found | None]) -> None:
        self._find = find
        self._trials: list[FrozenTrial] = []  # the first ones, up to one that has not ended
        self._found: list[Found] = []

    def __call__(self, trials: Sequence[FrozenTrial]) -> list[Found]:
        """What was found in the trials, in their order."""
        if self._trials != trials[: len(self._trials)]:
            self._trials, self._found = [], []
        rest = iter(trials[len(self._trials) :])
        for trial in rest:
            found = self._find(trial)
            if not trial.state.is_finished():
                later = [found, *map(self._find, rest)]
                return self._found + [result for result in later if result is not None]
            self._trials.append(trial)
            if found is not None:
                self._found.append(found)
        return list(self._found)


@final
class History:
    """Trials as samplers see them: moved into the space; a value that is not finite is the worst of a diverged one.

    Args:
        distributions: The whole search space.
    """

    def __init__(self, distributions: dict[str, BaseDistribution]) -> None:
        self._seen = OfEnded(partial(_seen, distributions=distributions))

    def before(self, number: int, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """The trials before a number that have all their parameters; not to be changed.

        Later trials and the trial itself are left out, so that asking again after a crash gives the same suggestion.
        Failed trials are kept; those yet without parameters are left out.

        Args:
            number: Number of the trial that is asked for.
            trials: Trials of the study, in the order of their numbers.
        """
        return self._seen(trials[: bisect_left(trials, number, key=lambda trial: trial.number)])


def running(number: int) -> FrozenTrial:
    """A trial that is being asked: nothing is known of it but its number."""
    trial = create_trial(state=TrialState.RUNNING)
    trial.number = number
    return trial


def has_diverged(trial: FrozenTrial) -> bool:
    """Whether a trial violates a constraint."""
    return any(value > 0 for value in trial.constraints.values())


def is_paused(trial: FrozenTrial) -> bool:
    """Whether a trial waits with its checkpoint, so that it may go on; Optuna takes it for one that runs."""
    return trial.state is TrialState.RUNNING and bool(trial.system_attrs.get(PAUSED))


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


def _seen(trial: FrozenTrial, distributions: dict[str, BaseDistribution]) -> FrozenTrial | None:
    """A trial as samplers see it, itself where it is seen as it is; None where it lacks parameters.

    One that is paused is seen as pruned, which says no more than its epochs do.
    """
    if not _fits(trial.params, distributions):
        return None
    is_finite = trial.value is None or isfinite(trial.value)
    params = {name: moved_into(distribution, trial.params[name]) for name, distribution in distributions.items()}
    reported = {step: value for step, value in trial.intermediate_values.items() if isfinite(value)}
    constraints = trial.constraints
    if not is_finite and not has_diverged(trial):
        constraints = {DIVERGED: UNKNOWN}
    stored = (trial.params, trial.distributions, trial.intermediate_values, trial.constraints)
    if trial.state.is_finished() and is_finite and stored == (params, distributions, reported, constraints):
        return trial
    seen = FrozenTrial(
        number=trial.number,
        state=TrialState.PRUNED if is_paused(trial) else trial.state,
        value=trial.value if is_finite else WORST_FITNESS,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
        params=params,
        distributions=distributions,
        user_attrs={},
        system_attrs={key: trial.system_attrs[key] for key in (STANDARD_ERROR,) if key in trial.system_attrs},
        intermediate_values=reported,
        trial_id=trial._trial_id,
    )
    for name, value in constraints.items():
        seen.set_constraint(name, value)
    return seen
