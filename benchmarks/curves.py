"""Learning curves of a space, recorded without stopping any: what rules that stop or pause trials are measured on.

    python -m benchmarks.curves FILE.csv [--points 128] [--until HH:MM]

Each point is a training of `yolov3-tiny-compact` on digits-1, 64 pixels, 9 epochs of 10 batches of 16, whose learning
rate, momentum, box and objectness gains and warm-up are a point of a scrambled Sobol sequence. Rows are written as they
come and a file that is there is gone on with. Eight points train side by side as lanes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.recorded import NUM_LANES, digit_scenes, trained_points
from benchmarks.rows import add_rows, rows_of
from detector.telemetry import LaneEnded
from evolve.outcome.verdict import Verdict
from evolve.run.lending import Course
from evolve.study import Study

CURVES = Path(__file__).with_name("curves.csv")
EPOCHS = 9
SPACE = {
    "lr0": {"low": 0.001, "high": 3, "log": True},
    "momentum": {"low": 0.5, "high": 0.98},
    "box": {"low": 0.02, "high": 5, "log": True},
    "obj": {"low": 0.1, "high": 10, "log": True},
    "warmup_epochs": {"low": 0, "high": 3},
}
STUDY = Study.model_validate(
    {"name": "curves", "data": "digits-1", "epochs": EPOCHS, "space": SPACE, "budget": {"trials": 128}}
)
_FITNESS = tuple(f"epoch_{epoch}" for epoch in range(EPOCHS))
_COLUMNS = ("point", "seed", *SPACE, *_FITNESS, "diverged")


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The learning curve of a training of a point.

    Attributes:
        point: Place of the point in the Sobol sequence, counted from 0.
        fitness: Fitness after each epoch that it has.
        has_diverged: Whether it diverged, in the epoch after the last one it has, or at its end.
    """

    point: int
    fitness: tuple[float, ...]
    has_diverged: bool


def record(path: Path, *, points: int, seed: int = 0, until: str = "") -> None:
    """Trains the points that a file does not have yet.

    Args:
        path: CSV file that rows are added to.
        points: Number of points of the sequence, a multiple of 8.
        seed: Seed of weights, order and scenes.
        until: Time of day as HH:MM after which no training is begun; empty for no end.
    """
    import torch

    torch.set_num_threads(1)
    known = {curve.point for curve in read(path)}
    for first in range(0, points, NUM_LANES):
        numbers = [number for number in range(first, first + NUM_LANES) if number not in known]
        if until and time.strftime("%H:%M") >= until:
            return
        if not numbers:
            continue
        started = time.perf_counter()
        found = trained_points(STUDY, digit_scenes(train=160, val=64), numbers, seed)
        add_rows(
            path, _COLUMNS, [_cells(number, seed, *trained) for number, trained in zip(numbers, found, strict=True)]
        )
        print(f"points {first}..: {time.perf_counter() - started:.0f} s", flush=True)


def read(path: Path = CURVES) -> list[Curve]:
    """Curves of a file; none where there is none."""
    return [
        Curve(
            point=int(cells["point"]),
            fitness=tuple(float(cells[name]) for name in _FITNESS if cells[name]),
            has_diverged=cells["diverged"] == "1",
        )
        for cells in rows_of(path)
    ]


def _cells(number: int, seed: int, params: Mapping[str, Any], course: Course, ended: LaneEnded) -> list[str | int]:
    has_diverged = course.judgement(ended).verdict is Verdict.DIVERGED
    fitness = [f"{value:.6g}" for value in course.fitness] + [""] * (EPOCHS - len(course.fitness))
    return [number, seed, *(f"{params[name]:.6g}" for name in SPACE), *fitness, int(has_diverged)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Records what a file does not have yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--points", type=int, default=128)
    parser.add_argument("--until", default="")
    given = parser.parse_args(arguments)
    record(given.file, points=given.points, until=given.until)


if __name__ == "__main__":
    main()
