"""Which sampler finds good hyperparameters in thirty trials, and how many trials it loses to divergence.

    python -m benchmarks.search [--seeds 20] [--trials 30] [--samplers guided,tpe] [--objective FILE|TABLE] [--out FILE]
    python -m benchmarks.search --found FILE FILE ...  # the table of what several calls found

The objective is that of `benchmarks.recorded`: real trainings, and a random forest between them, with the luck of seeds
on top; or one of the tables of `benchmarks.tabled`. All begin with the defaults as trial 0. Regret is the best fitness
of the space less that of the trial that was seen to be the best, both without luck; "of the best tried" less that of
the best there was, which luck may have hidden. Intervals are bootstrapped over
seeds (95 %). `plain tpe` is Optuna's own, told a divergence as NaN, which fails the trial. The right prior is the best
point of the space, the wrong ones the same with a learning rate a tenth or ten times of it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState, create_trial

from benchmarks.recorded import RECORDED, SPACE, STUDY, Between, read
from benchmarks.tabled import NAMES, Table
from evolve.search.samplers import DIVERGED, divergence_state, make_sampler
from evolve.study import Study

RESAMPLES = 2000
SETTLED = 10  # trials after which a sampler should know where trainings diverge


class Search:
    """Asks a sampler of ours as a run does, and tells it what became of the trials.

    Args:
        study: Study with the space, the sampler and the seed.
    """

    def __init__(self, study: Study) -> None:
        self._study, self._distributions = study, study.space.distributions()
        self._sampler = make_sampler(study)
        self._trials: list[FrozenTrial] = []

    def ask(self) -> dict[str, Any]:
        """Parameters of the next trial."""
        if not self._trials:
            return dict(self._study.baseline_params())
        return self._sampler.params(self._trials, len(self._trials))

    def tell(self, params: Mapping[str, Any], seen: float, margin: float) -> None:
        """Takes in what a trial came to; where its margin is above 0 it diverged, and its fitness does not count."""
        state, value = divergence_state(self._study.sampler) if margin > 0 else (TrialState.COMPLETE, seen)
        trial = create_trial(
            state=state,
            value=value,
            params=dict(params),
            distributions=self._distributions,
            constraints={DIVERGED: margin},
        )
        trial.number = len(self._trials)
        self._trials.append(trial)


class Plain:
    """Optuna's own TPE, which a divergence is told as NaN.

    Args:
        study: Study with the space and the seed.
    """

    def __init__(self, study: Study) -> None:
        self._distributions = study.space.distributions()
        sampler = optuna.samplers.TPESampler(seed=study.seed)
        self._search = optuna.create_study(direction="maximize", sampler=sampler)
        self._search.enqueue_trial(dict(study.baseline_params()))

    def ask(self) -> dict[str, Any]:
        """Parameters of the next trial."""
        self._trial = self._search.ask(self._distributions)
        return self._trial.params

    def tell(self, params: Mapping[str, Any], seen: float, margin: float) -> None:  # noqa: ARG002 - as of `Search`
        """Takes in what the trial that was asked for last came to."""
        self._search.tell(self._trial, float("nan") if margin > 0 else seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one sampler found, over S seeds and N trials.

    Attributes:
        fitness_SN: Fitness without luck of the trial that was seen to be the best so far; 0 before any trained through.
        tried_SN: Fitness without luck of the best trial so far, whatever was seen of it.
        diverged_SN: Whether each trial diverged.
        ask_seconds: Median CPU time of an ask from trial 10 on.
    """

    fitness_SN: NDArray[np.float64]
    tried_SN: NDArray[np.float64]
    diverged_SN: NDArray[np.bool_]
    ask_seconds: float


def searched(
    make: Callable[[int], Search | Plain], objective: Between | Table, *, seeds: int, trials: int
) -> Iterator[Found]:
    """What searches of one sampler found: of the first seed, of the first two, and so on.

    Args:
        make: Function that makes a search by the sampler with a seed.
        objective: Objective that answers what points come to.
        seeds: Number of searches, with seeds from 0.
        trials: Number of trials of each search.
    """
    fitness_SN, tried_SN = np.zeros((2, seeds, trials))
    diverged_SN = np.zeros((seeds, trials), dtype=bool)
    seconds: list[float] = []
    for seed in range(seeds):
        luck, search = np.random.default_rng(seed), make(seed)
        best_seen, best, best_tried = -np.inf, 0.0, 0.0
        for number in range(trials):
            started = time.process_time()
            params = search.ask()
            if number >= SETTLED:
                seconds.append(time.process_time() - started)
            (answer,) = objective([params])
            seen = max(answer.mean + objective.noise * luck.standard_normal(), 0.0)
            search.tell(params, seen, answer.margin)
            if answer.margin <= 0 and seen > best_seen:
                best_seen, best = seen, answer.mean
            if answer.margin <= 0:
                best_tried = max(best_tried, answer.mean)
            fitness_SN[seed, number], tried_SN[seed, number] = best, best_tried
            diverged_SN[seed, number] = answer.margin > 0
        yield Found(
            fitness_SN=fitness_SN[: seed + 1],
            tried_SN=tried_SN[: seed + 1],
            diverged_SN=diverged_SN[: seed + 1],
            ask_seconds=median(seconds) if seconds else 0.0,
        )


