"""Trials and beliefs as columns of numbers, in which a Gaussian process measures distances.

Letters of shapes: N trials that ended, M that run, P columns of a point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution

from evolve.search.samplers.unit_cube import from_unit, to_unit

Real = NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True)
class Columns:
    """A column in 0..1 for each number, on its own scale, and one of 0 and 1 for each choice.

    Attributes:
        distributions: The whole search space.
    """

    distributions: Mapping[str, BaseDistribution]

    @property
    def numbers(self) -> dict[str, BaseDistribution]:
        """Parameters with an order, whose columns are the first ones."""
        return {
            name: distribution
            for name, distribution in self.distributions.items()
            if not isinstance(distribution, CategoricalDistribution)
        }

    @property
    def choices(self) -> dict[str, Sequence[Any]]:
        """Choices of the other parameters, whose columns follow in order."""
        return {
            name: distribution.choices
            for name, distribution in self.distributions.items()
            if isinstance(distribution, CategoricalDistribution)
        }

    def encoded(self, params: Mapping[str, Any]) -> list[float]:
        """Columns of a point."""
        marked = [
            float(place == choices.index(params[name]))
            for name, choices in self.choices.items()
            for place in range(len(choices))
        ]
        return to_unit(self.numbers, params) + marked

    def decoded(self, columns: Sequence[float]) -> dict[str, Any]:
        """The point with the nearest values there are; of choices the one with the highest column."""
        numbers = self.numbers
        first = len(numbers)
        params = from_unit(numbers, columns[:first])
        for name, choices in self.choices.items():
            own = columns[first : first + len(choices)]
            params[name] = choices[max(range(len(own)), key=own.__getitem__)]
            first += len(choices)
        return params


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known of a study's trials.

    Attributes:
        known_NP: Trials that ended, in columns of 0..1.
        fitness_N: Fitness of these trials at full length.
        margin_N: Margin of these trials to divergence, above 0 where they diverged.
        variance: Variance of a fitness by the luck of its seeds; None where it is to be guessed from the trials.
        running_MP: Trials whose end is not known yet, in columns of 0..1.
    """

    known_NP: Real
    fitness_N: Real
    margin_N: Real
    variance: float | None
    running_MP: Real


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPrior:
    """Logarithm of what is believed of a point, up to a constant: -precision (x - centre)^2 / 2 + weight x.

    Attributes:
        centre_P, precision_P: Of a column of a number the believed value, and one over the variance around it;
            precision 0 where nothing is believed and for choices.
        weight_P: Of a column of a choice the logarithm of its chance; 0 for numbers and where nothing is believed.
        exponent: Power that the prior is raised to, by which it counts beside what was seen.
    """

    centre_P: Real
    precision_P: Real
    weight_P: Real
    exponent: float
