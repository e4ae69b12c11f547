"""Searches made up by a function of their parameters, quick enough to be made by the hundred."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import exp, isnan, log10, nan
from typing import Any

import numpy as np

from evolve.findings import Search
from evolve.findings.search import Losses, Tried
from evolve.study import Study

SPACE = {"lr0": {"low": 0.001, "high": 1.0, "log": True}, "momentum": {"low": 0.8, "high": 0.98}}
EPOCHS = 12


def study(**changes: Any) -> Study:
    mapping = {"name": "hunt", "epochs": EPOCHS, "space": SPACE, "budget": {"trials": 64}, "thresholds": {"floor": 0.0}}
    return Study.from_mapping(mapping | changes, origin="test")


def flat_late(fitness: float, epochs: int = EPOCHS) -> list[float]:
    """A curve that climbs to its end ever more slowly: 5 % of it in its last quarter."""
    return [fitness * (1 - exp(-4 * (epoch + 1) / epochs)) / (1 - exp(-4)) for epoch in range(epochs)]


def hill(params: Mapping[str, Any]) -> float:
    """Highest in the middle of both ranges, and wide."""
    return float(0.8 - 0.1 * (log10(params["lr0"]) + 1.5) ** 2 - 25 * (params["momentum"] - 0.89) ** 2)


def ridge(params: Mapping[str, Any]) -> float:
    """Highest at the middle rate, and narrow."""
    return float(0.8 - (log10(params["lr0"]) + 1.5) ** 2)


def with_outlier() -> Search:
    """A few trials that are all the same, and one that is far better, away from the others."""
    search = searched(lambda _: 0.3, num_trials=12)
    lucky = Tried(number=99, verdict="converged", params={"lr0": 0.0011, "momentum": 0.979}, fitness=0.9)
    return Search(study=search.study, tried=[*search.tried, lucky])


def searched(
    fitness: Callable[[Mapping[str, Any]], float] = hill,
    *,
    of: Study | None = None,
    num_trials: int = 40,
    noise: float = 0.01,
    seed: int = 0,
    curve: Callable[[float], list[float]] = flat_late,
    losses: Mapping[str, Losses] | None = None,
) -> Search:
    """A random search; where the fitness is NaN, the trial diverged.

    Args:
        fitness: Of parameters.
        of: The study that is searched.
        num_trials: Trials that have ended.
        noise: Standard deviation of what seeds add.
        seed: Of parameters and noise.
        curve: From the last fitness to that of each epoch.
        losses: Of the best trial.
    """
    of, rng = of or study(), np.random.default_rng(seed)
    tried = []
    for number in range(num_trials):
        params = {name: _drawn(axis, rng) for name, axis in of.space.items()}
        value = fitness(params) + noise * float(rng.standard_normal())
        verdict, value = ("diverged", nan) if isnan(value) else ("converged", value)
        curve_of = () if isnan(value) else curve(value)
        tried.append(Tried(number=number, verdict=verdict, params=params, fitness=value, curve=curve_of))
    return Search(study=of, tried=tried, losses=losses or {})


def _drawn(axis: Any, rng: np.random.Generator) -> Any:
    if hasattr(axis, "choices"):
        return axis.choices[int(rng.integers(len(axis.choices)))]
    if axis.log:
        return float(10 ** rng.uniform(log10(axis.low), log10(axis.high)))
    return float(rng.uniform(axis.low, axis.high))
