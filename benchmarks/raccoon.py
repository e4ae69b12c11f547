"""Accuracy and speed on real photographs: yolov3-tiny on the raccoon data set's 160/40 split, from scratch.

    python benchmarks/raccoon.py [--data ../shared/data/raccoon] [--hyp FILE] [--seeds 0,1,2] [--threads 2]

The setting is that of the marks printed below: 160 pixels, batch 16, 30 epochs (300 updates), 2 cores. Metrics are
COCO's on the 40 validation photographs after the last epoch, of the averaged weights; seconds are of the whole
training, evaluations included; images/s are training images over the time of the steps alone.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from pathlib import Path

import torch

from detector.datasets import open_dataset
from detector.datasets.listing import Dataset
from detector.hyperparameters import Hyperparameters
from detector.plan import TrainingPlan
from detector.telemetry import EpochMetrics, StepTelemetry
from detector.trainer import LaneSpec, Trainer
from evolve.hyp import read_hyp

HERE = Path(__file__).parent
# Measured on the same split, size, epochs and cores, one seed.
MARKS = (
    ("ultralytics/yolov3 yolov3-tiny", 0.57, 0.16, 251.0, 22.0),
    ("ultralytics yolov3-tinyu (anchor-free)", 0.79, 0.35, 275.0, float("nan")),
)


def train(dataset: Dataset, values: Hyperparameters, *, model: str, seed: int) -> tuple[float, float, float, float]:
    """mAP50, mAP50-95, seconds and images/s of one training."""
    plan = TrainingPlan(model=model, image_size=160, batch_size=16, nominal_batch_size=16, epochs=30, data_seed=seed)
    started = time.perf_counter()
    steps, last = [], None
    for record in Trainer(plan, dataset, [LaneSpec(values=values, seed=seed)]).fit():
        if isinstance(record, StepTelemetry):
            steps.append(record.seconds)
        elif isinstance(record, EpochMetrics) and record.split == "val":
            last = record
    assert last is not None
    rate = plan.batch_size * len(steps) / sum(steps)
    return last.map50, last.map50_95, time.perf_counter() - started, rate


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default=str(HERE.parent.parent / "shared" / "data" / "raccoon"))
    parser.add_argument("--hyp", type=Path, default=HERE / "raccoon_hyp.yaml")
    parser.add_argument("--model", default="yolov3-tiny")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    if not Path(arguments.data).exists():
        print(f"skipped: {arguments.data} is not there; name the raccoon data set with --data")
        return
    torch.set_num_threads(arguments.threads)
    dataset = open_dataset(arguments.data, image_size=160)
    values = read_hyp(arguments.hyp).values
    print(
        f"{arguments.model}, 160 px, batch 16, 30 epochs, {arguments.threads} threads; torch {torch.__version__}, "
        f"{platform.machine()}"
    )
    print(f"{'':<40}{'mAP50':>8}{'mAP50-95':>10}{'seconds':>9}{'images/s':>10}")
    rows = []
    for seed in map(int, arguments.seeds.split(",")):
        rows.append(train(dataset, values, model=arguments.model, seed=seed))
        print(row(f"evolve {arguments.model}, seed {seed}", rows[-1]), flush=True)
    print(row(f"mean of {len(rows)} seeds", tuple(statistics.fmean(column) for column in zip(*rows, strict=True))))
    for name, *figures in MARKS:
        print(row(name, tuple(figures)))


def row(name: str, figures: tuple[float, ...]) -> str:
    map50, map50_95, seconds, rate = figures
    return f"{name:<40}{map50:>8.3f}{map50_95:>10.3f}{seconds:>9.0f}{rate:>10.0f}"


if __name__ == "__main__":
    main()
