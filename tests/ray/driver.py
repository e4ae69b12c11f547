"""A run of a study on a Ray of its own, to be killed: `python -m tests.ray.driver FOLDER SECONDS`."""

from __future__ import annotations

import sys
from pathlib import Path

from evolve.run.events import TrialStarted
from tests.fakes import fake_study
from tests.ray.test_study import run

STUDY = fake_study(budget={"trials": 6}, space={"lr0": {"low": 0.01, "high": 0.5, "log": True}})

if __name__ == "__main__":
    for event in run(STUDY, Path(sys.argv[1]), step_seconds=float(sys.argv[2]), workers=2):
        print(type(event).__name__, event.trial.number if isinstance(event, TrialStarted) else "", flush=True)
