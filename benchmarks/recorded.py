"""A search's objective without its trainings: points of a space trained beforehand, and a forest between them.

    python -m benchmarks.recorded FILE.csv [--points 256] [--seeds 3] [--until HH:MM]

Each point is a training of `yolov3-tiny-compact` on digits-1, 64 pixels, 4 epochs of 25 batches of 16, not clipped,
whose learning rate, momentum, box and objectness gains and warm-up are a point of a scrambled Sobol sequence. Rows are
written as they come and a file that is there is gone on with. Eight points train side by side as lanes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution

from benchmarks.rows import add_rows, rows_of
from detector.datasets.digits import CLASS_NAMES, DigitScenes, DigitSettings, open_digits
from detector.datasets.listing import Dataset
from detector.plan import TrainingPlan
from detector.telemetry import LaneEnded
from detector.trainer import LaneSpec, Trainer
from evolve.outcome.margin import divergence_margin
from evolve.outcome.verdict import Verdict
from evolve.run.lending import Course
from evolve.search.samplers.design import sobol_points
from evolve.search.samplers.unit_cube import from_unit, to_unit
from evolve.study import Study

RECORDED = Path(__file__).with_name("search.csv")
SOURCE = "digits-1"
NUM_LANES = 8
SPACE = {
    "lr0": {"low": 0.001, "high": 10, "log": True},
    "momentum": {"low": 0.5, "high": 0.98},
    "box": {"low": 0.02, "high": 5, "log": True},
    "obj": {"low": 0.1, "high": 10, "log": True},
    "warmup_epochs": {"low": 0, "high": 2},
}
STUDY = Study.model_validate(
    {
        "name": "recorded",
        "data": SOURCE,
        "epochs": 4,
        "hyperparameters": {"clip_norm": 0},
        "space": SPACE,
        "budget": {"trials": 30},
    }
)
_EPOCHS = tuple(f"epoch_{epoch}" for epoch in range(STUDY.epochs))
_COLUMNS = ("point", "seed", *SPACE, *_EPOCHS, "steps", "update_ratio", "diverged")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What became of a point with a seed.

    Attributes:
        point: Place of the point in the Sobol sequence, counted from 0.
        seed: Seed of weights, order and scenes.
        params: Hyperparameters of the point, by name.
        curve: Fitness after each epoch that the training has.
        steps: Batches it trained on.
        update_ratio: Largest norm of an update over that of the weights.
        has_diverged: Whether the training diverged.
    """

    point: int
    seed: int
    params: Mapping[str, float]
    curve: tuple[float, ...]
    steps: int
    update_ratio: float
    has_diverged: bool

    @property
    def fitness(self) -> float:
        """Fitness after the last epoch; NaN where the training diverged."""
        return nan if self.has_diverged else self.curve[-1]

    @property
    def margin(self) -> float:
        """Margin to divergence, as it is stored with a trial; above 0 where the training diverged."""
        margin = divergence_margin(self.update_ratio, has_diverged=self.has_diverged)
        assert margin is not None
        return margin


# Recording


def record(path: Path, *, points: int, seeds: int, until: str = "") -> None:
    """Trains the points that a file does not have yet.

    Args:
        path: CSV file that rows are added to.
        points: Number of points of the sequence, a multiple of 8; the first ones get all their seeds first.
        seeds: Number of trainings of each point, with seeds from 0.
        until: Time of day as HH:MM after which no training is begun; empty for no end.
    """
    import torch

    torch.set_num_threads(1)
    known = {(row.point, row.seed) for row in read(path)}
    for first in range(0, points, NUM_LANES):
        for seed in range(seeds):
            numbers = [number for number in range(first, first + NUM_LANES) if (number, seed) not in known]
            if not numbers:
                continue
            if until and time.strftime("%H:%M") >= until:
                return
            started = time.perf_counter()
            rows = _trained(numbers, seed)
            add_rows(path, _COLUMNS, map(_cells, rows))
            diverged = sum(row.has_diverged for row in rows)
            print(
                f"points {first}.. seed {seed}: {diverged} diverged, {time.perf_counter() - started:.0f} s", flush=True
            )


