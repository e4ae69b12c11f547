"""The real trainer in processes of Ray's, as the command line runs it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import yaml

from evolve.run.engines import SerialEngine
from evolve.run.lanes import make_objective
from evolve.run.runner import StudyRun
from evolve.storage.database import Storage
from evolve.study import Study
from tests.evolve.run.test_runner import verdicts
from tests.fake_runs import trials_told
from tests.processes import evolve
from tests.ray.test_study import noted, steps
from tests.small_study import SMALL

pytestmark = pytest.mark.ray


def run_here(study: Study, folder: Path) -> None:
    storage = Storage(f"sqlite:///{folder}/evolve.db")
    engine = SerialEngine(partial(make_objective, study, device="cpu", run_folder=folder, num_threads=1))
    started = StudyRun(study, storage, engine, environment_id="test")
    with storage.lease(started.study_id, study.name) as lease:
        list(started.events(lease))
    storage.close()


def test_digits_train_to_the_same_numbers_as_in_this_process_and_a_nan_is_stored_as_diverged(tmp_path: Path) -> None:
    ray, here = tmp_path / "ray", tmp_path / "here"
    (tmp_path / "small.yaml").write_text(SMALL)
    storage = f"sqlite:///{ray}/evolve.db"
    command = ["run", "--study", "small.yaml", "--engine", "ray", "--workers", "2", "--storage", storage, "--json"]
    printed = json.loads(evolve(tmp_path, *command).stdout)
    run_here(Study.from_mapping({"name": "small", **yaml.safe_load(SMALL)}, origin="test"), here)

    assert printed["study"] == "small"
    assert sorted(verdicts(ray, "small").values()) == ["diverged", "undertrained"]
    assert verdicts(ray, "small") == verdicts(here, "small")
    assert [(each.values, each.constraints) for each in trials_told(ray, "small")] == [
        (each.values, each.constraints) for each in trials_told(here, "small")
    ]
    assert steps(ray) == steps(here)
    assert sum(text.startswith("Ray trial") for text in noted(ray)) == 2
