"""Curves with fewer points that look the same: extremes and gaps stay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray


def downsample(values: ArrayLike, *, num_buckets: int) -> NDArray[np.intp]:
    """Positions to keep of a curve, rising: the ends, and of each bucket its minimum, its maximum and one gap.

    Args:
        values: The curve; what is not finite is a gap.
        num_buckets: Parts of equal length the curve is cut into, at least 1; each keeps at most three positions.

    Raises:
        ValueError: There is no bucket.
    """
    if num_buckets < 1:
        raise ValueError(f"num_buckets: {num_buckets} is not at least 1")
    curve = np.asarray(values, dtype=np.float64)
    if len(curve) <= 3 * num_buckets:
        return np.arange(len(curve))
    kept = {0, len(curve) - 1}
    for positions in np.array_split(np.arange(len(curve)), num_buckets):
        kept.update(_landmarks(curve, positions))
    return np.asarray(sorted(kept), dtype=np.intp)


def _landmarks(curve: NDArray[np.float64], positions: NDArray[np.intp]) -> list[int]:
    is_finite = np.isfinite(curve[positions])
    kept = [int(positions[np.argmin(is_finite)])] if not is_finite.all() else []
    if finite := positions[is_finite].tolist():
        part = curve[finite]
        kept += [finite[int(np.argmin(part))], finite[int(np.argmax(part))]]
    return kept


def polyline(buckets: pd.DataFrame, column: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A curve through the buckets of one trial: lowest and highest value of each, and a gap where numbers are missing.

    Within a bucket the two values are ordered the way the curve is heading, so a falling curve falls throughout.

    Args:
        buckets: Rows with first_step, last_step, COLUMN_low, COLUMN_high and COLUMN_missing, by first_step.
        column: Name of the measurement.
    """
    steps: list[float] = []
    values: list[float] = []
    for first, last, low, high, missing in buckets[
        ["first_step", "last_step", f"{column}_low", f"{column}_high", f"{column}_missing"]
    ].itertuples(index=False):
        if low == high:
            pairs = [(first, low)] if first == last else [(first, low), (last, low)]
        elif np.isfinite(low):
            is_falling = bool(values) and np.isfinite(values[-1]) and low + high < 2 * values[-1]
            pairs = [(first, high), (last, low)] if is_falling else [(first, low), (last, high)]
        else:
            pairs = []
        if missing:
            pairs.append((last, float("nan")))
        steps += [float(step) for step, _ in pairs]
        values += [float(value) for _, value in pairs]
    return np.asarray(steps), np.asarray(values)


def joined(
    curves: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
    """Many curves as one, with a gap after each, and which curve each point is of.

    One trace that holds a hundred curves draws far faster than a hundred traces.
    """
    if not curves:
        return np.empty(0), np.empty(0), np.empty(0, dtype=np.intp)
    gap = np.asarray([np.nan])
    xs = np.concatenate([np.concatenate([x, gap]) for x, _ in curves])
    ys = np.concatenate([np.concatenate([y, gap]) for _, y in curves])
    owners = np.concatenate([np.full(len(x) + 1, index) for index, (x, _) in enumerate(curves)])
    return xs, ys, owners.astype(np.intp)
