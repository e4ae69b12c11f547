"""What is left when the process that runs a study is killed, and what the next one makes of it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from optuna.trial import TrialState

from evolve.storage.lease import process_mark
from tests.evolve.run.test_runner import verdicts
from tests.fake_runs import trials_told
from tests.fakes import STEPS_PER_EPOCH
from tests.places import ROOT
from tests.processes import environment
from tests.ray.driver import STUDY
from tests.ray.test_study import noted, steps

pytestmark = pytest.mark.ray


def driver(folder: Path, step_seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.ray.driver", str(folder), str(step_seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(), cwd=ROOT)


def test_a_driver_that_is_killed_leaves_no_process_and_the_next_ends_its_trials_each_once(tmp_path: Path) -> None:
    killed = driver(tmp_path, 0.05)
    assert killed.stdout is not None
    for line in killed.stdout:
        if line.count("TrialEnded"):
            break
    killed.kill()
    killed.communicate()
    workers = [int(text.rpartition(" ")[2]) for text in noted(tmp_path) if text.startswith("Ray trial")]
    left = [trial.number for trial in trials_told(tmp_path) if trial.state == TrialState.RUNNING]
    again = driver(tmp_path, 0.0)
    output, _ = again.communicate(timeout=120)
    deadline = time.monotonic() + 30
    while any(map(process_mark, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)

    assert left and again.returncode == 0, output
    assert output.split()[-1] == "StudyStopped" and "0" not in output.split()
    assert not any(map(process_mark, workers))
    assert [trial.state for trial in trials_told(tmp_path)] == [TrialState.COMPLETE] * 6
    assert sorted(verdicts(tmp_path)) == list(range(6))
    assert dict(steps(tmp_path)) == dict.fromkeys(range(6), STUDY.epochs * STEPS_PER_EPOCH)
