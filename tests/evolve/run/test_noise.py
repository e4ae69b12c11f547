"""A study of noise from its trainings to what is said of others: shares, a floor, and nothing where one is missing."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from dashboards.blocks import Empty, Table
from dashboards.data.study_loading import load
from dashboards.data.trial import single_trial
from dashboards.panels import NOISE, panels_of
from dashboards.questions import noise as panel
from evolve.ablation.crossed import noise_found
from evolve.ablation.noise import noise_shares
from evolve.ablation.trained import Trained
from evolve.errors import StudyError
from evolve.run.detection import open_study_data
from evolve.run.lanes import DetectionObjective
from evolve.storage.ablations import trainings_of
from evolve.storage.database import Storage
from evolve.storage.noise import known_noise
from evolve.storage.opening import open_engine
from evolve.study import Study
from evolve.study.trial import Trial
from tests.evolve.run.test_ablation import ablation, run
from tests.fakes import fake_study
from tests.processes import evolve


def crossing(**changes: object) -> Study:
    return Study.from_mapping({"name": "fake", "epochs": 2, "noise": changes}, origin="test")


def trainings(values: np.ndarray) -> list[Trained]:
    """As a study of three sources stores them, from values by initialisation, order and split."""
    return [
        Trained(trial=split, seed=first + 3 * order, verdict="converged", fitness=float(value))
        for (first, order, split), value in np.ndenumerate(values)
    ]


VALUES = np.random.default_rng(0).normal(0.5, 0.02, (3, 3, 3))


def test_shares_are_those_of_the_trainings_by_what_they_were_seeded_with() -> None:
    found = noise_found(crossing(), trainings(VALUES))

    assert found.shares == noise_shares(VALUES) and not found.reason


@pytest.mark.parametrize(("verdict", "said"), [("diverged", "1 diverged"), ("failed", "1 failed"), ("", "1 missing")])
def test_one_training_without_a_value_leaves_no_shares(verdict: str, said: str) -> None:
    every = trainings(VALUES)
    lost = [Trained(trial=2, seed=8, verdict=verdict, fitness=None)] if verdict else []

    found = noise_found(crossing(), [each for each in every if (each.trial, each.seed) != (2, 8)] + lost)

    assert found.shares is None and found.reason == f"of 27 trainings {said}; shares need every one"


def test_a_source_that_changes_nothing_is_named_and_left_out_and_one_alone_has_no_share() -> None:
    same_split = np.repeat(VALUES[:, :, :1], 3, axis=2)

    found = noise_found(crossing(), trainings(same_split))
    alone = noise_found(crossing(), trainings(np.repeat(same_split[:, :1], 3, axis=1)))

    assert found.shares == noise_shares(VALUES[:, :, 0], ("initialisation", "order"))
    assert found.reason.startswith("split changed nothing") and "order and split changed nothing" in alone.reason
    assert alone.shares is None


def test_a_crossed_run_is_trained_resumed_drawn_and_known_to_others_on_the_same_data(tmp_path: Path) -> None:
    study, url = crossing(), f"sqlite:///{tmp_path}/evolve.db"
    assert not run(study, tmp_path, stop_after=40)
    run(study, tmp_path)

    view = load(open_engine(url), "fake")
    blocks = panel.PANEL.draw(view)
    with closing(Storage(url)) as storage:
        known = known_noise(storage.engine, ablation({"one_factor": {"lr0": [0.1]}}))
        other = known_noise(storage.engine, fake_study(data="digits-3"))
        ended = trainings_of(storage.engine, "fake")

    assert {(each.trial, each.seed) for each in ended} == {(trial, seed) for trial in range(3) for seed in range(9)}
    assert known is not None and known.shares is not None and known.study == study and other is None
    assert known.basis == "study fake, 9 trainings of 2 epochs"  # the fake knows no split
    assert panels_of("/study", view) == NOISE and single_trial(view) is None
    assert [block.name for block in blocks if isinstance(block, Table)] == ["noise"]


def test_the_command_says_shares_and_floor_and_show_says_the_floor_and_no_best(tmp_path: Path) -> None:
    run(crossing(), tmp_path)
    place = ("--storage", f"sqlite:///{tmp_path}/evolve.db")

    said = evolve(tmp_path, "noise", "fake", *place).stdout
    machine = json.loads(evolve(tmp_path, "noise", "fake", "--json", *place).stdout)
    shown = evolve(tmp_path, "show", "fake", *place).stdout

    floor = f"two single trainings that differ by less than {machine['noise']['floor']:.3f} cannot be told apart"
    assert f"noise   {floor}" in said and f"noise   {floor}" in shown
    assert "initialisation" in said and said.splitlines()[-1] == f"next    evolve report fake {' '.join(place)}"
    assert "\nbest " not in shown and "\nproof " not in shown
    assert machine["sources"] == ["initialisation", "order", "split"] and len(machine["noise"]["shares"]) == 3


def test_a_crossed_run_that_is_not_complete_shows_why_there_are_no_shares(tmp_path: Path) -> None:
    run(crossing(), tmp_path, stop_after=40)

    shown = panel.rows(load(open_engine(f"sqlite:///{tmp_path}/evolve.db"), "fake"))

    assert isinstance(shown, Empty) and "missing; shares need every one" in shown.text


def test_initialisation_and_order_of_a_lane_are_seeded_apart_and_together_in_other_studies(tmp_path: Path) -> None:
    def lane(study: Study, seed: int) -> tuple[int, int | None]:
        objective = DetectionObjective(study=study, device="cpu", run_folder=tmp_path, dataset=None)
        trial = Trial(study=study.name, number=1, params={}, seeds=tuple(range(9)))
        spec = objective.lane(trial, seed)
        return spec.seed, spec.data_seed

    assert [lane(crossing(), seed) for seed in (0, 1, 3, 8)] == [(0, 0), (1, 0), (0, 1), (2, 2)]
    assert lane(fake_study(seeds=[0, 5]), 5) == (5, 5)


def test_another_split_of_digits_has_other_training_scenes_and_is_measured_on_the_same() -> None:
    one, other = (open_study_data(crossing(), seed=seed) for seed in (0, 1))

    assert not one.train.sample(0, 0).image.equal(other.train.sample(0, 0).image)
    assert one.val.sample(0, 0).image.equal(other.val.sample(0, 0).image)


def test_a_study_that_crosses_nothing_has_no_noise() -> None:
    with pytest.raises(StudyError, match="has no noise section"):
        noise_found(fake_study(), [])
