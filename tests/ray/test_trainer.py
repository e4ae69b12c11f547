"""The real trainer in processes of Ray's."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from evolve.run.engines import Engine, SerialEngine
from evolve.run.lanes import make_objective
from evolve.run.runner import StudyRun
from evolve.storage.database import Storage
from evolve.study import Study
from tests.evolve.run.test_runner import told, verdicts
from tests.ray.test_study import steps

pytestmark = pytest.mark.ray

STUDY = Study.from_mapping(
    {
        "name": "fake",
        "data": "digits-1",
        "epochs": 1,
        "hyperparameters": {"box": 1.0, "warmup_epochs": 0.5, "warmup_bias_lr": 0.01},
        "space": {"lr0": {"choices": [0.01, 1.0e5]}},
        "sampler": "grid",
        "budget": {"trials": 2},
        "thresholds": {"floor": 0.0},
    },
    origin="test",
)


def run(engine: Engine, folder: Path) -> None:
    storage = Storage(f"sqlite:///{folder}/evolve.db")
    try:
        study = StudyRun(STUDY, storage, engine, environment_id="test")
        with storage.lease(study.study_id, STUDY.name) as lease:
            list(study.events(lease))
    finally:
        engine.close()
        storage.close()


def test_digits_train_to_the_same_numbers_as_in_this_process_and_a_nan_is_stored_as_diverged(tmp_path: Path) -> None:
    from evolve.run.engines.ray import RayEngine

    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    made = {
        folder: partial(make_objective, STUDY, device="cpu", run_folder=folder, num_threads=1)
        for folder in (here, there)
    }
    run(RayEngine(made[there], workers=1), there)
    run(SerialEngine(made[here]), here)

    assert sorted(verdicts(there).values()) == ["diverged", "undertrained"]
    assert verdicts(there) == verdicts(here)
    assert [(each.values, each.constraints) for each in told(there)] == [
        (each.values, each.constraints) for each in told(here)
    ]
    assert steps(there) == steps(here)
