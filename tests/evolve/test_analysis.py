"""Statistics of a study: what they say, and when they decline to say anything."""

from __future__ import annotations

import itertools
from math import inf, isfinite, isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolve.analysis import (
    best_so_far,
    divergence_threshold,
    mean_interval,
    quantiles,
    spread_text,
)

FITNESS = st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=40)


@given(FITNESS)
def test_the_best_so_far_is_the_largest_finite_value_up_to_each_trial(fitness):
    found = best_so_far(fitness)

    for index, value in enumerate(found):
        finite = [each for each in fitness[: index + 1] if isfinite(each)]
        assert value == max(finite) if finite else isnan(value)


def test_an_infinite_fitness_never_becomes_the_best():
    assert best_so_far([0.1, inf, 0.3, nan, -inf]).tolist() == [0.1, 0.1, 0.3, 0.3, 0.3]


def test_the_interval_over_three_seeds_is_students():
    found = mean_interval([1.0, 2.0, 3.0])

    assert (found.mean, found.num_values) == (2.0, 3)
    # t(0.975, 2 degrees of freedom) = 4.302653, standard error 1 / sqrt(3)
    assert found.high - found.mean == pytest.approx(4.302653 / 3**0.5, rel=1e-6)
    assert found.mean - found.low == pytest.approx(found.high - found.mean)


def test_the_interval_covers_the_true_mean_as_often_as_it_says():
    rng = np.random.default_rng(5)
    found = [mean_interval(list(rng.normal(0.5, 0.1, 3)), confidence=0.9) for _ in range(600)]
    covered = sum(each.low <= 0.5 <= each.high for each in found) / 600

    assert covered == pytest.approx(0.9, abs=0.04)


@pytest.mark.parametrize(("values", "count"), [([], 0), ([nan], 0), ([0.4, nan, inf], 1), ([0.4, 0.6], 2)])
def test_fewer_than_three_finite_values_have_no_interval(values, count):
    found = mean_interval(values)

    assert found.num_values == count
    assert isnan(found.low)
    assert isnan(found.high)


def test_quantiles_skip_what_is_no_number_and_keep_columns_without_any():
    found = quantiles([[1.0, nan, 5.0], [3.0, nan, inf], [2.0, nan, 7.0]], at=[0.0, 0.5, 1.0])

    assert found[:, 0].tolist() == [1.0, 2.0, 3.0]
    assert np.isnan(found[:, 1]).all()
    assert found[:, 2].tolist() == [5.0, 6.0, 7.0]


def test_a_clean_cut_is_found_half_way_between_the_trials_beside_it():
    found = divergence_threshold([0.1, 0.2, 1.0, 2.0, 5.0], [False, False, False, True, True])

    assert found is not None
    assert (found.value, found.is_above, found.separation) == (1.5, True, 1.0)
    assert (found.num_beyond, found.num_diverged_beyond, found.num_diverged) == (2, 2, 2)


def test_a_cut_may_lie_below():
    found = divergence_threshold([0.5, 0.9, 0.95], [True, False, False])

    assert found is not None
    assert (found.is_above, found.num_beyond, found.num_diverged_beyond) == (False, 1, 1)


@pytest.mark.parametrize(
    ("values", "diverged"),
    [([], []), ([1.0, 2.0], [True, True]), ([1.0, 2.0], [False, False]), ([1.0, 1.0], [True, False]), ([nan], [True])],
)
def test_there_is_no_cut_where_nothing_can_be_parted(values, diverged):
    assert divergence_threshold(values, diverged) is None


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=25))
def test_no_other_cut_separates_better(rows):
    values, diverged = [float(value) for value, _ in rows], [flag for _, flag in rows]
    found = divergence_threshold(values, diverged)
    levels = sorted(set(values))
    cuts = [(low + high) / 2 for low, high in itertools.pairwise(levels)]
    if found is None:
        assert not cuts or all(diverged) or not any(diverged)
        return

    def share(cut: float, flag: bool) -> float:
        group = [value for value, own in rows if own == flag]
        return sum(value > cut for value in group) / len(group)

    assert found.separation == pytest.approx(max(abs(share(cut, True) - share(cut, False)) for cut in cuts))
    beyond = [own for value, own in rows if (value > found.value) == found.is_above]
    assert (len(beyond), sum(beyond)) == (found.num_beyond, found.num_diverged_beyond)


def test_a_mean_is_said_with_as_much_as_its_seeds_allow() -> None:
    assert spread_text([]) == spread_text([nan]) == ""
    assert spread_text([0.5, nan]) == "one seed"
    assert spread_text([0.5, 0.625]) == "0.500 and 0.625, 2 seeds"
    # Of three the standard error is 0.1 / sqrt(3), t of 2 degrees 4.303: 0.248.
    assert spread_text([0.5, 0.6, 0.4]) == "0.252 to 0.748 (95 %, 3 seeds)"
    assert spread_text([0.9, 1.0, 0.8]) == "0.652 to 1.000 (95 %, 3 seeds)"
