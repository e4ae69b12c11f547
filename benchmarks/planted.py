"""Studies whose answer is known: functions of six hyperparameters in 0..1, of which the first three matter.

`additive` and `interacting` are one function each. `held out` is a family: centres, steepness and the shape of every
term are drawn anew for each study (a parabola, a slope, or an edge beyond which it falls), and two terms may interact.
It was written before anything was chosen by the others, and nothing was chosen by it.

Shapes: N trials, K hyperparameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import optuna
from numpy.typing import NDArray
from scipy.stats import qmc

from benchmarks.quiet import quiet_optuna

NAMES = ("first", "second", "third", "idle0", "idle1", "idle2")
MATTERING = frozenset(NAMES[:3])
LEAST_SHARE = 0.1  # of the variance, that each of the three has in a held-out function
_PROBES = 4096

Array = NDArray[np.float64]
Function = Callable[[Array], Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """The trials of one study that ran to their end.

    Attributes:
        x_NK: Hyperparameters of each trial, in 0..1.
        fitness_N: Fitness that each trial reached, noise included.
    """

    x_NK: Array
    fitness_N: Array

    def first(self, count: int) -> Planted:
        """The study as it was after so many trials that ran to their end."""
        return Planted(x_NK=self.x_NK[:count], fitness_N=self.fitness_N[:count])


def additive(x_NK: Array) -> Array:
    """A sum of parabolas."""
    return -(3 * (x_NK[:, 0] - 0.6) ** 2 + 2.5 * (x_NK[:, 1] - 0.4) ** 2 + 2 * (x_NK[:, 2] - 0.5) ** 2)


def interacting(x_NK: Array) -> Array:
    """Parabolas of which each is steeper where another hyperparameter is large."""
    first, second, third = x_NK[:, 0] - 0.6, x_NK[:, 1] - 0.4, x_NK[:, 2] - 0.5
    return -(3 * first**2 * (1 + x_NK[:, 2]) + 2.5 * second**2 * (1 + x_NK[:, 0]) + 2 * third**2 * (1 + x_NK[:, 1]))


def held_out(rng: np.random.Generator) -> Function:
    """A function whose three terms each have at least a tenth of its variance, scaled to that of `additive`."""
    while True:
        terms = [_term(rng) for _ in MATTERING]
        weights, coupling = rng.uniform(0.7, 1.4, len(terms)), rng.uniform(0, 1)

        def whole(x_NK: Array, terms: list[Function] = terms, weights: Array = weights, tie: float = coupling) -> Array:
            own_NT = np.stack([term(x_NK[:, place]) for place, term in enumerate(terms)], axis=1) * weights
            return -(own_NT.sum(axis=1) + tie * own_NT[:, 0] * own_NT[:, 1])

        probes = np.random.default_rng(0).random((_PROBES, len(NAMES)))
        if min(_shares(whole, probes)) >= LEAST_SHARE:
            scale = additive(probes).std() / whole(probes).std()
            return lambda x_NK: scale * whole(x_NK)


def _term(rng: np.random.Generator) -> Function:
    centre, kind = rng.uniform(0.15, 0.85), rng.integers(3)
    if kind == 0:
        return lambda x_N: 12 * (x_N - centre) ** 2
    if kind == 1:
        return lambda x_N: 3.5 * x_N if centre > 0.5 else 3.5 * (1 - x_N)
    return lambda x_N: 2 / (1 + np.exp(-(x_N - centre) / 0.05))


def _shares(function: Function, probes: Array) -> list[float]:
    """Part of the variance that is gone where one of the three is held at its middle."""
    total = function(probes).var()
    shares = []
    for place in range(len(MATTERING)):
        others = probes.copy()
        others[:, place] = np.random.default_rng(1).random(len(probes))
        shares.append(float(((function(probes) - function(others)) ** 2).mean() / 2 / total))
    return shares


def function_of(name: str, study: int) -> Function:
    """The function of a study: one of FUNCTIONS, or for `held out` one that is drawn by the study's number."""
    return held_out(np.random.default_rng([study, 77])) if name == "held out" else FUNCTIONS[name]


FUNCTIONS: dict[str, Function] = {"additive": additive, "interacting": interacting}


def planted(name: str, study: int, *, trials: int, sampler: str, noise: float, diverged: float) -> Planted:
    """The trials of a study.

    Args:
        name: Name of the function: `additive`, `interacting` or `held out`.
        study: Number of the study, which is its seed.
        trials: Number of trials, those that diverged included.
        sampler: Name of the sampler: `random`, `sobol`, or `tpe`, which is told no fitness of those that diverged.
        noise: Standard deviation of what a seed adds to the fitness; that of the function itself is about 0.35.
        diverged: Share of the range of `first`, from above, in which trials diverge: they have no fitness.
    """
    function, rng = function_of(name, study), np.random.default_rng([study, 1])

    def fitness(x_NK: Array) -> Array:
        return function(x_NK) + noise * rng.standard_normal(len(x_NK))

    if sampler == "tpe":
        return _by_tpe(fitness, study, trials, diverged)
    if sampler == "sobol":
        x_NK = qmc.Sobol(len(NAMES), rng=np.random.default_rng([study, 2])).random_base2(int(np.ceil(np.log2(trials))))
        x_NK = x_NK[:trials]
    else:
        x_NK = np.random.default_rng([study, 3]).random((trials, len(NAMES)))
    ended = x_NK[x_NK[:, 0] <= 1 - diverged]
    return Planted(x_NK=ended, fitness_N=fitness(ended))


def _by_tpe(fitness: Function, study: int, trials: int, diverged: float) -> Planted:
    with quiet_optuna():
        search = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=study))
        space: dict[str, optuna.distributions.BaseDistribution] = {
            name: optuna.distributions.FloatDistribution(0, 1) for name in NAMES
        }
        rows, values = [], []
        for _ in range(trials):
            trial = search.ask(space)
            row = np.array([trial.params[name] for name in NAMES])
            if row[0] > 1 - diverged:
                trial.set_constraint("diverged", 1.0)
                search.tell(trial, state=optuna.trial.TrialState.PRUNED)
                continue
            rows.append(row)
            values.append(float(fitness(row[None])[0]))
            search.tell(trial, values[-1])
    return Planted(x_NK=np.array(rows), fitness_N=np.array(values))
