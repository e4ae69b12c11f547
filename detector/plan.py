"""What all lanes of a training run share: network, image size, batches, epochs, device; standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

# Detection layers of each network.
NUM_HEADS = {
    "yolov3": 3,
    "yolov3-spp": 3,
    "yolov3-tiny": 2,
    "yolov3-tiny-3l": 3,
    "yolov3-compact": 3,
    "yolov3-tiny-compact": 2,
}
MODELS = tuple(NUM_HEADS)
ANCHOR_SOURCES = ("kmeans", "published")
FREEZABLE = ("none", "backbone")
PRECISIONS = ("float32", "float64", "bfloat16", "float16")
# No training comes near these; they tell a slip before it takes the memory of the machine.
LARGEST = {"image_size": 8192, "batch_size": 65_536, "nominal_batch_size": 1_048_576, "epochs": 1_000_000}
LARGEST_SEED = 2**31 - 1  # what a column of whole numbers holds on every database


def images_used(count: int, train_share: float) -> int:
    """How many of `count` training images a share of them, above 0 and at most 1, is: one at least."""
    return max(round(count * train_share), 1)


def check_share(count: int, train_share: float, batch_size: int) -> None:
    """Makes sure that a share of `count` training images is a batch at least, or all there are.

    Raises:
        ValueError: It is neither.
    """
    used = images_used(count, train_share)
    if train_share < 1 and used < batch_size:
        least = ceil(1e4 * batch_size / count) / 1e4
        raise ValueError(
            f"train_share: {train_share:g} of {count} training images is {used}, fewer than a batch of {batch_size}; "
            f"allowed: {f'{least:g}..1' if least < 1 else '1'}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """The part of a training that is the same for every lane of a population.

    Attributes:
        model: Name of the network, one of `MODELS`.
        image_size: Side of the square training images in pixels, a multiple of 32.
        batch_size: Images in one forward pass.
        nominal_batch_size: Images between two updates; gradients are accumulated up to it.
        epochs: Passes over the training images.
        device: torch's name of the device, such as cpu or cuda:0.
        anchors: Where anchors come from: kmeans over the training labels, or published.
        precision: Number type of a pass: float32, float64, or autocast to bfloat16 or float16.
        data_seed: Seed of image order, augmentation, and the choice of a share of the images; scenes are rendered by
            the seed of the data set.
        weights: File of weights that all lanes start from, ours or darknet's; empty for random ones.
        weights_sha256: Checksum that the file must have, in hexadecimal; empty for any.
        freeze: What of the network is not trained: none, backbone, or a number of leading layers.
        nms_iou: Overlap (0..1) above which suppression takes two boxes of a class for one when metrics are measured;
            0.45 in darknet (examples/detector.c), 0.6 in ultralytics/yolov3, 0.7 in the ultralytics package.

    Raises:
        ValueError: A value is not allowed.
    """

    model: str = "yolov3-tiny-compact"
    image_size: int = 64
    batch_size: int = 16
    nominal_batch_size: int = 16
    epochs: int = 10
    anchors: str = "kmeans"
    device: str = "cpu"
    precision: str = "float32"
    data_seed: int = 0
    nms_iou: float = 0.45
    weights: str = ""
    weights_sha256: str = ""
    freeze: int | str = "none"

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise ValueError(f"model: {self.model!r} is not one of {list(MODELS)}")
        if self.anchors not in ANCHOR_SOURCES:
            raise ValueError(f"anchors: {self.anchors!r} is not one of {list(ANCHOR_SOURCES)}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision: {self.precision!r} is not one of {list(PRECISIONS)}")
        if self.image_size < 32 or self.image_size % 32:
            raise ValueError(f"image_size: {self.image_size} is not a positive multiple of 32")
        for name in ("batch_size", "nominal_batch_size", "epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is not at least 1")
        for name, largest in LARGEST.items():
            if getattr(self, name) > largest:
                raise ValueError(f"{name}: {getattr(self, name)} is above {largest:,}")
        if not 0 <= self.data_seed <= LARGEST_SEED:
            raise ValueError(f"data_seed: {self.data_seed} is outside 0..{LARGEST_SEED}")
        is_number = isinstance(self.freeze, int) and not isinstance(self.freeze, bool)
        if self.freeze not in FREEZABLE and not (is_number and int(self.freeze) > 0):
            raise ValueError(f"freeze: {self.freeze!r} is not one of {list(FREEZABLE)} or a number of leading layers")
        if not 0 < self.nms_iou < 1:
            raise ValueError(f"nms_iou: {self.nms_iou:g} is not between 0 and 1")

    @property
    def accumulation(self) -> int:
        """Batches between two updates."""
        return max(round(self.nominal_batch_size / self.batch_size), 1)