def contenders(objective: Between | Table, trials: int) -> dict[str, Callable[[int], Search | Plain]]:
    """Samplers by name, made with a seed."""
    best, _ = objective.best()
    priors = {"right prior": best}
    for name, factor in (("prior a decade low", 0.1), ("prior a decade high", 10.0)):
        priors[name] = best | {"lr0": min(max(best["lr0"] * factor, SPACE["lr0"]["low"]), SPACE["lr0"]["high"])}

    def study(seed: int, sampler: str, centres: Mapping[str, float]) -> Study:
        believed = {name: {"prior": {"centre": value, "confidence": "high"}} for name, value in centres.items()}
        space = {name: axis | believed.get(name, {}) for name, axis in SPACE.items()}
        mapping = STUDY.to_mapping() | {"sampler": sampler, "seed": seed, "space": space, "budget": {"trials": trials}}
        return Study.from_mapping(mapping, origin="benchmark")

    made: dict[str, Callable[[int], Search | Plain]] = {
        name: lambda seed, name=name: Search(study(seed, name, {}))
        for name in ("guided", "evolution", "tpe", "gp", "cmaes", "random", "classic")
    }
    made["plain tpe"] = lambda seed: Plain(study(seed, "tpe", {}))
    for name, centres in priors.items():
        made[f"guided + {name}"] = lambda seed, centres=centres: Search(study(seed, "guided", centres))
    return made


def interval(values_S: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean, and the 2.5 and 97.5 % quantiles of it over resampled seeds."""
    draws = np.random.default_rng(0).choice(values_S, (RESAMPLES, len(values_S))).mean(1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(values_S.mean()), float(low), float(high)


def trials_to_reach(found: Found, level: float) -> float:
    """Median over seeds of the number of trials until a fitness was found; infinite where half never found it."""
    reached_SN = found.fitness_SN >= level
    counts = np.where(reached_SN.any(1), reached_SN.argmax(1) + 1.0, np.inf)
    return float(np.median(counts))


def report(by_name: Mapping[str, Found], best: float) -> list[str]:
    """Lines of a table, a row for each sampler.

    Args:
        by_name: What each sampler found, by its name.
        best: Fitness of the best point of the space.
    """
    levels = {name: float(np.median(by_name[name].fitness_SN[:, -1])) for name in ("classic", "tpe") if name in by_name}
    headers = [
        "searches",
        "regret at 10",
        "regret at 20",
        "regret at the end",
        "of the best tried",
        *(f"trials to {name}'s end" for name in levels),
    ]
    headers += [f"diverged to trial {SETTLED}", f"diverged after trial {SETTLED}", "ask, CPU ms"]
    lines = [f"| sampler | {' | '.join(headers)} |", "|---" * (len(headers) + 1) + "|"]
    for name, found in by_name.items():
        searches, count = found.fitness_SN.shape
        cells = [str(searches)]
        ends = [found.fitness_SN[:, number - 1] for number in (min(10, count), min(20, count), count)]
        for fitness_S in (*ends, found.tried_SN[:, -1]):
            mean, low, high = interval(best - fitness_S)
            cells.append(f"{mean:.4f} [{low:.4f}, {high:.4f}]")
        cells += [f"{trials_to_reach(found, level):g}" for level in levels.values()]
        cells += [f"{part.mean():.0%}" for part in (found.diverged_SN[:, :SETTLED], found.diverged_SN[:, SETTLED:])]
        lines.append(f"| {name} | {' | '.join(cells)} | {1000 * found.ask_seconds:.0f} |")
    return lines


def opened(name: str) -> Between | Table:
    """The objective of a name: a table, or a file of recorded trainings; what is known of it is printed."""
    if name in NAMES:
        return Table(name)
    rows = read(Path(name))
    between = Between(rows)
    diverged = sum(row.has_diverged for row in rows) / len(rows)
    print(f"{len(rows)} trainings, {diverged:.0%} diverged; luck of a seed {between.noise:.4f}")
    print(f"out of bag: R2 of fitness {between.fitness_r2:.2f}, of the margin {between.margin_r2:.2f}")
    return between


def main(arguments: Sequence[str] | None = None) -> None:
    """Searches with each sampler and prints the table; what was found is in the file after each search."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--samplers", default="")
    parser.add_argument("--objective", default=str(RECORDED))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--found", nargs="*", type=Path, default=[], help="Files of earlier calls, put into the table.")
    given = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    objective = opened(given.objective)
    params, best = objective.best()
    print(f"best {best:.4f} at { {name: float(f'{value:.3g}') for name, value in params.items()} }", flush=True)
    by_name = {name: found for path in given.found for name, found in _read(path).items()}
    made = contenders(objective, given.trials)
    for name in given.samplers.split(",") if given.samplers else () if given.found else made:
        for found in searched(made[name], objective, seeds=given.seeds, trials=given.trials):
            by_name[name] = found
            if given.out:
                given.out.write_text(json.dumps({sampler: _plain(known) for sampler, known in by_name.items()}))
    print("\n".join(report(by_name, best)))


def _read(path: Path) -> dict[str, Found]:
    return {
        name: Found(
            fitness_SN=np.array(stored["fitness"]),
            tried_SN=np.array(stored["tried"]),
            diverged_SN=np.array(stored["diverged"], dtype=bool),
            ask_seconds=stored["ask_seconds"],
        )
        for name, stored in json.loads(path.read_text()).items()
    }


def _plain(found: Found) -> dict[str, Any]:
    return {
        "fitness": found.fitness_SN.tolist(),
        "tried": found.tried_SN.tolist(),
        "diverged": found.diverged_SN.tolist(),
        "ask_seconds": found.ask_seconds,
    }


if __name__ == "__main__":
    main()
