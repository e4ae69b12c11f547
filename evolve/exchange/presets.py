"""Usual hyperparameters of other trainers as the defaults of a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detector.hyperparameters import Hyperparameters, former_defaults, names
from evolve.errors import StudyError
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
# What Redmon & Farhadi 2018 (YOLOv3) say of training, section 2, as far as it does not follow from the size of COCO:
# one prior for each object, whose centre the cell predicts; squared errors of boxes, logistic regression of objectness
# and classes; predictions that overlap by half are ignored. Momentum, decay and burn-in are those of its yolov3.cfg.
PAPER: Mapping[str, float | str | bool] = {
    **{"coding": "exp", "cells": "centre", "assignment": "best_anchor", "positives": "every", "ignore_iou": 0.5},
    **{"box_loss": "squared_error", "objectness": "bce", "obj_iou": 0.0, "class_loss": "bce"},
    **{"schedule": "steps", "lrf": 0.01, "momentum": 0.9, "nesterov": False, "weight_decay": 5e-4, "clipping": "none"},
    **{"warmup": "quartic", "warmup_momentum": 0.9, "warmup_bias_lr": 0.0, "ema_decay": 0.0},
}


def with_preset(file: StudyFile, study: Study, stored: Study | None, summary: Mapping[str, Any]) -> Study:
    """A study whose fixed hyperparameters are the preset's where its file does not say them.

    What the file or the space names stands. A stored study keeps the values it began with.

    Args:
        file: The study as written, which names a preset.
        study: The study with everything chosen.
        stored: Study that is stored under the study's name; None where there is none.
        summary: What the data check counted: classes and training images decide the preset's gains and warm-up. It is
            not looked at where a study is stored.

    Raises:
        StudyError: A value is not allowed here, or the stored study began from another preset or none.
    """
    values, notes = _stored(file, stored) if stored else preset_values(file.preset, study, summary)
    usual = Hyperparameters.from_mapping(former_defaults(study.defaults))
    fixed = {
        name: value
        for name, value in {**values, **file.given}.items()
        if name in file.given or (name not in study.space and value != getattr(usual, name))
    }
    reasons = {**study.decisions, "preset": notes}
    mapping = study.to_mapping() | {"hyperparameters": fixed, "decisions": reasons}
    return Study.from_mapping(mapping, origin=str(file.path))


def _stored(file: StudyFile, stored: Study) -> tuple[dict[str, Any], str]:
    notes = stored.decisions.get("preset", "")
    if (name := notes.partition(" ")[0]) != file.preset:
        raise StudyError(
            f"{file.path}: preset: study {stored.name} is stored with other values: those of {name or 'no preset'}, "
            f"not of {file.preset}; give this one another --name"
        )
    kept = {name: value for name, value in stored.fixed.items() if name not in file.given}
    return kept, notes


def preset_values(name: str, study: Study, summary: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Hyperparameters of a preset, and notes on them.

    Args:
        name: Name of the preset, one of `evolve.study.file.PRESETS`.
        study: Study whose model and sizes decide some of the hyperparameters.
        summary: What the data check counted: classes and training images decide some of them, too.
    """
    if name == "paper":
        return dict(PAPER), "paper preset: Redmon & Farhadi 2018; lr0, gains and the length of the burn-in are ours."
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
