"""Facts about the samplers, each of which joins the contract."""

from __future__ import annotations

from collections import Counter
from math import log10
from typing import ClassVar

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from evolve.errors import StudyError
from evolve.search.samplers import DIVERGED, STANDARD_ERROR, divergence_state, make_sampler, trial_seed
from evolve.search.samplers.adaptive import all_valued
from evolve.search.samplers.cma_es import CmaEs, _ranked
from evolve.search.samplers.history import History, has_diverged
from evolve.search.samplers.told import told
from evolve.search.samplers.unit_cube import from_unit, to_unit
from evolve.study import Study
from tests.contracts.samplers import (
    NUM_TRIALS,
    NUMBERS,
    SPACE,
    SamplerContract,
    fitness,
    opened,
    run,
    study_with,
    tell_diverged,
)

optuna.logging.set_verbosity(optuna.logging.WARNING)


class TestGrid(SamplerContract):
    name = "grid"


class TestRandom(SamplerContract):
    name = "random"


class TestQmc(SamplerContract):
    name = "qmc"


class TestTpe(SamplerContract):
    name = "tpe"


class TestGp(SamplerContract):
    name = "gp"


class TestCmaEs(SamplerContract):
    name = "cmaes"
    space: ClassVar = NUMBERS


class TestEvolution(SamplerContract):
    name = "evolution"


class TestClassic(SamplerContract):
    name = "classic"
    space: ClassVar = NUMBERS

    def test_trials_of_a_study_differ(self) -> None:
        asked = run(self.study(), opened(self.study()), NUM_TRIALS)

        # At a bound it repeats itself, which is a fault of the rule that is kept.
        assert NUM_TRIALS / 2 < len({str(each) for each in asked}) < NUM_TRIALS


@pytest.mark.slow  # half a second an ask
class TestGuided(SamplerContract):
    name = "guided"


class TestScreening(SamplerContract):
    name = "screening"

    def study(self, *, seed: int = 1) -> Study:
        """Four changes in eight trials, and four trials of what these recommend."""
        space = {
            "lr0": {"choices": [0.01, 0.1]},
            "momentum": {"choices": [0.9, 0.95]},
            "schedule": {"choices": ["linear", "cosine"]},
            "nesterov": {"choices": [True, False]},
        }
        own = {"momentum": 0.9}
        return Study.model_validate(
            {"name": "contract", "sampler": self.name, "seed": seed, "space": space, "hyperparameters": own}
            | {"budget": {"trials": NUM_TRIALS}}
        )

    def test_a_baseline_outside_the_space_is_no_error(self) -> None:
        search = opened(self.study())
        search.enqueue_trial({"lr0": 100.0, "momentum": 0.937, "schedule": "linear", "nesterov": True})

        with pytest.raises(ValueError, match=r"'100.0' not in \(0.01, 0.1\)"):  # Optuna's own answer
            run(self.study(), search, 1)


class TestArms(SamplerContract):
    name = "arms"

    def study(self, *, seed: int = 1) -> Study:
        """Three arms whose other two hyperparameters are tuned by three trials each, then three verdicts: 12 trials."""
        nuisance = {"space": NUMBERS, "trials": 3}
        return Study.model_validate(
            {"name": "contract", "seed": seed, "ablation": {"one_factor": SCHEDULES, "nuisance": nuisance}}
        )

    def test_trials_of_a_study_differ(self) -> None:
        asked = run(self.study(), opened(self.study()), NUM_TRIALS)

        assert len({str(each) for each in asked[:9]}) == 9

    def test_each_arm_is_tuned_on_the_same_settings_and_judged_with_its_own_best(self) -> None:
        asked = run(self.study(), opened(self.study()), NUM_TRIALS)  # of which trials 4 and 9 diverge

        settings = [[(each["lr0"], each["momentum"]) for each in asked[place:9:3]] for place in range(3)]
        assert settings[0] == settings[1] == settings[2] and len(set(settings[0])) == 3
        for place in range(3):
            tuned = [number for number in range(place, 9, 3) if number != 4]
            assert asked[9 + place] == asked[max(tuned, key=lambda number: fitness(asked[number]))]

    @pytest.mark.parametrize("trials", [1, 2, 3, 5, 7])
    def test_a_nuisance_is_tried_once_in_each_of_equal_parts_of_its_range(self, trials: int) -> None:
        nuisance = {"space": NUMBERS, "trials": trials}
        study = Study.model_validate({"name": "n", "ablation": {"one_factor": SCHEDULES, "nuisance": nuisance}})
        asked = run(study, opened(study), 3 * trials)[::3]

        points = [to_unit(study.space.distributions(), each)[-2:] for each in asked]
        for column in zip(*points, strict=True):
            assert sorted(int(part * trials) for part in column) == [*range(trials)]

    def test_a_setting_that_was_laid_out_otherwise_is_kept_for_the_other_arms_and_for_the_verdict(self) -> None:
        study = self.study()
        search, sampler = opened(study), make_sampler(study)
        given = {**sampler.params([], 0), "lr0": 0.0123}
        search.add_trial(optuna.trial.create_trial(value=9.0, params=given, distributions=study.space.distributions()))

        assert sampler.params(search.trials, 1)["lr0"] == 0.0123
        assert sampler.params(search.trials, 3)["lr0"] != 0.0123
        assert sampler.params(search.trials, 9)["lr0"] == 0.0123


