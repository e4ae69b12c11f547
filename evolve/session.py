"""One sitting at a study: its data checked, workers started, trials run, weights kept or dropped, results written."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from detector.telemetry import EpochMetrics
from evolve.detection import (
    available_cores,
    check_data,
    checkpoint_path,
    choose_device,
    environment,
    make_objective,
)
from evolve.engines import ProcessEngine
from evolve.errors import EvolveError, StorageError
from evolve.hyp import TRAINING_KEYS, write_hyp
from evolve.runner import Happening, StudyRun, TrialEnded
from evolve.storage import Storage
from evolve.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Sitting:
    """Where and with what a study runs.

    Attributes:
        study: What is searched.
        storage_url: Any SQLAlchemy URL.
        device: auto, or torch's name of a device.
        workers: Processes that train, or None for one a core on the CPU and one on a GPU.
        runs: Folder with a folder for each study.
    """

    study: Study
    storage_url: str
    device: str = "auto"
    workers: int | None = None
    runs: Path = Path("runs")

    @property
    def folder(self) -> Path:
        """Where the study's files go."""
        return self.runs / self.study.name


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


def run_sitting(sitting: Sitting, *, should_stop: Callable[[], bool]) -> Generator[DataChecked | Happening, None, None]:
    """Runs the study until its budget is spent or it is stopped.

    Raises:
        EvolveError: Data, device, storage or study cannot be used; nothing has been trained then.
    """
    study = sitting.study
    device = choose_device(sitting.device)
    workers = sitting.workers or (1 if device.startswith("cuda") else available_cores())
    storage = Storage(sitting.storage_url)
    try:
        storage.check_can_run(study)
        threads = max(available_cores() // workers, 1)
        folder = sitting.folder.absolute()
        objective = partial(make_objective, study, device=device, run_folder=folder, num_threads=threads)
        engine = ProcessEngine(objective, workers=min(workers, study.budget.trials))
        try:
            checked = DataChecked(**check_data(study))
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
        if number != best and verdict in ("converged", "undertrained", "pruned"):
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


def provenance(storage: Storage, study_name: str) -> tuple[Study, Best, list[str]]:
    """A stored study, its best trial, and lines for the head of a file that say where its values are from.

    Raises:
        EvolveError: There is no such study, or no trial of it has trained through.
    """
    study = storage.stored_study(study_name)
    if study is None:
        raise StorageError(f"study {study_name}: is not in {storage.url}; stored: {storage.study_names()}")
    best = best_of(storage, study_name)
    if best is None:
        raise EvolveError(f"study {study_name}: no trial has trained through yet, so there is no best one")
    facts = storage.environment_of(study_name, best.number)
    header = [
        f"Best of study {study_name}: trial {best.number} of {len(storage.verdicts(storage.study_id(study_name)))}.",
        f"Fitness {best.fitness:.4f} on the validation images (weights {_weights(study)}), seeds {list(study.seeds)}.",
        *(f"{split}: {_metric_words(metrics)}." for split, metrics in best.metrics.items()),
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
