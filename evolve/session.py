"""One sitting at a study: its data checked, workers started, trials run, weights kept or dropped, results written."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from detector.telemetry import EpochMetrics
from evolve import planning
from evolve.detection import (
    Weights,
    available_cores,
    check_data,
    checkpoint_path,
    choose_device,
    environment,
    make_objective,
    threads_for,
    write_weights,
)
from evolve.engines import ProcessEngine
from evolve.errors import EvolveError, StorageError, StudyError
from evolve.hyp import TRAINING_KEYS, write_hyp
from evolve.runner import Happening, StudyRun, TrialEnded
from evolve.storage import Storage
from evolve.study import DIGITS, Study
from evolve.study_file import StudyFile
from evolve.verdict import TRAINED_THROUGH, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class DataChecked:
    """The data set is fit to train on.

    Attributes:
        summary: Counts of images, boxes and classes by split.
        findings: What was clipped or left out: kind, file, line, message.
        note: How the splits were made.
    """

    summary: dict[str, Any]
    findings: list[dict[str, Any]]
    note: str


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
    """

    study: Study
    storage_url: str
    device: str = "auto"
    workers: int | None = None
    runs: Path = Path("runs")
    checked: DataChecked | None = None

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
WORKERS_NEED = ("detector.trainer", "evolve.detection")


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
        engine = ProcessEngine(objective, workers=crew.workers, preload=WORKERS_NEED)
        try:
            checked = sitting.checked or survey(study.data, skip_unreadable=study.skip_unreadable)
            yield checked
            environment_id = storage.keep_environment(environment(device))
            run = StudyRun(study, storage, engine, environment_id=environment_id, should_stop=should_stop)
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


def _drop_weights(sitting: Sitting, storage: Storage, study_id: int) -> None:
    """Removes the weights of trials that ended without being the best; diverged ones keep the way back."""
    if sitting.study.keep_weights == "all":
        return
    best = storage.best(study_id)
    for number, verdict in storage.verdicts(study_id).items():
        if number != best and verdict in (*TRAINED_THROUGH, Verdict.PRUNED):
            folder = checkpoint_path(sitting.folder, number, 0).parent
            shutil.rmtree(folder, ignore_errors=True)


# What a study has found


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The best trial of a study.

    Attributes:
        number: Of the trial.
        params: As searched.
        fitness: Mean over the seeds on the validation images.
        metrics: Means over the seeds of precision, recall, map50 and map50_95 by split.
        seeds: Number of seeds that count.
    """

    number: int
    params: dict[str, Any]
    fitness: float
    metrics: dict[str, dict[str, float]]
    seeds: int


def best_of(storage: Storage, study_name: str) -> Best | None:
    """The best trial of a stored study; None where no trial has trained through."""
    study_id = storage.study_id(study_name)
    number = storage.best(study_id)
    if number is None:
        return None
    trial = storage.optuna.get_all_trials(study_id, deepcopy=False)[number]
    outcome = storage.outcome(trial._trial_id)
    assert outcome is not None
    by_split = {split: storage.epochs(trial._trial_id, split=split) for split in ("val", "test")}
    metrics = {
        split: _means([epochs[-1] for epochs in by_seed.values()]) for split, by_seed in by_split.items() if by_seed
    }
    return Best(
        number=number, params=trial.params, fitness=outcome.fitness, metrics=metrics, seeds=len(by_split["val"])
    )


METRICS = ("precision", "recall", "map50", "map50_95")


def _means(last: list[EpochMetrics]) -> dict[str, float]:
    return {name: fmean(getattr(each, name) for each in last) for name in METRICS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounded:
    """A study none of whose trials left the ground: there is nothing to train on with.

    Attributes:
        best: The trial that came furthest.
        floor: Fitness below which a training has learned nothing.
        remedies: What to change, the likeliest first.
    """

    best: Best
    floor: float
    remedies: tuple[planning.Advice, ...]

    @property
    def text(self) -> str:
        """What happened, in a sentence."""
        return (
            f"no trial left the ground: the furthest, trial {self.best.number}, reached fitness "
            f"{self.best.fitness:.3f}, below {self.floor:g}"
        )


def grounded(storage: Storage, study: Study, best: Best | None) -> Grounded | None:
    """That nothing was learned, and what to change; None where something was, or nothing has trained through."""
    if best is None or best.fitness >= study.thresholds.floor:
        return None
    summary = storage.data_summary(storage.study_id(study.name))
    remedies: tuple[planning.Advice, ...] = ()
    if "box_sides" in summary:
        remedies = planning.remedies(study, planning.DataFacts.from_summary(study.data, summary))
    return Grounded(best=best, floor=study.thresholds.floor, remedies=remedies)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a study has found so far, written to files.

    Attributes:
        verdicts: Count of trials by verdict.
        best: The best trial, or None where none has trained through.
        grounded: That nothing was learned, or None.
        files: hyp.yaml of the best trial; none where nothing was learned.
        weights: The files with weights.
    """

    verdicts: dict[str, int]
    best: Best | None
    grounded: Grounded | None
    files: dict[str, str]
    weights: tuple[Weights, ...]

    def as_mapping(self) -> dict[str, Any]:
        """For machines."""
        return {
            "verdicts": self.verdicts,
            "best": as_json(self.best),
            "advice": [] if self.grounded is None else [asdict(remedy) for remedy in self.grounded.remedies],
            "weights": [asdict(kept) | {"path": str(kept.path)} for kept in self.weights],
        }


