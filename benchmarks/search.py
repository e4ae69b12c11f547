"""Which sampler finds good hyperparameters in thirty trials, and how many trials it loses to divergence.

    python -m benchmarks.search [--seeds 20] [--trials 30] [--samplers guided,tpe] [--objective FILE|TABLE] [--out FILE]
    python -m benchmarks.search --found FILE FILE ...  # the table of what several calls found

With `--first-seed 20` a call goes on after another one's twenty searches, or beside it; a sampler that several files
have is one row of all its searches.

The objective is that of `benchmarks.recorded`: real trainings, and random forests between them, with the luck of seeds
on top; or one of the tables of `benchmarks.tabled`. All begin with the defaults as trial 0. Regret is the best fitness
of the space less that of the trial that was seen to be the best, both without luck; "of the best tried" less that of
the best there was, which luck may have hidden. Intervals are bootstrapped over
seeds (95 %). `plain tpe` is Optuna's own, told a divergence as NaN, which fails the trial. The right prior is the best
point of the space, the wrong ones the same with a learning rate a tenth or ten times of it. `+ median` has the pruner
median; no other search stops a trial.

The second table is of what searches cost, in whole trainings: a trial that diverges or is pruned costs its share of
one. "Of plain tpe's time" is what a search had spent when it had found, without luck, what half of plain tpe's searches
had at their end, over what those spent.
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
from evolve.search.pruners import EpochPruner, decide, make_pruner
from evolve.search.samplers import DIVERGED, divergence_state, make_sampler
from evolve.study import Study

RESAMPLES = 2000
_ROWS = ("fitness_SN", "tried_SN", "diverged_SN", "spent_SN")
SETTLED = 10  # trials after which a sampler should know where trainings diverge


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is to be seen of a trial.

    Attributes:
        curve: Fitness after each epoch, if nothing stops it.
        margin: Margin to divergence; above 0 it diverges, and its fitness does not count.
    """

    curve: tuple[float, ...]
    margin: float

    @property
    def has_diverged(self) -> bool:
        """Whether it diverges."""
        return self.margin > 0


def running(number: int) -> FrozenTrial:
    """A trial that has begun and reported nothing."""
    made = create_trial(state=TrialState.RUNNING)
    made.number = made._trial_id = number
    return made


def trained_until(
    pruner: EpochPruner, mine: FrozenTrial, trials: Sequence[FrozenTrial], curve: Sequence[float]
) -> tuple[int, bool]:
    """Epochs that a trial trains, and whether a pruner stops it then; what it reports is kept with it.

    Args:
        pruner: Pruner that is asked after each epoch.
        mine: The trial, as `running` makes it.
        trials: All trials in the order of their numbers, `mine` the last.
        curve: Fitness after each epoch, if nothing stops it.
    """
    for epoch, fitness in enumerate(curve):
        mine.intermediate_values[epoch] = fitness
        decision = decide(pruner, mine, trials, study=STUDY.name)
        mine.system_attrs.update(decision.attributes)
        if decision.is_pruned:
            return epoch + 1, True
    return len(curve), False


