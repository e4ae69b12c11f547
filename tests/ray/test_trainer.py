"""The real trainer in processes of Ray's, as the command line runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.evolve.run.test_runner import told, verdicts
from tests.processes import evolve
from tests.ray.test_study import noted, steps
from tests.small_study import SMALL

pytestmark = pytest.mark.ray


def test_digits_train_to_the_same_numbers_as_in_one_process_and_a_nan_is_stored_as_diverged(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    printed = {}
    for engine in ("ray", "serial"):
        storage = f"sqlite:///{tmp_path / engine}/evolve.db"
        command = ["run", "--study", "small.yaml", "--engine", engine, "--storage", storage, "--json"]
        printed[engine] = evolve(tmp_path, *command).stdout

    ray, serial = tmp_path / "ray", tmp_path / "serial"
    assert sorted(verdicts(ray, "small").values()) == ["diverged", "undertrained"]
    assert verdicts(ray, "small") == verdicts(serial, "small")
    assert [(each.values, each.constraints) for each in told(ray, "small")] == [
        (each.values, each.constraints) for each in told(serial, "small")
    ]
    assert steps(ray) == steps(serial)
    assert sum(text.startswith("Ray trial") for text in noted(ray)) == 2
    assert json.loads(printed["ray"])["study"] == "small"


def test_a_study_with_a_scheduler_of_tunes_says_which_engine_it_wants(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(yaml.safe_load(SMALL) | {"scheduler": "asha"}))

    refused = evolve(tmp_path, "run", "--study", "small.yaml", "--engine", "serial", check=False)

    assert refused.returncode == 2 and "take --engine ray" in refused.stderr
