"""Evolution as a sampler of plain Optuna.

from evolve.search.evolution import EvolutionSampler
study = optuna.create_study(direction="maximize", sampler=EvolutionSampler(space, seed=0))
study.optimize(objective, n_trials=30)
"""

from __future__ import annotations

from collections.abc import Mapping

from optuna.distributions import BaseDistribution

from evolve.search.samplers.evolving import Evolution
from evolve.search.samplers.history import HistorySampler


def EvolutionSampler(space: Mapping[str, BaseDistribution], *, seed: int = 0) -> HistorySampler:  # noqa: N802  as Optuna's
    """A sampler whose trials are children of the best trials before them; nothing is remembered but the study.

    Args:
        space: Distribution of every parameter that the objective suggests, by name, with the same limits.
        seed: Seed of all suggestions, at least 0.

    A trial that diverged is told as pruned with a constraint above 0 (`trial.set_constraint`), or with a value that is
    not finite: it is no parent then, and children stay away from it.
    """
    return HistorySampler(distributions=space, suggest=Evolution(distributions=dict(space), study_seed=seed))