class Search:
    """Asks a sampler and a pruner of ours as a run does, and tells them what became of the trials.

    Args:
        study: Study with the space, the sampler, the pruner and the seed.
    """

    def __init__(self, study: Study) -> None:
        self._study, self._distributions = study, study.space.distributions()
        self._sampler, self._pruner = make_sampler(study), make_pruner(study)
        self._trials: list[FrozenTrial] = []

    def ask(self) -> dict[str, Any]:
        """Parameters of the next trial."""
        if not self._trials:
            return dict(self._study.baseline_params())
        return self._sampler.params(self._trials, len(self._trials))

    def tell(self, params: Mapping[str, Any], seen: Seen) -> int:
        """Trains a trial as far as the pruner lets it, and takes in what became of it; the epochs it came to."""
        if seen.has_diverged:
            return self._ended(params, *divergence_state(self._study.sampler), seen, ())
        mine = running(len(self._trials))
        epochs, is_pruned = trained_until(self._pruner, mine, [*self._trials, mine], seen.curve)
        curve = seen.curve[:epochs]
        if is_pruned:
            return self._ended(params, TrialState.PRUNED, None, seen, curve)
        return self._ended(params, TrialState.COMPLETE, curve[-1], seen, curve)

    def _ended(
        self, params: Mapping[str, Any], state: TrialState, value: float | None, seen: Seen, curve: Sequence[float]
    ) -> int:
        trial = create_trial(
            state=state,
            value=value,
            params=dict(params),
            distributions=self._distributions,
            intermediate_values=dict(enumerate(curve)),
            constraints={DIVERGED: seen.margin},
        )
        trial.number = trial._trial_id = len(self._trials)
        self._trials.append(trial)
        return len(curve)


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

    def tell(self, params: Mapping[str, Any], seen: Seen) -> int:  # noqa: ARG002 - as of `Search`
        """Takes in what the trial that was asked for last came to; the epochs it came to, which are all."""
        self._search.tell(self._trial, float("nan") if seen.has_diverged else seen.curve[-1])
        return len(seen.curve)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one sampler found, over S seeds and N trials.

    Attributes:
        fitness_SN: Fitness without luck of the trial that was seen to be the best so far; 0 before any trained through.
        tried_SN: Fitness without luck of the best trial so far, whatever was seen of it.
        diverged_SN: Whether each trial diverged.
        spent_SN: Whole trainings' worth that all trials so far have cost.
        ask_seconds: Median CPU time of an ask from trial 10 on.
    """

    fitness_SN: NDArray[np.float64]
    tried_SN: NDArray[np.float64]
    diverged_SN: NDArray[np.bool_]
    spent_SN: NDArray[np.float64]
    ask_seconds: float


def searched(
    make: Callable[[int], Search | Plain], objective: Between | Table, *, seeds: int, trials: int, first: int = 0
) -> Iterator[Found]:
    """What searches of one sampler found: of the first seed, of the first two, and so on.

    Args:
        make: Function that makes a search by the sampler with a seed.
        objective: Objective that answers what points come to.
        seeds: Number of searches.
        trials: Number of trials of each search.
        first: Seed of the first search; those of the others follow.
    """
    fitness_SN, tried_SN, cost_SN = np.zeros((3, seeds, trials))
    diverged_SN = np.zeros((seeds, trials), dtype=bool)
    seconds: list[float] = []
    for seed in range(seeds):
        luck, search = np.random.default_rng(first + seed), make(first + seed)
        best_seen, best, best_tried = -np.inf, 0.0, 0.0
        for number in range(trials):
            started = time.process_time()
            params = search.ask()
            if number >= SETTLED:
                seconds.append(time.process_time() - started)
            (answer,) = objective([params])
            curve = np.maximum(answer.curve + objective.luck(luck), 0.0)
            seen = Seen(curve=tuple(map(float, curve)), margin=answer.margin)
            epochs = search.tell(params, seen)
            cost_SN[seed, number] = answer.share if seen.has_diverged else epochs / len(curve)
            if not seen.has_diverged and epochs == len(curve) and curve[-1] > best_seen:
                best_seen, best = curve[-1], answer.mean
            if not seen.has_diverged:
                best_tried = max(best_tried, answer.mean)
            fitness_SN[seed, number], tried_SN[seed, number] = best, best_tried
            diverged_SN[seed, number] = seen.has_diverged
        yield Found(
            fitness_SN=fitness_SN[: seed + 1],
            tried_SN=tried_SN[: seed + 1],
            diverged_SN=diverged_SN[: seed + 1],
            spent_SN=cost_SN[: seed + 1].cumsum(1),
            ask_seconds=median(seconds) if seconds else 0.0,
        )


def together(one: Found, other: Found) -> Found:
    """What one sampler found in the searches of two calls."""
    rows = {name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in _ROWS}
    return Found(**rows, ask_seconds=max(one.ask_seconds, other.ask_seconds))


def contenders(objective: Between | Table, trials: int) -> dict[str, Callable[[int], Search | Plain]]:
    """Samplers by name, made with a seed."""
    best, _ = objective.best()
    priors = {"right prior": best}
    for name, factor in (("prior a decade low", 0.1), ("prior a decade high", 10.0)):
        priors[name] = best | {"lr0": min(max(best["lr0"] * factor, SPACE["lr0"]["low"]), SPACE["lr0"]["high"])}

    def study(seed: int, sampler: str, centres: Mapping[str, float], pruner: str = "none") -> Study:
        believed = {name: {"prior": {"centre": value, "confidence": "high"}} for name, value in centres.items()}
        space = {name: axis | believed.get(name, {}) for name, axis in SPACE.items()}
        given = {"sampler": sampler, "pruner": pruner, "seed": seed, "space": space, "budget": {"trials": trials}}
        return Study.from_mapping(STUDY.to_mapping() | given, origin="benchmark")

    made: dict[str, Callable[[int], Search | Plain]] = {
        name: lambda seed, name=name: Search(study(seed, name, {}))
        for name in ("guided", "evolution", "tpe", "gp", "cmaes", "random", "classic")
    }
    for name in ("guided", "tpe"):
        made[f"{name} + median"] = lambda seed, name=name: Search(study(seed, name, {}, "median"))
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


def time_to_reach(found: Found, level: float) -> float:
    """Median over seeds of the trainings' worth until a fitness was found; infinite where half never found it."""
    reached_SN = found.fitness_SN >= level
    first_S = np.take_along_axis(found.spent_SN, reached_SN.argmax(1)[:, None], 1)[:, 0]
    return float(np.median(np.where(reached_SN.any(1), first_S, np.inf)))


