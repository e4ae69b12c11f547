"""The sampler that screens: rows first, each change in half of them, then what they recommend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.trial import TrialState

from evolve.search.samplers import divergence_state
from evolve.study import Study
from tests.contracts.samplers import opened, tell_diverged

optuna.logging.set_verbosity(optuna.logging.WARNING)
OTHER = {"scale": 0.25, "hsv_v": 0.1, "box": 1.0, "schedule": "cosine", "nesterov": False}
OWN = {"scale": 0.5, "hsv_v": 0.4, "box": 0.5, "schedule": "linear", "nesterov": True}
WORTH = {"scale": 0.03, "hsv_v": 0.01, "box": -0.05, "schedule": 0.002, "nesterov": -0.001}
STUDY = Study.from_mapping(
    {
        "name": "screening",
        "sampler": "screening",
        "space": {name: {"choices": [OWN[name], OTHER[name]]} for name in OWN},
        "budget": {"trials": 20},  # 16 rows
    },
    origin="test",
)


def fitness(params: Mapping[str, Any]) -> float:
    return 0.4 + sum(worth for name, worth in WORTH.items() if params[name] == OTHER[name])


def asked(count: int, told: Callable[[Mapping[str, Any]], float | None] = fitness) -> list[dict[str, Any]]:
    """Parameters of the first trials; one without a fitness diverges."""
    search, found = opened(STUDY), []
    for _ in range(count):
        trial = search.ask(STUDY.space.distributions())
        found.append(trial.params)
        if (value := told(trial.params)) is None:
            tell_diverged(search, trial, divergence_state(STUDY.sampler))
        else:
            search.tell(trial, value)
    return found


def test_the_first_trial_changes_nothing_and_each_change_is_in_half_of_the_rows() -> None:
    rows = asked(16)

    assert rows[0] == OWN
    for name in OWN:
        assert Counter(row[name] for row in rows) == {OWN[name]: 8, OTHER[name]: 8}
    assert len({str(row) for row in rows}) == 16
    assert {str([row[name] == OWN[name] for name in OWN]) for row in rows} == {
        str([row[name] != OWN[name] for name in OWN]) for row in rows
    }


def test_after_the_rows_what_they_recommend_is_tried_and_nothing_twice() -> None:
    # Sums leave no luck, so that each change that is better at all is recommended.
    best = {name: OTHER[name] if worth > 0 else OWN[name] for name, worth in WORTH.items()}
    trials = asked(20)
    turned = [{name for name in OWN if trial[name] != best[name]} for trial in trials[16:]]

    assert best in trials[:17]
    # Of scale and box it is surest.
    assert all(names <= {"nesterov", "schedule", "hsv_v"} for names in turned)
    assert len({str(trial) for trial in trials}) == 20


def test_what_diverges_is_not_recommended() -> None:
    trials = asked(18, lambda params: None if params["scale"] == 0.25 else fitness(params))

    assert {trial["scale"] for trial in trials[16:]} == {0.5}


def test_a_row_whose_trial_failed_is_not_tried_again() -> None:
    search = opened(STUDY)
    first = search.ask(STUDY.space.distributions())
    search.tell(first, state=TrialState.FAIL)
    rest = [search.ask(STUDY.space.distributions()).params for _ in range(15)]

    assert first.params not in rest and len({str(params) for params in rest}) == 15


def test_where_all_points_were_tried_one_is_tried_again() -> None:
    two = STUDY.model_copy(update={"space": type(STUDY.space)({name: STUDY.space[name] for name in ("scale", "box")})})
    search = opened(two)
    for _ in range(6):
        trial = search.ask(two.space.distributions())
        search.tell(trial, fitness(OWN | trial.params))

    assert len({str(trial.params) for trial in search.trials}) == 4
    assert search.trials[-1].params == {"scale": 0.25, "box": 0.5}