SCHEDULES = {"schedule": ["cosine", "steps"]}
EDGE = {"lr0": {"low": 1e-4, "high": 10, "log": True}, "momentum": {"low": 0.5, "high": 0.99}}


def share_of_diverging_asks(sampler: str, seed: int, *, first: int = 15, last: int = 30) -> float:
    """Share of the asks from one trial to another with lr0 above 0.1, where everything diverges.

    Right below the edge it is best; that half of the space diverges leaves a random search half its trials.
    """
    study = study_with(sampler, seed=seed, space=EDGE)
    search = opened(study)
    asked = []
    for _ in range(last):
        trial = search.ask(study.space.distributions())
        asked.append(trial.params["lr0"])
        if trial.params["lr0"] > 0.1:
            tell_diverged(search, trial, divergence_state(sampler))
        else:
            search.tell(trial, 0.9 - 0.1 * (log10(trial.params["lr0"]) + 2) ** 2)
    return float(sum(each > 0.1 for each in asked[first:]) / (last - first))


@pytest.mark.parametrize(
    ("sampler", "num_seeds", "most"),
    [("tpe", 6, 0.75), ("gp", 1, 0.25), ("cmaes", 6, 0.75), ("evolution", 6, 0.75)],
)
def test_a_sampler_that_learns_leaves_the_region_where_all_trials_diverge(
    sampler: str, num_seeds: int, most: float
) -> None:
    learned = [share_of_diverging_asks(sampler, seed) for seed in range(num_seeds)]
    by_chance = [share_of_diverging_asks("random", seed) for seed in range(6)]

    assert sum(learned) / num_seeds < most * sum(by_chance) / 6


def test_a_gaussian_process_learns_from_diverged_trials_told_as_pruned_too() -> None:
    study = study_with("gp", space=EDGE)
    told = {}
    for how in [(TrialState.PRUNED, None), (TrialState.COMPLETE, 0.0)]:
        search = opened(study)
        for _ in range(12):
            trial = search.ask(study.space.distributions())
            if trial.params["lr0"] > 0.1:
                tell_diverged(search, trial, how)
            else:
                search.tell(trial, 0.5)
        told[how] = search.ask(study.space.distributions()).params

    assert told[(TrialState.PRUNED, None)] == told[(TrialState.COMPLETE, 0.0)]


def test_a_gaussian_process_is_shown_a_constraint_on_every_trial_or_on_none() -> None:
    study = study_with("gp", space=EDGE)
    search = opened(study)
    constraints = []
    for value in (0.5, None, None):
        trial = search.ask(study.space.distributions())
        if value is None:
            tell_diverged(search, trial, (TrialState.PRUNED, None))
        else:
            search.tell(trial, value)
        history = History(study.space.distributions()).before(9, search.get_trials())
        constraints.append([each.constraints for each in all_valued(history)])
    only_diverged = [each.constraints for each in all_valued(history[1:])]

    assert constraints[0] == [{}]
    assert constraints[2] == [{DIVERGED: -1.0}, {DIVERGED: 1.0}, {DIVERGED: 1.0}]
    assert only_diverged == [{}, {}]


def test_divergence_state_is_what_each_sampler_learns_from() -> None:
    assert divergence_state("tpe") == (TrialState.PRUNED, None)
    assert divergence_state("gp") == (TrialState.COMPLETE, 0.0)
    with pytest.raises(StudyError, match="unknown sampler 'tep'; did you mean 'tpe'"):
        divergence_state("tep")


def test_a_grid_visits_every_point_once_before_any_twice() -> None:
    study = study_with("grid", trials=24)
    num_points = 1
    for values in study.grid().values():
        num_points *= len(values)

    asked = run(study, opened(study), num_points + 3)

    times = Counter(str(sorted(each.items())) for each in asked)
    assert len(times) == num_points == 24
    assert sorted(times.values()) == [1] * (num_points - 3) + [2] * 3


def test_a_grid_skips_the_point_that_the_baseline_already_was() -> None:
    study = study_with("grid", space={"schedule": SPACE["schedule"]}, trials=3)
    search = opened(study)
    search.enqueue_trial({"schedule": "cosine"})

    asked = [search.ask(study.space.distributions()).params["schedule"] for _ in range(3)]

    assert asked[0] == "cosine"
    assert sorted(asked) == ["cosine", "linear", "steps"]