def found_by(storage: Storage, sitting: Sitting) -> Found:
    """What the study of a sitting has found; writes hyp.yaml and the best trial's weights if it learned anything.

    A single training was asked for its weights, so they are written however little it learned.

    Raises:
        EvolveError: A checkpoint cannot be read.
    """
    study = sitting.study
    best = best_of(storage, study.name)
    nothing = grounded(storage, study, best)
    verdicts = list(storage.verdicts(storage.study_id(study.name)).values())
    files: dict[str, str] = {}
    weights: list[Weights] = []
    if best is not None and nothing is None:
        hyp = sitting.folder / "hyp.yaml"
        export_hyp(storage, study.name, hyp)
        files["hyp"] = str(hyp)
    if best is not None and (nothing is None or not study.space):
        weights = write_weights(sitting.folder, best.number, study.seeds)
    return Found(
        verdicts={verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))},
        best=best,
        grounded=nothing,
        files=files,
        weights=tuple(weights),
    )


def provenance(storage: Storage, study_name: str) -> tuple[Study, Best, list[str]]:
    """A stored study, its best trial, and lines for the head of a file that say where its values are from.

    Raises:
        EvolveError: There is no such study, or no trial of it has trained through and left the ground.
    """
    study = storage.stored_study(study_name)
    if study is None:
        raise StorageError(f"study {study_name}: is not in {storage.url}; stored: {storage.study_names()}")
    best = best_of(storage, study_name)
    if best is None:
        raise EvolveError(f"study {study_name}: no trial has trained through yet, so there is no best one")
    if (found := grounded(storage, study, best)) is not None:
        advice = "".join(f"; {remedy.option} {remedy.value}: {remedy.reason}" for remedy in found.remedies)
        raise EvolveError(f"study {study_name}: {found.text}, so there is nothing to export{advice}")
    facts = storage.environment_of(study_name, best.number)
    header = [
        f"Best of study {study_name}: trial {best.number} of {len(storage.verdicts(storage.study_id(study_name)))}.",
        f"Fitness {best.fitness:.4f} on the validation images (weights {_weights(study)}), seeds {list(study.seeds)}.",
        *(
            f"{split}: {_metric_words(metrics)} (suppression at IoU {study.nms_iou:g})."
            for split, metrics in best.metrics.items()
        ),
        f"Searched: {', '.join(f'{k} = {_short(v)}' for k, v in best.params.items()) or 'nothing'}.",
        "Versions: "
        + ", ".join(f"{name} {facts[name]}" for name in ("evolve", "torch", "optuna") if name in facts)
        + f"; {facts.get('device', '')}; commit {facts.get('commit', 'unknown')}.",
    ]
    return study, best, header


def export_hyp(storage: Storage, study_name: str, path: Path) -> Best:
    """Writes the best hyperparameters of a study to a hyp file that says where they are from.

    Raises:
        EvolveError: There is no such study, or no trial of it has trained through.
    """
    study, best, header = provenance(storage, study_name)
    header.append(f"Train with it: evolve train --hyp {path}")
    training = {key: getattr(study, key) for key in TRAINING_KEYS}
    write_hyp(path, study.hyperparameters(best.params), training=training, header=header)
    return best


def _weights(study: Study) -> str:
    return ", ".join(f"{name} {weight:g}" for name, weight in study.fitness.model_dump().items() if weight)


def _metric_words(metrics: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def as_json(best: Best | None) -> dict[str, Any] | None:
    """A best trial for machines."""
    return None if best is None else asdict(best)
