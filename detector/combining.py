"""Several images made one: mosaics and mixtures, and a hole cut into an image.

Shapes: M boxes of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from detector.datasets.listing import Sample
from detector.datasets.pictures import GREY
from detector.letterbox import MIN_AREA_LEFT, grey_square, interval, lay, moved, within

NUM_TILES, NUM_MIXED = 4, 2  # images of a mosaic, of a mixture


def mosaic(tiles: Sequence[Sample], corner: tuple[float, float], image_size: int) -> Sample:
    """Four images around a corner they share, each as large as if it were letterboxed, on a square of twice the side.

    Args:
        tiles: The four images: left above, right above, left below and right below.
        corner: x and y of the corner in pixels of the result, each from half of `image_size` to 1.5 of it.
        image_size: Side of the network's square in pixels.

    Returns:
        The whole mosaic, of which the network's square is the middle. Boxes are cut to it as in `within`.

    Source: Bochkovskiy et al. 2020 (YOLOv4), section 3.3; ultralytics/yolov3, utils/dataloaders.py, load_mosaic.
    """
    side = 2 * image_size
    square, boxes = grey_square(side), []
    for place, tile in enumerate(tiles):
        scale = image_size / max(tile.height, tile.width)
        starts = (
            corner[0] - (tile.width * scale if place % 2 == 0 else 0),
            corner[1] - (tile.height * scale if place < 2 else 0),
        )
        across = interval(tile.width, scale, starts[0], side)
        down = interval(tile.height, scale, starts[1], side)
        lay(tile.image, across, down, square)
        boxes.append(moved(tile.boxes_M4, across, down))
    labels_M = torch.cat([tile.labels_M for tile in tiles])
    return within(Sample(image=square, boxes_M4=torch.cat(boxes), labels_M=labels_M))


def mixture(one: Sample, other: Sample, share: float) -> Sample:
    """Two images of one size laid over each other, with the boxes of both.

    Args:
        one, other: Images of one size with their boxes.
        share: Weight of `one`, 0..1; `other` has the rest.

    Source: Zhang et al. 2018 (mixup), eq. 1, for images; the boxes of both count in full, as in ultralytics/yolov3,
    utils/augmentations.py, mixup.
    """
    image = torch.lerp(other.image.to(torch.float32), one.image.to(torch.float32), share)
    return Sample(
        image=image.round_().to(torch.uint8),
        boxes_M4=torch.cat((one.boxes_M4, other.boxes_M4)),
        labels_M=torch.cat((one.labels_M, other.labels_M)),
    )


def cut_out(sample: Sample, centre: tuple[float, float], side: float) -> Sample:
    """The image with a grey square in it, and without the boxes of which it leaves a tenth or less.

    Args:
        sample: The image with its boxes.
        centre: x and y of the square's centre in pixels; the square may reach beyond the image.
        side: Side of the square in pixels.

    Source: DeVries & Taylor 2017 (Cutout), section 3.
    """
    width, height = sample.width, sample.height
    x0, x1 = (min(max(round(centre[0] + edge), 0), width) for edge in (-side / 2, side / 2))
    y0, y1 = (min(max(round(centre[1] + edge), 0), height) for edge in (-side / 2, side / 2))
    image = sample.image.clone()
    image[:, y0:y1, x0:x1] = GREY
    keep_M = _hidden(sample.boxes_M4, (x0, y0, x1, y1)) < 1 - MIN_AREA_LEFT
    return replace(sample, image=image, boxes_M4=sample.boxes_M4[keep_M], labels_M=sample.labels_M[keep_M])


def _hidden(boxes_M4: Tensor, hole: tuple[int, int, int, int]) -> Tensor:
    """Share of each box that a hole covers."""
    hole_4 = boxes_M4.new_tensor(hole)
    common_M2 = (torch.minimum(boxes_M4[:, 2:], hole_4[2:]) - torch.maximum(boxes_M4[:, :2], hole_4[:2])).clamp(min=0)
    return common_M2.prod(1) / (boxes_M4[:, 2:] - boxes_M4[:, :2]).prod(1).clamp(min=1e-9)
