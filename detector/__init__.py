"""A compact YOLOv3 trainer; knows nothing of studies, Optuna, Ray, SQL or the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detector.predict import Detector

__all__ = ["load_detector"]


def load_detector(path: str | Path, device: str = "cpu") -> Detector:
    """The detector in a file of weights, or in a checkpoint, ready to detect: one lane with its averaged weights.

    Args:
        path: A file under `weights/` of a run folder; only tensors and plain values are read from it.
        device: torch's name of the device, such as cpu or cuda:0.

    Raises:
        CheckpointError: The file is missing, damaged or of another version, or lacks something; a ValueError.
    """
    from detector import predict  # torch takes seconds to import; what only describes trainings needs none

    return predict.load_detector(Path(path), device)
