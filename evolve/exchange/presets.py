"""Usual hyperparameters of other trainers as the defaults of a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detector.hyperparameters import Hyperparameters, names
from evolve.exchange.dialects import Context, preset
from evolve.study import Study
from evolve.study.file import StudyFile

# The dialect that each of `evolve.study.file.PRESETS` is the usual training of.
DIALECT_OF = {
    "ultralytics-yolov3": "yolov3",
    "early-yolov3": "yolov3-early",
    "ultralytics": "ultralytics",
    "darknet": "darknet",
}


def with_preset(file: StudyFile, study: Study, stored: Study | None, summary: Mapping[str, Any]) -> Study:
    """A study whose fixed hyperparameters are the preset's where its file does not say them.

    What the file or the space names stands. A stored study keeps the values it began with.

    Args:
        file: The study as written, which names a preset.
        study: The same with everything chosen.
        stored: The study stored under its name.
        summary: What the data check counted; classes and training images decide gains and warm-up there.

    Raises:
        StudyError: A value is not allowed here.
    """
    values, notes = _stored(file, stored) if stored else _preset(file.preset, study, summary)
    own = {**values, **file.given}
    usual = Hyperparameters()
    fixed = {name: value for name, value in own.items() if name not in study.space}
    fixed = {name: value for name, value in fixed.items() if name in file.given or value != getattr(usual, name)}
    reasons = {**study.decisions, "preset": notes}
    mapping = study.to_mapping() | {"hyperparameters": fixed, "decisions": reasons}
    return Study.from_mapping(mapping, origin=str(file.path))


def _stored(file: StudyFile, stored: Study) -> tuple[dict[str, Any], str]:
    kept = {name: value for name, value in stored.fixed.items() if name not in file.given}
    return kept, stored.decisions.get("preset", file.preset)


def _preset(name: str, study: Study, summary: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    context = Context(
        model=study.model,
        classes=len(summary["classes"]),
        image_size=study.image_size,
        batch_size=study.batch_size,
        nominal_batch_size=study.nominal_batch_size,
        images=summary["splits"]["train"]["images"],
        epochs=study.epochs,
    )
    found = preset(DIALECT_OF[name], context)
    return {key: getattr(found.values, key) for key in names()}, " ".join([name, *found.notes])
