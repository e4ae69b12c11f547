"""One training on photographs from scratch, as the benchmarks of accuracy have it: 160 pixels, batch 16, 30 epochs."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

from detector.datasets.listing import Dataset
from detector.hyperparameters import Hyperparameters
from detector.plan import TrainingPlan
from detector.telemetry import ClassScores, EpochMetrics, LaneEnded, StepTelemetry
from detector.trainer import LaneSpec, Trainer

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"
MODEL, IMAGE_SIZE, BATCH_SIZE, EPOCHS = "yolov3-tiny", 160, 16, 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a training came to.

    Attributes:
        map50, map50_95: COCO's metrics after the last epoch, of the averaged weights; NaN where no epoch was over.
        class_ap50: AP50 of each class after the last epoch, by index; NaN of a class without labels.
        seconds: Seconds of the whole training, evaluations included.
        images_per_second: Training images over the time of the steps alone.
        end: Why the training ended, in words; empty where it did not.
    """

    map50: float
    map50_95: float
    class_ap50: tuple[float, ...]
    seconds: float
    images_per_second: float
    end: str


def plan_of(seed: int, *, model: str = MODEL, epochs: int = EPOCHS, nms_iou: float) -> TrainingPlan:
    """The plan of a training, with the order and augmentation of the images by `seed`."""
    return TrainingPlan(
        model=model,
        image_size=IMAGE_SIZE,
        batch_size=BATCH_SIZE,
        nominal_batch_size=BATCH_SIZE,
        epochs=epochs,
        data_seed=seed,
        nms_iou=nms_iou,
    )


def train(dataset: Dataset, values: Hyperparameters, plan: TrainingPlan, *, kept: Path | None = None) -> Trained:
    """One training of a plan, initialised by the seed that its data have.

    Args:
        dataset: Data set to train on, and to measure on after each epoch.
        values: Hyperparameters to train with.
        plan: Plan of the training, such as `plan_of` makes.
        kept: File that the checkpoint is written to; None for no checkpoint.
    """
    lane = LaneSpec(values=values, seed=plan.data_seed, checkpoint=kept)
    started, scores, end, steps = time.perf_counter(), (math.nan, math.nan), "", list[float]()
    classes: dict[int, float] = {}
    for record in Trainer(plan, dataset, [lane]).fit():
        if isinstance(record, StepTelemetry):
            steps.append(record.seconds)
        if isinstance(record, EpochMetrics) and record.split == "val":
            scores = record.map50, record.map50_95
        if isinstance(record, ClassScores) and record.split == "val":
            classes[record.class_index] = record.map50
        if isinstance(record, LaneEnded):
            end = record.reason
    return Trained(
        map50=scores[0],
        map50_95=scores[1],
        class_ap50=tuple(value for _, value in sorted(classes.items())),
        seconds=time.perf_counter() - started,
        images_per_second=plan.batch_size * len(steps) / sum(steps) if steps else math.nan,
        end=end,
    )
