"""What the training labels say before training: anchors, and how many objects of which class to expect.

Letters: M labels, K anchors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor

from detector.boxes import shape_overlap
from detector.datasets.listing import Split
from detector.models.darknet import ANCHORS_PER_SCALE, published_anchors
from detector.models.network import HeadPrior

MAX_RATIO = 4.0  # of sides: what exp makes of a raw output within 1.4 of nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelStatistics:
    """Labels of the training images as the network will see them.

    Attributes:
        wh_M2: Width and height as fractions of the letterboxed image.
        class_count: Number of labels of each class, by its index.
        num_images: Number of images looked at, those without labels too.
    """

    wh_M2: np.ndarray
    class_count: tuple[int, ...]
    num_images: int

    @property
    def prior(self) -> HeadPrior:
        """Expected objects an image, and the share of each class."""
        total = max(sum(self.class_count), 1)
        return HeadPrior(
            boxes_per_image=total / max(self.num_images, 1),
            class_share=tuple(count / total for count in self.class_count),
        )

    @property
    def class_rarity(self) -> tuple[float, ...]:
        """Inverse number of each class's labels, as a multiple of the mean over the classes; none counts as one.

        Source: labels_to_class_weights of ultralytics/yolov3 (utils/general.py), times the number of classes as in its
        train.py.
        """
        inverse = [1 / max(count, 1) for count in self.class_count]
        return tuple(value * len(inverse) / sum(inverse) for value in inverse)


def label_statistics(split: Split, *, num_classes: int) -> LabelStatistics:
    """Statistics over the first epoch of a training split."""
    sizes, count = [], np.zeros(num_classes, dtype=int)
    for index in range(len(split)):
        sample = split.sample(index, 0)
        longer_side = max(sample.image.shape[1:])
        sizes.append((sample.boxes_M4[:, 2:] - sample.boxes_M4[:, :2]).numpy() / longer_side)
        count += np.bincount(sample.labels_M.numpy(), minlength=num_classes)
    return LabelStatistics(
        wh_M2=np.concatenate(sizes) if sizes else np.zeros((0, 2)),
        class_count=tuple(int(number) for number in count),
        num_images=len(split),
    )


def box_sides(split: Split, names: Sequence[str]) -> dict[str, list[float]]:
    """Sides of all boxes by class, over the first epoch of a split.

    Args:
        split: Images whose boxes are measured.
        names: Class names by index.

    Returns:
        For each class with a box, the square root of each box's area, as a fraction of the longer side of its image.
    """
    sides: dict[int, list[float]] = {}
    for index in range(len(split)):
        original = split.original(index)
        for label, (x0, y0, x1, y1) in zip(original.labels, original.boxes, strict=True):
            sides.setdefault(label, []).append(((x1 - x0) * (y1 - y0)) ** 0.5 / max(original.size))
    return {name: sides[label] for label, name in enumerate(names) if label in sides}


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorFit:
    """How well anchors fit the boxes they are to learn.

    Attributes:
        recall: Share of the boxes that some anchor can learn: neither side more than four times the other's; 0..1.
        overlap: Mean IoU of a box and the anchor it overlaps most, both centred on one point; 0..1.

    Sources: the factor is anchor_t of ultralytics/yolov3's hyp files; the mean is table 1 of Redmon & Farhadi 2017.
    """

    recall: float
    overlap: float


def anchor_fit(anchors: Sequence[Tensor], wh_M2: np.ndarray) -> AnchorFit:
    """How well anchors fit boxes.

    Args:
        anchors: Sizes (A, 2) of each scale.
        wh_M2: Width and height of the boxes, at least one, in the units of the anchors.
    """
    anchors_K2, boxes_M2 = torch.cat(list(anchors)), torch.tensor(wh_M2, dtype=torch.float64)
    ratio_MK2 = boxes_M2[:, None] / anchors_K2
    worst_MK = torch.maximum(ratio_MK2, 1 / ratio_MK2).amax(-1)
    return AnchorFit(
        recall=float((worst_MK.amin(1) <= MAX_RATIO).double().mean()),
        overlap=float(shape_overlap(boxes_M2, anchors_K2).amax(1).mean()),
    )


def choose_anchors(source: str, *, model: str, statistics: LabelStatistics, seed: int = 0) -> list[Tensor]:
    """Anchor sizes (A, 2) of each scale as fractions of the image, largest scale first, float64.

    k-means runs on the logarithms of the sizes, so that a factor counts the same for small and large boxes. With
    fewer distinct sizes than anchors there is nothing to cluster and the published anchors are used.

    Source: Redmon & Farhadi 2017 (YOLO9000), section 2, dimension clusters.
    """
    anchors_K2 = np.array(published_anchors(model))
    if source == "kmeans" and len(np.unique(statistics.wh_M2, axis=0)) >= len(anchors_K2):
        anchors_K2 = _cluster(statistics.wh_M2, len(anchors_K2), seed)
    return [torch.tensor(part) for part in np.split(anchors_K2, len(anchors_K2) // ANCHORS_PER_SCALE)]


def _cluster(wh_M2: np.ndarray, num_anchors: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    centres, _ = kmeans2(np.log(wh_M2.astype(np.float64)), num_anchors, iter=50, minit="++", rng=generator)
    # A cluster that lost all its members keeps its last centre: still a size between those of the data.
    anchors_K2: np.ndarray = np.exp(centres)
    return anchors_K2[np.argsort(-anchors_K2.prod(1), kind="stable")]
