"""One sitting at a study: its data checked, workers started, trials run, weights kept or dropped, results written."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from evolve.errors import StudyError
from evolve.outcome.verdict import TRAINED_THROUGH, Verdict
from evolve.run.detection import (
    WORKERS_NEED,
    available_cores,
    check_data,
    checkpoint_path,
    choose_device,
    drop_spare_checkpoints,
    environment,
    make_objective,
    threads_for,
)
from evolve.run.engines import Limits, ProcessEngine
from evolve.run.runner import Happening, StudyRun, TrialEnded
from evolve.storage.database import Storage
from evolve.storage.ledger import EventKind
from evolve.study import DIGITS, Study, planning
from evolve.study.file import StudyFile


@dataclass(frozen=True, slots=True, kw_only=True)
class DataChecked:
    """The data set is fit to train on.

    Attributes:
        summary: Counts of images, boxes and classes by split.
        findings: What was clipped or left out: kind, file, line, message.
        note: How the splits were made.
        files: Digest of each image with its boxes, by name.
    """

    summary: dict[str, Any]
    findings: list[dict[str, Any]]
    note: str
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sitting:
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


SURVEY_SIZE = 416


def survey(data: str, *, skip_unreadable: bool) -> DataChecked:
    """What a data set holds, before it is known at which size it is trained on.

    Raises:
        EvolveError: It cannot be trained on; the text names files and lines.
    """
    size = Study.model_fields["image_size"].default if data in DIGITS else SURVEY_SIZE
    return DataChecked(**check_data(data, image_size=size, skip_unreadable=skip_unreadable))


def settled(file: StudyFile, *, stored: Study | None, device: str) -> tuple[Study, DataChecked | None]:
    """A study with everything chosen that its file leaves to the data, and what the data hold if that was looked up.

    Args:
        file: The study as written.
        stored: The study stored under its name, whose choices are kept.
        device: torch's name of a device.

    Raises:
        EvolveError: The data cannot be trained on, or the study is not allowed.
    """
    if not file.data:
        raise StudyError(
            f"--data: {file.name} has no images of its own; name a YOLO data.yaml or a Pascal VOC folder: "
            f"evolve run --study {file.name} --data PATH"
        )
    if stored is not None:
        return file.settled_like(stored), None
    if not planning.needs_data(file):
        return file.preview(), None
    checked = survey(file.data, skip_unreadable=bool(file.raw.get("skip_unreadable")))
    facts = planning.DataFacts.from_summary(file.data, checked.summary)
    return planning.settle(file, facts, is_cuda=device.startswith("cuda")), checked


def mended_sitting(sitting: Sitting, advice: Sequence[planning.Advice], checked: DataChecked) -> Sitting:
    """The same with what is advised, to know what it would cost."""
    study = sitting.study
    facts = planning.DataFacts.from_summary(study.data, checked.summary)
    values = {planning.KEYS[obstacle.option]: obstacle.value for obstacle in advice}
    if (updates := values.pop("updates", None)) is not None:
        epochs = planning.epochs_for(updates, facts, study.batch_size, study.nominal_batch_size)
        values["epochs"] = epochs.value
    return replace(sitting, study=study.model_copy(update=values))


def epochs_of(updates: int, training: Mapping[str, Any], *, skip_unreadable: bool) -> int:
    """Epochs in which a single training updates its weights at least so many times.

    Args:
        updates: At least 1.
        training: Its data, batch_size and nominal_batch_size, where they are not a study's defaults.
        skip_unreadable: Whether images that cannot be read are left out.

    Raises:
        EvolveError: The data cannot be trained on.
    """
    if updates < 1:
        raise StudyError(f"--updates: {updates} is not at least 1")
    defaults = {key: Study.model_fields[key].default for key in ("data", "batch_size")}
    known = defaults | {key: value for key, value in training.items() if value is not None}
    checked = survey(known["data"], skip_unreadable=skip_unreadable)
    facts = planning.DataFacts.from_summary(known["data"], checked.summary)
    return int(planning.epochs_for(updates, facts, known["batch_size"], known.get("nominal_batch_size")).value)


def run_sitting(sitting: Sitting, *, should_stop: Callable[[], bool]) -> Generator[DataChecked | Happening, None, None]:
    """Runs the study until its budget is spent or it is stopped.

    Raises:
        EvolveError: Data, device, storage or study cannot be used; nothing has been trained then.
    """
    study = sitting.study
    device = choose_device(sitting.device)
    crew = sitting.crew(device)
    storage = Storage(sitting.storage_url)
    try:
        storage.check_can_run(study)
        folder = sitting.folder.absolute()
        objective = partial(make_objective, study, device=device, run_folder=folder, num_threads=crew.threads)
        limits = Limits(trial_seconds=study.budget.trial_seconds)
        engine = ProcessEngine(objective, workers=crew.workers, preload=WORKERS_NEED, limits=limits)
        try:
            checked = sitting.checked or survey(study.data, skip_unreadable=study.skip_unreadable)
            yield checked
            environment_id = storage.keep_environment(environment(device))
            _check_data_unchanged(sitting, storage, checked)
            run = StudyRun(
                study,
                storage,
                engine,
                environment_id=environment_id,
                data_files=checked.files,
                should_stop=should_stop,
            )
            with storage.lease(run.study_id, study.name) as lease, closing(run.happenings(lease)) as happenings:
                storage.describe_data(run.study_id, checked.summary | {"note": checked.note}, checked.findings)
                for happening in happenings:
                    if isinstance(happening, TrialEnded):
                        _drop_weights(sitting, storage, run.study_id)
                    yield happening
        finally:
            engine.close()
    finally:
        storage.close()


def _check_data_unchanged(sitting: Sitting, storage: Storage, checked: DataChecked) -> None:
    """Makes sure that trials can be compared with earlier ones, or that a person has accepted that they cannot."""
    from detector.datasets.listing import changes

    name, ledger = sitting.study.name, storage.ledger
    if name not in storage.study_names():
        return
    study_id = storage.study_id(name)
    before = ledger.data_files(study_id)
    if before is None or not (found := changes(before, checked.files)):
        return
    what = f"the data are not what earlier trials were trained on: {'; '.join(found)}"
    if not sitting.accepts_changed_data:
        raise StudyError(
            f"study {name}: {what}. Give this one another --name, or go on with figures that do not compare: "
            "--accept-changed-data"
        )
    ledger.accept_data(study_id, checked.files)
    ledger.note_event(study_id, EventKind.DATA_CHANGED, what)
    storage.forget_unfinished(study_id)


def _drop_weights(sitting: Sitting, storage: Storage, study_id: int) -> None:
    """Removes the weights of trials that ended without being the best; diverged ones keep the way back."""
    best, keeps_all = storage.best(study_id), sitting.study.keep_weights == "all"
    for number, verdict in storage.verdicts(study_id).items():
        folder = checkpoint_path(sitting.folder, number, 0).parent
        if number != best and not keeps_all and verdict in (*TRAINED_THROUGH, Verdict.PRUNED):
            shutil.rmtree(folder, ignore_errors=True)
        drop_spare_checkpoints(sitting.folder, number, sitting.study.seeds)
