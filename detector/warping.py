"""An image on the network's square by a matrix: rotated, sheared, in perspective; boxes follow by the same matrix.

Coordinates count from the edges of pixels, as those of boxes do. Shapes: M boxes, S side of the square.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from math import cos, radians, sin, tan
from typing import Any

import numpy as np
import torch
import torch.nn.functional as sampling
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional

from detector.datasets.listing import Sample
from detector.datasets.pictures import GREY
from detector.letterbox import View

Matrix = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bend:
    """What a resized and shifted rectangle is bent to.

    Attributes:
        angle: Rotation in degrees.
        shear: Angles in degrees by which vertical and horizontal lines lean.
        perspective: How much farther away than its centre the right and the lower edge of the image are, as fractions
            of the distance; together below 1, so that nothing comes to lie behind whoever looks.
    """

    angle: float = 0.0
    shear: tuple[float, float] = (0.0, 0.0)
    perspective: tuple[float, float] = (0.0, 0.0)


def warped(sample: Sample, view: View, bend: Bend, image_size: int) -> Sample:
    """What is seen of an image on grey, and all its boxes, which may reach beyond the square or lie outside.

    A box becomes the rectangle around its four corners. An image that is made smaller is resized first, antialiased.

    Args:
        sample: Image of any size with its boxes.
        view: How the image lies on the square before it is bent around the square's centre.
        bend: How the image is rotated, sheared and put in perspective.
        image_size: Side of the square in pixels.

    Source: ultralytics/yolov3, utils/augmentations.py, random_perspective: shift, shear, rotation with scale,
    perspective, each applied to what follows it.
    """
    matrix_33 = _matrix(sample, view, bend, image_size)
    small = [max(round(n * min(k, 1.0)), 1) for n, k in zip(sample.image.shape[1:], view.scale[::-1], strict=True)]
    image: Tensor = functional.resize(sample.image, small, antialias=True)
    enlarged_33 = np.diag([sample.width / small[1], sample.height / small[0], 1.0])
    square = _sampled(image, np.linalg.inv(matrix_33 @ enlarged_33), image_size)
    return replace(sample, image=square, boxes_M4=_around(sample.boxes_M4, matrix_33))


def _matrix(sample: Sample, view: View, bend: Bend, image_size: int) -> Matrix:
    """The way of homogeneous points (x, y, 1) from the image to the square."""
    half, angle = max(sample.width, sample.height) / 2, radians(bend.angle)
    lean_x, lean_y = (tan(radians(lean)) for lean in bend.shear)
    away_x, away_y = (away / half for away in bend.perspective)
    parts = (
        [[1, 0, image_size / 2 + view.shift[0]], [0, 1, image_size / 2 + view.shift[1]], [0, 0, 1]],
        [[1, lean_x, 0], [lean_y, 1, 0], [0, 0, 1]],
        [[cos(angle), -sin(angle), 0], [sin(angle), cos(angle), 0], [0, 0, 1]],
        [[view.scale[0], 0, 0], [0, view.scale[1], 0], [0, 0, 1]],
        [[1, 0, -view.middle[0]], [0, 1, -view.middle[1]], [0, 0, 1]],
        [[1, 0, 0], [0, 1, 0], [away_x, away_y, 1]],
        [[1, 0, -sample.width / 2], [0, 1, -sample.height / 2], [0, 0, 1]],
    )
    return reduce(np.matmul, (np.array(part, dtype=np.float64) for part in parts))


def _sampled(image: Tensor, back_33: Matrix, side: int) -> Tensor:
    """Pixels of a square, each read from the image where a matrix leads back to; torchvision's warps keep the size."""
    height, width = image.shape[1:]
    place_S = torch.arange(side, dtype=torch.float32) + 0.5
    # From pixels to -1..1 between the edges of the image, which is what grid_sample takes.
    unit_33 = np.array([[2 / width, 0, -1], [0, 2 / height, -1], [0, 0, 1]])
    x_3, y_3, one_3 = torch.from_numpy(unit_33 @ back_33).to(torch.float32).unbind(1)
    at_SS3 = place_S[None, :, None] * x_3 + (place_S[:, None, None] * y_3 + one_3)
    at_SS2 = at_SS3[..., :2] / at_SS3[..., 2:]
    above_grey = image[None].to(torch.float32) - GREY  # so that grey is what lies outside
    sampled = sampling.grid_sample(above_grey, at_SS2[None], mode="bilinear", align_corners=False)[0]
    return (sampled + GREY).round_().clamp_(0, 255).to(torch.uint8)


def _around(boxes_M4: Tensor, matrix_33: Matrix) -> Tensor:
    """The rectangle around where the corners of each box go."""
    corners_M42 = boxes_M4.to(torch.float64)[:, [0, 1, 2, 1, 2, 3, 0, 3]].view(-1, 4, 2)
    at_M43 = sampling.pad(corners_M42, (0, 1), value=1.0) @ torch.from_numpy(matrix_33).T
    at_M42 = at_M43[..., :2] / at_M43[..., 2:]
    return torch.cat((at_M42.amin(1), at_M42.amax(1)), 1).to(boxes_M4.dtype)
