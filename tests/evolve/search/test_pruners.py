"""Facts about the pruners, each of which joins the contract."""

from __future__ import annotations

import optuna

from evolve.study import MEDIAN_STARTUP_TRIALS
from tests.contracts.pruners import EPOCHS, PrunerContract, finals, opened, study_with, train

optuna.logging.set_verbosity(optuna.logging.WARNING)


class TestMedian(PrunerContract):
    name = "median"


class TestAsha(PrunerContract):
    name = "asha"


class TestHyperband(PrunerContract):
    name = "hyperband"
    least_stopped = 0.5  # trials of its most patient bracket train to the end


class TestNone(PrunerContract):
    name = "none"
    least_stopped = most_stopped = 0.0


def test_the_median_stops_nothing_until_enough_trials_are_complete() -> None:
    search = opened(study_with("median"))

    stopped = [train(search, 0.9 / (number + 1)) for number in range(MEDIAN_STARTUP_TRIALS + 1)]

    assert stopped[:-1] == [None] * MEDIAN_STARTUP_TRIALS
    assert stopped[-1] is not None


def test_asha_asks_at_epochs_one_and_three_of_ten() -> None:
    search = opened(study_with("asha"))

    stopped = {train(search, final) for final in finals(40)}

    assert stopped == {None, 1, 3}


def test_brackets_of_hyperband_ask_at_different_epochs() -> None:
    search = opened(study_with("hyperband"))
    for final in finals(20):
        train(search, final)

    stopped = {train(search, 0.01) for _ in range(20)}

    assert stopped >= {1, 3}
    assert EPOCHS - 1 not in stopped
