"""One run of a study: its data checked, workers started, trials run, weights kept or dropped."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from evolve.outcome.verdict import TRAINED_THROUGH, Verdict
from evolve.run.data import DataChecked, check_unchanged, survey
from evolve.run.detection import (
    WORKERS_NEED,
    checkpoint_path,
    choose_device,
    drop_spare_checkpoints,
    environment,
)
from evolve.run.engines import Limits, ProcessEngine
from evolve.run.events import RunEvent, StartChecked, TrialEnded
from evolve.run.lanes import make_objective
from evolve.run.machine import available_cores, threads_for
from evolve.run.runner import StudyRun
from evolve.run.weight_files import pinned, start_text
from evolve.storage.database import Storage
from evolve.study import Study, planning


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Where and with what a study runs.

    Attributes:
        study: What is searched.
        storage_url: Any SQLAlchemy URL.
        device: auto, or torch's name of a device.
        workers: Processes that train, or None for one a core on the CPU and one on a GPU.
        runs: Folder with a folder for each study.
        checked: What the data hold, where they have been checked already.
        accepts_changed_data: Whether trials go on although the data are not what earlier ones were trained on.
    """

    study: Study
    storage_url: str
    device: str = "auto"
    workers: int | None = None
    runs: Path = Path("runs")
    checked: DataChecked | None = None
    accepts_changed_data: bool = False

    @property
    def folder(self) -> Path:
        """Where the study's files go."""
        return self.runs / self.study.name

    def crew(self, device: str) -> Crew:
        """The processes that train on a device."""
        asked = self.workers or (1 if device.startswith("cuda") else available_cores())
        # No more than there are trials: one training alone has all cores to itself.
        workers = min(asked, self.study.budget.trials)
        return Crew(workers=workers, threads=threads_for(workers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """How many processes train at once, and threads of torch in each."""

    workers: int
    threads: int


def mended(run: Run, advice: Sequence[planning.Advice], checked: DataChecked) -> Run:
    """The same with what is advised, to know what it would cost."""
    study = run.study
    facts = planning.DataFacts.from_summary(study.data, checked.summary)
    values = {planning.KEYS[obstacle.option]: obstacle.value for obstacle in advice}
    if (updates := values.pop("updates", None)) is not None:
        epochs = planning.epochs_for(updates, facts, study.batch_size, study.nominal_batch_size)
        values["epochs"] = epochs.value
    return replace(run, study=study.model_copy(update=values))


def run_study(run: Run, *, should_stop: Callable[[], bool]) -> Generator[DataChecked | RunEvent, None, None]:
    """Runs the study until its budget is spent or it is stopped.

    Raises:
        EvolveError: Data, device, storage or study cannot be used; nothing has been trained then.
    """
    study = pinned(run.study)
    device = choose_device(run.device)
    storage = Storage(run.storage_url)
    try:
        storage.check_can_run(study)
        engine = _engine(run, study, device)
        try:
            checked = run.checked or survey(study.data, skip_unreadable=study.skip_unreadable).at(study.image_size)
            text = start_text(study, checked.summary["classes"])
            yield checked
            if text:
                study = study.model_copy(update={"decisions": {**study.decisions, "weights": text}})
                yield StartChecked(text=f"{study.weights}: {text}")
            environment_id = storage.keep_environment(environment(device))
            check_unchanged(storage, study.name, checked, accepts_changed=run.accepts_changed_data)
            trials = StudyRun(
                study,
                storage,
                engine,
                environment_id=environment_id,
                data_files=checked.files,
                should_stop=should_stop,
            )
            with storage.lease(trials.study_id, study.name) as lease, closing(trials.events(lease)) as events:
                storage.describe_data(trials.study_id, checked.summary | {"note": checked.note}, checked.as_rows())
                for event in events:
                    if isinstance(event, TrialEnded):
                        _drop_weights(run, storage, trials.study_id)
                    yield event
        finally:
            engine.close()
    finally:
        storage.close()


def _engine(run: Run, study: Study, device: str) -> ProcessEngine:
    crew, folder = run.crew(device), run.folder.absolute()
    objective = partial(make_objective, study, device=device, run_folder=folder, num_threads=crew.threads)
    limits = Limits(trial_seconds=study.budget.trial_seconds)
    return ProcessEngine(objective, workers=crew.workers, preload=WORKERS_NEED, limits=limits)


def _drop_weights(run: Run, storage: Storage, study_id: int) -> None:
    """Removes the weights of trials that ended without being the best; diverged ones keep the way back."""
    best, keeps_all = storage.best(study_id), run.study.keep_weights == "all"
    for number, verdict in storage.verdicts(study_id).items():
        folder = checkpoint_path(run.folder, number, 0).parent
        if number != best and not keeps_all and verdict in (*TRAINED_THROUGH, Verdict.PRUNED):
            shutil.rmtree(folder, ignore_errors=True)
        drop_spare_checkpoints(run.folder, number, run.study.seeds)
