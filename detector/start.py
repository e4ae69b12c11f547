"""The weights that a training starts from where they are not random: a file of ours, or one of darknet's.

All lanes start from the same ones. What a file does not hold starts from the lane's seed, as without a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

import torch
from torch import Tensor

from detector import checkpoint
from detector.hyperparameters import Hyperparameters
from detector.models.darknet import ANCHORS_PER_SCALE, Row, num_frozen_rows, published_anchors, rows_of
from detector.models.darknet_files import CfgHeads, WeightsError, read_cfg_heads, read_weights
from detector.plan import TrainingPlan

# What raw outputs mean to its yolo layers, unless a cfg says more, and what its networks are made of.
DARKNETS = Hyperparameters(coding="exp", class_loss="bce", normalisation="batch", head="coupled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a training starts with.

    Attributes:
        state: Tensors by their names in a one-lane network, as many as are taken from the file.
        anchors: Sizes (A, 2) of each scale as fractions of the image, float64, where heads were taken that mean boxes
            by them; None where the labels decide. In pixels they are those of the file whatever the size of the images:
            a network sees an object of so many pixels in the same way in all of them.
        text: What was taken, what was not and why, and what is frozen, in a sentence.
    """

    state: Mapping[str, Tensor]
    anchors: tuple[Tensor, ...] | None
    text: str


def sha256_of(path: Path) -> str:
    """Checksum of a file, in hexadecimal.

    Raises:
        WeightsError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:  # a NUL in the path is a ValueError
        raise WeightsError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def model_of(path: Path) -> str:
    """Name of the network whose weights a file holds; empty where it does not say, as darknet's and damaged ones."""
    try:
        return checkpoint.network_of(path)
    except checkpoint.CheckpointError:
        return ""  # what is wrong with it is said when a training starts from it


def load_start(plan: TrainingPlan, names: Sequence[str], values: Hyperparameters) -> Start:
    """What a training of a plan starts with; nothing where the plan names no weights.

    Args:
        plan: Plan of the training, which names the file; where it has a checksum, the file must have it, too.
        names: Names of the classes that are trained, by index.
        values: Hyperparameters of the training, which say what raw outputs mean and what heads are made of; other
            heads are not taken.

    Raises:
        WeightsError: The file is missing, damaged, of another network, normalisation or checksum, or ends before the
            layers that are to be frozen.
        ValueError: There are not as many layers as are to be frozen.
    """
    rows = rows_of(plan.model, len(names), values.head)
    num_frozen = num_frozen_rows(plan.freeze, rows)
    if not plan.weights:
        return Start(state={}, anchors=None, text="")
    path = Path(plan.weights)
    found = sha256_of(path)
    if plan.weights_sha256 not in ("", found):
        raise WeightsError(
            f"{path}: is not the file this began with: its SHA-256 is {found}, not {plan.weights_sha256}"
        )
    start = (_ours if checkpoint.is_file_of_ours(path) else _darknets)(path, plan, names, values)
    if missing := sorted(_rows_within(rows, num_frozen) - {_row_of(name) for name in start.state}):
        raise WeightsError(f"{path}: lacks layer {missing[0]}, which is to be frozen (freeze: {plan.freeze})")
    frozen = f"; layers 0 to {num_frozen - 1} are frozen" if num_frozen else ""
    return Start(state=start.state, anchors=start.anchors, text=start.text + frozen)


def _ours(path: Path, plan: TrainingPlan, names: Sequence[str], values: Hyperparameters) -> Start:
    try:
        stored = checkpoint.load(path)
    except checkpoint.CheckpointError as error:
        raise WeightsError(str(error)) from error
    if stored.plan.model != plan.model:
        raise WeightsError(f"{path}: holds weights of {stored.plan.model}, not of {plan.model}; allowed: --model of it")
    _check_normalisation(path, stored.values, values)
    if stored.values.head != values.head:
        return _before_heads(stored.averaged_weights, plan.model, stored.values.head, values.head)
    reason = f"its classes are {_listed(stored.names)}, not {_listed(names)}" if stored.names != tuple(names) else ""
    reason = reason or _other_meaning(stored.values.coding, stored.values.class_loss, values, len(names))
    if not reason:
        scale = stored.plan.image_size / plan.image_size
        anchors = tuple(torch.tensor(sizes, dtype=torch.float64) * scale for sizes in stored.anchors)
        return Start(state=stored.averaged_weights, anchors=anchors, text="all layers and the anchors are taken")
    state = _without_heads(stored.averaged_weights, rows_of(plan.model, len(stored.names), values.head))
    return Start(state=state, anchors=None, text=f"{reason}: all layers but the heads are taken")


