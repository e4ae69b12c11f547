"""CMA-ES, rebuilt from the history for every trial.

Optuna's own CmaEsSampler pickles its optimizer into the study and unpickles it for the next trial. Nothing here is
unpickled from a file, and the history holds all the optimizer knows: it is given again, generation by generation,
which costs less than a millisecond each. In one process the last optimizers are remembered with what they were given,
so that only what is new or has changed is given again.

Source: Hansen 2016, The CMA Evolution Strategy: A Tutorial, arXiv:1604.00772.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from evolve.search.samplers.history import trial_seed
from evolve.search.samplers.told import told
from evolve.search.samplers.unit_cube import from_unit, to_unit

# The optimum should lie within three standard deviations of the first mean (Hansen 2016, appendix A).
_FIRST_SIGMA = 1 / 6
# Trials that run side by side may end late and change the generation they would have been in, or one after it.
_REMEMBERED = 8

# Of a trial: its number, its parameters and its fitness.
_Told = tuple[int, Mapping[str, Any], float]


def _ranked(history: Sequence[FrozenTrial]) -> list[_Told]:
    """Ended trials for a strategy that looks at their order alone: what diverged is behind, by how far it did.

    Source: Deb 2000, An efficient constraint handling method for genetic algorithms.
    """
    return [(ended.trial.number, ended.trial.params, ended.fitness - max(ended.margin, 0.0)) for ended in told(history)]


@final
@dataclass(slots=True)
class _Known:
    """What the optimizer was told last, and optimizers after so many of that."""

    ended: list[_Told] = field(default_factory=list)
    optimizers: dict[int, Any] = field(default_factory=dict)


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
    _known: _Known = field(default_factory=_Known, init=False, repr=False, compare=False)

    def __call__(self, history: Sequence[FrozenTrial], number: int) -> Mapping[str, Any]:
        """A draw after all full generations; a generation is the next trials to have ended, in order of number.

        Trials that run side by side count in the generation they end up in, not the one they were drawn from:
        the strategy bears with that, and nothing is lost.
        """
        optimizer = self._after(_ranked(history))
        optimizer.reseed_rng(trial_seed(self.study_seed, number))
        return from_unit(self.distributions, optimizer.ask().tolist())

    def _after(self, ended: list[_Told]) -> Any:
        """The optimizer after all full generations, for a caller who may change it."""
        known, size = self._known, self._optimizer().population_size
        for count in sorted(known.optimizers, reverse=True):
            if known.ended[:count] == ended[:count]:
                break
            del known.optimizers[count]
        count = max(known.optimizers, default=0)
        optimizer = _copied(known.optimizers[count]) if count else self._optimizer()
        for start in range(count, len(ended) - size + 1, size):
            generation = ended[start : start + size]
            optimizer.tell(
                [(np.array(to_unit(self.distributions, params)), -fitness) for _, params, fitness in generation]
            )
            known.optimizers[start + size] = _copied(optimizer)
        known.ended = ended
        for count in sorted(known.optimizers)[:-_REMEMBERED]:
            del known.optimizers[count]
        return optimizer

    def _optimizer(self) -> Any:
        from cmaes import CMA  # type: ignore[import-untyped]

        count = len(self.distributions)
        return CMA(
            mean=np.full(count, 0.5),
            sigma=_FIRST_SIGMA,
            bounds=np.tile([0.0, 1.0], (count, 1)),
            n_max_resampling=10 * count,
        )


def _copied(optimizer: Any) -> Any:
    """A copy to the last bit, which pickling and copying of this class are not: they keep half of a matrix."""
    copied = object.__new__(type(optimizer))
    vars(copied).update(deepcopy(vars(optimizer)))
    return copied
