"""What training the best again says: how much was luck, which order is left, which is best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isnan
from statistics import fmean

import numpy as np
import pytest

from evolve.ablation.trained import Trained
from evolve.ablation.verdicts import EffectVerdict
from evolve.confirmed import Confirmation, Searched, confirmed, not_confirmed
from evolve.study import Study
from evolve.study.confirming import confirmation

FOUND = {0: 0.5, 3: 0.8, 4: 0.7, 5: 0.6}
SEEDS = (7, 8, 9, 10, 11)
NAN = float("nan")


def confirming(trials: Sequence[int], seeds: tuple[int, ...] = SEEDS) -> Study:
    mapping = {"name": "hunt", "space": {"lr0": {"low": 0.1, "high": 1}}, "budget": {"trials": 9}, "baseline": True}
    chosen = {number: {"lr0": 0.5 + number / 100} for number in trials}
    search = Study.from_mapping(mapping, origin="test")
    return confirmation(search, chosen, name="hunt-confirm", seeds=seeds, epochs=10)


def told(
    values: Sequence[Sequence[float]], *, found: Mapping[int, float] = FOUND, is_complete: bool = True
) -> Confirmation:
    """Of the values of the baseline, then of the trials but 0, the best found first; NaN diverges."""
    trials = sorted((number for number in found if number), key=lambda number: -found[number])[: len(values) - 1]
    trainings = [
        Trained(trial=place, seed=seed, verdict="diverged" if isnan(value) else "converged", fitness=value)
        for place, row in enumerate(values)
        for seed, value in zip(SEEDS, row, strict=False)
    ]
    searched = Searched(epochs=4, found=found, own=0)
    return confirmed(confirming(trials), trainings, searched, is_complete=is_complete)


def around(mean: float) -> list[float]:
    return [mean + shift for shift in (-0.02, -0.01, 0.0, 0.01, 0.02)]


def test_what_the_search_found_too_much_is_told_by_candidate_and_on_average() -> None:
    told_again = told([around(0.52), around(0.66), around(0.71), around(0.5)])
    names = [each.name for each in told_again.candidates]

    assert names == ["the defaults", "trial 3", "trial 4", "trial 5"]
    assert [each.shrinkage for each in told_again.candidates] == pytest.approx([-0.02, 0.14, -0.01, 0.1])
    assert told_again.mean_shrinkage == pytest.approx((0.14 - 0.01 + 0.1) / 3)


def test_the_best_of_equal_trials_looks_better_in_the_search_than_with_fresh_seeds() -> None:
    rng = np.random.default_rng(0)
    shrinkages = []
    for _ in range(40):  # twenty settings of the same skill, each trained once
        found = {number: float(0.5 + 0.05 * rng.standard_normal()) for number in range(20)}
        again = [[float(0.5 + 0.05 * rng.standard_normal()) for _ in SEEDS] for _ in range(4)]
        shrinkages.append(told(again, found=found).mean_shrinkage)

    # The expectation of the mean of the largest three of twenty normal numbers is 1.45 standard deviations.
    assert fmean(shrinkages) == pytest.approx(0.05 * 1.45, abs=0.01)


def test_the_rank_correlation_is_kendalls_with_the_number_of_candidates() -> None:
    # Found 3 > 4 > 5 > 0; again 4 > 3 > 5 > 0: one of six pairs the other way round.
    ranks = told([around(0.4), around(0.6), around(0.7), around(0.5)]).ranks

    assert (ranks.tau, ranks.n) == (pytest.approx((5 - 1) / 6), 4)
    assert isnan(told([around(0.4), around(0.6)]).ranks.tau)


def test_the_best_is_that_of_the_highest_mean_and_the_defaults_of_equals() -> None:
    assert told([around(0.5), around(0.6), around(0.7)]).best.name == "trial 4"  # type: ignore[union-attr]
    assert told([around(0.7), around(0.6), around(0.7)]).best.name == "the defaults"  # type: ignore[union-attr]


def test_a_candidate_with_a_seed_that_diverged_is_never_the_best() -> None:
    found = told([around(0.5), [*around(0.9)[:4], NAN], around(0.6)])

    assert found.best is not None and found.best.name == "trial 4"
    assert found.candidates[1].diverged == 1 and found.candidates[1].again.num_values == 4
    assert "it diverged 1 time" in found.effects[0].sentence


def test_where_every_candidate_loses_a_seed_nothing_is_confirmed() -> None:
    found = told([[*around(0.5)[:4], NAN], [NAN, *around(0.6)[:4]]])

    assert found.best is None
    assert found.sentence == "not confirmed: with 5 fresh seeds none of 2 candidates trained through"


def test_nothing_is_called_best_before_all_is_trained() -> None:
    found = told([around(0.5), around(0.6)[:2]], is_complete=False)

    assert found.best is None
    assert found.sentence == "not confirmed yet: candidates still train; evolve confirm hunt"


def test_the_sentence_has_mean_and_students_interval() -> None:
    # Of -2, -1, 0, 1, 2 hundredths: standard deviation sqrt(2.5), t of 4 degrees 2.776: 1.963 hundredths.
    sentence = told([around(0.5), around(0.612)]).sentence

    assert sentence == "confirmed over 5 fresh seeds: 0.612 [0.592, 0.632], trial 3 of 2 candidates"


def test_five_seeds_say_the_difference_and_that_they_cannot_decide() -> None:
    (effect,) = told([around(0.5), around(0.6)]).effects

    assert (effect.mean, effect.low, effect.high) == pytest.approx((0.1, 0.1, 0.1))
    assert effect.verdict is EffectVerdict.INCONCLUSIVE_PLAN
    assert "Train more seeds: 5 cannot decide about trial 3" in effect.sentence


def test_a_better_trial_found_since_is_named() -> None:
    before = told([around(0.5), around(0.6)])
    since = told([around(0.5), around(0.6)], found=FOUND)
    searched = Searched(epochs=4, found=FOUND | {8: 0.9}, own=0)
    later = confirmed(confirming([3]), [], searched, is_complete=True)

    assert before.found_since is None and since.found_since is None
    assert later.found_since == 8
    assert "trial 8, the highest of the search, is not among them" in replace(before, found_since=8).sentence


def test_a_search_that_is_no_longer_there_leaves_what_was_trained_again() -> None:
    found = confirmed(confirming([3]), [], Searched(found={}), is_complete=True)

    assert isnan(found.mean_shrinkage) and found.ranks.n == 0 and found.searched_epochs is None


def test_what_nobody_has_confirmed_says_how_often_it_was_found() -> None:
    assert not_confirmed(16, num_seeds=1, command="evolve confirm hunt").text == (
        "not confirmed: found once among 16 trials that trained through; evolve confirm hunt"
    )
    assert not_confirmed(1, num_seeds=3, command="").text == (
        "not confirmed: found with 3 seeds among 1 trial that trained through"
    )
