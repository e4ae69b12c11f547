"""A lane's state in a file: written whole or not at all, read without unpickling code, checked by a checksum.

All randomness of a training comes from seeds and counters, so weights, optimizer state, validation losses and the
number of finished epochs are enough to go on to the last bit.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detector.hyperparameters import Hyperparameters, as_written, declarations
from detector.plan import TrainingPlan
from detector.schedule import values_at

FORMAT = 2
# A file that a killed process left half-written is removed after so long without a write.
STALE_SECONDS = 600.0
# A resumed training may run elsewhere or be measured in another way, but must otherwise be the one that was stopped.
_FREE_TO_CHANGE = {"device", "nms_iou", "weights"}  # of the weights it started from, the checksum counts
_NOTHING: Mapping[int, Hyperparameters] = {}
_ZIP = b"PK\x03\x04"  # how files of torch begin
_DAMAGED = "is damaged, or of another program"


class CheckpointError(ValueError):
    """A file is no checkpoint of ours, is damaged, or belongs to another training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A lane after an epoch.

    Attributes:
        plan, values, seed: Plan, hyperparameters and seed of the training that it belongs to.
        names: Class names by index.
        anchors: Anchor sizes by scale, as fractions of the image.
        epoch: Index of the last finished epoch, from 0.
        step: Number of batches seen.
        weights: Parameters and buffers of the lane, by their names in a one-lane network.
        optimizer: State of the lane's optimizer, as `Population.lane_state` gives it; empty in a file kept for its
            weights, where `weights` are averages.
        metrics: Precision, recall, map50 and map50_95 of the averaged weights on the validation images, 0..1; empty
            where they were not measured.
        train_losses: Mean over the epoch's batches of each loss term, by name.
        val_losses: Loss on the validation images after each epoch so far, which a schedule may ask for.
        origin: Text by which whoever trains may tell which run and which data a file is of; compared, never
            interpreted.
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
    train_losses: Mapping[str, float] = field(default_factory=dict)
    val_losses: tuple[float, ...] = ()
    origin: str = ""

    @property
    def averaged_weights(self) -> Mapping[str, Tensor]:
        """The weights to detect with."""
        average: Mapping[str, Tensor] = self.optimizer.get("average", self.weights)
        return average


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The state that a training can go on from.

    Attributes:
        checkpoint: The latest usable one, or None where the training has to start from its beginning.
        passed_over: Why files that are there are not used, a sentence each.
    """

    checkpoint: Checkpoint | None = None
    passed_over: tuple[str, ...] = ()


def before_path(path: Path) -> Path:
    """File of the checkpoint before the last one."""
    return path.with_name(f"{path.stem}-before{path.suffix}")


def save(checkpoint: Checkpoint, path: Path, *, keeps_before: bool = False) -> None:
    """Writes a checkpoint beside its place and moves it there, so that a crash leaves the old one whole.

    Args:
        checkpoint: State of a lane that is written.
        path: File to write or replace.
        keeps_before: Whether the file that was there is kept as `before_path`.

    Raises:
        OSError: The disk is full or the folder cannot be written.
    """
    content = {field.name: getattr(checkpoint, field.name) for field in fields(checkpoint)}
    content |= {"format": FORMAT, "plan": asdict(checkpoint.plan), "values": asdict(checkpoint.values)}
    content = _on_cpu(content)
    content["checksum"] = _checksum(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own for each writer: two that write the same checkpoint must not mix their bytes.
    partial = path.with_name(f"{path.stem}.{uuid.uuid4().hex[:12]}.partial")
    try:
        with partial.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        if path.is_dir():  # not ours; what is in it is not ours to remove
            path.rename(path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.aside"))
        if keeps_before and path.exists():
            link(path, before_path(path))
        partial.replace(path)
        _sync_folder(path.parent)
    except RuntimeError as error:  # torch hides a full disk in a RuntimeError
        free = shutil.disk_usage(path.parent).free / 2**20
        raise OSError(errno.ENOSPC, f"could not be written, {free:.1f} MiB are free", str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def link(source: Path, target: Path) -> None:
    """Gives a checkpoint a second name, in place of a file that has it; checkpoints are replaced, never written to.

    Raises:
        OSError: The disk is full or the folder cannot be written.
    """
    partial = target.with_name(f"{target.stem}.{uuid.uuid4().hex[:12]}.partial")
    try:
        try:
            partial.hardlink_to(source)
        except OSError:  # a file system without links
            shutil.copyfile(source, partial)
        partial.replace(target)
    finally:  # a rename onto the same file does nothing
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def remove_stale(path: Path, *, now: float | None = None) -> None:
    """Removes what writers of a checkpoint left half-written when they were killed."""
    now = time.time() if now is None else now
    for partial in path.parent.glob(f"{path.stem}*.partial"):
        with contextlib.suppress(OSError):
            if now - partial.stat().st_mtime > STALE_SECONDS:
                partial.unlink()


def save_weights(source: Path, target: Path) -> Checkpoint:
    """Writes what is needed to detect with a checkpoint's lane: its averaged weights, without the optimizer.

    Args:
        source: File of the checkpoint.
        target: File to write; read back by `load`, where `averaged_weights` are the weights.

    Raises:
        CheckpointError: The checkpoint cannot be read.
        OSError: The disk is full or the folder cannot be written.
    """
    whole = load(source)
    weights = replace(whole, weights=whole.averaged_weights, optimizer={})
    save(weights, target)
    return weights


def carry_over(source: Path, target: Path, values: Hyperparameters) -> None:
    """Writes a checkpoint under other hyperparameters, so that a training with these goes on from it.

    This is what population based training does (Jaderberg et al. 2017, arXiv:1711.09846). Only numbers may differ: with
    another optimizer, loss or coding of boxes the state would mean something else.

    Raises:
        CheckpointError: The checkpoint cannot be read, or a choice differs.
        OSError: The disk is full or the folder cannot be written.
    """
    found = load(source)
    try:
        carried = under(found, values)
    except ValueError as error:
        raise CheckpointError(f"{source}: {error}") from None
    save(carried, target)


def under(found: Checkpoint, values: Hyperparameters) -> Checkpoint:
    """A checkpoint under other hyperparameters, as `carry_over` writes it.

    Raises:
        ValueError: A choice differs.
    """
    before, after = asdict(found.values), asdict(values)
    changed = [name for name, declared in declarations().items() if declared.choices and before[name] != after[name]]
    if changed:
        words = ", ".join(f"{name} was {before[name]!r}, is {after[name]!r}" for name in changed)
        raise ValueError(f"can only be carried over to other numbers: {words}")
    return replace(found, values=values)


def load(path: Path, device: str = "cpu") -> Checkpoint:
    """Reads a checkpoint.

    Raises:
        CheckpointError: The file is missing, damaged, or not a checkpoint of this format.
    """
    content = _content(path, device=device)
    try:
        if content.pop("checksum", None) != _checksum(content):
            raise CheckpointError(f"{path}: is damaged: its checksum is not that of its content")
        del content["format"]
        content["plan"] = TrainingPlan(**content["plan"])
        content["values"] = Hyperparameters.from_mapping(as_written(content["values"]))
        loaded = Checkpoint(**content)
    except CheckpointError:
        raise
    except Exception as error:  # what a damaged or newer file holds may be of any kind
        raise _refusal(path, (str(error) or type(error).__name__).splitlines()[0]) from error
    if broken := _not_finite(loaded.averaged_weights) or _not_finite(loaded.weights):
        raise CheckpointError(f"{path}: weights {broken} are not finite")
    return loaded


def origin_of(path: Path) -> str:
    """The origin that a checkpoint carries, read without its tensors and unchecked.

    Raises:
        CheckpointError: The file is missing, or not a checkpoint of this format.
    """
    return str(_content(path, device="cpu", is_mapped=True).get("origin", ""))


def network_of(path: Path) -> str:
    """Name of the network whose weights a checkpoint has, read without its tensors and unchecked.

    Raises:
        CheckpointError: The file is missing, or not a checkpoint of this format.
    """
    try:
        return str(_content(path, device="cpu", is_mapped=True)["plan"]["model"])
    except (KeyError, TypeError):
        raise _refusal(path, _DAMAGED) from None


def is_file_of_ours(path: Path) -> bool:
    """Whether a file begins as those that trainings write; what cannot be read does not."""
    try:
        with path.open("rb") as file:
            return file.read(len(_ZIP)) == _ZIP
    except (OSError, ValueError):
        return False


def _content(path: Path, *, device: str, is_mapped: bool = False) -> dict[str, Any]:
    """What a checkpoint's file holds, unchecked."""
    try:
        content = torch.load(path, map_location=device, weights_only=True, mmap=is_mapped)
    except OSError as error:
        raise _refusal(path, error.strerror or str(error)) from None
    except Exception:  # torch raises many kinds, and advises to run what is in the file
        raise _refusal(path, _DAMAGED if is_file_of_ours(path) else "is no file that evolve wrote") from None
    if not isinstance(content, dict) or "format" not in content:
        raise _refusal(path, _DAMAGED)
    if (found := content["format"]) != FORMAT:
        raise CheckpointError(f"{path}: checkpoint format is {found!r}, not {FORMAT}: written by another version")
    return content


