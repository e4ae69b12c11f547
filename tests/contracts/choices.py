"""All choices, for the contract that each must keep: a table joins here by the name of its hyperparameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from detector.choices.assignments import ASSIGNMENTS
from detector.choices.box_losses import BOX_LOSSES
from detector.choices.cells import CELLS
from detector.choices.class_losses import CLASS_LOSSES
from detector.choices.clippings import CLIPPINGS
from detector.choices.codings import CODINGS
from detector.choices.heads import HEADS
from detector.choices.initialisers import INITIALISERS
from detector.choices.negatives import NEGATIVES
from detector.choices.normalisations import NORMALISATIONS
from detector.choices.objectness import OBJECTNESS
from detector.choices.optimizers import OPTIMIZERS
from detector.choices.positives import POSITIVES
from detector.choices.reductions import REDUCTIONS
from detector.choices.schedules import SCHEDULES
from detector.choices.smoothings import SMOOTHINGS
from detector.choices.spikes import ON_SPIKE
from detector.choices.warmups import WARMUPS
from detector.hyperparameters import declarations

TABLES: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "schedule": SCHEDULES,
    "optimizer": OPTIMIZERS,
    "warmup": WARMUPS,
    "box_loss": BOX_LOSSES,
    "objectness": OBJECTNESS,
    "negatives": NEGATIVES,
    "class_loss": CLASS_LOSSES,
    "smoothing": SMOOTHINGS,
    "reduction": REDUCTIONS,
    "assignment": ASSIGNMENTS,
    "cells": CELLS,
    "positives": POSITIVES,
    "coding": CODINGS,
    "normalisation": NORMALISATIONS,
    "head": HEADS,
    "initialiser": INITIALISERS,
    "clipping": CLIPPINGS,
    "on_spike": ON_SPIKE,
}
CHOICES = [(family, name) for family, table in TABLES.items() for name in table]
# All that are no default, and one setting of defaults for the others.
DIFFERENT = [CHOICES[0], *(each for each in CHOICES if each[1] != declarations()[each[0]].default)]
# What lets the choices of a family differ within a training of two epochs.
SETTINGS: Mapping[str, Mapping[str, float]] = {
    "schedule": {"plateau_patience": 0.0, "plateau_threshold": 1.0, "restart_cycles": 2.0},
    "warmup": {"warmup_epochs": 1.5},
    "smoothing": {"label_smoothing": 0.2},
    # So few of the hardest places that there are more.
    "negatives": {"negatives_per_object": 0.5},
    # So fast that a norm is above the one before, which is all that is remembered.
    "on_spike": {
        "lr0": 0.2,
        "warmup_epochs": 0.0,
        "spike_warmup": 1.0,
        "spike_z": 0.0,
        "spike_decay": 0.0,
        "rewind_steps": 1.0,
    },
    "clipping": {"lr0": 0.2, "warmup_epochs": 0.0, "clip_warmup": 1.0, "clip_z": 0.0, "clip_decay": 0.0},
}
# Those that a loss is made of.
FAMILIES_OF_THE_LOSS = (
    "box_loss",
    "objectness",
    "negatives",
    "class_loss",
    "smoothing",
    "reduction",
    "assignment",
    "cells",
    "positives",
    "coding",
)
OF_THE_LOSS = [each for each in CHOICES if each[0] in FAMILIES_OF_THE_LOSS]