def test_a_quasi_random_point_depends_on_the_number_alone() -> None:
    study = study_with("qmc")
    asked = run(study, opened(study), 6)
    search = opened(study)
    for _ in range(5):
        search.tell(search.ask(), state=TrialState.FAIL)

    assert search.ask(study.space.distributions()).params == asked[5]


def test_sixteen_quasi_random_points_fill_sixteen_equal_parts_of_each_range() -> None:
    study = study_with("qmc", space=EDGE, trials=16)

    asked = run(study, opened(study), 16)

    parts = {int((log10(each["lr0"]) + 4) / 5 * 16) for each in asked}
    assert parts == set(range(16))


def test_cma_es_moves_to_the_optimum_and_narrows() -> None:
    study = study_with("cmaes", space=EDGE)
    search = opened(study)
    distances = []
    for _ in range(60):
        trial = search.ask(study.space.distributions())
        distance = abs(log10(trial.params["lr0"]) + 3) + abs(trial.params["momentum"] - 0.9)
        distances.append(distance)
        search.tell(trial, max(0.0, 1 - 0.2 * distance))

    assert sum(distances[-10:]) < 0.5 * sum(distances[:10])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)), max_size=40))
def test_cma_es_bears_with_any_history(points: list[tuple[float, float, float]]) -> None:
    space: dict[str, BaseDistribution] = {"a": FloatDistribution(1e-3, 10, log=True), "b": FloatDistribution(0, 1)}
    history = [
        create_trial(value=fitness, params=from_unit(space, point), distributions=space) for *point, fitness in points
    ]

    params = CmaEs(distributions=space, study_seed=0)(history, len(history))

    assert 1e-3 <= params["a"] <= 10
    assert 0 <= params["b"] <= 1


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 2))
def test_the_unit_cube_and_the_parameters_are_one(log_part: float, part: float, choice: int) -> None:
    space = {
        "log": FloatDistribution(1e-4, 10, log=True),
        "linear": FloatDistribution(-1, 3),
        "choice": CategoricalDistribution(["a", "b", "c"]),
    }

    params = from_unit(space, [log_part, part, (choice + 0.5) / 3])

    assert params["choice"] == "abc"[choice]
    assert to_unit(space, params) == pytest.approx([log_part, part, (choice + 0.5) / 3], abs=1e-9)


def test_trial_seeds_of_neighbours_have_nothing_in_common() -> None:
    seeds = {trial_seed(study_seed, number) for study_seed in range(30) for number in range(100)}

    assert len(seeds) == 3000
    assert max(seeds) < 2**32


def test_a_value_that_is_not_finite_counts_as_diverged() -> None:
    space: dict[str, BaseDistribution] = {"a": FloatDistribution(0, 1)}
    trial = create_trial(value=float("inf"), params={"a": 0.5}, distributions=space)
    trial.number = 0

    history = History(space).before(1, [trial])

    assert has_diverged(history[0])


def test_margins_and_errors_of_trials_reach_samplers_that_see_them_moved_into_the_space() -> None:
    wide: dict[str, BaseDistribution] = {"a": FloatDistribution(0, 9)}
    trial = create_trial(
        value=0.5,
        params={"a": 5.0},
        distributions=wide,
        constraints={DIVERGED: -2.5},
        system_attrs={STANDARD_ERROR: 0.01, "another": 1},
    )
    trial.number = 0

    (seen,) = History({"a": FloatDistribution(0, 1)}).before(1, [trial])

    assert seen.params == {"a": 1.0}
    assert [(each.margin, each.standard_error) for each in told([seen])] == [(-2.5, 0.01)]


def test_cma_es_ranks_what_diverged_behind_all_others_by_how_far_it_did() -> None:
    space: dict[str, BaseDistribution] = {"a": FloatDistribution(0, 1)}
    history = [
        create_trial(value=value, params={"a": 0.5}, distributions=space, constraints={DIVERGED: margin})
        for value, margin in ((0.0, 2.0), (0.4, -1.0), (0.9, 0.2), (0.7, -3.0))
    ]

    ranked = _ranked(history)

    assert sorted(range(4), key=lambda place: -ranked[place][2]) == [3, 1, 2, 0]


def test_nothing_is_left_in_the_study_but_what_optuna_needs() -> None:
    study = study_with("tpe")
    search = opened(study)

    run(study, search, 12)

    assert search._storage.get_study_system_attrs(search._study_id) == {}
    assert {key for each in search.trials for key in each.system_attrs} == {f"constraints:{DIVERGED}"}


def test_asking_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    study = study_with("tpe")
    search = opened(study)
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.INFO)

    search.ask(study.space.distributions())

    assert capsys.readouterr().err == ""
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
    optuna.logging.set_verbosity(verbosity)
