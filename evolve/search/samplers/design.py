"""Designs: points laid out before the first trial, which no result changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from random import Random
from typing import Any, final

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from evolve.search.samplers.history import OfEnded, trial_seed
from evolve.search.samplers.unit_cube import from_unit
from evolve.study.screening import is_size


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """All combinations of some values, in an order shuffled once, so that a part of the grid is spread over it.

    Attributes:
        values: Values of each parameter, by its name.
        study_seed: Seed of the order.
    """

    values: Mapping[str, Sequence[Any]]
    study_seed: int
    _points: tuple[tuple[Any, ...], ...] = field(init=False, repr=False, compare=False)
    _tried: OfEnded[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        points = list(product(*self.values.values()))
        Random(self.study_seed).shuffle(points)
        places = {point: place for place, point in enumerate(points)}
        object.__setattr__(self, "_points", tuple(points))
        object.__setattr__(self, "_tried", OfEnded(lambda trial: places.get(self._point(trial))))

    def __call__(self, history: Sequence[FrozenTrial], number: int) -> Mapping[str, Any]:  # noqa: ARG002
        """The first of the points that were tried least often; a failed or running trial counts as tried."""
        tried = Counter(self._tried(history))
        place = min(range(len(self._points)), key=lambda candidate: tried[candidate])
        return dict(zip(self.values, self._points[place], strict=True))

    def _point(self, trial: FrozenTrial) -> tuple[Any, ...]:
        return tuple(trial.params[name] for name in self.values)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Qmc:
    """Points of a scrambled Sobol sequence, more even than random ones; evenest when 2, 4, 8, 16, ... are drawn.

    Attributes:
        distributions: The whole search space.
        study_seed: Seed of the scrambling.
    """

    distributions: Mapping[str, BaseDistribution]
    study_seed: int

    def __call__(self, history: Sequence[FrozenTrial], number: int) -> Mapping[str, Any]:  # noqa: ARG002
        """The point of the sequence with the trial's number, whatever became of the others."""
        (point,) = sobol_points(len(self.distributions), seed=trial_seed(self.study_seed, 0), first=number)
        return from_unit(self.distributions, point)


@cache
def hadamard(size: int) -> tuple[tuple[int, ...], ...]:
    """Rows of 1 and -1 of which any two, and any two columns, agree in half of their places; the first row is all 1.

    Of a size that is twice another the right half of the columns is mirrored from the first half of the rows to the
    second.

    Args:
        size: Number of rows and of columns, one for which `evolve.study.screening.is_size` is true.

    Source: Sylvester 1867 (doubling) and Paley 1933, On orthogonal matrices (by the squares modulo a prime).
    """
    if size == 1:
        return ((1,),)
    if is_size(size // 2) and size % 2 == 0:
        half = hadamard(size // 2)
        return tuple(row + row for row in half) + tuple(row + tuple(-sign for sign in row) for row in half)
    prime = size - 1
    squares = {place * place % prime for place in range(1, prime)}
    core = (
        [1 if (column - row) % prime in squares or column == row else -1 for column in range(prime)]
        for row in range(prime)
    )
    return ((1,) * size, *((1, *(-sign for sign in row)) for row in core))


@cache
def even_points(dimensions: int, *, seed: int, count: int) -> tuple[tuple[float, ...], ...]:
    """Points of the unit cube that are even in every coordinate: one in the middle of each of `count` equal parts.

    A Sobol sequence is even in powers of 2; of five of its points two may coincide and leave a third of a range alone.

    Args:
        dimensions: Number of coordinates of a point, at least 1.
        seed: Seed of the order, and of how coordinates are paired.
        count: Number of points, all that will be asked for.

    Source: McKay, Beckman & Conover 1979, A comparison of three methods (Latin hypercube sampling); paired for a low
    centred discrepancy, Fang, Li & Sudjianto 2006, Design and Modeling for Computer Experiments, section 2.2.
    """
    from scipy.stats.qmc import LatinHypercube  # takes a second to import

    is_paired = dimensions > 1 and count > 1
    cube = LatinHypercube(dimensions, scramble=False, optimization="random-cd" if is_paired else None, seed=seed)
    return tuple(map(tuple, cube.random(count).tolist()))


def sobol_points(dimensions: int, *, seed: int, first: int = 0, count: int = 1) -> list[list[float]]:
    """Points of a scrambled Sobol sequence in the unit cube.

    Args:
        dimensions: Number of coordinates of a point, at least 1.
        seed: Seed of the scrambling.
        first: Place of the first point in the sequence, from 0.
        count: Number of points; a power of 2 where there are several.

    Source: Owen 1998, Scrambling Sobol' and Niederreiter-Xing points.
    """
    from scipy.stats.qmc import Sobol  # takes a second to import

    sequence = Sobol(dimensions, scramble=True, seed=seed)
    if first:  # forward by 0 is an error
        sequence.fast_forward(first)
    points: list[list[float]] = sequence.random(count).tolist()
    return points
