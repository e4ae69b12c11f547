"""What a search over many small changes finds when luck is as large as they are: planted changes, counted exactly.

    python -m benchmarks.screening [--studies 40] [--trials 34] [--samplers screening,tpe,guided,random]

A study has sixteen changes of two values each. What a change does is drawn from a normal distribution around -0.003
with a deviation of 0.01 (most changes of good defaults do harm), what two do only together from one of 0.002 (of each
of the 120 pairs), and a training's luck has a deviation of 0.016, as measured on photographs in 300 updates. Every
sampler has the same number of trials, the defaults as trial 0. `screening` gives what its trials recommend, the others
their best trial, as an export would; `one at a time` trains the defaults twice, each change twice, and makes all that
won. What is printed is the gain over the defaults without luck, with its 95 % interval over studies.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import yaml

from benchmarks.quiet import quiet_optuna
from benchmarks.search import interval
from evolve.screened import screened
from evolve.search.samplers import make_sampler
from evolve.study import Study

MEAN, SPREAD, TOGETHER, LUCK = -0.003, 0.01, 0.002, 0.016
# Those of the shipped study; what they do is planted here, not trained.
SPACE: Mapping[str, tuple[Any, Any]] = {
    name: tuple(axis["choices"])
    for name, axis in yaml.safe_load((Path(__file__).parent.parent / "studies/screening.yaml").read_text())[
        "space"
    ].items()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """What changes do in one study.

    Attributes:
        alone_K: What each does by itself.
        together: What each pair does beyond that, by the places of the two.
    """

    alone_K: np.ndarray
    together: Mapping[tuple[int, int], float]

    def gain(self, params: Mapping[str, Any]) -> float:
        """Fitness of some values less that of the defaults, without luck."""
        made = [place for place, (name, (own, _)) in enumerate(SPACE.items()) if params[name] != own]
        return float(self.alone_K[made].sum()) + sum(self.together[pair] for pair in combinations(made, 2))


def planted(rng: np.random.Generator) -> Planted:
    """What changes do in a new study."""
    pairs = [*combinations(range(len(SPACE)), 2)]
    together = dict(zip(pairs, rng.normal(0, TOGETHER, len(pairs)).tolist(), strict=True))
    return Planted(alone_K=rng.normal(MEAN, SPREAD, len(SPACE)), together=together)


def study_by(sampler: str, trials: int, seed: int) -> Study:
    """A study of the sixteen changes by a sampler."""
    space = {name: {"choices": list(values)} for name, values in SPACE.items()}
    given = {"name": "planted", "sampler": sampler, "space": space, "seed": seed, "budget": {"trials": trials}}
    return Study.model_validate(given)


def searched(sampler: str, truth: Planted, rng: np.random.Generator, *, trials: int, seed: int) -> float:
    """Gain, without luck, of what a search by a sampler ends with."""
    study = study_by(sampler, trials, seed)
    search = optuna.create_study(direction="maximize", sampler=make_sampler(study))
    search.enqueue_trial(dict(study.baseline_params()))
    for _ in range(trials):
        trial = search.ask(study.space.distributions())
        search.tell(trial, 0.4 + truth.gain(trial.params) + rng.normal(0, LUCK))
    if (plan := study.screening) is None:
        return truth.gain(search.best_params)
    found = screened([trial.params for trial in search.trials], [trial.value for trial in search.trials], plan.changes)
    return truth.gain(found.recommended)


def one_at_a_time(truth: Planted, rng: np.random.Generator) -> float:
    """Gain, without luck, of all changes that won by themselves: each, and the defaults, trained twice."""
    own = {name: values[0] for name, values in SPACE.items()}
    defaults = rng.normal(0, LUCK, 2).mean()
    chosen = dict(own)
    for name, (_, other) in SPACE.items():
        if truth.gain({**own, name: other}) + rng.normal(0, LUCK, 2).mean() > defaults:
            chosen[name] = other
    return truth.gain(chosen)


def main(arguments: Sequence[str] | None = None) -> None:
    """Searches planted studies with each sampler and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=40)
    parser.add_argument("--trials", type=int, default=34)
    parser.add_argument("--samplers", default="screening,tpe,guided,evolution,random")
    given = parser.parse_args(arguments)
    truths = [planted(np.random.default_rng([1, seed])) for seed in range(given.studies)]
    best = [float(truth.alone_K[truth.alone_K > 0].sum()) for truth in truths]
    print(f"all changes that help by themselves: {np.mean(best):+.4f}")
    print("| sampler | studies | gain over the defaults | worse than the defaults |", "|---" * 4 + "|", sep="\n")
    for name in [*given.samplers.split(","), "one at a time"]:
        gains = []
        for seed, truth in enumerate(truths):
            rng = np.random.default_rng([2, seed])
            if name == "one at a time":
                gains.append(one_at_a_time(truth, rng))
            else:
                with quiet_optuna():
                    gains.append(searched(name, truth, rng, trials=given.trials, seed=seed))
        mean, low, high = interval(np.array(gains))
        worse = np.mean(np.array(gains) < 0)
        print(f"| {name} | {len(gains)} | {mean:+.4f} [{low:+.4f}, {high:+.4f}] | {worse:.0%} |", flush=True)


if __name__ == "__main__":
    main()
