"""Pictures with what was found in them drawn on."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import resize
from torchvision.utils import draw_bounding_boxes

from detector.datasets.pictures import read_picture
from detector.findings import Box
from detector.predict import Prediction
from detector.text_files import printable

# Labels are of one size: larger pictures are drawn smaller, and small ones larger, so that they can be read.
MOST_PIXELS, FEWEST_PIXELS = 1280, 320
_PLAIN, _FLAGGED = "#56B4E9", "#FF4F00"
_LEAST_SHOWN = 6  # px
_GOLDEN = 0.61803399  # steps around the circle of hues that never come close to an earlier one


def drawn(path: Path, found: Prediction, names: Sequence[str]) -> Tensor:
    """The picture in a file with boxes, class names and scores on it: RGB, uint8, (3, height, width).

    Args:
        path: Image file; its picture is shown at most 1280 pixels long, and enlarged by a whole factor below 320.
        found: Boxes in pixels of the file's picture, with their classes and scores.
        names: Class names by index.

    Raises:
        UnreadableImagesError: The file cannot be read as an image.
    """
    image = read_picture(path, longest=MOST_PIXELS).image
    factor = max(FEWEST_PIXELS // max(image.shape[1:]), 1)
    image = image.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
    if not len(found.boxes_K4):
        return image
    scale_4 = _scale(image, found.size)
    classes, scores = found.classes_K.tolist(), found.scores_K.tolist()
    # The best last: it lies on top.
    boxes = draw_bounding_boxes(
        image,
        (found.boxes_K4 * scale_4).flip(0),
        labels=[f"{printable(names[klass])} {score:.2f}" for klass, score in zip(classes, scores, strict=True)][::-1],
        colors=[_colour(klass) for klass in classes][::-1],
        label_colors="black",
        label_background_colors=[_colour(klass) for klass in classes][::-1],
        width=max(round(max(image.shape[1:]) / 400), 1),
        fill_labels=True,
    )
    assert isinstance(boxes, Tensor)
    return boxes


def marked(path: Path, plain: Sequence[Box], flagged: Sequence[Box], *, longest: int) -> Tensor:
    """The picture in a file with some boxes drawn thin and others thick: RGB, uint8, (3, height, width).

    Args:
        path: Image file; its picture is shown at most `longest` pixels long.
        plain: Boxes in pixels of the file's upright picture, drawn thin.
        flagged: Boxes to point out, drawn thick and last; what lies outside or has no area is drawn at the edge.

    Raises:
        UnreadableImagesError: The file cannot be read as an image.
    """
    picture = read_picture(path, longest=longest)
    image, scale_4 = picture.image, _scale(picture.image, picture.size)
    for boxes, colour, width in ((plain, _PLAIN, 1), (flagged, _FLAGGED, 3)):
        if boxes:
            boxes_B4 = _visible(torch.tensor(boxes, dtype=torch.float32) * scale_4, image)
            image = draw_bounding_boxes(image, boxes_B4, colors=colour, width=width)
            assert isinstance(image, Tensor)
    return image


def _scale(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Factors from pixels of a file's picture, `size` wide and high, to those of the image for x0, y0, x1, y1.

    Width and height are rounded by themselves, so that thin pictures have two factors.
    """
    return torch.tensor([image.shape[2] / size[0], image.shape[1] / size[1]] * 2)


def _visible(boxes_B4: Tensor, image: Tensor) -> Tensor:
    """Boxes moved and enlarged so far that each shows."""
    most = torch.tensor([image.shape[2], image.shape[1]]) - 1
    low = torch.minimum(boxes_B4[:, :2], boxes_B4[:, 2:]).clamp(min=0).minimum((most - _LEAST_SHOWN).clamp(min=0))
    high = torch.maximum(boxes_B4[:, :2], boxes_B4[:, 2:]).minimum(most).maximum((low + _LEAST_SHOWN).minimum(most))
    return torch.cat([low, high], dim=1)


def side_by_side(pictures: Sequence[Tensor]) -> Tensor:
    """Pictures (3, height, width) in a row, as high as the lowest of them."""
    height = min(picture.shape[1] for picture in pictures)
    sizes = [(height, max(round(picture.shape[2] * height / picture.shape[1]), 1)) for picture in pictures]
    return torch.cat([resize(picture, size) for picture, size in zip(pictures, sizes, strict=True)], dim=2)


def jpeg(image: Tensor, *, quality: int = 92) -> bytes:
    """An RGB uint8 picture of shape (3, height, width) as the bytes of a JPEG file."""
    buffer = BytesIO()
    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(buffer, format="JPEG", quality=quality)
    return buffer.getvalue()


def write_picture(image: Tensor, path: Path) -> None:
    """Writes an RGB uint8 picture as a JPEG file, in place of a file that has the name and never through a link.

    Raises:
        OSError: It cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(jpeg(image))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _colour(klass: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb((0.12 + klass * _GOLDEN) % 1, 0.75, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)
