"""The objective of this project: parameters -> hyperparameters -> trainer. The only bridge to torch."""

from __future__ import annotations

import contextlib
import itertools
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from detector.telemetry import CheckpointSaved, LaneEnded, StepTelemetry
from evolve.errors import EvolveError
from evolve.objective import Record
from evolve.study import Study
from evolve.trial import Trial

PACKAGES = ("torch", "torchvision", "optuna", "numpy", "faster-coco-eval", "sqlalchemy")


def checkpoint_path(run_folder: Path, trial: int, seed: int) -> Path:
    """File of a training's last checkpoint."""
    return run_folder / "trials" / f"{trial:04d}" / f"seed-{seed}.pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionObjective:
    """Trains a detector for a trial, once for each of its seeds; goes on from checkpoints that are there.

    Attributes:
        study: What is trained.
        device: torch's name of the device.
        run_folder: Where checkpoints go.
        dataset: What to train and measure on, a `detector.datasets.listing.Dataset`.
    """

    study: Study
    device: str
    run_folder: Path
    dataset: Any

    def __call__(self, trial: Trial) -> Generator[Record, None, None]:
        from detector.trainer import LaneSpec, Trainer

        values = self.study.hyperparameters(trial.params)
        for seed in trial.seeds:
            lane = LaneSpec(
                values=values,
                seed=seed,
                checkpoint=checkpoint_path(self.run_folder, trial.number, seed),
                is_resumed=True,
            )
            training = Trainer(self.study.training_plan(self.device, seed), self.dataset, [lane]).fit()
            with contextlib.closing(training):
                for telemetry in training:
                    if isinstance(telemetry, CheckpointSaved):  # a run folder may move
                        path = Path(telemetry.path).relative_to(self.run_folder)
                        telemetry = replace(telemetry, path=str(path))
                    yield Record(trial=trial.number, seed=seed, telemetry=telemetry)
                    if isinstance(telemetry, LaneEnded) and telemetry.is_diverged:
                        return  # further seeds could not make it converge


def make_objective(study: Study, *, device: str, run_folder: Path, num_threads: int) -> DetectionObjective:
    """The objective of a study, its data loaded, in the process that is going to train.

    Args:
        study: What is trained.
        device: torch's name of the device.
        run_folder: Where checkpoints go.
        num_threads: Of torch, for the whole process.
    """
    import torch

    torch.set_num_threads(num_threads)
    # The fastest kernel may differ from run to run; a resumed training must not.
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    return DetectionObjective(study=study, device=device, run_folder=run_folder, dataset=_open_data(study))


def check_data(study: Study) -> dict[str, Any]:
    """What the data set of a study holds: summary, findings and note, after a check from end to end.

    Raises:
        EvolveError: It cannot be trained on; the text names files and lines.
    """
    dataset = _open_data(study)
    findings = [asdict(each) for each in dataset.findings]
    return {"summary": dataset.summary(), "findings": findings, "note": dataset.note}


def _open_data(study: Study) -> Any:
    from detector.datasets import open_dataset
    from detector.datasets.listing import DataError

    try:
        return open_dataset(study.data, image_size=study.image_size)
    except DataError as error:
        raise EvolveError(f"data {study.data}: {error}") from error


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


def environment(device: str) -> dict[str, str]:
    """Versions, device, machine and commit, for the record."""
    import torch

    on_cuda = device.startswith("cuda")
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "device": torch.cuda.get_device_name(device) if on_cuda else f"cpu ({_cpu_name()})",
        "cuda": str(torch.version.cuda) if on_cuda else "not used",
        "cores": str(available_cores()),
        "platform": platform.platform(),
        "evolve": version("evolve-yolo"),
        "commit": _commit(),
    }


def available_cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    """Commit of the code that runs, if it runs from a checkout."""
    folder = Path(__file__).resolve().parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return "not a checkout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a training costs, measured over a few steps.

    Attributes:
        device: Where.
        steps: Of a whole training.
        step_seconds: Median time of a batch.
        evaluation_seconds: Time of one evaluation.
    """

    device: str
    steps: int
    step_seconds: float
    evaluation_seconds: float


MEASURED_STEPS = 6


def measure_cost(study: Study, device: str) -> Cost:
    """Trains a few steps and evaluates once, on one thread as a worker would.

    Raises:
        EvolveError: The data cannot be trained on.
    """
    import torch

    from detector.trainer import LaneSpec, Trainer

    torch.set_num_threads(1)
    dataset = _open_data(study)
    lane = LaneSpec(values=study.hyperparameters(study.baseline_params()))
    trainer = Trainer(study.training_plan(device, study.seeds[0]), dataset, [lane])
    with contextlib.closing(trainer.fit()) as training:
        steps = (each for each in training if isinstance(each, StepTelemetry))
        seconds = [each.seconds for each in itertools.islice(steps, MEASURED_STEPS)]
    started = time.perf_counter()
    trainer.evaluate_once()
    return Cost(
        device=device,
        steps=trainer.total_steps,
        # The first steps allocate memory and choose kernels.
        step_seconds=statistics.median(seconds[1:] or seconds),
        evaluation_seconds=time.perf_counter() - started,
    )
