"""Population based training as a sampler: who goes on, who copies whom, and how values change."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from evolve.search.samplers import DIVERGED, make_sampler
from evolve.search.samplers.history import Suggestion
from evolve.study import Study
from tests.contracts.samplers import NUM_TRIALS, NUMBERS, SamplerContract, opened, run, study_with

SPACE: dict[str, Any] = {"lr0": {"low": 1e-4, "high": 1.0, "log": True}, "box": {"low": 0.0, "high": 10.0}}
LOST = None


class TestPopulation(SamplerContract):
    name = "pbt"
    space: ClassVar = NUMBERS

    def test_trials_of_a_study_differ(self) -> None:
        asked = run(self.study(), opened(self.study()), NUM_TRIALS)  # of which trial 4 diverges

        first, rest = asked[:8], asked[8:]
        assert len({str(each) for each in first}) == 8
        assert any(each not in first for each in rest)


def study_of(seed: int = 0, **pbt: Any) -> Study:
    mapping = study_with("pbt", seed=seed, space=SPACE, trials=40).to_mapping()
    return Study.from_mapping(mapping | {"pbt": {"members": 4, **pbt}}, origin="test")


def generation(study: Study, values: list[float | None], first: int = 0) -> list[FrozenTrial]:
    """Members that ended with these values, or were lost."""
    found = []
    for place, value in enumerate(values):
        trial = create_trial(
            state=TrialState.PRUNED if value is None else TrialState.COMPLETE,
            value=value,
            params={"lr0": 0.01 * (place + 1), "box": 1.0 + place},
            distributions=study.space.distributions(),
            constraints={DIVERGED: 1.0 if value is None else -1.0},
        )
        trial.number = first + place
        found.append(trial)
    return found


def asked(study: Study, values: list[float | None]) -> list[Suggestion]:
    """The second generation, after a first one that ended so."""
    sampler, trials = make_sampler(study), generation(study, values)
    return [sampler.suggestion(trials, number) for number in range(4, 8)]


def test_all_but_the_weakest_go_on_as_they_are_and_it_copies_the_strongest_with_other_values() -> None:
    found = asked(study_of(), [0.1, 0.4, 0.2, 0.3])

    assert [each.parent for each in found] == [1, 1, 2, 3]
    assert [dict(each.params) for each in found[1:]] == [{"lr0": 0.01 * n, "box": float(n)} for n in (2, 3, 4)]
    assert found[0].params != found[1].params


def test_values_of_a_copy_are_those_of_the_strong_one_times_a_factor() -> None:
    factors = {
        round(asked(study_of(seed, resample=0), [0.1, 0.4, 0.2, 0.3])[0].params["lr0"] / 0.02, 9) for seed in range(20)
    }

    assert factors == {0.8, 1.25}


def test_a_value_is_drawn_anew_as_often_as_that_is_asked_for_and_a_zero_only_so() -> None:
    anew = [asked(study_of(seed, resample=1), [0.1, 0.4, 0.2, 0.3])[0].params["lr0"] for seed in range(20)]

    assert len(set(anew)) == 20 and min(anew) < 0.01 and max(anew) > 0.1
    study = study_of(resample=0)
    trials = generation(study, [0.1, 0.4, 0.2, 0.3])
    trials[1].params = trials[1].params | {"box": 0.0}
    assert make_sampler(study).suggestion(trials, 4).params["box"] == 0.0


def test_a_factor_ends_at_the_ends_of_a_range_and_moves_a_choice_of_numbers_to_its_neighbour() -> None:
    mapping = study_of(resample=0).to_mapping()
    space = {"lr0": {"choices": [0.1, 0.2, 0.3]}, "box": {"low": 0.0, "high": 2.1}}
    neighbours, boxes = set(), set()
    for seed in range(20):
        study = Study.from_mapping(mapping | {"space": space, "seed": seed}, origin="test")
        trials = generation(study_of(), [0.1, 0.4, 0.2, 0.3])
        for trial in trials:
            trial.distributions = study.space.distributions()
            trial.params = {"lr0": 0.2, "box": 2.0}
        found = make_sampler(study).suggestion(trials, 4).params
        neighbours.add(found["lr0"])
        boxes.add(found["box"])

    assert neighbours == {0.1, 0.3}
    assert boxes == {1.6, 2.1}


def test_lost_members_are_replaced_first_and_where_there_are_enough_nobody_else_is() -> None:
    found = asked(study_of(share=0.5), [LOST, 0.4, 0.1, 0.3])
    enough = asked(study_of(), [LOST, 0.4, 0.1, 0.3])

    assert [each.parent in (1, 3) for each in found] == [True] * 4  # the weakest, 2, as well
    assert found[1].params == {"lr0": 0.02, "box": 2.0} and found[3].params == {"lr0": 0.04, "box": 4.0}
    assert [each.parent for each in enough] == [1, 1, 2, 3]


def test_the_only_one_left_is_copied_by_all() -> None:
    found = asked(study_of(), [LOST, LOST, 0.1, LOST])

    assert [each.parent for each in found] == [2] * 4
    assert len({str(each.params) for each in found}) == 4


def test_a_population_of_which_all_are_lost_begins_anew() -> None:
    found = asked(study_of(), [LOST] * 4)

    assert [each.parent for each in found] == [None] * 4
    assert len({str(each.params) for each in found}) == 4


@pytest.mark.parametrize("state", [TrialState.FAIL, TrialState.RUNNING])
def test_what_failed_or_never_ended_is_replaced(state: TrialState) -> None:
    study = study_of()
    trials = generation(study, [0.9, 0.4, 0.2, 0.3])
    trials[0].state = state

    found = make_sampler(study).suggestion(trials, 4)

    assert found.parent == 1


def test_the_exchange_looks_at_the_generation_before_alone() -> None:
    study = study_of()
    before = generation(study, [0.9, 0.9, 0.9, 0.9])
    last = generation(study, [0.1, 0.4, 0.2, 0.3], first=4)

    found = [make_sampler(study).suggestion([*before, *last], number).parent for number in range(8, 12)]

    assert found == [5, 5, 6, 7]