def costs(by_name: Mapping[str, Found], plain: Found) -> list[str]:
    """Lines of a table of what searches cost, a row for each sampler.

    Args:
        by_name: What each sampler found, by its name.
        plain: What the sampler found that the others are held against.
    """
    level, whole = float(np.median(plain.fitness_SN[:, -1])), float(np.median(plain.spent_SN[:, -1]))
    lines = [
        f"plain tpe ends at {level:.4f} after {whole:.1f} trainings' worth (medians).",
        "",
        "| sampler | trainings' worth | to plain tpe's end | of plain tpe's time | searches that end there |",
        "|---" * 5 + "|",
    ]
    for name, found in by_name.items():
        spent, time_spent = float(np.median(found.spent_SN[:, -1])), time_to_reach(found, level)
        share = (found.fitness_SN[:, -1] >= level).mean()
        cells = (f"{time_spent:.1f}", f"{time_spent / whole:.0%}") if np.isfinite(time_spent) else ("never", "-")
        lines.append(f"| {name} | {spent:.1f} | {' | '.join(cells)} | {share:.0%} |")
    return lines


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
    parser.add_argument("--first-seed", type=int, default=0)
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
    by_name: dict[str, Found] = {}
    for name, found in (item for path in given.found for item in _read(path).items()):
        by_name[name] = together(by_name[name], found) if name in by_name else found
    made = contenders(objective, given.trials)
    for name in given.samplers.split(",") if given.samplers else () if given.found else made:
        searches = searched(made[name], objective, seeds=given.seeds, trials=given.trials, first=given.first_seed)
        for found in searches:
            by_name[name] = found
            if given.out:
                given.out.write_text(json.dumps({sampler: _plain(known) for sampler, known in by_name.items()}))
    print("\n".join(report(by_name, best)))
    if plain := by_name.get("plain tpe"):
        print("\n".join(["", *costs(by_name, plain)]))


def _read(path: Path) -> dict[str, Found]:
    return {
        name: Found(
            fitness_SN=np.array(stored["fitness"]),
            tried_SN=np.array(stored["tried"]),
            diverged_SN=np.array(stored["diverged"], dtype=bool),
            spent_SN=np.array(stored["spent"]),
            ask_seconds=stored["ask_seconds"],
        )
        for name, stored in json.loads(path.read_text()).items()
    }


def _plain(found: Found) -> dict[str, Any]:
    return {
        "fitness": found.fitness_SN.tolist(),
        "tried": found.tried_SN.tolist(),
        "diverged": found.diverged_SN.tolist(),
        "spent": found.spent_SN.tolist(),
        "ask_seconds": found.ask_seconds,
    }


if __name__ == "__main__":
    main()
