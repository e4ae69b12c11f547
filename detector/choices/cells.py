"""Which cells around the centre of a label learn it.

Letters: N images, M labels an image, B anchors of all scales, F cells that may learn a label.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

CellsRule = Callable[[Tensor], tuple[Tensor, Tensor]]


def centre(inside_NMB2: Tensor) -> tuple[Tensor, Tensor]:
    """The cell that holds the centre alone.

    Args:
        inside_NMB2: Where in its cell a centre is, right and down, 0 to 1.

    Returns:
        Steps right and down to the cells that may learn it, whole numbers of shape (F, 2), the centre's own first;
        and whether each does, of shape (N, M, B, F).

    Source: Redmon et al. 2016 (YOLO), section 2.
    """
    return _steps([(0, 0)], inside_NMB2), torch.ones_like(inside_NMB2[..., :1], dtype=torch.bool)


def neighbours(inside_NMB2: Tensor) -> tuple[Tensor, Tensor]:
    """As `centre`, and the nearer neighbour to the side and the nearer one above or below: three cells.

    A centre is at most half a cell outside of these, which the coding `bounded` can say and `exp` cannot.

    Source: ultralytics/yolov5 utils/loss.py, build_targets (bias g = 0.5); ultralytics/yolov3 has it since v9.
    """
    right, down = (inside_NMB2 > 0.5).unbind(-1)
    wanted = torch.stack((torch.ones_like(right), right, ~right, down, ~down), -1)
    return _steps([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)], inside_NMB2), wanted


def square(inside_NMB2: Tensor) -> tuple[Tensor, Tensor]:
    """As `centre`, and all eight cells around it; the coding `wide` reaches the centre from each of them.

    Source: Ge et al. 2021 (YOLOX), section 2.1, multi positives (+2.1 AP on YOLOv3).
    """
    around = [(right, down) for right, down in product((-1, 0, 1), repeat=2) if (right, down) != (0, 0)]
    steps = _steps([(0, 0), *around], inside_NMB2)
    return steps, torch.ones(*inside_NMB2.shape[:-1], len(steps), dtype=torch.bool, device=inside_NMB2.device)


def _steps(steps: list[tuple[int, int]], like: Tensor) -> Tensor:
    return torch.tensor(steps).to(like.device, non_blocking=True)


CELLS: dict[str, CellsRule] = {"neighbours": neighbours, "centre": centre, "square": square}
