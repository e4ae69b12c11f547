"""Which trials go on from their rungs, which are given up, and the rungs themselves."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from evolve.search.promotion import GOAL, Rungs
from evolve.search.samplers import DIVERGED
from evolve.search.samplers.history import PAUSED, is_paused
from evolve.study.rungs import REDUCTION

RUNGS = Rungs(epochs=9, least=1)  # after 1 and 3 epochs


def trial(number: int, *reported: float, goal: int, paused: bool = False, state: str = "RUNNING") -> FrozenTrial:
    """A trial that has reported so many epochs; one that is lost has the state LOST."""
    made = create_trial(
        state=TrialState.PRUNED if state == "LOST" else TrialState[state],
        value=reported[-1] if state == "COMPLETE" else None,
        intermediate_values=dict(enumerate(reported)),
        system_attrs={GOAL: goal, PAUSED: paused},
        constraints={DIVERGED: 1.0} if state == "LOST" else {},
    )
    made.number = number
    return made


def waiting(*fitness: float) -> list[FrozenTrial]:
    """Trials that wait at the first rung."""
    return [trial(number, value, goal=1, paused=True) for number, value in enumerate(fitness)]


def number_of(found: FrozenTrial | None) -> int | None:
    return None if found is None else found.number


@pytest.mark.parametrize(
    ("epochs", "below"),
    [(1, ()), (2, ()), (3, (1,)), (8, (2,)), (10, (3,)), (30, (3, 10)), (100, (3, 11, 33)), (400, (4, 14, 44, 133))],
)
def test_rungs_are_thirds_of_the_training_and_thirds_of_them_but_none_is_in_the_warm_up(
    epochs: int, below: tuple[int, ...]
) -> None:
    rungs = Rungs(epochs=epochs)

    assert rungs.below == below
    assert [rungs.after(rung) for rung in (0, *below)] == [*below, epochs]


def test_one_in_three_goes_on_and_only_when_three_are_there() -> None:
    assert RUNGS.promotable(waiting(0.1, 0.9)) is None
    assert number_of(RUNGS.promotable(waiting(0.1, 0.9, 0.5))) == 1
    assert number_of(RUNGS.promotable([*waiting(0.1, 0.5, 0.4), trial(3, 0.9, 0.9, goal=3)])) is None
    six = [*waiting(0.1, 0.5, 0.4, 0.2, 0.3), trial(5, 0.9, 0.9, goal=3)]
    assert number_of(RUNGS.promotable(six)) == 1


def test_a_trial_that_was_behind_goes_on_when_those_after_it_are_worse() -> None:
    early = waiting(0.5, 0.6, 0.4)
    early[1] = trial(1, 0.6, 0.6, goal=3)
    late = [trial(number, 0.1, goal=1, paused=True) for number in (3, 4, 5)]

    assert RUNGS.promotable(early) is None
    assert number_of(RUNGS.promotable([*early, *late])) == 0


def test_the_highest_rung_comes_first() -> None:
    upper = [trial(number, 0.5, 0.6, 0.1 * number, goal=3, paused=True) for number in (3, 4, 5)]

    assert number_of(RUNGS.promotable([*waiting(0.9, 0.8, 0.7), *upper])) == 5


def test_of_equals_the_earlier_goes_on() -> None:
    assert number_of(RUNGS.promotable(waiting(0.5, 0.5, 0.5))) == 0


def test_a_lost_trial_counts_as_the_worst_of_the_rung_it_was_on_its_way_to_and_never_goes_on() -> None:
    lost = trial(2, goal=1, state="LOST")  # in its first epoch
    at_rung = trial(3, 0.9, goal=1, state="LOST")  # with a loss that had grown
    later = trial(4, 0.8, 0.8, goal=3, state="LOST")

    assert number_of(RUNGS.promotable([*waiting(0.1, 0.2), lost])) == 1
    assert [each.number for each in RUNGS.ranked([*waiting(0.1, 0.2), lost, at_rung, later], 1)] == [4, 1, 0, 2, 3]
    assert [each.number for each in RUNGS.ranked([later], 3)] == [4]


def test_a_trial_that_runs_counts_only_where_it_has_been() -> None:
    runs = trial(2, 0.9, goal=1)  # nobody has judged yet whether it diverged

    assert RUNGS.ranked([runs], 1) == []
    assert RUNGS.promotable([*waiting(0.1, 0.2), runs]) is None


def test_where_none_has_trained_through_the_best_of_the_highest_rung_leads() -> None:
    upper = trial(5, 0.1, 0.1, 0.2, goal=3, paused=True)

    assert number_of(RUNGS.leader(waiting(0.1, 0.3, 0.2))) == 1
    assert number_of(RUNGS.leader([*waiting(0.9), upper])) == 5
    assert RUNGS.leader([*waiting(0.9), trial(7, *[0.5] * 9, goal=9, state="COMPLETE")]) is None
    assert RUNGS.leader([]) is None


def given(trials: Sequence[FrozenTrial], to_come: int) -> list[int]:
    return [each.number for each in RUNGS.given_up(trials, to_come=to_come)]


def test_trials_are_given_up_once_even_all_that_may_come_could_not_lift_them() -> None:
    six = waiting(0.6, 0.5, 0.4, 0.3, 0.2, 0.1)

    assert given(six, 12) == []  # six of eighteen may go on
    assert given(six, 9) == [5]
    assert given(six, 0) == [2, 3, 4, 5]
    assert given([*six, trial(6, goal=1)], 2) == [3, 4, 5]


def test_trials_of_an_upper_rung_wait_for_those_that_may_be_sent_to_it() -> None:
    upper = [trial(number, 0.9, 0.9, 0.1 * number, goal=3, paused=True) for number in (6, 7, 8)]
    through = trial(9, *[0.05] * 9, goal=9, state="COMPLETE")

    assert given([*upper, through], 0) == [7, 6]  # the first of four goes on
    assert given([*upper, through, trial(10, 0.9, goal=3), trial(11, 0.9, goal=3)], 0) == [6]


def test_the_best_that_waits_is_kept_until_one_has_trained_through() -> None:
    assert given(waiting(0.1, 0.3), 0) == [0]
    assert given([*waiting(0.1, 0.3), trial(2, goal=1, state="FAIL")], 0) == [0]


@pytest.mark.parametrize("seed", range(20))
def test_what_is_given_up_would_never_have_been_promoted(seed: int) -> None:
    rng = np.random.default_rng(seed)
    trials: list[FrozenTrial] = []
    abandoned: set[int] = set()
    budget, wasted = 30, 0
    for _ in range(1000):
        chosen = RUNGS.promotable(trials)
        if chosen is None and len(trials) < budget:
            chosen = trial(len(trials), goal=1)
            trials.append(chosen)
        elif chosen is None:
            chosen = RUNGS.leader(trials)
            if chosen is None:
                break
        else:
            wasted += chosen.number in abandoned
        goal = RUNGS.after(RUNGS.goal_of(chosen)) if is_paused(chosen) else 1
        reported = [*chosen.intermediate_values.values(), *rng.random(goal)][:goal]
        is_lost = rng.random() < 0.2
        state = "LOST" if is_lost else "COMPLETE" if goal == 9 else "RUNNING"
        trials[chosen.number] = trial(chosen.number, *reported, goal=goal, paused=state == "RUNNING", state=state)
        abandoned |= set(given(trials, budget - len(trials)))

    assert wasted == 0
    assert len(trials) == budget
    assert any(each.state is TrialState.COMPLETE for each in trials) or all(map(is_lost_, trials))
    assert {each.number for each in trials if is_paused(each)} <= abandoned


def is_lost_(each: FrozenTrial) -> bool:
    return max(each.constraints.values(), default=-inf) > 0


def test_as_many_go_on_as_the_reduction_says_where_fitness_comes_in_any_order() -> None:
    fitness = np.random.default_rng(0).permutation(81) / 81
    trials = waiting(*fitness)
    numbers = []
    while (found := RUNGS.promotable(trials)) is not None:
        numbers.append(found.number)
        trials[found.number] = trial(found.number, fitness[found.number], goal=3)

    assert len(numbers) == 81 // REDUCTION
    assert min(fitness[number] for number in numbers) == pytest.approx(54 / 81)
