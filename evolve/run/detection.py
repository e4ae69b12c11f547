"""What a run needs of the machine, the data and torch. The only bridge to torch."""

from __future__ import annotations

import contextlib
import itertools
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from math import nan
from pathlib import Path
from typing import Any

from detector.telemetry import StepTelemetry
from evolve.errors import EvolveError
from evolve.run.machine import available_cores, commit, cpu_name
from evolve.study import Study
from evolve.study.planning import check_shares, train_shares

# Imported once for all processes that train.
WORKERS_NEED = ("detector.trainer", "evolve.run.lanes")
PACKAGES = ("torch", "torchvision", "optuna", "numpy", "faster-coco-eval", "sqlalchemy")


def checkpoint_path(run_folder: Path, trial: int, seed: int) -> Path:
    """File of a training's last checkpoint."""
    return run_folder / "trials" / f"{trial:04d}" / f"seed-{seed}.pt"


def best_path(checkpoint: Path) -> Path:
    """File of the checkpoint of a training's best epoch, beside the last one."""
    return checkpoint.with_name(f"{checkpoint.stem}-best{checkpoint.suffix}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A file with the averaged weights of one epoch of a training.

    Attributes:
        path: File of the weights.
        seed: Seed of the training.
        what: Which epoch of the training the weights are of: best or last.
        epoch: Index of that epoch, from 0.
        map50: mAP at IoU 0.5 after that epoch on the validation images, 0..1; NaN if unknown.
    """

    path: Path
    seed: int
    what: str
    epoch: int
    map50: float


def is_of_study(file: Path, identity: str) -> bool:
    """Whether a checkpoint is of the study with an identity, by the origin that `Ledger.origin` gave it.

    Raises:
        CheckpointError: The file is missing, or not a checkpoint of this format.
    """
    from detector.checkpoint import origin_of

    return origin_of(file).partition(":")[0] == identity


def write_weights(
    run_folder: Path, trial: int, seeds: Sequence[int], *, identity: str
) -> tuple[list[Weights], list[str]]:
    """Writes the weights of the best and the last epoch of a trial's trainings, those that have a checkpoint.

    Args:
        run_folder: Folder of the study; a study of its name, here or in another database, may have left files there.
        trial: Number of the trial.
        seeds: Seeds of its trainings.
        identity: What the origin of the study's checkpoints begins with; empty where that is not known.

    Returns:
        The files that were written, and for each checkpoint that cannot be read, or is of another study, why there is
        no file of it.
    """
    from detector import checkpoint

    found: list[Weights] = []
    problems: list[str] = []
    for seed in seeds:
        last = checkpoint_path(run_folder, trial, seed)
        for what, source in (("best", best_path(last)), ("last", last)):
            if not source.exists():
                continue
            target = run_folder / "weights" / f"seed-{seed}-{what}.pt"
            try:
                if identity and not is_of_study(source, identity):
                    problems.append(f"{source}: is of another study or another database")
                    continue
                kept = checkpoint.save_weights(source, target)
            except checkpoint.CheckpointError as error:
                problems.append(str(error))
                continue
            map50 = kept.metrics.get("map50", nan)
            found.append(Weights(path=target, seed=seed, what=what, epoch=kept.epoch, map50=map50))
    return found, problems


def prepare_torch(*, num_threads: int) -> None:
    """Sets up torch for a whole process that trains: its threads, and the same kernels in every run.

    Args:
        num_threads: Number of threads that torch uses, at least 1.
    """
    import torch

    torch.set_num_threads(num_threads)
    # The fastest kernel may differ from run to run; a resumed training must not.
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def check_data(data: str, *, image_size: int, skip_unreadable: bool, pictures: Path | None = None) -> dict[str, Any]:
    """What a data set holds: summary, findings, note and files, after a check from end to end.

    Args:
        data: Name of built-in data or a path, the same as `Study.data`.
        image_size: Side in pixels of the images that will be trained on; images are decoded no larger than that needs.
        skip_unreadable: Whether images that cannot be read are left out.
        pictures: Folder of a run in which its processes share decoded images; None where nothing is shared.

    Raises:
        EvolveError: The data cannot be trained on; the text names files and lines.
    """
    from detector import auditing
    from detector.audited import by_severity
    from detector.priors import box_sides

    dataset = open_data(data, image_size=image_size, skip_unreadable=skip_unreadable, pictures=pictures)
    typical = {name: statistics.median(sides) for name, sides in box_sides(dataset.train, dataset.names).items()}
    is_rendered = not dataset.files  # endlessly many scenes, of which nothing is wrong
    of_whole = [] if is_rendered else auditing.findings_of_whole(dataset, auditing.anchor_choices(dataset))
    return {
        "summary": dataset.summary() | {"box_sides": typical},
        "findings": by_severity([*dataset.findings, *of_whole]),
        "note": dataset.note,
        "files": dict(dataset.files),
        "box_sides": {} if is_rendered else auditing.all_box_sides(dataset),
    }


def open_study_data(study: Study, pictures: Path | None = None, *, seed: int = 0) -> Any:
    """The checked data of a study; `seed` says which images are trained on where the data leave that open."""
    size, skips = study.image_size, study.skip_unreadable
    return open_data(study.data, image_size=size, skip_unreadable=skips, pictures=pictures, seed=seed)


def open_data(data: str, *, image_size: int, skip_unreadable: bool, pictures: Path | None = None, seed: int = 0) -> Any:
    """A checked `detector.datasets.listing.Dataset`; arguments and errors: see `check_data`, `open_dataset`."""
    from detector.datasets import DataError, UnreadableImagesError, open_dataset

    try:
        return open_dataset(data, image_size=image_size, skip_unreadable=skip_unreadable, pictures=pictures, seed=seed)
    except UnreadableImagesError as error:
        hint = "mend or remove these files, or go on without them: --skip-unreadable"
        raise EvolveError(f"data {data}: {error}\n{hint}") from error
    except DataError as error:
        raise EvolveError(f"data {data}: {error}") from error


def choose_device(asked: str) -> str:
    """The device to train on: `auto` takes CUDA where there is one.

    Raises:
        EvolveError: The device is not there.
    """
    import torch

    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=asked)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise EvolveError(f"--device {asked}: cannot be used: {first}; allowed: auto, cpu, cuda, cuda:N") from error
    return asked


def devices_of(device: str) -> list[str]:
    """Devices that a name stands for: `cuda` is every GPU there is, any other name that one."""
    import torch

    if device != "cuda":
        return [device]
    return [f"cuda:{place}" for place in range(max(torch.cuda.device_count(), 1))]


def environment(device: str) -> dict[str, str]:
    """Versions, device, machine and commit, for the record."""
    import torch

    on_cuda = device.startswith("cuda")
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "device": torch.cuda.get_device_name(device) if on_cuda else f"cpu ({cpu_name()})",
        "cuda": str(torch.version.cuda) if on_cuda else "not used",
        "cores": str(available_cores()),
        "platform": platform.platform(),
        "evolve": version("evolve-yolo"),
        "commit": commit(),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a training costs, measured over a few steps.

    Attributes:
        device: torch's name of the device it was measured on.
        steps: Number of batches in a whole training, on average over what the study's trials use of the images.
        step_seconds: Median time of a batch.
        evaluation_seconds: Time of one evaluation on the validation images.
        test_seconds: Time of the evaluation on the test images at the end; 0 where there are none.
        start_seconds: Time to load the program and the data, as each process does once.
    """

    device: str
    steps: int
    step_seconds: float
    evaluation_seconds: float
    test_seconds: float
    start_seconds: float


MEASURED_STEPS = 6


def measure_cost(study: Study, device: str, *, num_threads: int) -> Cost:
    """Trains a few steps and evaluates once, on as many threads as a worker would.

    Raises:
        EvolveError: The data cannot be trained on.
    """
    import torch

    from detector.batches import num_batches
    from detector.trainer import LaneSpec, Trainer

    # Until here the process has loaded the program and read the data once, as each process of a run does.
    start_seconds = time.process_time()
    torch.set_num_threads(num_threads)
    dataset = open_study_data(study)
    check_shares(study, len(dataset.train))
    shares = train_shares(study)
    steps = round(
        study.epochs * statistics.fmean(num_batches(dataset.train, study.batch_size, share) for share in shares)
    )
    lane = LaneSpec(values=study.hyperparameters(study.baseline_params()))
    trainer = Trainer(study.training_plan(device, study.seeds[0]), dataset, [lane])
    with contextlib.closing(trainer.fit()) as training:
        records = (record for record in training if isinstance(record, StepTelemetry))
        seconds = [step.seconds for step in itertools.islice(records, MEASURED_STEPS)]
    started = time.perf_counter()
    trainer.evaluate_once()
    evaluation_seconds = time.perf_counter() - started
    num_test = 0 if dataset.test is None else len(dataset.test)
    return Cost(
        device=device,
        steps=steps,
        # The first steps allocate memory and choose kernels.
        step_seconds=statistics.median(seconds[1:] or seconds),
        evaluation_seconds=evaluation_seconds,
        test_seconds=evaluation_seconds * num_test / len(dataset.val),
        start_seconds=start_seconds,
    )
