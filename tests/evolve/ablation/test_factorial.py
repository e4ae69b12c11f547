"""Gains shared out among changes, against orders that are gone through one by one."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations
from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evolve.ablation.factorial import attribution, pair_interactions, path, shapley_values
from evolve.ablation.runs import ArmRun

VALUES = st.integers(1, 4).flatmap(lambda k: st.lists(st.floats(-1, 1), min_size=2**k, max_size=2**k))


def by_orders(values: list[float]) -> list[Fraction]:
    """What each change adds, averaged over every order."""
    num_changes = len(values).bit_length() - 1
    added = [Fraction(0)] * num_changes
    orders = [*permutations(range(num_changes))]
    for order in orders:
        made = 0
        for change in order:
            added[change] += Fraction(values[made | 1 << change]) - Fraction(values[made])
            made |= 1 << change
    return [each / len(orders) for each in added]


@given(VALUES)
def test_the_values_add_up_to_the_measured_gain_exactly(values):
    assert sum(shapley_values(values)) == Fraction(values[-1]) - Fraction(values[0])


@given(VALUES)
def test_a_value_is_the_mean_over_all_orders(values):
    assert list(shapley_values(values)) == by_orders(values)


@given(st.lists(st.integers(-100, 100), min_size=4, max_size=4))
def test_changes_that_only_add_have_their_own_effects_and_no_interaction(effects):
    values = [sum(effect for bit, effect in enumerate(effects) if number >> bit & 1) for number in range(16)]

    assert list(shapley_values(values)) == effects
    assert set(pair_interactions(values).values()) == {0}


def test_two_changes_that_help_only_together_share_the_gain_and_interact():
    # bits: neither, first, second, both; a third change does nothing
    values = [0, 0, 0, 0.3, 0, 0, 0, 0.3]

    assert [float(value) for value in shapley_values(values)] == pytest.approx([0.15, 0.15, 0])
    assert {pair: float(found) for pair, found in pair_interactions(values).items()} == {
        (0, 1): pytest.approx(0.3),
        (0, 2): 0,
        (1, 2): 0,
    }


ARMS = ("baseline", "lr", "loss", "lr+loss")


def runs(num_seeds: int) -> tuple[list[ArmRun], np.ndarray]:
    values = np.random.default_rng(1).normal([0.5, 0.55, 0.52, 0.6], 0.01, (num_seeds, 4))
    return [
        ArmRun(arm, seed, float(value), "finished")
        for seed, row in enumerate(values)
        for arm, value in zip(ARMS, row, strict=True)
    ], values


def test_shares_are_means_over_seeds_with_students_interval():
    trained, values = runs(8)
    found = attribution(trained, changes=("lr", "loss"), arms=ARMS, seeds=range(8))
    of_lr = ((values[:, 1] - values[:, 0]) + (values[:, 3] - values[:, 2])) / 2
    expected = stats.ttest_1samp(of_lr, 0).confidence_interval()

    assert found.shares[0].names == ("lr",)
    assert found.shares[0].mean == pytest.approx(of_lr.mean())
    assert (found.shares[0].low, found.shares[0].high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert sum(share.mean for share in found.shares) == pytest.approx(found.gain.mean)
    assert found.interactions[0].names == ("lr", "loss")
    assert found.interactions[0].mean == pytest.approx(
        (values[:, 3] - values[:, 1] - values[:, 2] + values[:, 0]).mean()
    )


def test_the_steps_of_a_path_add_up_to_its_gain():
    trained, values = runs(5)
    found = path(trained, arms=ARMS, seeds=range(5))

    assert [share.names for share in found.shares] == [("lr",), ("loss",), ("lr+loss",)]
    assert [share.mean for share in found.shares] == pytest.approx(np.diff(values.mean(axis=0)))
    assert sum(share.mean for share in found.shares) == pytest.approx(found.gain.mean)


def test_a_seed_with_which_a_run_has_no_value_is_left_out_and_named():
    trained, _ = runs(4)
    trained[5] = ArmRun("lr", 1, None, "diverged")
    found = attribution(trained, changes=("lr", "loss"), arms=ARMS, seeds=range(5))

    assert found.num_seeds == 3
    assert found.left_out == ((1, (("lr", "diverged"),)), (4, tuple((arm, "missing") for arm in ARMS)))


def test_without_any_whole_seed_nothing_is_said():
    found = attribution([], changes=("lr", "loss"), arms=ARMS, seeds=range(2))

    assert found.num_seeds == 0
    assert all(isnan(share.mean) for share in (*found.shares, *found.interactions, found.gain))


def test_what_is_no_full_factorial_is_refused():
    with pytest.raises(ValueError, match="3 combinations; allowed"):
        shapley_values([0, 1, 2])
    with pytest.raises(ValueError, match="32 combinations"):
        shapley_values([0] * 32)
    with pytest.raises(ValueError, match="4 arms of 3 changes"):
        attribution([], changes=("a", "b", "c"), arms=ARMS, seeds=[0])
    with pytest.raises(ValueError, match="at least 2"):
        path([], arms=["baseline"], seeds=[0])
