"""Where the differences between equal trainings come from: initialisation, order of images, split of the data.

In a crossed run every level of a source meets every level of the others, three of each: 27 trainings of the same
hyperparameters. Shares are those of a model of random main effects; what the sources do together, and what repeats of
the same training would differ by, is the rest. With three levels intervals are wide, and that is what is known.

Source: Searle, Casella & McCulloch 1992, Variance Components (estimates of a balanced design); Weerahandi 1993,
Generalized confidence intervals (intervals); ISO 5725-6:1994, section 4.1 (the limit below which two single results do
not differ); Bouthillier et al. 2021, Accounting for variance in machine learning benchmarks (the sources).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from evolve.study.noise import SOURCES

REST = "rest"
CONFIDENCE = 0.95
_DRAWS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class VarianceShare:
    """What one source is of the variance of a training.

    Attributes:
        source: Name of the source, or `rest` for what no source explains.
        share: Share of the source in the variance, in 0..1; those of all sources and the rest add up to 1.
        low, high: Ends of the 95 % interval of the share.
        deviation: Standard deviation that the source alone would cause, in units of the metric.
    """

    source: str
    share: float
    low: float
    high: float
    deviation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseShares:
    """What trainings of the same hyperparameters differ by.

    Attributes:
        shares: Share of each source, the rest last.
        deviation, deviation_high: Standard deviation of one training with everything random, in units of the metric,
            and the upper end of its one-sided 95 % interval.
        floor: The difference of two single trainings below which it means nothing: with everything random, equal ones
            differ by less in 95 of 100 cases.
        num_trainings: Number of trainings that all this rests on.
    """

    shares: tuple[VarianceShare, ...]
    deviation: float
    deviation_high: float
    floor: float
    num_trainings: int

    @property
    def sentence(self) -> str:
        """The floor, and which source has the largest share, for people."""
        largest = max(self.shares, key=lambda share: share.share)
        source = "what no source explains" if largest.source == REST else largest.source
        of_all = f"{largest.share:.0%}, {largest.low:.0%} to {largest.high:.0%}"
        apart = f"two single trainings that differ by less than {self.floor:.3f} cannot be told apart"
        return f"{apart}; most of that comes of {source} ({of_all})"


def noise_shares(values: ArrayLike, sources: Sequence[str] = SOURCES) -> NoiseShares:
    """Shares of the variance of a crossed run.

    Args:
        values: Values of the metric, one axis a source, each at least two levels long, such as (3, 3, 3); all finite.
        sources: Names of the axes, at least two.

    Raises:
        ValueError: Axes and names differ in number, an axis is too short, a value is not finite, or all are equal.
    """
    found = np.asarray(values, dtype=np.float64)
    _check(found, sources)
    squares, degrees, repeats = _sums_of_squares(found)
    draws_DS = _components(squares, degrees, repeats)
    estimate_S = np.maximum(_solved(squares / degrees, repeats), 0.0)
    total, totals_D = float(estimate_S.sum()), draws_DS.sum(axis=1)
    low_S, high_S = np.quantile(draws_DS / totals_D[:, None], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return NoiseShares(
        shares=tuple(
            VarianceShare(
                source=source,
                share=float(estimate / total),
                low=float(low),
                high=float(high),
                deviation=sqrt(estimate),
            )
            for source, estimate, low, high in zip((*sources, REST), estimate_S, low_S, high_S, strict=True)
        ),
        deviation=sqrt(total),
        deviation_high=float(np.sqrt(np.quantile(totals_D, CONFIDENCE))),
        floor=float(norm.isf((1 - CONFIDENCE) / 2)) * sqrt(2 * total),
        num_trainings=found.size,
    )


def _check(values: NDArray[np.float64], sources: Sequence[str]) -> None:
    if values.ndim != len(sources) or values.ndim < 2 or min(values.shape) < 2:
        raise ValueError(f"values of shape {values.shape} for {list(sources)}; allowed: an axis each, of 2 or more")
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} of {values.size} values are not finite; all must be")
    if np.ptp(values) == 0:
        raise ValueError(f"all {values.size} values are {values.flat[0]:g}; there is no variance to share out")


def _sums_of_squares(
    values: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Sums of squares and degrees of freedom of each source and the rest; trainings at each level of a source."""
    axes = range(values.ndim)
    means = [values.mean(axis=tuple(other for other in axes if other != axis)) for axis in axes]
    repeats = np.array([prod(values.shape) / length for length in values.shape])
    main = repeats * [((mean - values.mean()) ** 2).sum() for mean in means]
    degrees = np.array([length - 1.0 for length in values.shape])
    rest = max(((values - values.mean()) ** 2).sum() - main.sum(), 0.0)
    return np.append(main, rest), np.append(degrees, values.size - 1 - degrees.sum()), repeats


def _solved(mean_squares: NDArray[np.float64], repeats: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variances whose expected mean squares these are; last the rest's."""
    rest = mean_squares[..., -1:]
    return np.concatenate([(mean_squares[..., :-1] - rest) / repeats, rest], axis=-1)


def _components(
    squares: NDArray[np.float64], degrees: NDArray[np.float64], repeats: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Draws of variances that the sums of squares may have come from, shape (draws, sources + 1), none negative."""
    drawn = squares / np.random.default_rng(0).chisquare(degrees, (_DRAWS, len(squares)))
    return np.maximum(_solved(drawn, repeats), 0.0)
