"""Where trainings really begin to diverge, against what short trainings foresee before any trial is lost.

    python -m benchmarks.critical_rate RESULTS.jsonl --data digits-1 --size 64 --epochs 3
    python -m benchmarks.critical_rate RESULTS.jsonl --data ../shared/data/raccoon --size 96 --epochs 6

The study is `lr_sweep` (warm-up, no clipping, the network for digits) with another data set and `--values`. Foreseen is
what `lr0: {around: critical}` is placed around (`evolve.run.placing`). Real are whole trainings at `--rates`, side by
side as lanes: an edge lies between the highest rate that trains to the end and the lowest from which on all are lost. A
line of the file is a seed, what was foreseen, and how each rate ended.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from detector.telemetry import EpochMetrics, LaneEnded, StepTelemetry
from detector.trainer import LaneSpec, Trainer
from evolve.run.detection import open_study_data
from evolve.run.placing import critical_rate, ratio_at
from evolve.study import Study
from evolve.study.file import read_study

RATES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
FIRST_STEPS = 5  # as of a verdict's `loss_growth`


def study_of(data: str, size: int, epochs: int, values: dict[str, Any], seed: int) -> Study:
    """`lr_sweep` on other data and with other hyperparameters."""
    study = read_study("lr_sweep", {"data": data, "image_size": size, "epochs": epochs, "seeds": (seed,)}).preview()
    return Study.from_mapping(study.to_mapping() | {"hyperparameters": study.fixed | values}, origin="benchmark")


def real(study: Study, dataset: Any, rates: Sequence[float]) -> dict[float, dict[str, Any]]:
    """How a training at each rate ended: whether its loss grew or was lost, at which step, and its best fitness."""
    plan, seed = study.training_plan("cpu", study.seeds[0]), study.seeds[0]
    lanes = [LaneSpec(values=replace(study.hyperparameters({}), lr0=rate), seed=seed) for rate in rates]
    losses: list[list[float]] = [[] for _ in rates]
    best, lost_at = [0.0] * len(rates), dict[int, int]()
    trainer = Trainer(plan, dataset, lanes)
    with closing(trainer.fit()) as records:
        for record in records:
            if isinstance(record, StepTelemetry):
                losses[record.lane].append(record.loss)
            elif isinstance(record, EpochMetrics) and record.split == "val":
                best[record.lane] = max(best[record.lane], study.fitness.of(record))
            elif isinstance(record, LaneEnded) and record.step < trainer.total_steps:
                lost_at[record.lane] = record.step
    epoch = trainer.total_steps // plan.epochs
    growth = [fmean(found[-epoch:]) / fmean(found[:FIRST_STEPS]) for found in losses]
    limit = study.thresholds.loss_growth
    return {
        rate: {
            "is_lost": lane in lost_at or not growth[lane] <= limit,
            "lost_at": lost_at.get(lane),
            "fitness": best[lane],
        }
        for lane, rate in enumerate(rates)
    }


def edge(ends: dict[float, dict[str, Any]]) -> tuple[float | None, float | None]:
    """The highest rate below all that are lost, and the lowest from which on all are."""
    lost: float | None = None
    for rate in sorted(ends, reverse=True):
        if not ends[rate]["is_lost"]:
            return rate, lost
        lost = rate
    return None, lost


def main() -> None:
    """Measures, and adds a line for each seed to the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--data", default="digits-1")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--values", type=json.loads, default={})
    parser.add_argument("--rates", default=",".join(map(str, RATES)), help="of whole trainings; empty for none")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rates = [float(rate) for rate in asked.rates.split(",") if rate]
    for seed in map(int, asked.seeds.split(",")):
        study = study_of(asked.data, asked.size, asked.epochs, asked.values, seed)
        dataset, started = open_study_data(study), time.process_time()
        found = critical_rate(partial(ratio_at, study, dataset, "cpu"))
        seconds = time.process_time() - started
        ends = real(study, dataset, rates) if rates else {}
        row = {"data": asked.data, "size": asked.size, "values": asked.values, "seed": seed, "foreseen": found.edge}
        row |= {"between": found.measured, "reason": found.reason, "cpu_seconds": round(seconds, 1)}
        row |= {"real": edge(ends), "ends": ends}
        with asked.results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row))


if __name__ == "__main__":
    main()
