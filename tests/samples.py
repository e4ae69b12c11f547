"""Images whose boxes can be found again by looking."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from detector.datasets import Sample


class Several:
    """A split of samples that are at hand."""

    def __init__(self, *samples: Sample) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def sample(self, index: int, epoch: int) -> Sample:
        return self._samples[index]


def painted(height: int, width: int, boxes: Sequence[tuple[float, float, float, float]]) -> Sample:
    """Black image whose boxes are filled with white."""
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    for x0, y0, x1, y1 in boxes:
        image[:, round(y0) : round(y1), round(x0) : round(x1)] = 255
    boxes_M4 = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Sample(image=image, boxes_M4=boxes_M4, labels_M=torch.arange(len(boxes)))


def bright_extent(image: torch.Tensor) -> list[float]:
    """The rectangle around what is brighter than grey, xyxy in pixels."""
    bright = (image.float().mean(0) > 160).numpy()
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    return [float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]
