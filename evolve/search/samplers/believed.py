"""What a person thinks of a parameter beforehand, as a distribution over its part of the unit cube."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import log
from statistics import NormalDist
from typing import Protocol, final

from optuna.distributions import BaseDistribution, CategoricalDistribution

from evolve.search.samplers.history import moved_into
from evolve.search.samplers.unit_cube import to_unit
from evolve.study.space import Parameter, Scalar

# Standard deviation in parts of the range, by how sure the person is.
SPREADS = {"low": 0.5, "medium": 0.25, "high": 0.125}
# How much of the way from an even chance to certainty the believed choice has.
CERTAINTIES = {"low": 0.25, "medium": 0.5, "high": 0.75}


class Believed(Protocol):
    """A distribution over 0..1, where a parameter's values lie as in `unit_cube`."""

    def quantile(self, part: float) -> float:
        """The point of 0..1 below which a part, 0..1, of the probability lies."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Even:
    """Nothing is believed."""

    def quantile(self, part: float) -> float:
        """The part itself."""
        return part


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """A normal distribution cut to 0..1.

    Attributes:
        centre: Mean of the distribution before it is cut, 0..1.
        spread: Standard deviation of the distribution before it is cut, above 0.

    Source: Hvarfner et al. 2022, piBO: augmenting acquisition functions with user beliefs, arXiv:2204.11051.
    """

    centre: float
    spread: float

    def quantile(self, part: float) -> float:
        """The point of 0..1 below which a part, 0..1, of the probability lies."""
        normal = NormalDist(self.centre, self.spread)
        lowest, highest = normal.cdf(0.0), normal.cdf(1.0)
        found = normal.inv_cdf(lowest + part * (highest - lowest))
        return min(max(found, 0.0), 1.0)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Likely:
    """Chances of choices.

    Attributes:
        chances: Chance of each choice, in order; they sum to 1.
    """

    chances: tuple[float, ...]

    @property
    def logs(self) -> tuple[float, ...]:
        """Logarithms of the chances."""
        return tuple(map(log, self.chances))

    def quantile(self, part: float) -> float:
        """The middle of the choice below which the part of the probability lies."""
        last = len(self.chances) - 1
        place = sum(part >= total for total in accumulate(self.chances))
        return (min(place, last) + 0.5) / (last + 1)


def believed(parameter: Parameter, distribution: BaseDistribution, default: Scalar) -> Believed:
    """What is believed of a parameter: a person's prior, else that its default is about right if it is in the range.

    Args:
        parameter: Parameter of the search space.
        distribution: The same parameter as a distribution of Optuna's.
        default: Value of the parameter where nobody searches.
    """
    prior = parameter.prior
    centre = default if prior is None else prior.centre
    confidence = "low" if prior is None else prior.confidence
    if not parameter.holds(centre):
        return Even()
    if isinstance(distribution, CategoricalDistribution):
        return _likely(distribution.choices, centre, CERTAINTIES[confidence])
    (place,) = to_unit({"": distribution}, {"": moved_into(distribution, centre)})
    return Around(centre=place, spread=SPREADS[confidence])


def _likely(choices: Sequence[object], centre: Scalar, certainty: float) -> Likely:
    rest = (1 - certainty) / len(choices)
    return Likely(chances=tuple(rest + certainty * (choice == centre) for choice in choices))
