"""hyp.yaml in our own dialect: every hyperparameter by name, the training it was found with, and where it is from.

`evolve train --hyp` reads it back. What changed while a training was under way stands below `from_epoch`, by the epoch
from which on it did. Comments at its head are for people; nothing is read from them.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from detector.hyperparameters import Hyperparameters, as_written, names
from detector.text_files import TextFileError, read_text
from detector.yaml_text import YamlError, dump, load
from evolve.errors import DefinitionError, EvolveError, shown, unknown_text
from evolve.study.fields import later_values
from evolve.study.parameters import Scalar

# Keys of a study that say how it trains, with the values that say nothing.
TRAINING_KEYS = {
    **dict.fromkeys(
        ("data", "model", "image_size", "batch_size", "nominal_batch_size", "epochs", "precision", "nms_iou")
    ),
    "weights": "",
    "freeze": "none",
}
LATER = "from_epoch"  # key of what changes while a training is under way
MAX_PATH_SHOWN = 300
_NOTHING: Mapping[int, Mapping[str, Scalar]] = {}
# Keys that other trainers' files have and ours do not.
_FOREIGN = {"iou_t", "anchor_t", "cls_pw", "obj_pw", "fl_gamma", "dfl", "giou", "learning_rate", "nbs"}


def training_of(study: Mapping[str, Any]) -> dict[str, Any]:
    """How a study trains, for a hyp file: its values of `TRAINING_KEYS`, but for those that say nothing."""
    return {key: study[key] for key, nothing in TRAINING_KEYS.items() if study.get(key) not in (None, nothing)}


class HypError(EvolveError):
    """A hyp file cannot be used; the text names file, key and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HypFile:
    """A hyp file's content.

    Attributes:
        values: All hyperparameters, defaults filled in.
        given: Names that the file sets.
        training: Training that the values were found with, as far as the file says: values of `TRAINING_KEYS`.
        later: Hyperparameters that change while a training is under way, by the epoch from which on they do.
    """

    values: Hyperparameters
    given: tuple[str, ...]
    training: Mapping[str, Any]
    later: Mapping[int, Mapping[str, Scalar]] = field(default_factory=dict)


def read_hyp(path: Path) -> HypFile:
    """Reads a hyp file.

    Raises:
        HypError: The file cannot be read, or a key or value is not allowed.
    """
    try:
        text = read_text(path)
    except TextFileError as error:
        raise HypError(f"{path}: {error}") from None
    return parse_hyp(text, str(path))


def parse_hyp(text: str, path: str) -> HypFile:
    """A hyp file's content; `path` names it in errors.

    Raises:
        HypError: A key or value is not allowed.
    """
    try:
        raw = load(text)
    except YamlError as error:
        raise HypError(f"{path}: {error}") from None
    if not isinstance(raw, dict) or not raw:
        raise HypError(f"{path}: holds no hyperparameters; a hyp file is a mapping such as lr0: 0.01")
    training = raw.pop("training", None) or {}
    if not isinstance(training, dict) or (unknown := sorted(set(map(str, training)) - set(TRAINING_KEYS))):
        raise HypError(
            f"{path}: training: {shown(unknown if isinstance(training, dict) else training)} is not allowed; "
            f"known: {list(TRAINING_KEYS)}"
        )
    later = _later(raw.pop(LATER, None), path)
    if unknown := [key for key in raw if key not in names()]:
        raise HypError(f"{path}: {_unknown(unknown)}")
    try:
        values = Hyperparameters.from_mapping(as_written(raw))
        return HypFile(values=values, given=tuple(raw), training=training, later=later)
    except ValueError as error:
        raise HypError(f"{path}: {error}") from None


def _later(raw: object, path: str) -> dict[int, dict[str, Scalar]]:
    """What changes while a training is under way, as a file has it; nothing where it says nothing."""
    try:
        return {} if raw is None else later_values(raw)
    except DefinitionError as error:
        raise HypError("\n".join(f"{path}: {problem.under(LATER)}" for problem in error.problems)) from None
    except ValueError as error:
        raise HypError(f"{path}: {LATER}: {error}") from None


def _unknown(unknown: Sequence[Any]) -> str:
    text = unknown_text("hyperparameter", unknown[0], names())
    if foreign := sorted(_FOREIGN & set(map(str, unknown))):
        return f"{', '.join(foreign)} belong to another trainer's file, whose gains mean something else; {text}"
    return text


def write_hyp(
    path: Path,
    values: Hyperparameters,
    *,
    training: Mapping[str, Any],
    header: Sequence[str],
    later: Mapping[int, Mapping[str, Scalar]] = _NOTHING,
) -> None:
    """Writes a hyp file, whole or not at all.

    Args:
        path: File to write; its folder is made where it is missing.
        values: All hyperparameters, those at their defaults too.
        training: Training that the values were found with: values of `TRAINING_KEYS`.
        header: Lines of text for the head of the file, without the comment sign.
        later: Hyperparameters that change while a training is under way, by the epoch from which on they do.
    """
    lines = [f"# {' '.join(line.split())}".rstrip() for line in header]
    write_whole(path, "\n".join(lines) + "\n" + hyp_text(values, training, later))


def hyp_text(
    values: Hyperparameters, training: Mapping[str, Any], later: Mapping[int, Mapping[str, Scalar]] = _NOTHING
) -> str:
    """A hyp file without its head."""
    changes = dump({LATER: {epoch: dict(changed) for epoch, changed in later.items()}}) if later else ""
    return dump(asdict(values)) + changes + dump({"training": dict(training)})


def write_whole(path: Path, text: str) -> None:
    """Writes a file whole or not at all; its folder is made.

    Raises:
        HypError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name of its own for each writer, and on the disk before it has the file's name.
        partial = path.with_name(f".{uuid.uuid4().hex[:12]}.partial")
        try:
            with partial.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise HypError(f"{_printable(path)}: cannot be written: {error.strerror or error}") from None
    except ValueError as error:  # a NUL in the path, or no name at its end
        raise HypError(f"{_printable(path)}: cannot be written: {error}") from None


def _printable(path: Path) -> str:
    return str(path)[:MAX_PATH_SHOWN].replace("\0", "?")
