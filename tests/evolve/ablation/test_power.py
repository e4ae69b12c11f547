"""What a plan can find, and looks on the way; numbers from tables, formulas or simulation."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from scipy import stats

from evolve.ablation.effects import EffectVerdict, compare
from evolve.ablation.looks import LOOKS, chance_to_win, levels, over_looks
from evolve.ablation.pairs import LOST_QUANTILE
from evolve.ablation.power import (
    Variation,
    _sizes_of_lost,
    check_plan,
    detectable,
    least_seeds,
    more_seeds,
    plan_sentence,
    power,
    seeds_for,
    spread_of_differences,
)
from evolve.ablation.runs import ArmRun

RACCOON = 0.0206  # standard deviation of mAP50 between seeds, measured on a data set of photographs
PHOTOGRAPHS, STANDARD = Variation(spread=spread_of_differences(RACCOON)), Variation(spread=1)


@pytest.mark.parametrize(("num_arms", "num_seeds"), [(1, 6), (2, 7), (4, 8), (8, 9), (12, 9), (13, 10)])
def test_the_fewest_seeds_grow_with_the_arms(num_arms, num_seeds):
    assert least_seeds(num_arms) == num_seeds
    assert 2 / 2**num_seeds * num_arms < 0.05 <= 2 / 2 ** (num_seeds - 1) * num_arms


def test_a_plan_that_cannot_conclude_is_refused_with_the_number_that_could():
    check_plan(8, 4)
    with pytest.raises(ValueError, match=r"7 seeds cannot decide between 4 arms .* is 0.062; at least 8 can"):
        check_plan(7, 4)
    with pytest.raises(ValueError, match="at least 1 is needed"):
        least_seeds(0)


@pytest.mark.parametrize(("difference", "num_seeds"), [(0.03, 10), (0.02, 19), (0.01, 69)])
def test_the_seeds_that_a_difference_needs_are_those_of_the_paired_t_test(difference, num_seeds):
    assert seeds_for(difference, PHOTOGRAPHS) == num_seeds


def test_an_exact_test_needs_more_seeds_than_t_says_where_there_are_few():
    # paired t: 5 seeds for 0.05; five can not reach p < 0.05 at all
    assert seeds_for(0.05, PHOTOGRAPHS) in (6, 7)
    assert power(1.0, Variation(spread=0.01), num_seeds=5) == 0


def test_the_power_for_many_seeds_is_that_of_simulated_tests():
    draws = np.random.default_rng(7).normal(0.6, 1, (4000, 20))
    found = np.mean((stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05) & (draws.mean(axis=1) > 0))

    assert power(0.6, STANDARD, num_seeds=20) == pytest.approx(found, abs=0.025)


def test_the_power_of_a_plan_in_which_runs_diverge_is_that_of_ablations_that_are_judged():
    rng, num_seeds, found = np.random.default_rng(3), 9, []
    for _ in range(300):
        gaps, lost = 1 + rng.standard_normal(num_seeds), rng.random(num_seeds) < 0.2
        base = [ArmRun("baseline", seed, 0.0, "finished") for seed in range(num_seeds)]
        arm = [
            ArmRun("arm", seed, None if is_lost else gap, "diverged" if is_lost else "finished")
            for seed, (gap, is_lost) in enumerate(zip(gaps.tolist(), lost, strict=True))
        ]
        (judged,) = compare([*base, *arm], baseline="baseline", arms=["arm"], seeds=range(num_seeds), margin=0.1)
        found.append(judged.verdict is EffectVerdict.BETTER)

    varying = Variation(spread=1, divergence=0.2)
    # two standard errors of 300 ablations are 0.06
    assert power(1.0, varying, num_seeds=num_seeds) == pytest.approx(np.mean(found), abs=0.06)
    assert power(1.0, varying, num_seeds=num_seeds) < power(1.0, STANDARD, num_seeds=num_seeds) - 0.2
    assert power(1.0, varying, num_seeds=9) < power(1.0, varying, num_seeds=16) < power(1.0, varying, num_seeds=40)
    assert "and 20% of runs diverge; seeds" in plan_sentence(10, 1, varying)


def test_differences_of_heavy_tails_are_found_more_often_than_normal_ones_of_the_same_spread():
    # a variance of (18 x 0.16 + 2 x 8.56) / 20
    heavy = Variation(spread=1, shape=(*9 * (-0.4, 0.4), -(8.56**0.5), 8.56**0.5))

    assert power(0.7, heavy, num_seeds=10) > power(0.7, STANDARD, num_seeds=10) + 0.03


def test_sizes_of_what_diverged_are_quantiles_of_what_did_not_row_by_row():
    rng = np.random.default_rng(5)
    kept_DN = np.where(rng.random((60, 9)) < 0.3, np.nan, rng.standard_normal((60, 9)))
    kept_DN[:, :2] = 1.0  # two at least

    assert _sizes_of_lost(kept_DN).tolist() == np.nanquantile(np.abs(kept_DN), LOST_QUANTILE, axis=1).tolist()


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_of_divergence_is_a_share(share):
    with pytest.raises(ValueError, match="0 to below 1"):
        Variation(spread=1, divergence=share)


def test_power_joins_where_exact_tests_end():
    exact, by_t = (power(0.9, STANDARD, num_seeds=seeds) for seeds in (12, 13))

    assert 0 < by_t - exact < 0.06


def test_the_smallest_difference_found_has_the_power_that_was_asked_for():
    varying = Variation(spread=0.03)
    found = detectable(varying, num_seeds=24, num_arms=4)

    assert power(found, varying, num_seeds=24, num_arms=4) == pytest.approx(0.8, abs=0.01)
    assert detectable(varying, num_seeds=7, num_arms=4) == inf
    assert detectable(varying, num_seeds=24, num_arms=4, looks=4) > found


def test_hopeless_differences_have_no_number_of_seeds():
    assert seeds_for(0.001, STANDARD) is None


@pytest.mark.parametrize(("difference", "spread"), [(0, 1), (0.1, 0), (float("nan"), 1)])
def test_power_needs_a_difference_and_a_spread(difference, spread):
    with pytest.raises(ValueError, match="above 0"):
        power(difference, Variation(spread=spread), num_seeds=8)


def test_the_seeds_that_would_decide_are_those_for_the_mean_or_for_the_margin():
    clear, near = [0.02, 0.05, -0.01, 0.03, 0.04], [0.01, -0.012, 0.008, -0.007, 0.002]
    # mean 0.026, deviation 0.02302: ((1.96 + 0.8416) * 0.02302 / 0.026)^2 = 6.2
    assert more_seeds(clear, margin=0.01, num_arms=1) == 7 - 5
    # mean 0.0002, deviation 0.0094974: ((1.6449 + 1.2816) * 0.0094974 / 0.0098)^2 = 8.04
    assert more_seeds(near, margin=0.01, num_arms=1) == 9 - 5
    assert more_seeds([0.01, 0.01], margin=0.01, num_arms=1) is None
    assert more_seeds([0.01, 0.01, 0.01], margin=0.01, num_arms=1) is None


def test_the_sentence_of_a_plan_names_the_difference_that_it_finds():
    text = plan_sentence(10, 1, PHOTOGRAPHS)

    assert text.startswith("with 10 seeds and 1 arm beside the baseline, a difference of 0.02")
    assert text.endswith("seeds that are needed: 69 for 0.01, 19 for 0.02, 10 for 0.03 and 7 for 0.05")
    assert "standard deviations" in plan_sentence(10, 1, None)
    assert "looked at after 6, 10, 16 and 24" in plan_sentence(24, 2, Variation(spread=0.03), looks=4)
    with pytest.raises(ValueError, match="at least 6 can"):
        plan_sentence(5, 1, Variation(spread=0.03))


@pytest.mark.parametrize("alpha", [0.05, 0.0125])
def test_all_looks_together_are_wrong_as_often_as_one(alpha):
    walks = np.random.default_rng(0).standard_normal((200_000, LOOKS[-1])).cumsum(axis=1)
    z = np.stack([walks[:, seeds - 1] / seeds**0.5 for seeds in LOOKS], axis=1)
    wrong = (2 * stats.norm.sf(np.abs(z)) < np.array(levels(4, alpha))).any(axis=1).mean()

    assert wrong == pytest.approx(alpha, rel=0.05)
    assert levels(1, alpha) == (pytest.approx(alpha),)


def test_the_first_look_spends_its_share_squared():
    assert levels(4)[0] == pytest.approx(0.05 * (6 / 24) ** 2)


@pytest.mark.parametrize("look", [1, 2, 3, 4])
def test_p_over_looks_is_below_alpha_exactly_where_the_look_may_conclude(look):
    for alpha in (0.05, 0.01):
        level = levels(4, alpha)[look - 1]

        assert over_looks(level * 0.995, look=look, looks=4) < alpha < over_looks(level * 1.005, look=look, looks=4)
    assert over_looks(0.9, look=look, looks=4) >= 0.9
    assert over_looks(0.03, look=1, looks=1) == 0.03


def test_the_chance_that_is_left_is_that_of_simulated_ends():
    so_far = np.array([0.01, -0.02, 0.015, 0.02, -0.005, 0.03, 0.0, -0.01, 0.02, 0.015])
    spread, level = so_far.std(ddof=1), levels(4)[-1]
    # t(0.95, 9) = 1.833113; the mean is 0.0075
    for at_least, hoped in ((0.03, 0.03), (0.001, 0.0075 + 1.833113 * spread / 10**0.5)):
        ends = np.random.default_rng(1).normal(hoped, spread, (20_000, 14)).sum(axis=1) + so_far.sum()
        expected = np.mean(ends / spread / 24**0.5 > stats.norm.isf(level / 2))

        found = chance_to_win(so_far, at_least=at_least, look=2, looks=4, num_arms=1)
        assert found == pytest.approx(expected, abs=0.015)


def test_the_chance_at_the_last_look_is_whether_it_has_won():
    won = np.tile([0.01, 0.03], 12)

    assert chance_to_win(won, at_least=0.01, look=4, looks=4, num_arms=1) == 1
    assert chance_to_win(-won, at_least=0.01, look=4, looks=4, num_arms=1) == 0
    with pytest.raises(ValueError, match="at least 2"):
        chance_to_win([0.1], at_least=0.01, look=1, looks=4, num_arms=1)
