"""What recording costs a training: scores by class, objectness and pictures, made and stored, against neither.

Trains `yolov3-tiny-compact` at 64 px for 30 epochs on digits-3, 80 images an epoch and 16 to measure on, in turns on
one thread, and counts the processor's seconds of the whole: training, evaluation and rows in SQLite.

    python benchmarks/recording.py
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from unittest.mock import patch

import torch

from detector import trainer
from detector.datasets.digits import CLASS_NAMES, DigitScenes, DigitSettings, open_digits
from detector.datasets.listing import Dataset
from detector.hyperparameters import Hyperparameters
from detector.objectness import ObjectnessTally
from detector.plan import TrainingPlan
from detector.trainer import LaneSpec, Trainer
from evolve.run.engines.base import in_batches
from evolve.storage.database import Storage
from evolve.study.trial import Record

SOURCE, TURNS = "digits-3", 3
PLAN = TrainingPlan(model="yolov3-tiny-compact", image_size=64, epochs=30)
VALUES = Hyperparameters(lr0=0.1, box=0.05, obj=1.0, noobj=1.0, cls=0.5, warmup_epochs=1.0)


def main() -> None:
    """Prints the seconds of each turn, and what recording adds to the median and the least of them."""
    torch.set_num_threads(1)
    data = _data()
    seconds: dict[bool, list[float]] = {True: [], False: []}
    _train(data, epochs=1)
    for turn in range(TURNS):
        for records in (True, False) if turn % 2 else (False, True):
            with ExitStack() as without:
                if not records:
                    _switch_off(without)
                seconds[records].append(_train(data, epochs=PLAN.epochs))
    for records, found in seconds.items():
        print(f"{'recording' if records else 'without':<10}", *(f"{each:6.2f}" for each in found), "CPU s")
    medians, least = ([how(seconds[records]) for records in (True, False)] for how in (median, min))
    print(
        f"recording adds {medians[0] / medians[1] - 1:+.1%} to the median, {least[0] / least[1] - 1:+.1%} to the least"
    )


def _data() -> Dataset:
    def scenes(part: str, count: int) -> DigitScenes:
        names = CLASS_NAMES[SOURCE]
        return DigitScenes(DigitSettings(split=part, names=names, image_size=64, seed=0, num_scenes=count))

    whole = open_digits(SOURCE, image_size=64)
    return replace(whole, train=scenes("train", 80), val=scenes("val", 16), test=None)


def _switch_off(without: ExitStack) -> None:
    for owner, name, replacement in (
        (ObjectnessTally, "add", lambda *_: None),
        (ObjectnessTally, "read", lambda _: ()),
        (Trainer, "_details", lambda *_: iter(())),
        (Trainer, "_pictures", lambda *_: iter(())),
        (trainer, "watch", lambda _: trainer.Watched()),
        (trainer, "batch_picture", lambda _: None),
    ):
        without.enter_context(patch.object(owner, name, replacement))


def _train(data: Dataset, *, epochs: int) -> float:
    """Seconds of the processor that a training took, its rows written as a run writes them."""
    with TemporaryDirectory() as folder:
        storage = Storage(f"sqlite:///{Path(folder) / 'evolve.db'}")
        storage.begin_trial(1, study_id=1, number=0, environment_id="")
        started = time.process_time()
        training = Trainer(replace(PLAN, epochs=epochs), data, [LaneSpec(values=VALUES)])
        records = (Record(trial=0, seed=0, telemetry=telemetry) for telemetry in training.fit())
        for batch, _ in in_batches(records):
            storage.records.write(1, batch, {})
        seconds = time.process_time() - started
        storage.close()
    return seconds


if __name__ == "__main__":
    main()