def _refusal(path: Path, reason: str) -> CheckpointError:
    allowed = "allowed: checkpoints and weights that evolve wrote"
    return CheckpointError(f"{path}: not a readable checkpoint: {reason}; {allowed}")


def latest(
    path: Path,
    plan: TrainingPlan,
    values: Hyperparameters,
    seed: int,
    *,
    origin: str,
    last_epoch: int | None,
    later: Mapping[int, Hyperparameters] = _NOTHING,
) -> Found:
    """The state to go on from: of the last checkpoint and the one before it, the first that is whole and one's own.

    Args:
        path: File of the last checkpoint.
        plan, values, seed: Plan, hyperparameters and seed of the training that is to go on.
        origin: Text that the files must have as their origin.
        last_epoch: The last epoch that the caller knows of, -1 for none; a file of a later one is not used. None
            for no such limit.
        later: Hyperparameters that take the place of `values`, by the epoch from which on they do.
    """
    passed_over: list[str] = []
    for candidate in (path, before_path(path)):
        if not candidate.exists():
            continue
        try:
            found = load(candidate)
            _check_origin(candidate, found, origin, last_epoch)
            check_same_training(found, plan, values_at(found.epoch, values, later), seed)
        except CheckpointError as error:
            passed_over.append(str(error))
            continue
        return Found(checkpoint=found, passed_over=tuple(passed_over))
    return Found(passed_over=tuple(passed_over))


