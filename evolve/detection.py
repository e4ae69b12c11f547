"""The objective of this project: parameters -> hyperparameters -> trainer. The only bridge to torch."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from collections.abc import Generator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from detector.telemetry import LaneEnded
from evolve.errors import EvolveError
from evolve.objective import Record
from evolve.study import Study
from evolve.trial import Trial

PACKAGES = ("torch", "torchvision", "optuna", "numpy", "faster-coco-eval", "sqlalchemy")


def checkpoint_path(run_folder: Path, trial: int, seed: int) -> Path:
    """File of a training's last checkpoint."""
    return run_folder / "trials" / f"{trial:04d}" / f"seed-{seed}.pt"


@dataclass(frozen=True, kw_only=True)
class DetectionObjective:
    """Trains a detector for a trial, once for each of its seeds; goes on from checkpoints that are there.

    Attributes:
        study: What is trained.
        device: torch's name of the device.
        run_folder: Where checkpoints go.
        num_threads: Of torch, in this process.
    """

    study: Study
    device: str
    run_folder: Path
    num_threads: int

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
            training = Trainer(self.study.training_plan(self.device, seed), self._dataset, [lane]).fit()
            with contextlib.closing(training):
                for telemetry in training:
                    yield Record(trial=trial.number, seed=seed, telemetry=telemetry)
                    if isinstance(telemetry, LaneEnded) and telemetry.is_diverged:
                        return  # further seeds could not make it converge

    @cached_property
    def _dataset(self) -> Any:
        import torch

        torch.set_num_threads(self.num_threads)
        return open_data(self.study)


def open_data(study: Study) -> Any:
    """The data set of a study, checked from end to end.

    Raises:
        EvolveError: It cannot be trained on; the text names files and lines.
    """
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