def read(path: Path = RECORDED) -> list[Row]:
    """Rows of a file; none where there is none."""
    return [
        Row(
            point=int(cells["point"]),
            seed=int(cells["seed"]),
            params={name: float(cells[name]) for name in SPACE},
            curve=tuple(float(cells[name]) for name in _EPOCHS if cells[name]),
            steps=int(cells["steps"]),
            update_ratio=float(cells["update_ratio"]),
            has_diverged=cells["diverged"] == "1",
        )
        for cells in rows_of(path)
    ]


def _cells(row: Row) -> list[str | int]:
    params = [f"{value:.6g}" for value in row.params.values()]
    curve = [f"{value:.5g}" for value in row.curve] + [""] * (STUDY.epochs - len(row.curve))
    return [row.point, row.seed, *params, *curve, row.steps, f"{row.update_ratio:.6g}", int(row.has_diverged)]


def trained_points(
    study: Study, data: Dataset, numbers: Sequence[int], seed: int
) -> list[tuple[Mapping[str, Any], Course, LaneEnded]]:
    """Points of a study's space in a Sobol sequence, trained side by side: parameters, course and last record of each.

    Args:
        study: Study that says what is trained, and over which space.
        data: Data set that is trained and measured on.
        numbers: Places of the points in the sequence, counted from 0.
        seed: Seed of weights, order and scenes.
    """
    distributions = study.space.distributions()
    params = [from_unit(distributions, sobol_points(len(distributions), seed=0, first=number)[0]) for number in numbers]
    plan = TrainingPlan(model=study.model, image_size=study.image_size, epochs=study.epochs, data_seed=seed)
    lanes = [LaneSpec(values=study.hyperparameters(point), seed=seed) for point in params]
    courses, ends = [Course(study) for _ in lanes], dict[int, LaneEnded]()
    for record in Trainer(plan, data, lanes).fit():
        courses[record.lane].take_in(record)
        if isinstance(record, LaneEnded):
            ends[record.lane] = record
    return [(point, courses[lane], ends[lane]) for lane, point in enumerate(params)]


def _trained(numbers: Sequence[int], seed: int) -> list[Row]:
    found = trained_points(STUDY, digit_scenes(train=400, val=64), numbers, seed)
    return [_row(number, seed, *trained) for number, trained in zip(numbers, found, strict=True)]


def _row(number: int, seed: int, params: Mapping[str, Any], course: Course, ended: LaneEnded) -> Row:
    return Row(
        point=number,
        seed=seed,
        params=params,
        curve=tuple(course.fitness),
        steps=ended.step,
        update_ratio=course.max_update_ratio,
        has_diverged=course.judgement(ended).verdict is Verdict.DIVERGED,
    )


def digit_scenes(*, train: int, val: int) -> Dataset:
    """So many scenes of digits to train on in each epoch, and to measure on; none to test on."""

    def scenes(part: str, count: int) -> DigitScenes:
        names = CLASS_NAMES[SOURCE]
        return DigitScenes(DigitSettings(split=part, names=names, image_size=64, seed=0, num_scenes=count))

    whole = open_digits(SOURCE, image_size=64)
    return replace(whole, train=scenes("train", train), val=scenes("val", val), test=None)


