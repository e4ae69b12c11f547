"""Our objective in Optuna's own loop."""

from __future__ import annotations

from math import log
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from evolve.optuna import StudyObjective
from evolve.run.lending import TrainingFailedError
from evolve.study import Study
from tests.fakes import UNLUCKY_SEED, fake_study, make_fake

optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture
def objective(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(study: Study, *, run_folder: Path, **_: object) -> Any:
        run_folder.mkdir(parents=True, exist_ok=True)
        return make_fake(study.epochs, run_folder)

    monkeypatch.setattr("evolve.run.lanes.make_objective", make)
    return lambda **changes: StudyObjective(fake_study(**changes), device="cpu", folder=tmp_path)


def test_parameters_come_from_the_studys_space_and_fitness_is_reported_after_each_epoch(objective: Any) -> None:
    study = optuna.create_study(direction="maximize")
    study.optimize(objective(space={"lr0": {"low": 0.01, "high": 0.5, "log": True}}, epochs=4), n_trials=3)

    for trial in study.trials:
        assert (
            trial.state == TrialState.COMPLETE and set(trial.params) == {"lr0"} and 0.01 <= trial.params["lr0"] <= 0.5
        )
        assert sorted(trial.intermediate_values) == [0, 1, 2, 3]
        assert trial.value == trial.intermediate_values[3]
        assert trial.user_attrs["seed 0"].split(":")[0] in ("converged", "undertrained")


def test_a_study_that_is_made_anew_takes_over_no_checkpoints_of_the_one_before_of_its_name(objective: Any) -> None:
    studies = [optuna.create_study(study_name="mine", direction="maximize") for _ in range(2)]
    trains = objective(space={"lr0": {"choices": [0.1]}}, epochs=4)
    for study in studies:
        study.optimize(trains, n_trials=1)

    assert [sorted(study.trials[0].intermediate_values) for study in studies] == [[0, 1, 2, 3]] * 2


def test_a_divergence_is_a_violated_constraint_and_never_the_best(objective: Any) -> None:
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    for lr0 in (5.0, 0.1):
        study.enqueue_trial({"lr0": lr0})
    study.optimize(objective(space={"lr0": {"choices": [5.0, 0.1]}}), n_trials=2)

    diverged = next(trial for trial in study.trials if trial.params["lr0"] == 5.0)
    assert diverged.state == TrialState.PRUNED
    # Updates are a fifth of lr0 of the weights, and in danger from a fifth on.
    assert {each.params["lr0"]: each.constraints["diverged"] for each in study.trials} == pytest.approx(
        {5.0: log(5), 0.1: log(0.1)}
    )
    assert diverged.user_attrs["seed 0"].startswith("diverged: ")
    assert study.best_trial.params["lr0"] == 0.1


@pytest.mark.parametrize("sampler", [optuna.samplers.GPSampler, optuna.samplers.CmaEsSampler])
def test_samplers_that_learn_from_complete_trials_alone_get_a_divergence_as_the_worst_of_them(
    objective: Any, sampler: type[optuna.samplers.BaseSampler]
) -> None:
    study = optuna.create_study(direction="maximize", sampler=sampler(seed=0))  # type: ignore[call-arg]
    for lr0 in (5.0, 0.1, 0.01, 5.0):
        study.enqueue_trial({"lr0": lr0})
    study.optimize(objective(space={"lr0": {"low": 0.01, "high": 10.0, "log": True}}), n_trials=4)

    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}
    first, good, worst, last = (trial.value for trial in study.trials)
    assert first == 0.0 and good > worst == last
    assert [trial.constraints["diverged"] > 0 for trial in study.trials] == [True, False, False, True]


def test_a_later_seed_that_diverges_makes_the_trial_diverged(objective: Any) -> None:
    study = optuna.create_study(direction="maximize")
    study.optimize(objective(space={"lr0": {"choices": [0.1]}}, seeds=[0, UNLUCKY_SEED]), n_trials=1)

    assert study.trials[0].constraints["diverged"] > 0


def test_the_pruner_stops_a_trial_that_is_behind(objective: Any) -> None:
    pruner = optuna.pruners.ThresholdPruner(lower=0.2)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    study.enqueue_trial({"lr0": 0.001})
    study.optimize(objective(space={"lr0": {"low": 1e-3, "high": 1.0, "log": True}}), n_trials=1)

    assert study.trials[0].state == TrialState.PRUNED and list(study.trials[0].intermediate_values) == [0]
    assert study.trials[0].constraints["diverged"] < 0


def test_a_training_that_raises_fails_the_trial_with_its_traceback(objective: Any) -> None:
    study = optuna.create_study(direction="maximize")
    with pytest.raises(TrainingFailedError, match=r"(?s)lr0 5e-05 breaks this network.*in misbehave"):
        study.optimize(objective(space={"lr0": {"choices": [5e-5]}}), n_trials=1)

    assert study.trials[0].state == TrialState.FAIL


def test_a_study_that_minimises_is_refused(objective: Any) -> None:
    with pytest.raises(ValueError, match="direction='maximize'"):
        optuna.create_study().optimize(objective(), n_trials=1)
