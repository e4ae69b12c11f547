"""A run of a study by an engine, and what Optuna was told; apart from the fakes, which workers load in no time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path

import optuna

from evolve.run.engines import Engine, ProcessEngine
from evolve.run.runner import StudyRun
from evolve.storage.database import Storage
from evolve.study import Study
from tests.fakes import make_fake


def events_of(
    study: Study,
    folder: Path,
    engine: Engine,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    stop_after: int | None = None,
    times: list[float] | None = None,
) -> list[object]:
    """Events of one run; with `stop_after` it is abandoned after so many, as by a crash of this process.

    Its clock shows `times` in turn, the last of them for ever, where they are given.
    """
    clock = {} if times is None else {"clock": lambda: times.pop(0) if len(times) > 1 else times[0]}
    with closing(Storage(f"sqlite:///{folder}/evolve.db")) as storage, closing(engine):
        started = StudyRun(study, storage, engine, environment_id="test", should_stop=should_stop, **clock)
        with storage.lease(started.study_id, study.name) as lease, closing(started.events(lease)) as events:
            return list(islice(events, stop_after))


def run_in_workers(study: Study, folder: Path, *, seconds: float, workers: int = 1, lanes: int = 1) -> None:
    """A study in worker processes whose steps take some seconds; says each event, for those who are to kill it."""
    engine = ProcessEngine(partial(make_fake, study.epochs, folder, seconds), workers=workers, lanes=lanes)
    with closing(Storage(f"sqlite:///{folder}/evolve.db")) as storage, closing(engine):
        started = StudyRun(study, storage, engine, environment_id="test")
        with storage.lease(started.study_id, study.name) as lease:
            for event in started.events(lease):
                print(type(event).__name__, flush=True)


def trials_told(folder: Path, name: str = "fake") -> list[optuna.trial.FrozenTrial]:
    """Trials of a study, as Optuna's tables have them."""
    return optuna.load_study(study_name=name, storage=f"sqlite:///{folder}/evolve.db").get_trials()
