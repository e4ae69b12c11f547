"""CMA-ES, rebuilt from the history for every trial.

Optuna's own CmaEsSampler pickles its optimizer into the study and unpickles it for the next trial. Nothing here is
unpickled from a file, and the history holds all the optimizer knows: it is given again, generation by generation,
which costs less than a millisecond each.

Source: Hansen 2016, The CMA Evolution Strategy: A Tutorial, arXiv:1604.00772.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from evolve.search.samplers.history import trial_seed, with_fitness
from evolve.search.samplers.unit_cube import from_unit, to_unit

# The optimum should lie within three standard deviations of the first mean (Hansen 2016, appendix A).
_FIRST_SIGMA = 1 / 6


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CmaEs:
    """Draws from a normal distribution that the best trials of each generation move and shape.

    Attributes:
        distributions: The whole search space; numbers only.
        study_seed: Seed of the study.
    """

    distributions: Mapping[str, BaseDistribution]
    study_seed: int

    def __call__(self, history: Sequence[FrozenTrial], number: int) -> Mapping[str, Any]:
        """A draw after all full generations; a generation is the next trials to have ended, in order of number.

        Trials that run side by side count in the generation they end up in, not the one they were drawn from:
        the strategy bears with that, and nothing is lost.
        """
        optimizer = self._optimizer()
        ended = [
            (np.array(to_unit(self.distributions, trial.params)), -fitness) for trial, fitness in with_fitness(history)
        ]
        size = optimizer.population_size
        for start in range(0, len(ended) - size + 1, size):
            optimizer.tell(ended[start : start + size])
        optimizer.reseed_rng(trial_seed(self.study_seed, number))
        return from_unit(self.distributions, optimizer.ask().tolist())

    def _optimizer(self) -> Any:
        from cmaes import CMA  # type: ignore[import-untyped]

        count = len(self.distributions)
        return CMA(
            mean=np.full(count, 0.5),
            sigma=_FIRST_SIGMA,
            bounds=np.tile([0.0, 1.0], (count, 1)),
            n_max_resampling=10 * count,
        )
