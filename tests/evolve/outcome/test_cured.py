"""Shares with exact intervals, and which trial of a study of cures is to cure which."""

from __future__ import annotations

import pytest

from evolve.outcome.cured import cure_numbers, cured_share, decision_key, exact_interval, is_cured, share_text


@pytest.mark.parametrize(
    ("count", "whole", "low", "high"),
    # Of none and of all the ends have closed forms; 8 of 10 is of Clopper and Pearson's chart, here to four digits.
    [(0, 10, 0.0, 1 - 0.025**0.1), (10, 10, 0.025**0.1, 1.0), (8, 10, 0.4439, 0.9748), (0, 0, 0.0, 1.0)],
)
def test_an_interval_is_exact(count: int, whole: int, low: float, high: float) -> None:
    assert exact_interval(count, whole) == pytest.approx((low, high), abs=5e-5)


def test_more_than_all_have_no_interval() -> None:
    with pytest.raises(ValueError, match=r"11 is outside 0\.\.10"):
        exact_interval(11, 10)


def test_a_share_is_told_with_its_interval() -> None:
    assert share_text(9, 10) == "9 of 10 (90%, 95% interval 55% to 100%)"
    assert share_text(0, 0) == "0 of 0"


def test_trained_through_is_cured_and_what_has_not_ended_does_not_count() -> None:
    assert [is_cured(verdict) for verdict in ("undertrained", "diverged", "failed", "running")] == [
        True,
        False,
        None,
        None,
    ]
    assert cured_share(["converged", "worsened", "diverged", "waiting"]) == (2, 3)


def test_decisions_say_which_trial_cures_which() -> None:
    decisions = {"model": "small", decision_key(4): "lower lr0", decision_key(11): "set coding", "trial.x": ""}

    assert cure_numbers(decisions) == {4: 0, 11: 1}
