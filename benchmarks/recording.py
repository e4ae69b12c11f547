"""What recording costs a training: scores by class, objectness and pictures, made and stored, against neither.

Two trainings of `yolov3-tiny-compact` at 64 px on digits-3, 160 images an epoch and 32 to measure on, go on in turns of
one epoch, on one thread: what else the machine does disturbs both alike. Seconds are the processor's, for the whole:
training, evaluation and rows in SQLite.

    python benchmarks/recording.py
"""

from __future__ import annotations

import time
from collections.abc import Iterator
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

SOURCE = "digits-3"
PLAN = TrainingPlan(model="yolov3-tiny-compact", image_size=64, epochs=30)
VALUES = Hyperparameters(lr0=0.1, box=0.05, obj=1.0, noobj=1.0, cls=0.5, warmup_epochs=1.0)


def main() -> None:
    """Prints the seconds of an epoch of both trainings, and what recording adds."""
    torch.set_num_threads(1)
    seconds = _seconds()
    recorded, without = (median(seconds[records]) for records in (True, False))
    print(f"an epoch, median of {PLAN.epochs}: recording {recorded:.3f} CPU s, without {without:.3f} CPU s")
    print(f"recording adds {recorded / without - 1:+.1%}")


def _seconds() -> dict[bool, list[float]]:
    """Seconds of each epoch of a training that records, and of one that does not."""
    seconds: dict[bool, list[float]] = {True: [], False: []}
    with TemporaryDirectory() as folder:
        trainings = {records: _epochs(Path(folder) / f"{records}.db") for records in seconds}
        for epoch in range(PLAN.epochs):
            for records in (True, False) if epoch % 2 else (False, True):
                with ExitStack() as without:
                    if not records:
                        _switch_off(without)
                    started = time.process_time()
                    next(trainings[records])
                    seconds[records].append(time.process_time() - started)
    return seconds


def _epochs(path: Path) -> Iterator[None]:
    """A training whose rows are written as a run writes them; it stands still after each epoch."""
    storage = Storage(f"sqlite:///{path}")
    storage.begin_trial(1, study_id=1, number=0, environment_id="")
    training = Trainer(PLAN, _data(), [LaneSpec(values=VALUES)])
    records = (Record(trial=0, seed=0, telemetry=telemetry) for telemetry in training.fit())
    for batch, is_epoch in in_batches(records):
        storage.records.write(1, batch, {})
        if is_epoch:
            yield
    storage.close()


def _data() -> Dataset:
    def scenes(part: str, count: int) -> DigitScenes:
        names = CLASS_NAMES[SOURCE]
        return DigitScenes(DigitSettings(split=part, names=names, image_size=64, seed=0, num_scenes=count))

    whole = open_digits(SOURCE, image_size=64)
    return replace(whole, train=scenes("train", 160), val=scenes("val", 32), test=None)


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


if __name__ == "__main__":
    main()
