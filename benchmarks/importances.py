"""Whether importances name what matters, in studies whose answer is known (`planted.py`).

    python -m benchmarks.importances [--studies 200] [--functions "additive,interacting,held out"] [--samplers random]

Printed are the share of studies whose top three are those that matter; of the others those in which every
hyperparameter that does not belong there was called unclear; of studies of noise alone those in which nothing is said;
and the processor time of one answer, resamples included.
"""

from __future__ import annotations

import argparse
import time
from itertools import product

import numpy as np
from optuna.distributions import FloatDistribution, distribution_to_json

import evolve.importances
from benchmarks.planted import MATTERING, NAMES, Planted, planted
from evolve.importances import Importances, importances

CASES = ((0.0, 0.0), (0.02, 0.0), (0.1, 0.0), (0.02, 0.2))  # noise, share of the range of the first that diverges
FIRST = 1000  # study of those that are counted; the others chose the estimator
RANGES = {name: [distribution_to_json(FloatDistribution(0, 1))] for name in NAMES}


def shown(of: Planted) -> Importances:
    """What is said of a study."""
    params: list[dict[str, object]] = [dict(zip(NAMES, row, strict=True)) for row in of.x_NK.tolist()]
    return importances(params, of.fitness_N.tolist(), RANGES)


def row_of(function: str, sampler: str, case: tuple[float, float], trials: int, studies: int) -> list[str]:
    """The cells of a row.

    Args:
        function: Name of the function that was planted.
        sampler: Name of the sampler that draws the trials.
        case: Standard deviation of the noise, and share of the range of the first hyperparameter in which trials
            diverge.
        trials: Number of trials of each study.
        studies: Number of studies.
    """
    noise, diverged = case
    right, said, spent = 0, 0, 0.0
    for study in range(FIRST, FIRST + studies):
        of = planted(function, study, trials=trials, sampler=sampler, noise=noise, diverged=diverged)
        started = time.process_time()
        found = shown(of)
        spent += time.process_time() - started
        top = {name for name, _ in found.shares[:3]}
        right += top == MATTERING
        said += top != MATTERING and top - MATTERING <= set(found.unclear)
    known = f"{said / (studies - right):.0%}" if right < studies else ""
    start = [function, sampler, f"{noise:g}", f"{diverged:.0%}", str(trials)]
    return [*start, f"{right / studies:.1%}", known, f"{spent / studies:.2f}"]


def silent(trials: int, studies: int) -> float:
    """Share of studies of nothing but noise in which nothing is said to matter."""
    draws = (np.random.default_rng([study, 9]) for study in range(studies))
    alone = (Planted(x_NK=rng.random((trials, len(NAMES))), fitness_N=rng.random(trials)) for rng in draws)
    return float(np.mean([not shown(study).shares for study in alone]))


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--trials", default="30")
    parser.add_argument("--functions", default="additive,interacting,held out")
    parser.add_argument("--samplers", default="random")
    parser.add_argument("--cases", default="1", help="places in CASES")
    parser.add_argument("--order-alone", action="store_true", help="no resamples, which change no order")
    parser.add_argument("--noise-alone", action="store_true", help="studies of nothing but noise instead")
    asked = parser.parse_args()
    if asked.order_alone:
        evolve.importances.MOST_RESAMPLED = 0
    sizes = [int(trials) for trials in asked.trials.split(",")]
    if asked.noise_alone:
        for trials in sizes:
            print(f"{trials} trials of nothing but noise: {silent(trials, asked.studies):.1%} say nothing", flush=True)
        return
    heads = (
        "function",
        "trials by",
        "noise",
        "diverged",
        "trials",
        "true top three",
        "others, said to be unclear",
        "s",
    )
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}", flush=True)
    for function, sampler, place, trials in product(
        asked.functions.split(","), asked.samplers.split(","), asked.cases.split(","), sizes
    ):
        cells = row_of(function, sampler, CASES[int(place)], trials, asked.studies)
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
