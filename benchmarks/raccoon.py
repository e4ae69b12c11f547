"""Accuracy and speed on real photographs: yolov3-tiny on the raccoon data set's 160/40 split, from scratch.

    python -m benchmarks.raccoon [--data ../shared/data/raccoon] [--hyp FILE] [--seeds 0,1,2] [--threads 2]

160 pixels, batch 16, 30 epochs (300 updates). Metrics are COCO's on the 40 validation photographs after the last epoch,
of the averaged weights, at three overlaps of suppression: figures at different ones cannot be compared. Seconds are of
the whole training, evaluations included; images/s are training images over the time of the steps alone.
"""

from __future__ import annotations

import argparse
import platform
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.photographs import BATCH_SIZE, EPOCHS, IMAGE_SIZE, MODEL, SHARED, plan_of, train
from detector import checkpoint
from detector.checkpoint import Found
from detector.datasets import open_dataset
from detector.datasets.listing import Dataset
from detector.hyperparameters import Hyperparameters
from detector.plan import TrainingPlan
from detector.telemetry import EpochMetrics
from detector.trainer import LaneSpec, Trainer
from evolve.study.hyp import read_hyp

# darknet's, ultralytics/yolov3's and the ultralytics package's.
OVERLAPS = (0.45, 0.6, 0.7)
Row = tuple[Sequence[tuple[float, ...]], float, float]  # scores at each, seconds, images/s


def measured(dataset: Dataset, values: Hyperparameters, plan: TrainingPlan, folder: Path) -> Row:
    """One training, measured at each overlap."""
    kept = folder / f"{plan.data_seed}.pt"
    trained = train(dataset, values, plan, kept=kept)
    lane = LaneSpec(values=values, seed=plan.data_seed, start=Found(checkpoint=checkpoint.load(kept)))
    scores = []
    for overlap in OVERLAPS:
        (found,) = Trainer(replace(plan, nms_iou=overlap), dataset, [lane]).evaluate_once()
        assert isinstance(found, EpochMetrics)
        scores.append((found.map50, found.map50_95))
    return scores, trained.seconds, trained.images_per_second


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default=str(SHARED / "raccoon"))
    parser.add_argument("--hyp", type=Path, help="hyperparameters; the defaults without it")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    if not Path(arguments.data).exists():
        print(f"skipped: {arguments.data} is not there; name the raccoon data set with --data")
        return
    torch.set_num_threads(arguments.threads)
    dataset = open_dataset(arguments.data, image_size=IMAGE_SIZE)
    values = read_hyp(arguments.hyp).values if arguments.hyp else Hyperparameters()
    print(
        f"{arguments.model}, {IMAGE_SIZE} px, batch {BATCH_SIZE}, {EPOCHS} epochs, {arguments.threads} threads; "
        f"torch {torch.__version__}, {platform.machine()}; mAP50 / mAP50-95 with suppression at IoU"
    )
    print(f"{'':<30}" + "".join(f"{overlap:>16}" for overlap in OVERLAPS) + f"{'seconds':>9}{'images/s':>10}")
    rows = []
    with TemporaryDirectory() as folder:
        for seed in map(int, arguments.seeds.split(",")):
            plan = plan_of(seed, model=arguments.model, nms_iou=OVERLAPS[0])
            found = measured(dataset, values, plan, Path(folder))
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