def _check_origin(path: Path, found: Checkpoint, origin: str, last_epoch: int | None) -> None:
    if found.origin != origin:
        raise CheckpointError(f"{path}: is of another study, another database or other data")
    if last_epoch is not None and found.epoch > last_epoch:
        known = f"knows epochs up to {last_epoch}" if last_epoch >= 0 else "knows no epoch"
        raise CheckpointError(f"{path}: is of epoch {found.epoch}, but the database {known} of this training")


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


def _on_cpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, Mapping):
        return {key: _on_cpu(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_on_cpu(item) for item in value)
    return value


def _checksum(content: Mapping[str, Any]) -> str:
    """Checksum of every key and value: what torch reads from a damaged file would otherwise be taken for the truth."""
    digest = sha256()
    for piece in _pieces(content):
        digest.update(piece)
    return digest.hexdigest()


def _pieces(value: Any) -> Iterator[Any]:
    if isinstance(value, Tensor):
        yield f"{value.dtype}{tuple(value.shape)}".encode()
        yield value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    elif isinstance(value, Mapping):
        yield f"{{{len(value)}".encode()
        for key in sorted(value, key=str):
            yield repr(key).encode()
            yield from _pieces(value[key])
    elif isinstance(value, (list, tuple)):
        yield f"[{len(value)}".encode()
        for item in value:
            yield from _pieces(item)
    else:
        yield repr(value).encode()


def _not_finite(weights: Mapping[str, Tensor]) -> str:
    """Name of the first tensor with a value that is no finite number; empty where there is none."""
    names: Sequence[str] = [name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all())]
    return names[0] if names else ""


def _sync_folder(folder: Path) -> None:
    """Makes a rename last through a power cut, where the system lets folders be opened."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
