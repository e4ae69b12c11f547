"""Facts about the pruners, each of which joins the contract."""

from __future__ import annotations

import optuna

from evolve.search.pruners import DOOMED, FORETOLD
from evolve.study import MEDIAN_STARTUP_TRIALS
from tests.contracts.pruners import EPOCHS, PrunerContract, asked, finals, opened, study_with, train

optuna.logging.set_verbosity(optuna.logging.WARNING)


class TestMedian(PrunerContract):
    name = "median"


class TestAsha(PrunerContract):
    name = "asha"


class TestPromotion(PrunerContract):
    name = "promotion"
    least_stopped = most_stopped = 0.0  # it pauses trials: tests/evolve/search/test_promotion.py


class TestHyperband(PrunerContract):
    name = "hyperband"
    least_stopped = 0.5  # trials of its most patient bracket train to the end


class TestDoomed(PrunerContract):
    name = "doomed"
    least_stopped = most_stopped = 0.0  # a low fitness alone foretells nothing


class TestDoomedAndMedian(PrunerContract):
    name = "doomed+median"


class TestNone(PrunerContract):
    name = "none"
    least_stopped = most_stopped = 0.0


def test_the_median_stops_nothing_until_enough_trials_are_complete() -> None:
    search = opened(study_with("median"))

    stopped = [train(search, 0.9 / (number + 1)) for number in range(MEDIAN_STARTUP_TRIALS + 1)]

    assert stopped[:-1] == [None] * MEDIAN_STARTUP_TRIALS
    assert stopped[-1] is not None


def test_asha_asks_after_two_and_four_of_ten_epochs() -> None:
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


def foretold(search: optuna.Study, fitness: float, reason: str, epoch: int = 2) -> optuna.Trial:
    """A trial whose steps foretell something after an epoch."""
    trial = search.ask()
    trial.report(fitness, epoch)
    search._storage.set_trial_system_attr(trial._trial_id, FORETOLD, reason)
    return trial


def test_what_its_steps_foretell_stops_a_trial_and_says_why() -> None:
    search = opened(study_with("doomed"))

    decision = asked(search, foretold(search, 0.1, "update 3 above 0.2 at step 7"))

    assert decision.is_pruned and decision.attributes == {DOOMED: "update 3 above 0.2 at step 7"}
    assert not asked(search, foretold(search, 0.1, "")).is_pruned
    assert not asked(search, foretold(search, 0.1, "update 3", epoch=EPOCHS - 1)).is_pruned


def test_one_of_the_best_quarter_is_spared_whatever_its_steps_foretell() -> None:
    search = opened(study_with("doomed"))
    for final in (0.1, 0.2, 0.3, 0.4):
        train(search, 10 * final / 3)  # after the third epoch it has a tenth of that for each of three

    spared, stopped = foretold(search, 0.35, "rise 9 above 2"), foretold(search, 0.25, "rise 9 above 2")

    assert not asked(search, spared).is_pruned
    assert asked(search, stopped).is_pruned


def test_one_that_does_better_than_ever_before_is_spared_and_one_that_does_not_is_not() -> None:
    search = opened(study_with("doomed"))
    for final in finals(4):
        train(search, final)
    learning, level = (foretold(search, 0.01, "rise 9 above 2", epoch=1) for _ in range(2))
    learning.report(0.02, 2)
    level.report(0.01, 2)

    assert not asked(search, learning).is_pruned
    assert asked(search, level).is_pruned


def test_doomed_and_then_median_says_which_of_the_two_stopped_a_trial() -> None:
    search = opened(study_with("doomed+median"))
    for final in finals(MEDIAN_STARTUP_TRIALS + 3):
        train(search, final)

    doomed, behind = foretold(search, 0.01, "stuck 0.9 above 0.8"), foretold(search, 0.01, "")

    assert asked(search, doomed).attributes == {DOOMED: "stuck 0.9 above 0.8"}
    assert asked(search, behind).is_pruned and not asked(search, behind).attributes
