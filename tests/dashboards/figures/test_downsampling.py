"""Curves with fewer points that look the same."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.figures.downsampling import downsample, joined, polyline

CURVE = st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(nan), st.just(inf)), max_size=300)


@given(CURVE, st.integers(1, 20))
def test_a_thinned_curve_keeps_ends_extremes_of_each_bucket_and_gaps(values, num_buckets):
    curve = np.asarray(values, dtype=float)
    kept = downsample(curve, num_buckets=num_buckets)

    assert (np.diff(kept) > 0).all()
    assert len(kept) <= 3 * num_buckets + 2
    if len(curve) <= 3 * num_buckets:
        assert len(kept) == len(curve)
        return
    assert (kept[0], kept[-1]) == (0, len(curve) - 1)
    for positions in np.array_split(np.arange(len(curve)), num_buckets):
        here = kept[np.isin(kept, positions)]
        finite = curve[positions][np.isfinite(curve[positions])]
        kept_finite = curve[here][np.isfinite(curve[here])]
        if len(finite):
            assert (kept_finite.min(), kept_finite.max()) == (finite.min(), finite.max())
        assert np.isfinite(curve[here]).all() == np.isfinite(curve[positions]).all()


def test_no_bucket_is_refused():
    with pytest.raises(ValueError, match="num_buckets: 0 is not at least 1"):
        downsample([1.0], num_buckets=0)


@given(st.lists(st.one_of(st.floats(-1e3, 1e3), st.none()), min_size=1, max_size=60), st.integers(1, 7))
def test_a_line_through_buckets_spans_what_the_steps_span(values, width):
    frame = pd.DataFrame({"step": range(len(values)), "loss": pd.Series(values, dtype=float)})
    groups = frame.groupby(frame["step"] // width)
    buckets = pd.DataFrame(
        {
            "first_step": groups["step"].min(),
            "last_step": groups["step"].max(),
            "loss_low": groups["loss"].min(),
            "loss_high": groups["loss"].max(),
            "loss_missing": groups["loss"].apply(lambda each: int(each.isna().sum())),
        }
    )
    x, y = polyline(buckets, "loss")
    finite = [value for value in values if value is not None]

    assert (np.diff(x) >= 0).all()
    assert np.isnan(y).sum() == (buckets["loss_missing"] > 0).sum()
    if finite:
        assert (np.nanmin(y), np.nanmax(y)) == (min(finite), max(finite))
    if width == 1:
        np.testing.assert_array_equal(y, frame["loss"].to_numpy())


def test_a_falling_curve_falls_through_its_buckets():
    rates = np.linspace(1.0, 0.0, 40)
    buckets = pd.DataFrame(
        {
            "first_step": np.arange(0, 40, 4),
            "last_step": np.arange(3, 40, 4),
            "lr_low": rates[3::4],
            "lr_high": rates[::4],
            "lr_missing": 0,
        }
    )

    assert (np.diff(polyline(buckets, "lr")[1][1:]) < 0).all()


def test_joined_curves_are_parted_by_gaps():
    x, y, owners = joined([(np.array([0.0, 1.0]), np.array([5.0, 6.0])), (np.array([0.0]), np.array([7.0]))])

    np.testing.assert_array_equal(y, [5.0, 6.0, nan, 7.0, nan])
    assert np.isnan(x).tolist() == np.isnan(y).tolist()
    assert owners.tolist() == [0, 0, 0, 1, 1]
