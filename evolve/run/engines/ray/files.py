"""Checkpoints in the driver's run folder, also for processes on machines that do not see it.

Ray's own checkpoints want a disk that all nodes share. Here the driver's folder is the truth: each checkpoint is sent
there before its record is, and a training that goes on elsewhere gets it from there. Where the folder is shared, as a
file in it tells, nothing is sent.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from detector.telemetry import CheckpointSaved
from evolve.study.trial import Record, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints:
    """Where checkpoints lie.

    Attributes:
        folder: Run folder of the study; one that begins with ~ lies in the home of each machine.
        name: Returns the path of a training's last checkpoint within that folder, from the number of the trial and the
            seed. Other files of the same training, as that of the best epoch, lie beside it and begin with the same
            stem and a hyphen.
    """

    folder: Path
    name: Callable[[int, int], Path]

    def path(self, trial: int, seed: int) -> Path:
        """File of a training's last checkpoint on this machine."""
        return self.folder.expanduser() / self.name(trial, seed)

    def beside(self, path: Path) -> list[Path]:
        """Files of the same training, that of the last checkpoint first; none that is still being written."""
        others = sorted(path.parent.glob(f"{path.stem}-*{path.suffix}")) if path.parent.is_dir() else []
        return [file for file in (path, *others) if file.is_file()]


class _Keeper:
    """Lives on the driver's node, and reads and writes its folder."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints

    def fetch(self, trial: int, seeds: Sequence[int]) -> dict[str, bytes]:
        """Content of all files of a trial's trainings, by name in the folder."""
        folder = self._checkpoints.folder.expanduser()
        files = [file for seed in seeds for file in self._checkpoints.beside(self._checkpoints.path(trial, seed))]
        return {str(file.relative_to(folder)): file.read_bytes() for file in files}

    def keep(self, names: Sequence[str], content: bytes) -> None:
        """Writes the same content to files of the folder."""
        _write(self._checkpoints.folder.expanduser(), names, content)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """A process's view of the driver's folder.

    Attributes:
        checkpoints: Where the checkpoints lie.
        keeper: Ray's handle of the actor on the driver's node that reads and writes the driver's folder.
        mark: Name of a file in the driver's folder, which is there only where a process sees that folder.
    """

    checkpoints: Checkpoints
    keeper: Any
    mark: str

    @property
    def is_needed(self) -> bool:
        """Whether this process sees another folder than the driver does."""
        return not (self.checkpoints.folder.expanduser() / self.mark).exists()

    def fetch(self, trial: Trial) -> None:
        """Puts a trial's checkpoints where its trainings look for them; what was there before is older or the same."""
        found: Mapping[str, bytes] = ray.get(self.keeper.fetch.remote(trial.number, trial.seeds))
        for name, content in found.items():
            _write(self.checkpoints.folder.expanduser(), [name], content)

    def keep(self, records: Iterable[Record]) -> None:
        """Sends what has just been saved to the driver's folder."""
        for record in records:
            if isinstance(record.telemetry, CheckpointSaved):
                path = self.checkpoints.path(record.trial, record.seed)
                files = self.checkpoints.beside(path)
                # The best epoch's is another name of the last one's as long as that is the best.
                names = [self._name(file) for file in files if file.samefile(path)]
                ray.get(self.keeper.keep.remote(names, path.read_bytes()))

    def _name(self, file: Path) -> str:
        return str(file.relative_to(self.checkpoints.folder.expanduser()))


class KeptFolder:
    """The driver's end: an actor on this node and a file that says which folder it is.

    Args:
        checkpoints: Where the checkpoints lie; their folder is made.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        folder = checkpoints.folder.expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        self._mark = folder / f".kept-{uuid.uuid4().hex}"
        self._mark.touch()
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        keeper: Any = ray.remote(num_cpus=0)(_Keeper)
        self._keeper = keeper.options(scheduling_strategy=here).remote(checkpoints)
        self.mirror = Mirror(checkpoints=checkpoints, keeper=self._keeper, mark=self._mark.name)

    def close(self) -> None:
        """Ends the actor."""
        with suppress(Exception):  # with a cluster that is gone, it is gone
            ray.kill(self._keeper)
        self._mark.unlink(missing_ok=True)


def _write(folder: Path, names: Sequence[str], content: bytes) -> None:
    """Writes files whole or not at all."""
    for name in names:
        target = folder / name
        if not target.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"{name}: lies outside {folder}")
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{target.stem}.{uuid.uuid4().hex[:12]}.partial")
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
