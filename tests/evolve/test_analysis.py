"""Statistics of a study: what they say, and when they decline to say anything."""

from __future__ import annotations

import itertools
import logging
from math import inf, isfinite, isnan, nan

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution, distribution_to_json

from evolve.analysis import (
    best_so_far,
    divergence_importances,
    divergence_threshold,
    importances,
    mean_interval,
    quantiles,
    spread_text,
)

FITNESS = st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=40)


def hill(num_trials: int, seed: int = 0) -> tuple[list[dict[str, object]], list[float]]:
    """Trials whose fitness depends on lr0 alone."""
    rng = np.random.default_rng(seed)
    params = [
        {"lr0": float(10 ** rng.uniform(-4, 1)), "momentum": float(rng.uniform(0.6, 0.98)), "schedule": "cosine"}
        for _ in range(num_trials)
    ]
    return params, [-((np.log10(float(str(each["lr0"]))) + 1) ** 2) for each in params]


DISTRIBUTIONS = {
    "lr0": [distribution_to_json(FloatDistribution(1e-4, 10, log=True))],
    "momentum": [distribution_to_json(FloatDistribution(0.6, 0.98))],
    "schedule": [distribution_to_json(CategoricalDistribution(["linear", "cosine"]))],
}


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


def test_the_hyperparameter_that_decides_gets_nearly_all_of_the_importance():
    params, fitness = hill(200)
    found = importances(params, fitness, DISTRIBUTIONS)
    shares = dict(found.shares)

    assert found.shares[0][0] == "lr0"
    assert shares["lr0"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)
    assert "schedule" not in shares  # it never changed
    assert (found.num_trials, found.quantile) == (200, 0.1)


def test_a_small_study_compares_its_best_five_with_the_rest():
    found = importances(*hill(20), DISTRIBUTIONS)

    assert found.quantile == 0.25
    assert found.shares


def test_nineteen_trials_are_too_few_and_it_says_so():
    found = importances(*hill(19), DISTRIBUTIONS)

    assert found.shares == ()
    assert found.reason == "19 completed trials; importances need at least 20"


def test_a_rank_that_resamples_hold_is_clear_and_one_that_they_swap_is_unclear():
    rng = np.random.default_rng(4)
    names = ("strong", "one", "other")
    distributions = {name: [distribution_to_json(FloatDistribution(0, 1))] for name in names}
    params = [{name: float(rng.random()) for name in names} for _ in range(60)]
    found = importances(params, [-((float(str(each["strong"])) - 0.5) ** 2) for each in params], distributions)

    assert found.shares[0][0] == "strong"
    assert set(found.unclear) == {"one", "other"}
    assert len(found.intervals) == 3
    assert all(low <= high for low, high in found.intervals)
    assert found.intervals[0][0] > max(found.intervals[1][1], found.intervals[2][1])


def test_the_hyperparameter_that_makes_trials_diverge_gets_the_importance_for_it():
    params, _ = hill(60)
    diverged = [float(str(each["momentum"])) > 0.85 for each in params]
    found = divergence_importances(params, diverged, DISTRIBUTIONS)

    assert found.shares[0][0] == "momentum"
    assert found.shares[0][1] > 0.7
    assert found.quantile == pytest.approx(sum(diverged) / 60)


@pytest.mark.parametrize(
    ("count", "num_diverged", "reason"),
    [(19, 9, "19 trials; importances need"), (30, 4, "4 of 30 trials diverged"), (30, 26, "26 of 30 trials diverged")],
)
def test_what_diverged_too_seldom_or_too_often_has_no_importances(count, num_diverged, reason):
    params, _ = hill(count)
    found = divergence_importances(params, [index < num_diverged for index in range(count)], DISTRIBUTIONS)

    assert not found.shares
    assert found.reason.startswith(reason)


def test_trials_without_a_fitness_do_not_count():
    params, fitness = hill(22)
    found = importances(params, [*fitness[:19], nan, inf, -inf], DISTRIBUTIONS)

    assert found.num_trials == 19
    assert found.reason


def test_equal_fitness_has_no_importances():
    params, _ = hill(20)

    assert "same fitness" in importances(params, [0.5] * 20, DISTRIBUTIONS).reason


def test_hyperparameters_that_never_changed_have_no_importances():
    _, fitness = hill(20)

    assert "more than one value" in importances([{"lr0": 0.1}] * 20, fitness, DISTRIBUTIONS).reason


def test_ranges_that_changed_during_the_study_are_merged():
    params, fitness = hill(60)
    ranges = [FloatDistribution(1e-4, 0.01, log=True), FloatDistribution(0.01, 10, log=True)]
    found = importances(params, fitness, DISTRIBUTIONS | {"lr0": [distribution_to_json(each) for each in ranges]})

    assert dict(found.shares)["lr0"] > 0.8


def test_choices_are_compared_as_text_and_conditional_values_may_be_missing():
    rng = np.random.default_rng(1)
    flags = rng.random(80) < 0.5
    params = [
        {"nesterov": str(bool(flag)), "depth": float(rng.integers(1, 5))} | ({"extra": 0.5} if flag else {})
        for flag in flags
    ]
    fitness = [float(flag) + 0.01 * rng.random() for flag in flags]
    distributions = {
        "nesterov": [distribution_to_json(CategoricalDistribution([False, True]))],
        "depth": [distribution_to_json(IntDistribution(1, 4))],
        "extra": [distribution_to_json(FloatDistribution(0, 1))],
    }

    assert importances(params, fitness, distributions).shares[0][0] in ("nesterov", "extra")


def test_importances_neither_announce_a_study_nor_change_how_loud_optuna_is(caplog):
    optuna.logging.enable_propagation()
    before = optuna.logging.get_verbosity()
    with caplog.at_level(logging.DEBUG):
        importances(*hill(20), DISTRIBUTIONS)
    optuna.logging.disable_propagation()

    assert "study" not in caplog.text
    assert optuna.logging.get_verbosity() == before


def test_a_mean_is_said_with_as_much_as_its_seeds_allow() -> None:
    assert spread_text([]) == spread_text([nan]) == ""
    assert spread_text([0.5, nan]) == "one seed"
    assert spread_text([0.5, 0.625]) == "0.500 and 0.625, 2 seeds"
    # Of three the standard error is 0.1 / sqrt(3), t of 2 degrees 4.303: 0.248.
    assert spread_text([0.5, 0.6, 0.4]) == "0.252 to 0.748 (95 %, 3 seeds)"
    assert spread_text([0.9, 1.0, 0.8]) == "0.652 to 1.000 (95 %, 3 seeds)"
