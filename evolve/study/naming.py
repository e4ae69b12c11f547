"""Names under which studies are stored, so that the same command goes on and another one does not collide."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from evolve.errors import StudyError
from evolve.study import DIGITS, Study
from evolve.study.definition import LONGEST_NAME
from evolve.study.hyp import HypFile

_SHORT = {"epochs": "ep", "updates": "up", "image_size": "px", "batch_size": "b"}


def derived_name(name: str, chosen: Mapping[str, Any]) -> str:
    """The study's name, followed by what the command line changed in its definition.

    Args:
        name: Name that the study has without these changes.
        chosen: Options of the command line, by key of the study; None where the study's own value stands.
    """
    parts = [name]
    for key, value in chosen.items():
        if value is None:
            continue
        if key == "data":
            parts.append(data_word(str(value)))
        elif key == "seeds":
            parts.append("seeds" + "_".join(str(item) for item in value))
        elif key in _SHORT:
            parts.append(f"{value}{_SHORT[key]}")
        elif key == "nms_iou":
            parts.append(f"nms{_word(str(value))}")
        elif key == "weights":
            parts.append(f"from_{_word(Path(str(value)).stem)}")
        elif key == "freeze":
            parts.append(f"freeze_{value}")
        else:
            parts.append(_word(str(value)))
    return "-".join(parts)[:LONGEST_NAME]


def training_study(
    hyp: HypFile,
    path: Path,
    chosen: Mapping[str, Any],
    others: Mapping[str, Any],
    *,
    name: str | None,
    stored: Callable[[str], Study | None],
) -> Study:
    """One training as a study of a single trial that searches nothing, so that it is kept, resumed and shown as one.

    Args:
        hyp: Content of the hyp file to train with.
        path: File that `hyp` was read from.
        chosen: Options of the command line, by key of the study; None where the file's or the default value stands.
        others: Options of the command line that are not part of the name, with None as in `chosen`.
        name: Name of the training; by default train- and the file's, counted up past trainings that differ.
        stored: Gives the stored study of a name, or None where there is none.

    Raises:
        StudyError: An option or the file's training is not allowed.
    """
    base = name or derived_name_of_training(path, chosen)
    mapping = _as_study(hyp, path, {key: value for key, value in {**chosen, **others}.items() if value is not None})
    for number in range(1, 1000):
        candidate = base if number == 1 else f"{base}-{number}"
        study = Study.from_mapping({"name": candidate, **mapping}, origin=f"training with {path}")
        before = stored(candidate)
        if before is None or not study.differences(before):
            return study
        if name is not None:
            raise StudyError(f"--name: {name} is stored with other {', '.join(study.differences(before))}")
    raise StudyError(f"--name: there are a thousand trainings called {base}; choose another name")


def _as_study(hyp: HypFile, path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of a study with a single trial, without a name."""
    mapping = {
        "description": f"One training with {path}.",
        "hyperparameters": {name: getattr(hyp.values, name) for name in hyp.given},
        "space": {},
        "sampler": "random",
        "budget": {"trials": 1},
        "keep_weights": "all",
        "from_epoch": hyp.later,
        **hyp.training,
        **given,
    }
    return mapping | ({"nominal_batch_size": given["batch_size"]} if "batch_size" in given else {})


def derived_name_of_training(path: Path, chosen: Mapping[str, Any]) -> str:
    """train- and the folder of a hyp.yaml, or the stem of a file with a name of its own."""
    stem = path.resolve().parent.name if path.stem == "hyp" else path.stem
    words = [f"{value}{_SHORT[key]}" for key, value in chosen.items() if key in _SHORT and value is not None]
    if chosen.get("data") is not None:
        words.insert(0, data_word(str(chosen["data"])))
    if chosen.get("model") is not None:
        words.insert(0, _word(str(chosen["model"])))
    return "-".join(["train", _word(stem), *words])[:90]


def imported_name(path: Path) -> str:
    """import- and the stem of a file with results of another trainer."""
    return f"import-{_word(path.stem)}"[:LONGEST_NAME]


def data_word(data: str) -> str:
    """A data set's name as part of a study's."""
    return _word(data_name(data))


def data_name(data: str) -> str:
    """A data set's name: that of its folder where the file is called data.yaml or the like, else its own."""
    if data in DIGITS:
        return data
    try:
        path = Path(data).expanduser().resolve()
    except (OSError, RuntimeError, ValueError):  # no such user, a name too long, a NUL: opening the data says so
        path = Path(data)
    if path.suffix.lower() not in (".yaml", ".yml", ".json", ".txt"):
        return path.name
    return path.parent.name if path.stem in ("data", "dataset", "train", "_annotations.coco") else path.stem


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "_", text).strip("_") or "x"