# Answering


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a point comes to.

    Attributes:
        curve: Fitness to be expected after each epoch; the worst of all, 0, where the point diverges.
        margin: Margin to divergence; above 0 the point diverges.
        share: Share of a whole training that is over when it diverges; 1 where it does not.
    """

    curve: tuple[float, ...]
    margin: float
    share: float = 1.0

    @property
    def mean(self) -> float:
        """Fitness to be expected at the end."""
        return self.curve[-1]


class Between:
    """What lies between recorded points, by random forests: curves of what did not diverge, margin of all.

    Args:
        rows: Recorded trainings, of which at least one did not diverge.

    Source: Eggensperger et al. 2015, Efficient benchmarking of hyperparameter optimizers via surrogates.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self.distributions: dict[str, BaseDistribution] = STUDY.space.distributions()
        healthy, lost = ([row for row in rows if row.has_diverged is state] for state in (False, True))
        self._curves = _forest(self._columns(healthy), [row.curve for row in healthy])
        self._margin = _forest(self._columns(rows), [row.margin for row in rows])
        self._steps = _forest(self._columns(lost), [row.steps for row in lost]) if lost else None
        self._whole = max(row.steps for row in rows)
        self._luck_NE = _deviations(healthy)
        self.fitness_r2 = _r2([row.fitness for row in healthy], self._curves.oob_prediction_[:, -1])
        self.margin_r2 = self._margin.oob_score_

    def __call__(self, params: Sequence[Mapping[str, Any]]) -> list[Answer]:
        """Answers in the order of the points."""
        columns = np.array([to_unit(self.distributions, point) for point in params])
        margins, curves_E = self._margin.predict(columns), self._curves.predict(columns)
        steps = self._steps.predict(columns) if self._steps else np.zeros(len(params))
        return [
            Answer(curve=(0.0,) * len(curve), margin=float(margin), share=float(count) / self._whole)
            if margin > 0
            else Answer(curve=tuple(map(float, curve)), margin=float(margin))
            for curve, margin, count in zip(curves_E, margins, steps, strict=True)
        ]

    @property
    def noise(self) -> float:
        """Standard deviation of a fitness by its seed; 0 where no point trained through with several."""
        return float(np.sqrt(np.mean(self._luck_NE[:, -1] ** 2)))

    def luck(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """What a seed adds to the fitness after each epoch: that of a recorded training, drawn."""
        return self._luck_NE[rng.integers(len(self._luck_NE))]

    @cache  # noqa: B019 - lives as long as the benchmark
    def best(self, num_points: int = 2**14) -> tuple[dict[str, Any], float]:
        """The best of many evenly spread points, and its fitness."""
        points = sobol_points(len(self.distributions), seed=1, count=num_points)
        params = [from_unit(self.distributions, point) for point in points]
        answers = self(params)
        place = max(range(num_points), key=lambda index: answers[index].mean)
        return params[place], answers[place].mean

    def _columns(self, rows: Sequence[Row]) -> NDArray[np.float64]:
        return np.array([to_unit(self.distributions, row.params) for row in rows])


def _forest(columns: NDArray[np.float64], values: Sequence[Any]) -> Any:
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(100, min_samples_leaf=3, oob_score=True, random_state=0, n_jobs=1)
    return forest.fit(columns, values)


def _r2(values: Sequence[float], predicted: NDArray[np.float64]) -> float:
    return float(1 - np.var(predicted - values) / np.var(values))


def _deviations(rows: Sequence[Row]) -> NDArray[np.float64]:
    """How far curves lie from the mean of their point, (N, E), of points with several seeds; zeros where none has.

    Stretched by what a mean of few takes away, so that their mean square is the variance.
    """
    by_point: dict[int, list[tuple[float, ...]]] = {}
    for row in rows:
        by_point.setdefault(row.point, []).append(row.curve)
    found = [
        (np.array(curves) - np.mean(curves, axis=0)) * np.sqrt(len(curves) / (len(curves) - 1))
        for curves in by_point.values()
        if len(curves) > 1
    ]
    return np.concatenate(found) if found else np.zeros((1, STUDY.epochs))


def main(arguments: Sequence[str] | None = None) -> None:
    """Records what a file does not have yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--points", type=int, default=256)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--until", default="")
    given = parser.parse_args(arguments)
    record(given.file, points=given.points, seeds=given.seeds, until=given.until)


if __name__ == "__main__":
    main()
