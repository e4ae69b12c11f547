"""Pictures that show a training: some validation images chosen once, what is found in them, and the first batch.

All is bounded: `NUM_PICTURES` of at most `MAX_BYTES` each, the same in all trainings on the same images; the first
batch in as much again; and `MAX_BOXES` detections a picture after at most `MAX_EPOCHS` epochs.
Letters: K detections, M labels of an image, L of a batch.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional
from torchvision.utils import make_grid

from detector.batches import Batch
from detector.boxes import xyxy
from detector.datasets.listing import Sample, Split
from detector.letterbox import from_letterbox
from detector.observations import Box, Picture

NUM_PICTURES = 8
CANDIDATES = 4  # images looked at for each picture, so that choosing costs little where images are read from disk
LONGEST = 256  # pixels of a picture's longer side
MAX_BYTES = 32_768  # of a JPEG
QUALITIES = (85, 70, 50, 30, 10)
MIN_SCORE = 0.1  # of detections that are kept
MAX_BOXES = 16  # kept of a picture
MAX_EPOCHS = 24  # after which detections are kept
BATCH_IMAGES = 16  # of a batch that are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """Validation images that are watched.

    Attributes:
        indices: Places of the images in the validation split, from 0.
        sizes: Width and height in pixels of each image, before it is letterboxed.
        pictures: Each image as a small picture with its labels.
    """

    indices: tuple[int, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    pictures: tuple[Picture, ...] = ()


def watch(split: Split) -> Watched:
    """Images spread over a split and over its classes, those with labels first; the same every time."""
    seen: Counter[int] = Counter()
    chosen: dict[int, Sample] = {}
    for run in np.array_split(np.arange(len(split)), NUM_PICTURES)[: len(split)]:
        places = run[np.linspace(0, len(run) - 1, min(CANDIDATES, len(run))).astype(int)].tolist()
        samples = {index: split.sample(index, 0) for index in places}
        best = max(samples, key=lambda index: sum(1 / (1 + seen[klass]) for klass in _classes(samples[index])))
        chosen[best] = samples[best]
        seen.update(_classes(samples[best]))
    return Watched(
        indices=tuple(chosen),
        sizes=tuple((sample.width, sample.height) for sample in chosen.values()),
        pictures=tuple(map(picture_of, chosen.values())),
    )


def is_watched(epoch: int, epochs: int) -> bool:
    """Whether what is found after an epoch is kept: the first, the last, and evenly between, at most `MAX_EPOCHS`."""
    return epoch in (0, epochs - 1) or (epoch + 1) % ceil(epochs / (MAX_EPOCHS - 2)) == 0


def is_inspected(epoch: int, epochs: int) -> bool:
    """Whether layers are looked at when so many epochs are over: none yet, or as many as after one of `is_watched`."""
    return epoch == 0 or is_watched(epoch - 1, epochs)


def found_boxes(rows_K6: np.ndarray, size: tuple[int, int], image_size: int) -> tuple[Box, ...]:
    """Detections in a picture as they are kept.

    Args:
        rows_K6: Detections: x, y, width and height in pixels of the letterboxed square, score, class; best first.
        size: Width and height of the image in pixels, before it was letterboxed.
        image_size: Side of the square in pixels.
    """
    rows_K6 = rows_K6[rows_K6[:, 4] >= MIN_SCORE][:MAX_BOXES]
    corners_K4 = np.hstack((rows_K6[:, :2], rows_K6[:, :2] + rows_K6[:, 2:4])) / image_size
    return drawn_boxes(np.hstack((corners_K4, rows_K6[:, [5, 4]])), size, image_size)


def drawn_boxes(rows: np.ndarray, size: tuple[int, int], image_size: int) -> tuple[Box, ...]:
    """Labels or detections as they are drawn: corners in thousandths of the image, class, and score in thousandths.

    Args:
        rows: Labels, of shape (K, 5), or detections, of shape (K, 6): corners xyxy as fractions of the letterboxed
            square, class, and of a detection its score.
        size: Width and height of the image in pixels, before it was letterboxed.
        image_size: Side of the square in pixels.
    """
    boxes_K4 = from_letterbox(torch.from_numpy(rows[:, :4]), size=size, image_size=image_size)
    rest = (rows[:, 4:] * [1, 1000][: rows.shape[1] - 4]).round().astype(int).tolist()
    return tuple((*box, *own) for box, own in zip(_thousandths(boxes_K4, size), rest, strict=True))


def batch_picture(batch: Batch) -> Picture:
    """The first images of a batch side by side as the network sees them, with their labels."""
    images, labels_NM5 = batch.images[:BATCH_IMAGES], batch.labels_NM5[:BATCH_IMAGES]
    side, across = images.shape[-1], ceil(sqrt(len(images)))
    image_L, row_L = torch.nonzero(labels_NM5[..., 0] >= 0, as_tuple=True)
    labels_L5 = labels_NM5[image_L, row_L]
    corner_L2 = torch.stack((image_L % across, image_L // across), 1) * side
    sample = Sample(
        image=make_grid(images, nrow=across, padding=0),
        boxes_M4=xyxy(labels_L5[:, 1:]) * side + corner_L2.repeat(1, 2),
        labels_M=labels_L5[:, 0].long(),
    )
    return picture_of(sample, longest=2 * LONGEST)


def batch_pictures(batch: Batch) -> tuple[Picture, ...]:
    """Each image of a batch as the network sees it, with its labels; one that is no number is not drawn."""
    return tuple(map(_network_picture, batch.images, batch_labels(batch)))


def batch_labels(batch: Batch) -> tuple[Tensor, ...]:
    """Labels of each image of a batch, of shape (M, 5) as `Batch` has them, without rows that are not used."""
    return tuple(rows_M5[rows_M5[:, 0] >= 0] for rows_M5 in batch.labels_NM5)


def _network_picture(image: Tensor, rows_M5: Tensor) -> Picture:
    known_M5 = rows_M5[rows_M5.isfinite().all(1)]
    boxes_M4 = xyxy(known_M5[:, 1:]) * image.shape[-1]
    return picture_of(Sample(image=image, boxes_M4=boxes_M4, labels_M=known_M5[:, 0].long()))


def _classes(sample: Sample) -> set[int]:
    return set(sample.labels_M.tolist())


def picture_of(sample: Sample, longest: int = LONGEST) -> Picture:
    """An image as a small picture with its labels.

    Args:
        sample: The image with its labels.
        longest: Most pixels of the picture's longer side.
    """
    size = sample.width, sample.height
    factor = min(longest / max(size), 1.0)
    width, height = (max(round(length * factor), 1) for length in size)
    image = functional.resize(sample.image, [height, width], antialias=True)
    boxes = (
        (*box, klass) for box, klass in zip(_thousandths(sample.boxes_M4, size), sample.labels_M.tolist(), strict=True)
    )
    return Picture(jpeg=_jpeg(image), width=width, height=height, boxes=tuple(boxes))


def _jpeg(image: Tensor) -> bytes:
    """The image as a JPEG of at most `MAX_BYTES`, as good as that allows."""
    picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    for quality in QUALITIES:
        content = io.BytesIO()
        picture.save(content, format="JPEG", quality=quality, subsampling=0, optimize=True)
        if content.tell() <= MAX_BYTES:
            break
    return content.getvalue()


def _thousandths(boxes_K4: Tensor, size: tuple[int, int]) -> Iterator[list[int]]:
    shares_K4 = boxes_K4 / boxes_K4.new_tensor(size * 2)
    yield from (shares_K4.clamp(0, 1) * 1000).round().long().tolist()
