"""A small training of digits, whose weights the fixture `weights` shares."""

from __future__ import annotations

from pathlib import Path

from detector import checkpoint
from detector.datasets import open_dataset
from detector.hyperparameters import Hyperparameters
from detector.plan import TrainingPlan
from detector.trainer import LaneSpec, Trainer

PLAN = TrainingPlan(image_size=64, epochs=2)
VALUES = Hyperparameters(lr0=0.02)


def trained_weights(folder: Path) -> Path:
    """File of the weights after two epochs of digits-1."""
    lane = LaneSpec(values=VALUES, checkpoint=folder / "lane.pt")
    list(Trainer(PLAN, open_dataset("digits-1", image_size=64), [lane]).fit())
    checkpoint.save_weights(folder / "lane.pt", folder / "weights.pt")
    return folder / "weights.pt"
