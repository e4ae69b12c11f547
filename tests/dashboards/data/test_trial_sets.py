"""A choice of trials."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dashboards.data.trial_sets import spread_evenly


@given(st.integers(0, 50), st.integers(1, 20))
def test_an_even_spread_has_both_ends_and_no_repeats(length, count):
    ranked = list(range(length))
    found = spread_evenly(ranked, count)

    assert len(found) == len(set(found)) == min(length, count)
    if count > 1 and length:
        assert (found[0], found[-1]) == (0, length - 1)
