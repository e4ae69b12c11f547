"""The exact test of paired differences: how often flipped signs give a mean as far from 0.

It is `scipy.stats.permutation_test(permutation_type="samples")` for the mean of many rows at once, as a product of
matrices: 1 ms instead of 70 ms for 12 seeds, which the power of a plan asks for thousands of times.

Shapes: R rows, N seeds, F flips. Source: Fisher 1935, The Design of Experiments, section 21; Phipson & Smyth 2010,
Permutation p-values should never be zero (random flips).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

MOST_EXACT = 16  # seeds up to which all flips are tried
NUM_RANDOM = 2**15
_LARGEST = 2**21  # sums held at a time


def sign_flip_p(rows_RN: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two-sided p that each row's differences lie symmetrically around 0: exact up to 16 seeds, else of 32,768 flips.

    Args:
        rows_RN: Differences, finite, shape (rows, seeds); at least one seed.

    Returns:
        A p in 0..1 for each row, shape (rows,), never 0.

    Raises:
        ValueError: There is no seed, or a difference is not finite.
    """
    num_seeds = rows_RN.shape[1]
    if not num_seeds or not np.isfinite(rows_RN).all():
        raise ValueError(f"differences of shape {rows_RN.shape}; allowed: at least one seed, finite numbers")
    flips_FN, size = _flips(num_seeds), max(_LARGEST // len(_flips(num_seeds)), 1)
    counts = [_as_far(rows_RN[start : start + size], flips_FN) for start in range(0, len(rows_RN), size)]
    count_R = np.concatenate(counts) if counts else np.zeros(0)
    # Of all flips half are the others negated, with the same sums; random ones are joined by the data themselves.
    return count_R / len(flips_FN) if num_seeds <= MOST_EXACT else (count_R + 1) / (len(flips_FN) + 1)


def _as_far(rows_RN: NDArray[np.float64], flips_FN: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many flips have a sum as far from 0 as that of the row itself."""
    sums_RF = np.abs(rows_RN @ flips_FN.T)
    slack_R1 = 1e-12 * np.abs(rows_RN).sum(axis=1, keepdims=True)  # sums are rounded
    return np.asarray((sums_RF >= np.abs(rows_RN.sum(axis=1, keepdims=True)) - slack_R1).sum(axis=1), dtype=np.int64)


@lru_cache(maxsize=8)
def _flips(num_seeds: int) -> NDArray[np.float64]:
    if num_seeds <= MOST_EXACT:
        negative_FN = np.arange(2 ** (num_seeds - 1))[:, None] >> np.arange(num_seeds) & 1
    else:
        negative_FN = np.random.default_rng(0).integers(0, 2, (NUM_RANDOM, num_seeds))
    return np.where(negative_FN == 1, -1.0, 1.0)
