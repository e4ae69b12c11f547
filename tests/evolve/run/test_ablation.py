"""An ablation from its first trial to its last: tuned, judged over every seed, killed and continued."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from evolve.ablation.runs import ArmRun
from evolve.ablation.trained import arm_runs, plan_of, variation_of
from evolve.commands.trial_table import best_line
from evolve.errors import StudyError
from evolve.run.engines import SerialEngine
from evolve.run.found import best_of
from evolve.run.runner import StudyRun
from evolve.storage.ablations import ablations, trainings_of
from evolve.storage.database import Storage
from evolve.storage.trial_rows import trial_rows
from evolve.study import Study
from evolve.study.arms import ALL_TRIALS, compared_trials
from tests.fakes import UNLUCKY_SEED, fake_study, make_fake

SEEDS = [0, 1, 2, UNLUCKY_SEED, 4, 5, 6]
PLAIN = {"one_factor": {"lr0": [0.1, 5.0]}, "seeds": SEEDS}  # beside 0.01; the last turns to NaN
LOOKS = {"arms": {"good": {"lr0": 0.03}, "mad": {"lr0": 5.0}}, "looks": [6, 10]}  # the second turns to NaN
TUNED = {
    "one_factor": {"schedule": ["cosine"]},
    "seeds": [0, 1, 2, 3, 4, 5],
    "nuisance": {"space": {"lr0": {"choices": [0.001, 0.01, 0.1]}}, "trials": 3, "seeds": 2},
}


def ablation(section: dict[str, Any], **others: object) -> Study:
    return Study.from_mapping({"name": "fake", "epochs": 2, "ablation": section} | others, origin="test")


def run(study: Study, folder: Path, *, lanes: int = 1, stop_after: int | None = None) -> bool:
    """Runs the study to its end or until it is abandoned after so many events; whether it came to its end."""
    storage = Storage(f"sqlite:///{folder}/evolve.db")
    engine = SerialEngine(partial(make_fake, study.epochs, folder), lanes=lanes)
    with closing(storage), closing(engine):
        started = StudyRun(study, storage, engine, environment_id="test")
        with storage.lease(started.study_id, study.name) as lease, closing(started.events(lease)) as events:
            for seen, _ in enumerate(events, start=1):
                if seen == stop_after:
                    return False
    return True


def stored(study: Study, folder: Path) -> tuple[Sequence[ArmRun], list[dict[str, Any]], set[tuple[int, int]]]:
    """Runs of the arms, parameters of all trials, and trial and seed of every training."""
    with closing(Storage(f"sqlite:///{folder}/evolve.db")) as storage:
        trainings = trainings_of(storage.engine, study.name)
        trials = storage.optuna.get_all_trials(storage.study_id(study.name))
    runs = arm_runs(plan_of(study)[1], trainings)
    return runs, [each.params for each in trials], {(each.trial, each.seed) for each in trainings}


def test_every_seed_of_every_arm_is_trained_and_a_diverged_one_is_counted(tmp_path: Path) -> None:
    study = ablation(PLAIN)
    run(study, tmp_path)

    runs, params, _ = stored(study, tmp_path)

    assert params == [{"lr0": 0.01}, {"lr0": 0.1}, {"lr0": 5.0}]
    assert [each.seed for each in runs] == 3 * SEEDS
    assert {each.seed for each in runs if each.outcome == "diverged" and each.arm == "lr0=0.1"} == {UNLUCKY_SEED}
    assert {each.outcome for each in runs if each.arm == "lr0=5"} == {"diverged"}
    assert sum(each.outcome == "finished" for each in runs) == 2 * (len(SEEDS) - 1)


@pytest.mark.parametrize("lanes", [1, 4])
def test_a_verdict_is_trained_after_all_tuning_with_the_best_setting_on_seeds_of_its_own(
    tmp_path: Path, lanes: int
) -> None:
    study = ablation(TUNED)
    run(study, tmp_path, lanes=lanes)

    _, params, trained = stored(study, tmp_path)

    tuned = {each["lr0"] for each in params[:6]}
    assert [each["schedule"] for each in params] == 4 * ["linear", "cosine"]
    assert all(each["lr0"] == max(tuned) for each in params[6:])  # nearest to the fake's best, 0.1
    assert {seed for trial, seed in trained if trial < 6} == {6, 7}
    assert {seed for trial, seed in trained if trial >= 6} == {0, 1, 2, 3, 4, 5}


@pytest.mark.parametrize("section", [PLAIN, TUNED, LOOKS])
def test_an_ablation_that_is_killed_again_and_again_ends_in_the_same_numbers(
    tmp_path: Path, section: dict[str, Any]
) -> None:
    study = ablation(section)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(study, whole)
    ends = [run(study, killed, stop_after=after) for after in (3, 10, 17, 31, 24)]
    run(study, killed)

    assert not any(ends)
    assert stored(study, killed) == stored(study, whole)


@pytest.mark.parametrize("lanes", [1, 3])
def test_an_arm_that_was_given_up_at_a_look_is_not_trained_further_and_its_trial_says_why(
    tmp_path: Path, lanes: int
) -> None:
    study = ablation(LOOKS)
    run(study, tmp_path, lanes=lanes)

    _, params, trained = stored(study, tmp_path)
    with closing(Storage(f"sqlite:///{tmp_path}/evolve.db")) as storage:
        last = storage.outcome(storage.optuna.get_all_trials(storage.study_id(study.name))[5]._trial_id)

    assert [each["lr0"] for each in params] == 2 * [0.01, 0.03, 5.0]
    assert {trial for trial, seed in trained if seed >= 6} == {3, 4}
    assert last is not None and last.verdict == "pruned"
    assert last.reason == "no more seeds since look 1 (6 seeds): its chance to be better at the last look is below 0.1"


def test_a_trial_that_only_tunes_is_never_the_best(tmp_path: Path) -> None:
    study = ablation(TUNED)
    run(study, tmp_path)
    with closing(Storage(f"sqlite:///{tmp_path}/evolve.db")) as storage:
        with storage.engine.begin() as connection:
            connection.execute(text("update evolve_trial set fitness = 0.99 where number = 2"))

        best = storage.best(storage.study_id(study.name))

    assert compared_trials(study.to_mapping()) == range(6, 8) and best == 6
    assert compared_trials(fake_study().to_mapping()) == compared_trials({}) == ALL_TRIALS
    assert compared_trials(ablation({**TUNED, "seeds": 16, "looks": [6, 10, 16]}).to_mapping()) == range(6, 8)


def test_a_later_look_is_never_the_best_for_its_seeds_are_not_those_of_every_arm(tmp_path: Path) -> None:
    study = ablation(LOOKS)
    run(study, tmp_path)
    with closing(Storage(f"sqlite:///{tmp_path}/evolve.db")) as storage:
        with storage.engine.begin() as connection:
            connection.execute(text("update evolve_trial set fitness = 0.99 where number = 3"))

        best = best_of(storage, study.name)
        rows = trial_rows(storage.engine, study.name)

    assert rows[0].number == 3  # its four seeds were luckier than the six of the first look
    assert best is not None and best.number == 1 and best.seeds == 6
    assert best.among == "of the first look, whose 6 seeds every arm has"
    assert best_line(rows, study.to_mapping()).startswith(f"best    trial 1, {best.among}: fitness ")


def test_what_is_not_trained_is_missing_and_what_crashed_has_failed(tmp_path: Path) -> None:
    study = ablation({"one_factor": {"lr0": [5e-5]}, "seeds": 6})  # at which the fake raises
    run(study, tmp_path)

    runs, _, _ = stored(study, tmp_path)

    assert [each.outcome for each in runs if each.arm != "baseline"] == ["failed", *5 * ["missing"]]


def finished(arm: str, values: Sequence[float]) -> list[ArmRun]:
    return [ArmRun(arm=arm, seed=seed, value=value, outcome="finished") for seed, value in enumerate(values)]


def test_the_spread_of_differences_is_pooled_over_arms_and_unknown_without_pairs() -> None:
    base = finished("baseline", [0.1, 0.2, 0.3])
    one, other = finished("one", [0.1, 0.3, 0.5]), finished("other", [0.4, 0.4, 0.4])
    lost = [ArmRun(arm="one", seed=seed, value=None, outcome="diverged") for seed in (3, 4)]

    found = variation_of([*base, *one, *other, *lost], baseline="baseline")

    assert found is not None and found.spread == pytest.approx(0.1) and found.divergence == 0.25
    alone = variation_of([*base, *one], baseline="baseline")
    assert alone is not None and alone.spread == pytest.approx(0.1) and (alone.divergence, alone.shape) == (0, ())
    assert variation_of(base, baseline="baseline") is None


def test_enough_differences_have_a_shape_as_wide_as_their_spread() -> None:
    values = [0.0] * 20 + [0.4, 0.0]
    found = variation_of([*finished("baseline", [0.0] * 22), *finished("one", values)], baseline="baseline")

    assert found is not None and len(found.shape) == 22
    assert np.std(found.shape) == pytest.approx(1) and max(found.shape) > 4


def test_ablations_are_found_among_the_stored_studies_and_others_compare_nothing(tmp_path: Path) -> None:
    search = fake_study(name="search", budget={"trials": 1})
    for study in (search, ablation(PLAIN)):
        run(study, tmp_path)

    with closing(Storage(f"sqlite:///{tmp_path}/evolve.db")) as storage:
        assert [each.name for each in ablations(storage.engine)] == ["fake"]
    with pytest.raises(StudyError, match="search: has no ablation, so it compares no arms"):
        plan_of(search)
