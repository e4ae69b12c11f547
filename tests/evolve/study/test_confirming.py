"""Which trials are trained again, with which seeds, and that all else stays as the search had it."""

from __future__ import annotations

from typing import Any

import pytest

from detector.plan import LARGEST_SEED
from evolve.errors import StudyError
from evolve.study import Study
from evolve.study.ablation import BASELINE
from evolve.study.confirming import (
    NOT_GIVEN,
    arm_name,
    candidates,
    check_confirmable,
    confirmation,
    fresh_seeds,
    is_same_request,
    name_of,
    trial_of,
)


def search(**changes: Any) -> Study:
    mapping = {
        "name": "hunt",
        "data": "digits-3",
        "image_size": 96,
        "epochs": 7,
        "hyperparameters": {"momentum": 0.9},
        "space": {"lr0": {"low": 0.001, "high": 1, "log": True}, "batch_size": {"choices": [8, 16]}},
        "pruner": "median",
        "budget": {"trials": 9, "seconds": 5, "trial_seconds": 50},
        "fitness": {"map50": 1, "map50_95": 0},
        "seeds": [3, 1],
    }
    return Study.from_mapping(mapping | changes, origin="test")


def confirmed(study: Study, *, seeds: tuple[int, ...] = (4, 5, 6), **changes: Any) -> Study:
    chosen = {7: {"lr0": 0.1, "batch_size": 8}, 2: {"lr0": 0.2, "batch_size": 16}}
    return confirmation(study, **{"chosen": chosen, "name": "hunt-confirm", "seeds": seeds, "epochs": 7} | changes)


def test_the_candidates_are_the_best_that_differ_from_each_other_and_from_the_studys_own_values() -> None:
    study = search()
    own = study.baseline_params()
    ranked = [(5, own), (1, {"lr0": 0.3, "batch_size": 8}), (4, {"lr0": 0.3, "batch_size": 8})]
    ranked += [(0, {"lr0": 0.4, "batch_size": 8}), (6, {"lr0": 0.5, "batch_size": 8})]

    assert list(candidates(study, ranked, top=2)) == [1, 0]
    assert list(candidates(study, ranked, top=9)) == [1, 0, 6]
    with pytest.raises(StudyError, match="study hunt: no trial but that of its own values"):
        candidates(study, ranked[:1], top=3)


def test_seeds_are_above_all_that_have_been_used() -> None:
    assert fresh_seeds({3, 1, 9}, 4) == (10, 11, 12, 13)
    with pytest.raises(StudyError, match=f"above {LARGEST_SEED}"):
        fresh_seeds({LARGEST_SEED - 2}, 3)


def test_a_confirmation_trains_as_the_search_did_and_neither_prunes_nor_stops_early() -> None:
    study, made = search(), confirmed(search())
    plan = made.arm_plan

    assert plan is not None
    assert [arm.name for arm in plan.arms] == [BASELINE, "trial 7", "trial 2"]
    assert [dict(arm.params) for arm in plan.arms] == [
        study.baseline_params(),
        {"lr0": 0.1, "batch_size": 8},
        {"lr0": 0.2, "batch_size": 16},
    ]
    assert made.seeds == plan.seeds == (4, 5, 6)
    assert (made.pruner, made.sampler, made.budget.trials) == ("none", "arms", 3)
    assert (made.budget.seconds, made.budget.trial_seconds) == (None, 50)
    for key in ("data", "image_size", "epochs", "fixed", "fitness", "nominal_batch_size", "defaults"):
        assert getattr(made, key) == getattr(study, key), key
    assert Study.from_json(made.to_json()) == made


def test_earlier_trials_are_of_the_search_alone() -> None:
    assert confirmed(search(warm_start=["before"])).warm_start == ()


def test_three_seeds_are_enough_to_confirm_though_an_ablation_of_as_many_arms_needs_seven() -> None:
    assert len(confirmed(search()).seeds) == 3
    with pytest.raises(StudyError, match="seeds: 3 seeds cannot tell 2 arms"):
        mapping = confirmed(search()).to_mapping()
        Study.from_mapping(mapping | {"ablation": mapping["ablation"] | {"confirms": ""}}, origin="test")


def test_the_same_request_has_the_same_candidates_epochs_and_number_of_seeds() -> None:
    one = confirmed(search())

    assert is_same_request(one, confirmed(search(), seeds=(7, 8, 9), name="hunt-confirm-2"))
    assert not is_same_request(one, confirmed(search(), seeds=(7, 8, 9, 10)))
    assert not is_same_request(one, confirmed(search(), epochs=8))
    assert not is_same_request(one, confirmed(search(), chosen={7: {"lr0": 0.1, "batch_size": 8}}))


def test_names_say_what_they_are_of_and_fit() -> None:
    assert (name_of("hunt", 1), name_of("hunt", 2)) == ("hunt-confirm", "hunt-confirm-2")
    assert len(name_of("h" * 100, 12)) == 100
    assert trial_of(arm_name(12)) == 12
    assert trial_of(BASELINE) is None and trial_of("trial x") is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"space": {}, "budget": {"trials": 1}}, "searches nothing"),
        ({"data": NOT_GIVEN}, "import it with --data"),
        (
            {"space": None, "budget": {}, "pruner": "none", "seeds": None, "ablation": {"arms": {"a": {"lr0": 0.3}}}},
            "compares arms",
        ),
    ],
)
def test_what_was_not_chosen_among_many_is_not_confirmed(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(StudyError, match=f"study hunt: .*{reason}"):
        check_confirmable(search(**changes))
