"""What is said of an arm, and when nothing may be said; independent values by hand or from scipy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from evolve.ablation.effects import Effect, EffectVerdict, compare
from evolve.ablation.flips import sign_flip_p
from evolve.ablation.paired_tests import holm
from evolve.ablation.pairs import by_arm_and_seed, pair
from evolve.ablation.runs import ArmRun
from evolve.ablation.verdicts import coverage_text

Ends = Sequence[float | str]


def runs(arms: Mapping[str, Ends]) -> list[ArmRun]:
    """Runs by seed from values, or the outcome of a run without one."""
    return [
        ArmRun(arm, seed, None, end) if isinstance(end, str) else ArmRun(arm, seed, end, "finished")
        for arm, ends in arms.items()
        for seed, end in enumerate(ends)
    ]


def effect(arm: Ends, baseline: Ends, *, margin: float = 0.01) -> Effect:
    """Of one arm."""
    found = runs({"baseline": baseline, "arm": arm})
    return compare(found, baseline="baseline", arms=["baseline", "arm"], seeds=range(len(baseline)), margin=margin)[0]


BASELINE = (0.50, 0.52, 0.49, 0.51, 0.53, 0.50, 0.48, 0.52)
GAINS = (0.05, 0.04, 0.06, 0.05, 0.03, 0.05, 0.06, 0.04)
BETTER = tuple(value + gain for value, gain in zip(BASELINE, GAINS, strict=True))


def test_an_arm_that_wins_every_pair_is_better_and_its_interval_is_students():
    found = effect(BETTER, BASELINE)

    # 2 / 2^8; mean 0.0475, deviation 0.010351, t(0.975, 7) = 2.364624
    assert found.p == found.p_corrected == 2 / 256
    assert found.mean == pytest.approx(0.0475)
    assert found.high - found.mean == pytest.approx(2.364624 * 0.0103510 / 8**0.5, rel=1e-4)
    assert (found.wins, found.losses, found.ties, found.n_pairs, found.seeds_needed) == (8, 0, 0, 8, 0)
    assert found.verdict is EffectVerdict.BETTER
    assert found.sentence == "Use arm: +0.048 (+0.039 to +0.056), p 0.007812, better with 8 of 8 seeds."


def test_the_same_arm_as_the_baseline_of_the_other_is_worse():
    found = effect(BASELINE, BETTER)

    assert found.verdict is EffectVerdict.WORSE
    assert (found.mean, found.wins, found.losses) == (pytest.approx(-0.0475), 0, 8)


@given(st.lists(st.floats(-1, 1).map(lambda value: round(value, 3)), min_size=2, max_size=9))
def test_the_p_of_flips_is_scipys(differences):
    expected = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue

    assert sign_flip_p(np.array([differences]))[0] == pytest.approx(expected)


@pytest.mark.parametrize("values", [[0.2], [0.04, 0.01, 0.03, 0.005], [0.5, 0.5, 0.001, 1.0, 0.02, 0.02]])
def test_holms_correction_is_that_of_statsmodels(values):
    assert holm(values) == pytest.approx(multipletests(values, method="holm")[1].tolist())


def test_many_seeds_are_flipped_at_random_and_nearly_scipys():
    differences = np.random.default_rng(3).normal(0.35, 1, 20)
    expected = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=60_000, rng=np.random.default_rng(1)
    ).pvalue

    assert sign_flip_p(differences[None])[0] == pytest.approx(expected, abs=0.006)


def test_what_was_better_where_it_finished_is_not_better_when_it_diverged_too_often():
    found = effect([*BETTER[:4], "diverged", "diverged", "diverged", "diverged"], BASELINE)

    assert (found.mean > 0, found.low > 0) == (True, True)
    assert (found.n_pairs, found.diverged, found.baseline_diverged) == (4, 4, 0)
    assert (found.wins, found.losses) == (4, 4)
    assert found.verdict is EffectVerdict.UNCLEAR
    assert "it diverged 4 times, baseline 0 times" in found.sentence
    assert ", of the 4 pairs that finished alone)" in found.sentence


def test_what_an_interval_leaves_out_is_said_beside_it():
    some, all_of_it, nothing = (
        effect(["diverged", *BETTER[1:]], BASELINE),
        effect(BETTER, BASELINE),
        effect(8 * ["diverged"], BASELINE),
    )

    assert coverage_text([some, all_of_it]).startswith(
        "The interval of arm is of the pairs that finished alone, so it is"
    )
    assert coverage_text([all_of_it, nothing]) == ""


def test_a_diverged_run_loses_its_pair_by_what_nine_in_ten_stay_below_and_an_unknown_one_by_the_largest():
    found = by_arm_and_seed(runs({"baseline": BASELINE, "arm": [*BETTER[:6], "diverged", "failed"]}))
    turned = by_arm_and_seed(runs({"baseline": [*BETTER[:7], "diverged"], "arm": BASELINE}))

    # gains of 0.03, 0.04, 0.05, 0.05, 0.05 and 0.06: place 4.5 of 0 to 5 is half way between the two largest
    assert pair(found, "arm", "baseline", range(8)).scores == pytest.approx([*GAINS[:6], -0.055, -0.06])
    assert pair(turned, "arm", "baseline", range(8)).scores[-1] == pytest.approx(0.06)  # of seven, two of 0.06
    ties = by_arm_and_seed(runs({"baseline": [0.5] * 22, "arm": [*[0.5] * 20, 0.6, "diverged"]}))
    assert pair(ties, "arm", "baseline", range(22)).scores[-2:] == pytest.approx([0.1, -0.1])


def test_an_arm_that_diverges_with_every_seed_is_worse_though_nothing_was_measured():
    found = effect(["diverged"] * 8, BASELINE)

    assert isnan(found.mean)
    assert found.divergence_p == pytest.approx(2 / 256)
    assert found.verdict is EffectVerdict.WORSE
    assert "no seed with which both finished" in found.sentence


def test_seeds_with_which_both_diverged_are_ties():
    found = effect(["diverged", *BETTER[1:]], ["diverged", *BASELINE[1:]])

    assert (found.wins, found.losses, found.ties, found.divergence_p) == (7, 0, 1, 1)
    assert found.win_share == pytest.approx(7.5 / 8)


@pytest.mark.parametrize("outcome", ["failed", "missing"])
def test_a_run_that_nobody_knows_counts_against_what_the_others_say(outcome):
    found = effect([outcome, *BETTER[1:]], BASELINE)
    mirrored = effect([outcome, *(value - 0.1 for value in BASELINE[1:])], BASELINE)

    # seven gains against the largest of them, 0.06: as far from 0 are all the same sign and one of the smallest flipped
    assert found.unknown == 1
    assert getattr(found, outcome) == 1
    assert 2 / 256 < found.p < 0.1
    assert found.verdict is EffectVerdict.UNCLEAR
    assert "train again the 1 pair" in found.sentence
    assert mirrored.verdict is EffectVerdict.UNCLEAR
    assert mirrored.p > 2 / 256


def test_a_run_that_is_not_among_the_runs_is_missing():
    found = compare(
        runs({"baseline": BASELINE, "arm": BETTER[:-1]}), baseline="baseline", arms=["arm"], seeds=range(8), margin=0.01
    )[0]

    assert (found.missing, found.n_pairs, found.num_seeds) == (1, 7, 8)


def test_no_p_is_shown_of_an_arm_of_which_nothing_is_known_yet():
    nothing, one = effect(["missing"] * 8, BASELINE), effect([*["missing"] * 7, "diverged"], BASELINE)

    assert np.isnan(nothing.shown_p) and nothing.p_corrected < 0.05
    assert one.shown_p == one.p_corrected


def test_p_is_corrected_by_holm_over_the_arms():
    weak = [
        value + gain for value, gain in zip(BASELINE, (0.05, 0.04, 0.06, 0.05, 0.03, 0.05, -0.01, -0.02), strict=True)
    ]
    found = compare(
        runs({"baseline": BASELINE, "strong": BETTER, "weak": weak}),
        baseline="baseline",
        arms=["weak", "strong"],
        seeds=range(8),
        margin=0.01,
    )

    assert [each.arm for each in found] == ["weak", "strong"]
    assert found[1].p_corrected == pytest.approx(2 * found[1].p)
    assert found[0].p_corrected == pytest.approx(max(found[0].p, 2 * found[1].p))


def test_arms_that_differ_by_less_than_the_margin_are_equivalent_unless_one_diverged():
    same = [
        value + gain for value, gain in zip(BASELINE, (0.001, -0.001, 0.002, -0.002, 0, 0.001, 0, -0.001), strict=True)
    ]

    assert effect(same, BASELINE).verdict is EffectVerdict.EQUIVALENT
    assert "within 0.01" in effect(same, BASELINE).sentence
    assert effect(["diverged", *same[1:]], BASELINE).verdict is EffectVerdict.UNCLEAR
    assert effect(same, BASELINE, margin=0.0005).verdict is EffectVerdict.UNCLEAR


def test_an_arm_that_changes_nothing_is_equivalent():
    found = effect(BASELINE, BASELINE)

    assert (found.p, found.low, found.high, found.ties) == (1, 0, 0, 8)
    assert found.verdict is EffectVerdict.EQUIVALENT


def test_a_plan_that_cannot_conclude_says_how_many_seeds_could():
    found = effect(BETTER[:5], BASELINE[:5])

    assert found.verdict is EffectVerdict.INCONCLUSIVE_PLAN
    assert found.seeds_needed == 1
    assert found.sentence == "Train more seeds: 5 cannot decide about arm whatever they show, 6 can."


def test_bootstrap_intervals_begin_at_twenty_pairs():
    rng = np.random.default_rng(2)
    baseline = rng.normal(0.5, 0.02, 20)
    arm = baseline + rng.normal(0.02, 0.02, 20)
    found, fewer = effect(arm.tolist(), baseline.tolist()), effect(arm[:19].tolist(), baseline[:19].tolist())

    assert fewer.bca_low is None
    assert found.bca_low is not None
    assert found.bca_high is not None
    assert found.low == pytest.approx(found.bca_low, abs=0.004)
    assert found.high == pytest.approx(found.bca_high, abs=0.004)


def test_the_share_of_wins_has_wilsons_interval():
    found = effect(BETTER, BASELINE)

    expected = stats.binomtest(8, 8).proportion_ci(method="wilson")
    assert (found.win_low, found.win_high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_an_early_look_concludes_later_than_the_only_one():
    ten = {"baseline": [0.5 + 0.001 * seed for seed in range(10)], "arm": [0.55 + 0.0015 * seed for seed in range(10)]}
    at = {"baseline": "baseline", "arms": ["arm"], "seeds": range(10), "margin": 0.01}
    only = compare(runs(ten), **at)[0]
    second = compare(runs(ten), **at, looks=4, look=2)[0]

    assert only.p == second.p == 2 / 1024
    assert only.p_corrected < second.p_corrected < 0.05
    assert second.low < only.low
    assert second.verdict is EffectVerdict.BETTER


def test_an_arm_that_is_far_behind_at_a_look_cannot_win_any_more():
    behind = [value - gain for value, gain in zip(BASELINE, GAINS, strict=True)]
    found = compare(
        runs({"baseline": BASELINE[:6], "behind": behind[:6], "ahead": BETTER[:6]}),
        baseline="baseline",
        arms=["behind", "ahead"],
        seeds=range(6),
        margin=0.01,
        looks=4,
        look=1,
    )

    assert [each.can_win for each in found] == [False, True]
    assert "it needs no more seeds" in found[0].sentence


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": ["baseline"]}, "at least one beside the baseline"),
        ({"arms": ["arm", "arm"]}, "none twice"),
        ({"seeds": []}, "at least one, none twice"),
        ({"margin": 0.0}, "must be above 0"),
        ({"looks": 4, "look": 2}, "look 2 of 4 with 8 seeds; it has 10"),
        ({"looks": 2, "look": 3}, "look 3 of 2"),
    ],
)
def test_what_cannot_be_compared_is_refused(changes, message):
    asked = {"baseline": "baseline", "arms": ["arm"], "seeds": range(8), "margin": 0.01}

    with pytest.raises(ValueError, match=message):
        compare(runs({"baseline": BASELINE, "arm": BETTER}), **(asked | changes))


def test_two_runs_of_one_seed_are_refused():
    with pytest.raises(ValueError, match="arm arm, seed 0: two runs"):
        by_arm_and_seed(runs({"arm": BETTER}) + runs({"arm": BETTER[:1]}))


@pytest.mark.parametrize(
    ("value", "outcome"), [(None, "finished"), (0.5, "diverged"), (0.5, "over"), (float("nan"), "finished")]
)
def test_a_run_has_a_value_exactly_if_it_finished(value, outcome):
    with pytest.raises(ValueError, match="arm a, seed 3"):
        ArmRun("a", 3, value, outcome)


ENDS = st.one_of(st.floats(0, 1), st.sampled_from(["diverged", "failed", "missing"]))


@given(st.lists(st.tuples(ENDS, ENDS), min_size=1, max_size=9))
def test_every_seed_is_counted_once_whatever_became_of_it(ends):
    arm, baseline = zip(*ends, strict=True)
    found = pair(by_arm_and_seed(runs({"arm": arm, "baseline": baseline})), "arm", "baseline", range(len(ends)))

    assert found.wins + found.losses + found.ties + found.unknown == len(found.scores) == len(ends)
    assert np.isfinite(found.scores).all()


@given(st.lists(st.tuples(ENDS, ENDS), min_size=6, max_size=9))
def test_better_is_said_only_of_an_arm_that_wins_half_of_all_seeds(ends):
    arm, baseline = zip(*ends, strict=True)
    found = effect(arm, baseline)

    if found.verdict is EffectVerdict.BETTER:
        assert found.p_corrected < 0.05
        assert found.low > 0
        assert found.wins * 2 >= len(ends)
    assert found.sentence.endswith(".")
