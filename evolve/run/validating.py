"""Weights measured on a split of a data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evolve.errors import EvolveError, shown
from evolve.outcome.validated import Mistaken, Validated
from evolve.run.detection import open_data

if TYPE_CHECKING:
    from detector.batches import Batch
    from detector.datasets import Dataset, Split
    from detector.predict import Detector
    from detector.scores import Mistakes


class Validating:
    """A split on which a detector is going to be measured.

    Args:
        detector: Detector that is measured.
        data: Name of built-in data or the path of a data set.
        split: Name of the split to measure on: train, val or test.
        nms_iou: Overlap (0..1) above which boxes are suppressed for the scores; None for that of the training.
        skip_unreadable: Whether images that cannot be read are left out.

    Raises:
        EvolveError: The data cannot be used, have no such split, or have a class that the weights do not know.
    """

    def __init__(
        self, detector: Detector, data: str, *, split: str, nms_iou: float | None, skip_unreadable: bool
    ) -> None:
        self._detector, self._data, self._split_name = detector, data, split
        self._nms_iou = detector.source.plan.nms_iou if nms_iou is None else nms_iou
        self._dataset: Dataset = open_data(data, image_size=detector.image_size, skip_unreadable=skip_unreadable)
        splits = self._dataset.splits()
        if split not in splits:
            raise EvolveError(f"--split {shown(split)}: data {data} have no such split; allowed: {', '.join(splits)}")
        if not len(splits[split]):
            raise EvolveError(f"--split {split}: data {data} have no image in it; allowed: at least one")
        self._split: Split = splits[split]
        self._class_of = self._known_classes()

    @property
    def num_batches(self) -> int:
        """Number of batches that `batches` yields."""
        from detector.batches import num_batches

        return num_batches(self._split, self._detector.source.plan.batch_size)

    def batches(self) -> Iterator[Batch]:
        """The split as training measures it, with the detector's classes."""
        from detector.batches import evaluation_batches

        plan = self._detector.source.plan
        found = evaluation_batches(
            self._split, batch_size=plan.batch_size, image_size=plan.image_size, max_boxes=self._dataset.max_boxes
        )
        for batch in found:
            labels_NM5 = batch.labels_NM5.clone()
            labels_NM5[..., 0].apply_(lambda index: self._class_of[int(index)] if index >= 0 else index)
            yield replace(batch, labels_NM5=labels_NM5)

    def result(self, weights: Path, batches: Iterable[Batch]) -> Validated:
        """How well the detector does on the split.

        Args:
            weights: File of the weights, for the record.
            batches: Batches of the split, as `batches` yields them.
        """
        from detector.validation import validate

        sizes = [self._split.size(index) for index in range(len(self._split))]
        found = validate(self._detector, batches, sizes, nms_iou=self._nms_iou)
        return Validated(
            weights=str(weights),
            data=self._data,
            split=self._split_name,
            image_size=self._detector.image_size,
            nms_iou=self._nms_iou,
            names=self._detector.names,
            found=found,
            worst=tuple(map(self._looked_at, found.worst)),
        )

    def _looked_at(self, mistakes: Mistakes) -> Mistaken:
        from detector.watching import drawn_boxes, picture_of

        sample, image = self._split.sample(mistakes.index, 0), self._split.original(mistakes.index).image
        missed, false = (
            drawn_boxes(np.array(rows).reshape(-1, columns), (sample.width, sample.height), self._detector.image_size)
            for rows, columns in ((mistakes.missed, 5), (mistakes.false, 6))
        )
        return Mistaken(
            image=str(image) if isinstance(image, Path) else f"{self._split_name} image {mistakes.index}",
            labels=mistakes.labels,
            picture=replace(picture_of(sample), boxes=missed),
            false=false,
        )

    def _known_classes(self) -> list[int]:
        """The detector's index of each of the data's classes."""
        known = self._detector.names
        if unknown := [name for name in self._dataset.names if name not in known]:
            raise EvolveError(
                f"--data {self._data}: classes {shown(unknown)} are not among those of the weights; "
                f"allowed: {shown(list(known))}"
            )
        return [known.index(name) for name in self._dataset.names]
