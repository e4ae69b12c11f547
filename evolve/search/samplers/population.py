"""Population based training: a trial goes on from the weights of another one, its own member's or a stronger one's.

Source: Jaderberg et al. 2017, Population Based Training of Neural Networks (arXiv:1711.09846), section 3: exploit by
truncation selection, explore by perturbing or resampling each hyperparameter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from evolve.search.samplers.design import Qmc
from evolve.search.samplers.history import Suggestion, has_diverged, moved_into, trial_seed
from evolve.search.samplers.unit_cube import from_unit
from evolve.study.population import Pbt, PopulationPlan


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PopulationBased:
    """Members of a population: the first generation is evenly spread, each later one follows from the one before it.

    A member that was not replaced goes on with what it has. One that is among the weakest, was lost or never ended goes
    on from one of the strongest, with hyperparameters changed a little. Where all were lost, everybody begins anew.

    Attributes:
        distributions: The whole search space; numbers, or choices of numbers in their order.
        study_seed: Seed of the study.
        plan: Which trial is which member in which generation.
        pbt: Who is replaced, and how hyperparameters change.
    """

    distributions: Mapping[str, BaseDistribution]
    study_seed: int
    plan: PopulationPlan
    pbt: Pbt

    def __call__(self, history: Sequence[FrozenTrial], number: int) -> Mapping[str, Any]:
        """Hyperparameters of a member through its next epochs."""
        return self.suggestion(history, number).params

    def suggestion(self, history: Sequence[FrozenTrial], number: int) -> Suggestion:
        """Hyperparameters of a member through its next epochs, and the number of the trial that it goes on from."""
        numbers = self.plan.generation_before(number)
        ranked = ranked_members([trial for trial in history if trial.number in numbers])
        if not ranked:
            return Suggestion(params=Qmc(distributions=self.distributions, study_seed=self.study_seed)([], number))
        kept = {trial.number: trial for trial in ranked[: self.pbt.members - self.pbt.num_replaced]}
        if (own := kept.get(number - self.pbt.members)) is not None:
            return Suggestion(params=own.params, parent=own.number)
        generator = np.random.default_rng(trial_seed(self.study_seed, number))
        strong = ranked[int(generator.integers(min(self.pbt.num_replaced, len(ranked))))]
        params = {name: self._explored(name, value, generator) for name, value in self._own(strong).items()}
        return Suggestion(params=params, parent=strong.number)

    def _own(self, trial: FrozenTrial) -> dict[str, Any]:
        return {name: trial.params[name] for name in self.distributions}

    def _explored(self, name: str, value: Any, generator: np.random.Generator) -> Any:
        """A value near another one, or any; as many numbers are drawn whatever becomes of it."""
        distribution = self.distributions[name]
        is_anew, part = generator.random() < self.pbt.resample, generator.random()
        factor = self.pbt.factors[int(generator.integers(len(self.pbt.factors)))]
        if is_anew:
            return from_unit({name: distribution}, [part])[name]
        if isinstance(distribution, CategoricalDistribution):
            choices = distribution.choices
            beside = choices.index(value) + (1 if factor > 1 else -1)
            return choices[min(max(beside, 0), len(choices) - 1)]
        return moved_into(distribution, value * factor)


def ranked_members(generation: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Members of a generation that can go on, the strongest first: they have ended and did not diverge or fail."""
    sound = [trial for trial in generation if trial.state is TrialState.COMPLETE and not has_diverged(trial)]
    return sorted(sound, key=lambda trial: (-(trial.value or 0.0), trial.number))
