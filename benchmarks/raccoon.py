"""Accuracy and speed on real photographs: yolov3-tiny on the raccoon data set's 160/40 split, from scratch.

    python benchmarks/raccoon.py [--data ../shared/data/raccoon] [--hyp FILE] [--seeds 0,1,2] [--threads 2]

160 pixels, batch 16, 30 epochs (300 updates). Metrics are COCO's on the 40 validation photographs after the last epoch,
of the averaged weights, at three overlaps of suppression: figures at different ones cannot be compared. Seconds are of
the whole training, evaluations included; images/s are training images over the time of the steps alone.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from detector import checkpoint
from detector.checkpoint import Found
from detector.datasets import open_dataset
from detector.datasets.listing import Dataset
from detector.hyperparameters import Hyperparameters
from detector.plan import TrainingPlan
from detector.telemetry import EpochMetrics, StepTelemetry
from detector.trainer import LaneSpec, Trainer
from evolve.study.hyp import read_hyp

HERE = Path(__file__).parent
# darknet's, ultralytics/yolov3's and the ultralytics package's.
OVERLAPS = (0.45, 0.6, 0.7)


def train(
    dataset: Dataset, values: Hyperparameters, *, model: str, seed: int, folder: Path
) -> tuple[list[tuple[float, float]], float, float]:
    """mAP50 and mAP50-95 at each overlap, seconds and images/s of one training."""
    plan = TrainingPlan(model=model, image_size=160, batch_size=16, nominal_batch_size=16, epochs=30, data_seed=seed)
    lane = LaneSpec(values=values, seed=seed, checkpoint=folder / f"{seed}.pt")
    started = time.perf_counter()
    steps = [each.seconds for each in Trainer(plan, dataset, [lane]).fit() if isinstance(each, StepTelemetry)]
    seconds = time.perf_counter() - started
    scores = []
    trained = replace(lane, start=Found(checkpoint=checkpoint.load(folder / f"{seed}.pt")))
    for overlap in OVERLAPS:
        (measured,) = Trainer(replace(plan, nms_iou=overlap), dataset, [trained]).evaluate_once()
        assert isinstance(measured, EpochMetrics)
        scores.append((measured.map50, measured.map50_95))
    return scores, seconds, plan.batch_size * len(steps) / sum(steps)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default=str(HERE.parent.parent / "shared" / "data" / "raccoon"))
    parser.add_argument("--hyp", type=Path, help="hyperparameters; the defaults without it")
    parser.add_argument("--model", default="yolov3-tiny")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    if not Path(arguments.data).exists():
        print(f"skipped: {arguments.data} is not there; name the raccoon data set with --data")
        return
    torch.set_num_threads(arguments.threads)
    dataset = open_dataset(arguments.data, image_size=160)
    values = read_hyp(arguments.hyp).values if arguments.hyp else Hyperparameters()
    print(
        f"{arguments.model}, 160 px, batch 16, 30 epochs, {arguments.threads} threads; torch {torch.__version__}, "
        f"{platform.machine()}; mAP50 / mAP50-95 with suppression at IoU"
    )
    print(f"{'':<30}" + "".join(f"{overlap:>16}" for overlap in OVERLAPS) + f"{'seconds':>9}{'images/s':>10}")
    rows = []
    with TemporaryDirectory() as folder:
        for seed in map(int, arguments.seeds.split(",")):
            found = train(dataset, values, model=arguments.model, seed=seed, folder=Path(folder))
            rows.append(found)
            print(row(f"{arguments.model}, seed {seed}", *found), flush=True)
    scores, seconds, rates = zip(*rows, strict=True)
    means = [tuple(map(statistics.fmean, zip(*at, strict=True))) for at in zip(*scores, strict=True)]
    print(row(f"mean of {len(rows)} seeds", means, statistics.fmean(seconds), statistics.fmean(rates)))


def row(name: str, scores: Sequence[tuple[float, ...]], seconds: float, rate: float) -> str:
    cells = "".join(f"{f'{map50:.3f} / {map50_95:.3f}':>16}" for map50, map50_95 in scores)
    return f"{name:<30}{cells}{seconds:>9.0f}{rate:>10.0f}"


if __name__ == "__main__":
    main()
