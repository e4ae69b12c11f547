"""Whether importances name what matters: studies of random trials of functions whose three hyperparameters are known.

    python -m benchmarks.importances [--studies 200] [--trials 30,100]

Six hyperparameters in 0..1, of which three matter, added up or interacting, with noise; each study is of uniformly
drawn trials. Printed are the share of studies whose top three are those, and of the other studies those in which every
hyperparameter that does not belong there was called unclear.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution, distribution_to_json

from evolve.analysis import importances

NAMES = ("first", "second", "third", "idle0", "idle1", "idle2")
MATTERING = set(NAMES[:3])
NOISE = 0.02


def additive(x_N6: NDArray[np.float64]) -> NDArray[np.float64]:
    """A sum of parabolas."""
    return -(3 * (x_N6[:, 0] - 0.6) ** 2 + 2.5 * (x_N6[:, 1] - 0.4) ** 2 + 2 * (x_N6[:, 2] - 0.5) ** 2)


def interacting(x_N6: NDArray[np.float64]) -> NDArray[np.float64]:
    """Parabolas of which each is steeper where another hyperparameter is large."""
    first, second, third = x_N6[:, 0] - 0.6, x_N6[:, 1] - 0.4, x_N6[:, 2] - 0.5
    return -(3 * first**2 * (1 + x_N6[:, 2]) + 2.5 * second**2 * (1 + x_N6[:, 0]) + 2 * third**2 * (1 + x_N6[:, 1]))


FUNCTIONS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "additive": additive,
    "interacting": interacting,
}


def found(name: str, *, trials: int, studies: int) -> tuple[float, float]:
    """Share of studies with the true top three, and of the others those that call all wrong ones unclear.

    Args:
        name: Of the function.
        trials: Of each study.
        studies: How many.
    """
    ranges = {each: [distribution_to_json(FloatDistribution(0, 1))] for each in NAMES}
    right, said = 0, 0
    for study in range(studies):
        rng = np.random.default_rng(study)
        x_N6 = rng.random((trials, len(NAMES)))
        fitness = FUNCTIONS[name](x_N6) + NOISE * rng.standard_normal(trials)
        params: list[dict[str, object]] = [dict(zip(NAMES, row, strict=True)) for row in x_N6.tolist()]
        shown = importances(params, fitness.tolist(), ranges)
        wrong = {each for each, _ in shown.shares[:3]} - MATTERING
        right += not wrong
        said += bool(wrong) and wrong <= set(shown.unclear)
    return right / studies, said / max(studies - right, 1)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--trials", default="30,100")
    asked = parser.parse_args()
    print("| function | trials | true top three | of the others, said to be unclear |")
    print("|---|---|---|---|")
    for name in FUNCTIONS:
        for trials in map(int, asked.trials.split(",")):
            right, said = found(name, trials=trials, studies=asked.studies)
            print(f"| {name} | {trials} | {right:.1%} | {said:.1%} |", flush=True)


if __name__ == "__main__":
    main()
