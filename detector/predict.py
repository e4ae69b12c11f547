"""A trained detector as a torch module: pictures in, boxes in pixels of the pictures out.

Letters: N images, S side of the square the network sees, K detections of an image, A anchors of a scale.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from detector.checkpoint import Checkpoint, CheckpointError, load
from detector.datasets.listing import Sample
from detector.datasets.pictures import longest_kept, read_picture
from detector.letterbox import from_letterbox, letterbox
from detector.metrics import Detections, detect
from detector.models.network import build_network, raw_outputs

MIN_SCORE = 0.25  # what people want to see; metrics are measured from `detector.metrics.MIN_SCORE` on


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """What was found in one image, best first; tensors are on the CPU.

    Attributes:
        size: Width and height of the image in pixels, upright, before anything was resized.
        boxes_K4: Corners xyxy in pixels of that image.
        scores_K: Objectness times class probability, 0..1.
        classes_K: Class index, int64.
    """

    size: tuple[int, int]
    boxes_K4: Tensor
    scores_K: Tensor
    classes_K: Tensor


class Detector(nn.Module):
    """A network of one lane with averaged weights, in evaluation mode.

    Attributes:
        names: Class names by index.
        image_size: Side of the square that images are letterboxed to, in pixels.
        anchors: Anchor sizes (width, height) by scale, coarsest first, as fractions of that square.
        source: The file's plan, hyperparameters, seed, epoch, metrics and origin, without its weights.

    Raises:
        ValueError: The weights do not fit the network that the checkpoint names.
    """

    def __init__(self, weights: Checkpoint, device: str = "cpu") -> None:
        super().__init__()
        plan = weights.plan
        self.names, self.image_size, self.anchors = weights.names, plan.image_size, weights.anchors
        self.source = replace(weights, weights={}, optimizer={})
        dtype = torch.float64 if plan.precision == "float64" else torch.float32
        self.network = build_network(plan.model, num_classes=len(self.names), values=weights.values)
        self.network.load_lane(0, weights.averaged_weights)
        self.network.to(device, dtype).to(memory_format=torch.channels_last)
        for scale, sizes in enumerate(self.anchors):  # buffers move with the weights
            self.register_buffer(f"anchors_{scale}", torch.tensor(sizes, device=device, dtype=dtype), persistent=False)
        self.requires_grad_(False).eval()

    def forward(
        self,
        images: Tensor | Sequence[Tensor | str | Path],
        *,
        min_score: float = MIN_SCORE,
        nms_iou: float | None = None,
    ) -> list[Prediction]:
        """What is found in each image, in their order.

        Args:
            images: A batch of RGB images, uint8 (N, 3, height, width), or a list of such images (3, height, width) and
                of image files, which are turned upright and shrunk as they are for training.
            min_score: Detections with a lower score (0..1) are left out.
            nms_iou: Overlap (0..1) above which the lower of two boxes of a class is left out; that of the training
                where None.

        Raises:
            ValueError: It is no batch and no list, a tensor is not such an image, or a number is outside 0..1.
            UnreadableImagesError: A file cannot be read as an image; a ValueError.
        """
        if isinstance(images, str | bytes) or not isinstance(images, Tensor | Sequence):
            allowed = "a batch (N, 3, height, width), or a list of images and image files"
            raise ValueError(f"images: {images!r:.200}; allowed: {allowed}")
        overlap = self.source.plan.nms_iou if nms_iou is None else nms_iou
        for name, value in (("min_score", min_score), ("nms_iou", overlap)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name}: {value:g} is outside 0..1")
        found: list[Prediction] = []
        step = self.source.plan.batch_size  # as many as fitted into memory in training
        for first in range(0, len(images), step):
            seen = [_Seen.of(image, self.image_size) for image in images[first : first + step]]
            detections = self.detect(torch.stack([image.square for image in seen]), overlap, min_score=min_score)
            found += self._predictions(detections, seen)
        return found

    @torch.no_grad()
    def raw_outputs(self, images_N3SS: Tensor) -> list[Tensor]:
        """Outputs (N, 1, A, cells, cells, 5 + classes) of each head for letterboxed uint8 images, coarsest first."""
        return raw_outputs(self.network, images_N3SS, precision=self.source.plan.precision)

    def detect(self, images_N3SS: Tensor, nms_iou: float, *, min_score: float) -> Detections:
        """Boxes in a batch of letterboxed uint8 images, as fractions of their squares."""
        return self.suppressed(self.raw_outputs(images_N3SS), nms_iou, min_score=min_score)

    def suppressed(self, heads: Sequence[Tensor], nms_iou: float, *, min_score: float) -> Detections:
        """Boxes that raw outputs stand for, after suppression at an overlap of `nms_iou`."""
        values = self.source.values
        anchors = [self.get_buffer(f"anchors_{scale}") for scale in range(len(self.anchors))]
        return detect(
            heads, anchors, nms_iou=nms_iou, coding=values.coding, class_loss=values.class_loss, min_score=min_score
        )

    def _predictions(self, found: Detections, seen: Sequence[_Seen]) -> Iterator[Prediction]:
        boxes_K4, image_K = found.boxes_K4.cpu(), found.image_K.cpu()
        scores_K, classes_K = found.scores_K.cpu(), found.classes_K.cpu()
        for number, image in enumerate(seen):
            own = image_K == number
            yield Prediction(
                size=image.size,
                boxes_K4=image.in_pixels(boxes_K4[own]),
                scores_K=scores_K[own],
                classes_K=classes_K[own],
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Seen:
    """An image as the network sees it.

    Attributes:
        square: The image on its square, uint8, (3, S, S).
        laid: Width and height in pixels of what was resized onto the square, which of a file may be shrunk.
        size: Width and height in pixels of the image before that.
    """

    square: Tensor
    laid: tuple[int, int]
    size: tuple[int, int]

    @classmethod
    def of(cls, image: Tensor | str | Path, image_size: int) -> _Seen:
        if isinstance(image, Tensor):
            if image.dtype != torch.uint8 or image.dim() != 3 or image.shape[0] != 3 or not image.numel():
                found = f"{str(image.dtype).removeprefix('torch.')} {tuple(image.shape)}"
                raise ValueError(f"image: {found} is not RGB in uint8 (3, height, width)")
            pixels, size = image.cpu(), (image.shape[2], image.shape[1])
        else:
            picture = read_picture(Path(image), longest=longest_kept(image_size))
            pixels, size = picture.image, picture.size
        sample = Sample(image=pixels, boxes_M4=torch.zeros(0, 4), labels_M=torch.zeros(0, dtype=torch.int64))
        return cls(square=letterbox(sample, image_size).image, laid=(sample.width, sample.height), size=size)

    def in_pixels(self, boxes_K4: Tensor) -> Tensor:
        """Boxes that are fractions of the square, in pixels of the image as it was before it was shrunk."""
        laid_K4 = from_letterbox(boxes_K4, size=self.laid, image_size=self.square.shape[-1]).double()
        whole, laid = laid_K4.new_tensor(self.size * 2), laid_K4.new_tensor(self.laid * 2)
        return (laid_K4 * whole / laid).to(boxes_K4.dtype)


def load_detector(path: Path, device: str = "cpu") -> Detector:
    """The detector in a file of weights or in a checkpoint.

    Args:
        path: File of weights or of a checkpoint.
        device: torch's name of the device, such as cpu or cuda:0.

    Raises:
        CheckpointError: The file is missing, damaged or of another version, or its weights do not fit its network.
    """
    weights = load(path)
    try:
        return Detector(weights, device)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
