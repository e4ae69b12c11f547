"""How often findings are false, and how often what is planted is found: thousands of simulated searches.

    python -m benchmarks.false_findings [--studies 200] [--trials 12,20,40] [--samplers random,tpe]

A search has two hyperparameters that both matter; one in which nothing matters has four. There is nothing to be found
but what is planted: a best beyond the upper end of the rate, curves that still rise or were flat after a quarter, or
trials that diverge from about twice the best rate on. Fitness has noise with a standard deviation of 0.01.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import exp, isnan, log10, nan
from typing import Any

import numpy as np
import optuna

from benchmarks.quiet import quiet_optuna
from evolve.findings import RULES, Search, findings_of
from evolve.findings.search import Tried
from evolve.study import Study

EPOCHS, NOISE = 12, 0.01
RATE = {"low": 0.001, "high": 1.0, "log": True}
TWO = {"lr0": RATE, "momentum": {"low": 0.8, "high": 0.98}}
FOUR = {name: {"low": 0.1, "high": 0.9} for name in ("lr0", "box", "obj", "momentum")}
Fitness = Callable[[Mapping[str, Any]], float]
Curve = Callable[[float], list[float]]


def hill(params: Mapping[str, Any]) -> float:
    """Highest in the middle of both ranges."""
    return 0.8 - 0.1 * (log10(params["lr0"]) + 1.5) ** 2 - 25.0 * (params["momentum"] - 0.89) ** 2


def flattening(last: float) -> list[float]:
    """A curve that gains 5 % in its last quarter."""
    return [last * (1 - exp(-4 * (epoch + 1) / EPOCHS)) / (1 - exp(-4)) for epoch in range(EPOCHS)]


# Searches in which the rule that names them has something to find; the first two have nothing for any.
CASES: Mapping[str, tuple[Mapping[str, Any], Fitness, Curve]] = {
    "well placed": (TWO, hill, flattening),
    "nothing matters": (FOUR, lambda _: 0.5, flattening),
    "edge": (TWO, lambda params: 0.5 + 0.1 * log10(params["lr0"]), flattening),
    "longer": (TWO, hill, lambda last: [last * (epoch + 1) / EPOCHS for epoch in range(EPOCHS)]),
    "shorter": (TWO, hill, lambda last: [last * min((epoch + 1) / 3, 1) for epoch in range(EPOCHS)]),
    "unstable": (TWO, lambda params: nan if params["lr0"] > 0.063 else hill(params), flattening),
    "infeasible": (TWO, lambda params: nan if params["lr0"] > 0.04 else hill(params), flattening),
}


def simulated(case: str, sampler: str, *, trials: int, seed: int) -> Search:
    """A search that has ended.

    Args:
        case: Key of `CASES`.
        sampler: Name of the sampler, random or tpe.
        trials: Number of trials.
        seed: Seed of the sampler and of the noise.
    """
    space, fitness, curve = CASES[case]
    mapping = {"name": "made", "epochs": EPOCHS, "space": space, "budget": {"trials": trials}}
    study = Study.from_mapping({**mapping, "thresholds": {"floor": 0.0}}, origin="benchmark")
    rng = np.random.default_rng(seed)
    samplers = {"random": optuna.samplers.RandomSampler, "tpe": optuna.samplers.TPESampler}
    with quiet_optuna():
        searched = optuna.create_study(direction="maximize", sampler=samplers[sampler](seed=seed))
    tried = []
    for number in range(trials):
        trial = searched.ask(study.space.distributions())
        value = fitness(trial.params) + NOISE * float(rng.standard_normal())
        is_lost = isnan(value)
        searched.tell(trial, 0.0 if is_lost else value)
        verdict, curve_of = ("diverged", []) if is_lost else ("converged", curve(value))
        tried.append(Tried(number=number, verdict=verdict, params=trial.params, fitness=value, curve=curve_of))
    return Search(study=study, tried=tried)


def counted(case: str, sampler: str, *, trials: int, studies: int) -> Counter[str]:
    """In how many studies each rule has spoken."""
    found: Counter[str] = Counter()
    for seed in range(studies):
        keys = {finding.key for finding in findings_of(simulated(case, sampler, trials=trials, seed=seed))}
        found.update(rule for rule in RULES if any(key.startswith(rule) for key in keys))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a row for each case, sampler and number of trials: the share of studies in which each rule has spoken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--trials", default="12,20,40")
    parser.add_argument("--samplers", default="random,tpe")
    given = parser.parse_args(arguments)
    rules = [rule for rule in RULES if rule not in ("overfitting", "no-use")]  # of losses and of the study alone
    print(f"| search | sampler | trials | {' | '.join(rules)} |")
    print(f"|---|---|---{'|---' * len(rules)}|")
    for case in CASES:
        for sampler in given.samplers.split(","):
            for trials in map(int, given.trials.split(",")):
                found = counted(case, sampler, trials=trials, studies=given.studies)
                shares = " | ".join(f"{found[rule] / given.studies:.1%}" if found[rule] else "0" for rule in rules)
                print(f"| {case} | {sampler} | {trials} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
