"""A lane's state in a file: written whole or not at all, read without unpickling code.

All randomness of a training comes from seeds and counters, so weights, optimizer state and the number of finished
epochs are enough to go on to the last bit.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detector.hyperparameters import Hyperparameters
from detector.plan import TrainingPlan

FORMAT = 1
# A resumed training may run elsewhere or be measured in another way, but must otherwise be the one that was stopped.
_FREE_TO_CHANGE = {"device", "nms_iou"}


class CheckpointError(ValueError):
    """A file is no checkpoint of ours, is damaged, or belongs to another training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A lane after an epoch.

    Attributes:
        plan, values, seed: The training it belongs to.
        names: Classes.
        anchors: Anchor sizes by scale, as fractions of the image.
        epoch: Last finished epoch.
        step: Batches seen.
        weights: One-lane network state.
        optimizer: Of `LaneOptimizer.state`; empty in a file kept for its weights alone, where `weights` are averages.
        metrics: Precision, recall, map50 and map50_95 of the averaged weights on the validation images, 0..1; empty in
            files of versions that did not write them.
    """

    plan: TrainingPlan
    values: Hyperparameters
    seed: int
    names: tuple[str, ...]
    anchors: tuple[tuple[tuple[float, float], ...], ...]
    epoch: int
    step: int
    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def averaged_weights(self) -> Mapping[str, Tensor]:
        """The weights to detect with."""
        average: Mapping[str, Tensor] = self.optimizer.get("average", self.weights)
        return average


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Writes a checkpoint beside its place and moves it there, so that a crash leaves the old one whole.

    Raises:
        OSError: The disk is full or the folder cannot be written.
    """
    content = {each.name: getattr(checkpoint, each.name) for each in fields(checkpoint)}
    content |= {"format": FORMAT, "plan": asdict(checkpoint.plan), "values": asdict(checkpoint.values)}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except RuntimeError as error:  # torch hides a full disk in a RuntimeError
        free = shutil.disk_usage(path.parent).free / 2**20
        raise OSError(errno.ENOSPC, f"could not be written, {free:.1f} MiB are free", str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def save_weights(source: Path, target: Path) -> Checkpoint:
    """Writes what is needed to detect with a checkpoint's lane: its averaged weights, without the optimizer.

    Args:
        source: A checkpoint.
        target: File to write; read back by `load`, where `averaged_weights` are the weights.

    Raises:
        CheckpointError: The checkpoint cannot be read.
        OSError: The disk is full or the folder cannot be written.
    """
    whole = load(source)
    weights = replace(whole, weights=whole.averaged_weights, optimizer={})
    save(weights, target)
    return weights


def load(path: Path, device: str = "cpu") -> Checkpoint:
    """Reads a checkpoint.

    Raises:
        CheckpointError: The file is missing, damaged, or not a checkpoint of this format.
    """
    try:
        content = torch.load(path, map_location=device, weights_only=True)
        if content.pop("format") != FORMAT:
            raise CheckpointError(f"{path}: checkpoint format is not {FORMAT}")
        content["plan"] = TrainingPlan(**content["plan"])
        content["values"] = Hyperparameters(**content["values"])
        return Checkpoint(**content)
    except CheckpointError:
        raise
    except Exception as error:  # torch raises many kinds for files that are no checkpoints
        raise CheckpointError(f"{path}: not a readable checkpoint: {error}") from error


def check_same_training(checkpoint: Checkpoint, plan: TrainingPlan, values: Hyperparameters, seed: int) -> None:
    """Makes sure that going on from a checkpoint continues the training it came from.

    Raises:
        CheckpointError: Plan, hyperparameters or seed are not those of the checkpoint.
    """
    stored = asdict(checkpoint.plan) | asdict(checkpoint.values) | {"seed": checkpoint.seed}
    asked = asdict(plan) | asdict(values) | {"seed": seed}
    if different := {k: (stored[k], asked[k]) for k in asked if stored[k] != asked[k] and k not in _FREE_TO_CHANGE}:
        words = ", ".join(f"{name} was {old!r}, is {new!r}" for name, (old, new) in different.items())
        raise CheckpointError(f"the checkpoint belongs to another training: {words}")
