"""The search that a belief and two Gaussian processes guide."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from math import log10
from typing import Any

import optuna
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from evolve.errors import StudyError
from evolve.search.samplers import DIVERGED, STANDARD_ERROR, make_sampler
from evolve.search.samplers.believed import Around, Even, Likely, believed
from evolve.search.samplers.columns import Columns
from evolve.search.samplers.guided import NUM_DRAWN, Guided, _seen
from evolve.search.samplers.told import told
from evolve.study import Study
from evolve.study.parameters import Choices, Prior, Range
from tests.contracts.samplers import opened
from tests.places import ROOT
from tests.processes import environment

optuna.logging.set_verbosity(optuna.logging.WARNING)
LR0 = {"low": 1e-4, "high": 10, "log": True}
EDGE = 0.3  # of lr0, from which on everything diverges


def study(prior: dict[str, Any] | None = None, *, seed: int = 0, trials: int = 30) -> Study:
    lr0 = LR0 if prior is None else LR0 | {"prior": prior}
    space = {"lr0": lr0, "momentum": {"low": 0.5, "high": 0.98}}
    return Study.model_validate(
        {"name": "guided", "sampler": "guided", "seed": seed, "space": space, "budget": {"trials": trials}}
    )


def search(of: Study, num_trials: int, *, storage: Any = None) -> list[dict[str, Any]]:
    """Parameters of trials whose fitness is best at lr0 0.1 and momentum 0.8, and that diverge from 0.3 on."""
    asked, tells = opened(of, storage), []
    for _ in range(num_trials):
        trial = asked.ask(of.space.distributions())
        tells.append(trial.params)
        lr0, momentum = trial.params["lr0"], trial.params["momentum"]
        trial.set_constraint(DIVERGED, log10(lr0 / EDGE) or 0.01)
        if lr0 >= EDGE:
            asked.tell(trial, state=TrialState.PRUNED)
        else:
            asked.tell(trial, max(0.0, 0.9 - 0.2 * (log10(lr0) + 1) ** 2 - (momentum - 0.8) ** 2))
    return tells


def test_trial_0_is_the_defaults_moved_into_the_space() -> None:
    narrow = Study.model_validate(
        {
            "name": "guided",
            "sampler": "guided",
            "space": {"lr0": LR0, "momentum": {"low": 0.5, "high": 0.9}, "schedule": {"choices": ["cosine", "steps"]}},
            "budget": {"trials": 3},
            "hyperparameters": {"lr0": 0.02},
        }
    )

    assert dict(Guided.of(narrow)([], 0)) == {"lr0": 0.02, "momentum": 0.9, "schedule": "cosine"}


def test_the_next_trials_are_drawn_from_the_prior() -> None:
    drawn = {
        confidence: [
            abs(log10(Guided.of(study({"centre": 1.0, "confidence": confidence}, seed=seed))([], number)["lr0"]))
            for seed in range(10)
            for number in range(1, NUM_DRAWN + 1)
        ]
        for confidence in ("low", "medium", "high")
    }

    # Decades from the centre, one decade being a fifth of the range.
    means = {confidence: sum(away) / len(away) for confidence, away in drawn.items()}
    assert means["high"] < means["medium"] < means["low"]
    assert means["high"] < 0.125 * 5
    assert all(len(set(away)) == len(away) for away in drawn.values())


def test_it_finds_the_optimum_beside_the_edge_and_hardly_crosses_it() -> None:
    asked = search(study(), 14)

    assert min(abs(log10(each["lr0"]) + 1) for each in asked) < 0.15
    assert sum(each["lr0"] >= EDGE for each in asked[9:]) <= 1


def test_a_prior_draws_the_search_at_first_and_a_wrong_one_is_given_up() -> None:
    right = search(study({"centre": 0.1, "confidence": "high"}), NUM_DRAWN + 1)
    wrong = search(study({"centre": 0.001, "confidence": "high"}), 13)

    assert min(abs(log10(each["lr0"]) + 1) for each in right[1:]) < 0.3
    assert min(abs(log10(each["lr0"]) + 1) for each in wrong[1:]) < 0.3


def test_what_runs_is_not_tried_again() -> None:
    of = study()
    asked = opened(of)
    for _ in range(6):
        trial = asked.ask(of.space.distributions())
        trial.set_constraint(DIVERGED, -1.0)
        asked.tell(trial, 0.9 - abs(log10(trial.params["lr0"]) + 1) / 10)
    running = [asked.ask(of.space.distributions()).params for _ in range(4)]

    places = [(log10(each["lr0"]) / 5, each["momentum"] / 0.48) for each in running]
    assert all(
        max(abs(a - b) for a, b in zip(one, other, strict=True)) > 1e-3
        for place, one in enumerate(places)
        for other in places[:place]
    )


def test_asking_leaves_torchs_generator_and_threads_as_they_were() -> None:
    of = study()
    asked = opened(of)
    for _ in range(7):
        asked.tell(asked.ask(of.space.distributions()), 0.5)
    torch.manual_seed(3)
    threads, expected = torch.get_num_threads(), torch.random.get_rng_state()

    make_sampler(of).params(asked.get_trials(), 7)

    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), expected)


def test_noise_is_given_where_several_seeds_tell_it_and_is_that_of_all_trials_together() -> None:
    of = study()
    asked = opened(of)
    for error in (0.01, 0.03, None):
        trial = asked.ask(of.space.distributions())
        if error is not None:
            asked._storage.set_trial_system_attr(trial._trial_id, STANDARD_ERROR, error)
        asked.tell(trial, 0.5)
    trials = asked.get_trials()

    columns = Columns(of.space.distributions())

    assert _seen(told(trials), [], columns).variance == pytest.approx((0.01**2 + 0.03**2) / 2)
    assert _seen(told(trials[2:]), [], columns).variance is None


def test_without_botorch_a_study_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("evolve.search.samplers.guided.find_spec", lambda name: None)

    with pytest.raises(StudyError, match=r"'guided' needs botorch, .*: pip install '\.\[guided\]'"):
        make_sampler(study())


def test_samplers_are_imported_without_torch() -> None:
    code = "import sys; import evolve.search.samplers; print([name in sys.modules for name in ('torch', 'botorch')])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment())

    assert ran.stdout.strip() == "[False, False]", ran.stderr


def test_defaults_outside_the_space_are_no_prior_and_a_persons_word_is_above_them() -> None:
    axis = Range(low=1e-4, high=1.0, log=True)
    stated = Range(low=1e-4, high=1.0, log=True, prior=Prior(centre=0.1, confidence="medium"))
    distribution = axis.distribution()

    assert believed(axis, distribution, 5.0) == Even()
    assert believed(axis, distribution, 0.01) == Around(centre=pytest.approx(0.5), spread=0.5)
    assert believed(stated, distribution, 0.01) == Around(centre=pytest.approx(0.75), spread=0.25)


def test_a_believed_choice_is_likelier_than_the_others() -> None:
    axis = Choices(choices=("linear", "cosine", "steps"), prior=Prior(centre="cosine", confidence="medium"))

    found = believed(axis, axis.distribution(), "linear")

    assert isinstance(found, Likely)
    assert found.chances == pytest.approx((1 / 6, 2 / 3, 1 / 6))
    assert [found.quantile(part) for part in (0.1, 0.5, 0.9)] == pytest.approx([1 / 6, 1 / 2, 5 / 6])


@given(centre=st.floats(0, 1), spread=st.sampled_from([0.125, 0.25, 0.5]), parts=st.tuples(*[st.floats(0, 1)] * 2))
def test_quantiles_of_a_belief_rise_and_stay_in_the_range(
    centre: float, spread: float, parts: tuple[float, float]
) -> None:
    low, high = (Around(centre=centre, spread=spread).quantile(part) for part in sorted(parts))

    assert 0 <= low <= high <= 1


@given(st.floats(1e-4, 10), st.sampled_from(["a", "b", "c"]), st.sampled_from([True, False]))
def test_columns_and_parameters_are_one(number: float, letter: str, flag: bool) -> None:
    space: dict[str, BaseDistribution] = {
        "letter": CategoricalDistribution(["a", "b", "c"]),
        "number": FloatDistribution(1e-4, 10, log=True),
        "flag": CategoricalDistribution([True, False]),
    }
    columns = Columns(space)

    encoded = columns.encoded({"letter": letter, "number": number, "flag": flag})

    assert sorted(encoded[1:4]) == [0.0, 0.0, 1.0] and sorted(encoded[4:]) == [0.0, 1.0]
    assert columns.decoded(encoded) == {"letter": letter, "number": pytest.approx(number), "flag": flag}


def test_a_stopped_search_goes_on_as_if_it_had_not_been_stopped() -> None:
    of, storage = study(), optuna.storages.InMemoryStorage()
    whole = search(of, 8)

    first, second = (search(of, 4, storage=storage) for _ in range(2))

    assert first + second == whole
