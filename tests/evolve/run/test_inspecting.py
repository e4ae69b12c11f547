"""`--inspect` and `inspect: true`: recorded by every engine, in few bytes, and nothing else is changed by it."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from evolve.errors import StudyError
from evolve.run.engines import Engine, ProcessEngine, SerialEngine
from evolve.run.lanes import DetectionObjective, make_objective
from evolve.run.runner import StudyRun
from evolve.storage.database import Storage
from evolve.study import Study
from evolve.study.hyp import read_hyp
from tests.processes import evolve
from tests.scenes import few_scenes
from tests.small_study import SMALL

NUM_LAYERS = 13
STUDY = Study.from_mapping(
    {
        "name": "inspected",
        "image_size": 32,
        "batch_size": 4,
        "precision": "float64",
        "epochs": 2,
        "space": {"lr0": {"choices": [0.01, 0.02]}},
        "sampler": "grid",
        "budget": {"trials": 2},
        "inspect": True,
    },
    origin="test",
)


def objective(folder: Path) -> DetectionObjective:
    """On few scenes, so that a training takes a moment."""
    make_objective(STUDY, device="cpu", run_folder=folder, num_threads=1)  # sets up the process
    return DetectionObjective(study=STUDY, device="cpu", run_folder=folder, dataset=few_scenes(train=8, val=2, test=2))


def ray_engine(make: Any) -> Engine:
    from evolve.run.engines.ray import RayEngine  # Ray takes seconds to import

    return RayEngine(make, workers=1)


ENGINES = {
    "serial": SerialEngine,
    "lanes": partial(SerialEngine, lanes=2),
    "processes": partial(ProcessEngine, workers=2),
    "ray": ray_engine,
}


def rows_in(path: Path) -> list[tuple[Any, ...]]:
    with sqlite3.connect(path) as connection:
        columns = "trial_id, seed, epoch, part, layer, round(spread, 12), round(norm, 10), histogram"
        query = f"select {columns} from evolve_layer order by trial_id, seed, epoch, part, layer"
        return connection.execute(query).fetchall()


def run(folder: Path, name: str) -> list[tuple[Any, ...]]:
    folder.mkdir()
    storage = Storage(f"sqlite:///{folder}/evolve.db")
    engine = ENGINES[name](partial(objective, folder))
    try:
        started = StudyRun(STUDY, storage, engine, environment_id="test")
        with storage.lease(started.study_id, STUDY.name) as lease:
            list(started.events(lease))
    finally:
        engine.close()
        storage.close()
    return rows_in(folder / "evolve.db")


@pytest.mark.parametrize("name", ["lanes", "processes", pytest.param("ray", marks=pytest.mark.ray)])
def test_every_engine_passes_on_what_the_layers_hold(tmp_path: Path, name: str) -> None:
    expected = run(tmp_path / "serial", "serial")

    found = run(tmp_path / name, name)

    assert len(expected) == 2 * 3 * 3 * NUM_LAYERS  # trials, before and after two epochs, parts
    assert [row[:5] for row in found] == [row[:5] for row in expected]
    for mine, other in zip(found, expected, strict=True):
        assert mine[5:7] == pytest.approx(other[5:7], rel=1e-6)


def test_a_row_takes_few_bytes(tmp_path: Path) -> None:
    rows = run(tmp_path / "serial", "serial")

    with sqlite3.connect(tmp_path / "serial" / "evolve.db") as connection:
        query = "select sum(pgsize) from dbstat where name like '%evolve_layer%'"
        (size,) = connection.execute(query).fetchone()
    assert size / len(rows) < 300


def test_the_option_switches_it_on_for_a_study_that_is_stored_and_for_a_training(tmp_path: Path) -> None:
    # So many batches that the second trial diverges at this size, too.
    (tmp_path / "small.yaml").write_text(SMALL.replace("train_share: 0.4, ", "") + "image_size: 32\n")
    (tmp_path / "hyp.yaml").write_text("lr0: 0.01\ntraining: {epochs: 1, image_size: 32}\n")
    command = ("run", "--study", "small.yaml", "--engine", "serial")

    evolve(tmp_path, *command, "--trials", "1")
    evolve(tmp_path, *command, "--inspect")
    evolve(tmp_path, "train", "--hyp", "hyp.yaml", "--name", "once", "--inspect", "--workers", "1")

    with sqlite3.connect(tmp_path / "runs" / "evolve.db") as connection:
        by_study = dict(connection.execute(COUNTS).fetchall())
    # The second trial alone, which diverges in its only epoch; the training before and after its own.
    assert by_study == {"small": 3 * NUM_LAYERS, "once": 2 * 3 * NUM_LAYERS}
    assert "spread of gradients" in (tmp_path / "runs" / "once" / "report.html").read_text()
    assert "inspect" not in (tmp_path / "runs" / "small" / "hyp.yaml").read_text()


COUNTS = """
    select studies.study_name, count(*) from evolve_layer
    join evolve_trial on evolve_trial.trial_id = evolve_layer.trial_id
    join studies on studies.study_id = evolve_trial.study_id group by studies.study_name
"""


def test_a_study_that_says_neither_true_nor_false_is_refused() -> None:
    with pytest.raises(StudyError, match="inspect: 'often' is not true or false"):
        Study.from_mapping(STUDY.to_mapping() | {"inspect": "often"}, origin="test")


def test_what_a_hyp_file_is_found_with_has_no_word_of_it(tmp_path: Path) -> None:
    (tmp_path / "hyp.yaml").write_text("lr0: 0.01\ntraining: {inspect: true}\n")

    with pytest.raises(Exception, match=r"inspect.* is not allowed"):
        read_hyp(tmp_path / "hyp.yaml")
