"""What hyperparameters are said to matter, of functions whose answer is known; variances by hand."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution, distribution_to_json

from evolve.importances import divergence_importances, importances


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


UNIT = [distribution_to_json(FloatDistribution(0, 1))]


def drawn(names: str, count: int, seed: int = 0) -> list[dict[str, object]]:
    """Trials of uniformly drawn hyperparameters in 0..1."""
    rng = np.random.default_rng(seed)
    return [dict(zip(names, row, strict=True)) for row in rng.random((count, len(names))).tolist()]


def test_shares_are_those_of_the_variance_that_each_brings_by_itself():
    params = drawn("abc", 120)
    # variances of 4/12, 30/180 and 0; what a and c do together, 12/144, is nobody's
    fitness = [
        2 * a + 30**0.5 * (b - 0.5) ** 2 + 12**0.5 * (a - 0.5) * (c - 0.5)
        for a, b, c in ([float(str(each[name])) for name in "abc"] for each in params)
    ]
    found = importances(params, fitness, dict.fromkeys("abc", UNIT))

    assert dict(found.shares) == pytest.approx({"a": 2 / 3, "b": 1 / 3, "c": 0}, abs=0.12)
    # what nobody brings by itself is foretold by nobody: at most 6/7 are, and fewer of so few trials
    assert 0.7 < found.explained < 6 / 7 + 0.05


def test_where_nothing_matters_it_says_so_instead_of_sharing_noise_out():
    rng = np.random.default_rng(1)
    reasons = [
        importances(drawn("abc", 30, seed), rng.standard_normal(30).tolist(), dict.fromkeys("abc", UNIT)).reason
        for seed in range(6)
    ]

    assert sum(bool(reason) for reason in reasons) >= 5
    assert "of how good a trial is a model of the other trials foretells 0%, as much as noise" in " ".join(reasons)


def test_the_same_trials_have_the_same_importances():
    assert importances(*hill(30), DISTRIBUTIONS) == importances(*hill(30), DISTRIBUTIONS)


def test_the_hyperparameter_that_decides_gets_nearly_all_of_the_importance():
    params, fitness = hill(200)
    found = importances(params, fitness, DISTRIBUTIONS)
    shares = dict(found.shares)

    assert found.shares[0][0] == "lr0"
    assert shares["lr0"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)
    assert "schedule" not in shares  # it never changed
    assert found.num_trials == 200 and len(found.intervals) == 2
    assert found.explained > 0.99


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
    assert 0.3 < found.explained < 1


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


def test_a_conditional_number_of_a_single_value_varies_nothing_and_breaks_nothing():
    params, fitness = hill(30)
    params = [param | ({"gamma": 2.0} if number % 2 else {}) for number, param in enumerate(params)]
    single = {"gamma": [distribution_to_json(FloatDistribution(2.0, 2.0))]}
    found = importances(params, fitness, DISTRIBUTIONS | single)

    assert dict(found.shares).keys() == {"lr0", "momentum"}


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
