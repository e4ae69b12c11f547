"""`evolve run` in small, for campaigns of many faults: real processes and a real database, trainings of milliseconds.

python -m tests.faults.fake_run STUDY.yaml --storage URL --engine ENGINE --workers P --lanes T
"""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from functools import partial
from pathlib import Path

from evolve.run.engines import Engine, ProcessEngine, SerialEngine
from evolve.run.events import StudyStopped
from evolve.run.runner import StudyRun
from evolve.storage.database import Storage
from evolve.study.file import read_study
from tests.fakes import make_fake

STEP_SECONDS = 0.03


def engine_of(name: str, *, workers: int, lanes: int, epochs: int) -> Engine:
    make = partial(make_fake, epochs, Path.cwd(), STEP_SECONDS)
    if name == "serial":
        return SerialEngine(make, lanes=lanes)
    if name == "ray":
        from evolve.run.engines.ray import RayEngine  # which takes seconds to import

        return RayEngine(make, workers=workers)
    return ProcessEngine(make, workers=workers, lanes=lanes)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("study")
    parser.add_argument("--storage", required=True)
    parser.add_argument("--engine", default="processes")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--lanes", type=int, default=1)
    asked = parser.parse_args()
    study = read_study(asked.study, {}).preview()
    engine = engine_of(asked.engine, workers=asked.workers, lanes=asked.lanes, epochs=study.epochs)
    with closing(engine), closing(Storage(asked.storage)) as storage:
        run = StudyRun(study, storage, engine, environment_id="test")
        with storage.lease(run.study_id, study.name) as lease:
            *_, last = run.events(lease)
    assert isinstance(last, StudyStopped)
    return 0 if last.is_complete else 1


if __name__ == "__main__":
    sys.exit(main())
