"""A run of a study by an engine, and what Optuna was told; apart from the fakes, which workers load in no time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from itertools import islice
from pathlib import Path

import optuna

from evolve.run.engines import Engine
from evolve.run.runner import StudyRun
from evolve.storage.database import Storage
from evolve.study import Study


def events_of(
    study: Study,
    folder: Path,
    engine: Engine,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    stop_after: int | None = None,
) -> list[object]:
    """Events of one run; with `stop_after` it is abandoned after so many, as by a crash of this process."""
    with closing(Storage(f"sqlite:///{folder}/evolve.db")) as storage, closing(engine):
        started = StudyRun(study, storage, engine, environment_id="test", should_stop=should_stop)
        with storage.lease(started.study_id, study.name) as lease, closing(started.events(lease)) as events:
            return list(islice(events, stop_after))


def trials_told(folder: Path, name: str = "fake") -> list[optuna.trial.FrozenTrial]:
    """Trials of a study, as Optuna's tables have them."""
    return optuna.load_study(study_name=name, storage=f"sqlite:///{folder}/evolve.db").get_trials()
