"""What is asked of each class where labels are smoothed.

The last dimension is that of the classes, C; those before it are of any shape.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def uniform(label_C: Tensor, share: Tensor) -> Tensor:
    """A share of each label is spread over all classes, its own too: 1 - e + e / C of it, e / C of the others.

    Args:
        label_C: 1 for the class of the label, 0 for the others.
        share: The share e that is spread, 0..1, of a shape that broadcasts.

    Source: Szegedy et al. 2016 (Inception v3), section 7, with the uniform distribution as u(k).
    """
    return label_C * (1 - share) + share / label_C.shape[-1]


def binary(label_C: Tensor, share: Tensor) -> Tensor:
    """As `uniform`, but each class is a question of two answers for itself: 1 - e / 2 of its own, e / 2 of the others.

    Source: ultralytics/yolov3 utils/loss.py, smooth_BCE.
    """
    return label_C * (1 - share) + share / 2


SMOOTHINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"uniform": uniform, "binary": binary}
