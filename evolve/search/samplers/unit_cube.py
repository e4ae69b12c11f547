"""Between the unit cube, in which designs and CMA-ES think, and the parameters of a study."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import exp, log
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from evolve.search.samplers.history import moved_into


def from_unit(distributions: Mapping[str, BaseDistribution], point: Iterable[float]) -> dict[str, Any]:
    """Parameters at a point of the unit cube.

    Args:
        distributions: Distribution of each coordinate's parameter, by name, in the order of the coordinates.
        point: Coordinates in 0..1: equal parts of a range, of its logarithm, or of a list of choices.
    """
    return {
        name: _at(distribution, part) for (name, distribution), part in zip(distributions.items(), point, strict=True)
    }


def to_unit(distributions: Mapping[str, BaseDistribution], params: Mapping[str, Any]) -> list[float]:
    """Point of the unit cube at which parameters lie; choices lie in the middle of their part, as single values."""
    return [_part(distribution, params[name]) for name, distribution in distributions.items()]


def _at(distribution: BaseDistribution, part: float) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        count = len(distribution.choices)
        return distribution.choices[min(int(part * count), count - 1)]
    low, high = _ends(distribution)
    value = low + part * (high - low)
    return moved_into(distribution, exp(value) if _is_log(distribution) else value)


def _part(distribution: BaseDistribution, value: Any) -> float:
    if isinstance(distribution, CategoricalDistribution):
        return (distribution.choices.index(value) + 0.5) / len(distribution.choices)
    low, high = _ends(distribution)
    if low == high:
        return 0.5
    return ((log(value) if _is_log(distribution) else value) - low) / (high - low)


def _is_log(distribution: BaseDistribution) -> bool:
    return isinstance(distribution, FloatDistribution | IntDistribution) and distribution.log


def _ends(distribution: BaseDistribution) -> tuple[float, float]:
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = float(distribution.low), float(distribution.high)
    return (log(low), log(high)) if distribution.log else (low, high)