def _darknets(path: Path, plan: TrainingPlan, names: Sequence[str], values: Hyperparameters) -> Start:
    _check_normalisation(path, DARKNETS, values)
    read = read_weights(path, plan.model, num_classes=len(names))
    if values.head != DARKNETS.head:
        return _before_heads(read.state, plan.model, DARKNETS.head, values.head)
    rows = rows_of(plan.model, read.num_classes)
    if read.num_rows < len(rows) - 1:  # no file holds the last row, which has no weights
        text = f"layers 0 to {read.num_rows - 1} are taken, of {len(rows)}; the file has no more"
        return Start(state=read.state, anchors=None, text=text)
    cfg = path.with_suffix(".cfg")
    heads = read_cfg_heads(cfg) if cfg.exists() else None
    differs = read.num_classes != len(names)
    reason = f"its heads are of {read.num_classes} classes, not {len(names)}" if differs else ""
    there = DARKNETS.coding if heads is None else heads.coding
    reason = reason or _other_meaning(there, DARKNETS.class_loss, values, len(names))
    if not reason:
        return _whole_of_darknet(cfg, heads, read.state, plan)
    text = f"{reason}: all layers but the heads are taken"
    return Start(state=_without_heads(read.state, rows), anchors=None, text=text)


def _before_heads(state: Mapping[str, Tensor], model: str, there: str, here: str) -> Start:
    """What networks of two heads have in common, as far as a file has it: all layers before the first of a head."""
    pairs = zip(rows_of(model, 1, there), rows_of(model, 1, here), strict=False)
    num_alike = next(index for index, (its, ours) in enumerate(pairs) if its != ours)
    alike = {name: value for name, value in state.items() if _row_of(name) < num_alike}
    text = f"its heads are {there}, not {here}: layers 0 to {max(map(_row_of, alike))} are taken"
    return Start(state=alike, anchors=None, text=text)


def _check_normalisation(path: Path, there: Hyperparameters, here: Hyperparameters) -> None:
    if there.normalisation != here.normalisation:
        found, asked = there.normalisation, here.normalisation
        raise WeightsError(f"{path}: its layers have normalisation {found}, not {asked}; allowed: {found}")


def _other_meaning(coding: str, class_loss: str, here: Hyperparameters, num_classes: int) -> str:
    """What raw outputs of a file mean that those of the training do not; empty where they mean the same."""
    if coding != here.coding:
        return f"its boxes are coded {coding or 'in another way'}, not {here.coding}"
    if num_classes > 1 and class_loss != here.class_loss:
        return f"its classes are learned by {class_loss}, not {here.class_loss}"
    return ""


def _whole_of_darknet(cfg: Path, heads: CfgHeads | None, state: Mapping[str, Tensor], plan: TrainingPlan) -> Start:
    """All layers, with the anchors of the cfg beside the file if there is one."""
    if heads is None:
        text = f"all layers are taken, but not its anchors, since there is no {cfg.name} beside it: the labels decide"
        return Start(state=state, anchors=None, text=text)
    anchors, published = heads.anchors, published_anchors(plan.model)
    if [len(sizes) for sizes in anchors] != [ANCHORS_PER_SCALE] * (len(published) // ANCHORS_PER_SCALE):
        raise WeightsError(
            f"{cfg}: names {list(map(len, anchors))} anchors by head, not {ANCHORS_PER_SCALE} as {plan.model}"
        )
    scaled = tuple(torch.tensor(sizes, dtype=torch.float64) / plan.image_size for sizes in anchors)
    return Start(state=state, anchors=scaled, text=f"all layers and the anchors of {cfg.name} are taken")


def _without_heads(state: Mapping[str, Tensor], rows: Sequence[Row]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if rows[_row_of(name)].is_normalised}


def _rows_within(rows: Sequence[Row], count: int) -> set[int]:
    """Those of the first rows that have weights."""
    return {index for index, row in enumerate(rows[:count]) if row.kind == "conv"}


def _row_of(name: str) -> int:
    return int(name.split(".")[1])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
