"""How the losses of all places become the terms that are optimised; what the gains then weigh.

Letters: T lanes, S scales, 4 terms: box, obj, noobj, cls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_EPS = 1e-6  # of a total: keeps the slope of its root finite at 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Losses of a batch, summed over images and places.

    Attributes:
        losses_TS4: Sum of each term's losses, without gains.
        counts_TS4: Number that a mean divides by, at least 1: matches for box and cls, all places for obj and noobj.
        balance_TS4: Weight of the scale in a mean of each term, of a shape that broadcasts.
        gains_T4: Gain of each term.
        num_images: Number of images in the batch.
    """

    losses_TS4: Tensor
    counts_TS4: Tensor
    balance_TS4: Tensor
    gains_T4: Tensor
    num_images: int


def mean(sums: Sums) -> Tensor:
    """Terms with gains, whose sum is the loss: means over what they count, times the images of the batch.

    A gain weighs a term whatever the number of objects and of cells: box and cls what a match costs on average, obj
    and noobj what a place does. Since few places have an object, obj at one and the same gain is far below noobj.

    Args:
        sums: Losses of the batch, and what they are weighed by.

    Returns:
        Terms of shape (T, S, 4).

    Source: ultralytics/yolov3 utils/loss.py, with its balance of the scales.
    """
    means_TS4 = sums.losses_TS4 / sums.counts_TS4 * sums.balance_TS4
    return means_TS4 * sums.gains_T4[:, None, :] * sums.num_images


def total(sums: Sums) -> Tensor:
    """As `mean`, but sums over the places of the images, all scales alike.

    A gain weighs a single place. Against `mean` box and cls are as many times larger as an image has matches, obj and
    noobj as it has places: 60 at 64 pixels with two scales, 10 647 at 416 with three. So noobj needs a gain below obj's
    (1 to 5 in yolov2.cfg), and lr0 has to be lower by as much as the largest of the terms is higher.

    Source: darknet region_layer.c and yolo_layer.c, which add up the deltas of all places; its update divides the
    learning rate by the images of the batch, so lr0 here is that much smaller than there.
    """
    return sums.losses_TS4 * sums.gains_T4[:, None, :]


def root(sums: Sums) -> Tensor:
    """As `total`, divided so that the loss is the root of a lane's total for an image, times the images.

    Gains weigh terms against each other as in `total`; what they have in common counts as its root only. The gradient
    is that of the total over twice this root: it does not fall with the loss, so the learning rate has to.

    Source: experiencor/keras-yolo3 train.py, dummy_loss (there of each scale, and of the sum over a batch).
    """
    terms_TS4 = total(sums)
    of_image_T = terms_TS4.sum((1, 2)) / sums.num_images
    return terms_TS4 / torch.sqrt(of_image_T + _EPS)[:, None, None]


REDUCTIONS: dict[str, Callable[[Sums], Tensor]] = {"mean": mean, "sum": total, "root": root}
