"""How far a training stayed from divergence."""

from __future__ import annotations

from math import inf, log, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolve.outcome.margin import divergence_margin


def test_the_margin_is_the_log_of_the_largest_update_over_a_fifth_of_the_weights() -> None:
    assert divergence_margin(0.02, has_diverged=False) == pytest.approx(-log(10))
    assert divergence_margin(1.0, has_diverged=True) == pytest.approx(log(5))


@given(ratio=st.floats(0, inf), has_diverged=st.booleans())
def test_what_diverged_is_beyond_the_edge_and_what_did_not_before_it(ratio: float, has_diverged: bool) -> None:
    margin = divergence_margin(ratio, has_diverged=has_diverged)

    assert margin is not None
    assert 0.1 <= margin <= 3 if has_diverged else -6 <= margin <= -0.1


@given(ratios=st.tuples(st.floats(0, inf), st.floats(0, inf)), has_diverged=st.booleans())
def test_a_larger_update_is_never_further_from_the_edge(ratios: tuple[float, float], has_diverged: bool) -> None:
    low, high = (divergence_margin(ratio, has_diverged=has_diverged) for ratio in sorted(ratios))

    assert low is not None and high is not None and low <= high


def test_where_nothing_was_measured_a_divergence_counts_one_and_a_healthy_training_nothing() -> None:
    assert divergence_margin(nan, has_diverged=True) == 1
    assert divergence_margin(nan, has_diverged=False) is None
