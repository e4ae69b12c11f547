"""What the README says of clusters, word for word, on one of two nodes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.processes import environment, evolve
from tests.test_docs import commands, prepare

pytestmark = pytest.mark.ray


def test_the_command_for_a_cluster_trains_there(cluster: Any, tmp_path: Path) -> None:
    (command,) = [each for each in commands("README.md") if "--address" in each]
    prepare(tmp_path, "tune")
    settings = environment() | {"RAY_ADDRESS": cluster.address}  # where `auto` looks; other clusters may run here

    for _ in ("in an empty folder", "in a used one"):
        # Not as other commands, which are forked: Ray would take their parent for its driver.
        done = subprocess.run(
            [sys.executable, "-m", "evolve.cli", *command[1:]],
            cwd=tmp_path,
            env=settings,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr

    spent = json.loads(evolve(tmp_path, "show", "latest", "--time", "--json").stdout)
    trials = json.loads(evolve(tmp_path, "show", "latest", "--json").stdout)
    assert [run["engine"] for run in spent["runs"]] == ["ray", "ray"]
    assert len(trials) == 2 and {each["verdict"] for each in trials} <= {"undertrained", "converged", "worsened"}
