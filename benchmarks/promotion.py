"""What stopping, pausing or neither finds for the same number of epochs, on recorded learning curves.

    python -m benchmarks.promotion [--curves FILE.csv] [--seeds 40] [--trials 60]

Each search takes the recorded points in an order drawn by its seed, one after another as a study with one worker does,
and asks the pruners themselves. What it has found is the last fitness of the best trial that trained through, and 0
before there is one. Points are drawn with replacement where a search is longer than the file. Intervals are
bootstrapped over seeds (95 %). The second table is of a budget of trials instead of epochs: all of them begin, and
promotion goes on until none is promotable.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.pruners import SuccessiveHalvingPruner
from optuna.trial import FrozenTrial, TrialState, create_trial

from benchmarks.curves import CURVES, EPOCHS, STUDY, Curve, read
from benchmarks.search import interval, running, trained_until
from evolve.analysis import rank_correlation
from evolve.search.promotion import GOAL, Rungs
from evolve.search.pruners import EpochPruner, make_pruner
from evolve.search.samplers import DIVERGED
from evolve.search.samplers.history import PAUSED, is_paused
from evolve.study.rungs import REDUCTION

# Pruners of studies; of the last two asha begins to decide as late as promotion, and promotion as early as asha.
RULES = ("none", "median", "asha", "promotion", "asha from 3", "promotion from 1")
LATER = 3  # epochs
BUDGETS = (45, 90, 135, 180)  # epochs: of 5, 10, 15 and 20 whole trainings


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Where a search stands after a trial has ended or been paused.

    Attributes:
        epochs: Number of epochs that all its trials have trained; one in which a trial diverged counts.
        trials: Number of trials that have begun.
        best: Last fitness of the best trial that trained through; 0 before there is one.
    """

    epochs: int
    trials: int
    best: float


def searched(rule: str, curves: Sequence[Curve]) -> Iterator[Spent]:
    """A search that takes trials in their order.

    Args:
        rule: Name of the rule that stops or pauses trials, one of RULES.
        curves: Whole learning curves of its trials, in their order.
    """
    if rule.startswith("promotion"):
        return _promoted(Rungs(epochs=EPOCHS) if rule == "promotion" else Rungs(epochs=EPOCHS, least=1), curves)
    if rule == "asha from 3":
        later = SuccessiveHalvingPruner(min_resource=LATER, reduction_factor=REDUCTION)
        return _stopped(EpochPruner(later, epochs=EPOCHS), curves)
    return _stopped(make_pruner(STUDY.model_copy(update={"pruner": rule})), curves)


def _stopped(pruner: EpochPruner, curves: Sequence[Curve]) -> Iterator[Spent]:
    trials, epochs, best = list[FrozenTrial](), 0, 0.0
    for number, curve in enumerate(curves):
        trials.append(mine := running(number))
        reached, is_pruned = trained_until(pruner, mine, trials, curve.fitness)
        epochs += reached + (not is_pruned and reached < EPOCHS)
        state = TrialState.PRUNED if is_pruned or curve.has_diverged else TrialState.COMPLETE
        value = curve.fitness[-1] if state is TrialState.COMPLETE else None
        trials[number] = _ended(mine, state, value)
        best = max(best, value or 0.0)
        yield Spent(epochs=epochs, trials=number + 1, best=best)


def _promoted(rungs: Rungs, curves: Sequence[Curve]) -> Iterator[Spent]:
    trials, epochs, best = list[FrozenTrial](), 0, 0.0
    while True:
        mine = rungs.promotable(trials)
        if mine is None and len(trials) < len(curves):
            trials.append(mine := running(len(trials)))
        elif mine is None and (mine := rungs.leader(trials)) is None:
            return
        curve, since = curves[mine.number], len(mine.intermediate_values)
        goal = rungs.after(rungs.goal_of(mine)) if is_paused(mine) else rungs.after(0)
        reached = curve.fitness[:goal]
        is_lost = curve.has_diverged and (len(reached) < goal or goal == EPOCHS)
        epochs += len(reached) - since + (len(reached) < goal)
        mine.intermediate_values.update(enumerate(reached))
        mine.system_attrs.update({GOAL: goal, PAUSED: goal < EPOCHS and not is_lost})
        if is_lost or goal == EPOCHS:
            state, value = (TrialState.PRUNED, None) if is_lost else (TrialState.COMPLETE, reached[-1])
            trials[mine.number] = _ended(mine, state, value, is_lost=is_lost)
            best = max(best, value or 0.0)
        yield Spent(epochs=epochs, trials=len(trials), best=best)


def _ended(trial: FrozenTrial, state: TrialState, value: float | None, *, is_lost: bool = False) -> FrozenTrial:
    made = create_trial(
        state=state,
        value=value,
        intermediate_values=trial.intermediate_values,
        system_attrs=trial.system_attrs,
        constraints={DIVERGED: 1.0} if is_lost else {},
    )
    made.number = made._trial_id = trial.number
    return made


def found_at(search: Sequence[Spent], epochs: int) -> float:
    """What a search has found when so many epochs are spent."""
    return max((spent.best for spent in search if spent.epochs <= epochs), default=0.0)


def orders(curves: Sequence[Curve], *, seeds: int, trials: int) -> list[list[Curve]]:
    """Curves in an order drawn by each seed, the same for all rules."""
    drawn = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        more = rng.integers(len(curves), size=max(trials - len(curves), 0))
        drawn.append([curves[place] for place in [*rng.permutation(len(curves)), *more][:trials]])
    return drawn


def by_epochs(curves: Sequence[Curve], seeds: int) -> list[str]:
    """Lines of the table of budgets of epochs."""
    lines = [f"| rule | {' | '.join(f'{epochs} epochs' for epochs in BUDGETS)} | trials begun |", "|---" * 6 + "|"]
    drawn = orders(curves, seeds=seeds, trials=BUDGETS[-1])
    found = {rule: [_until(searched(rule, order), BUDGETS[-1]) for order in drawn] for rule in RULES}
    for rule in RULES:
        cells = [_cell([found_at(search, epochs) for search in found[rule]]) for epochs in BUDGETS]
        begun = np.mean([search[-1].trials for search in found[rule]])
        lines.append(f"| {rule} | {' | '.join(cells)} | {begun:.0f} |")
    ends = {rule: np.array([found_at(search, BUDGETS[-1]) for search in found[rule]]) for rule in RULES}
    return [*lines, "", *_differences(ends, f"at {BUDGETS[-1]} epochs")]


def by_trials(curves: Sequence[Curve], seeds: int, trials: int) -> list[str]:
    """Lines of the table of a budget of trials."""
    lines = [
        f"| rule | epochs spent | fitness of the best of {trials} trials | the best of all found |",
        "|---" * 4 + "|",
    ]
    drawn = orders(curves, seeds=seeds, trials=trials)
    whole = np.array([[*searched("none", order)][-1].best for order in drawn])
    ends: dict[str, NDArray[np.float64]] = {}
    for rule in RULES:
        last = [[*searched(rule, order)][-1] for order in drawn]
        ends[rule] = np.array([spent.best for spent in last])
        epochs = _cell([float(spent.epochs) for spent in last], ".0f")
        lines.append(f"| {rule} | {epochs} | {_cell(ends[rule])} | {np.mean(ends[rule] >= whole):.0%} |")
    return [*lines, "", *_differences(ends, f"of {trials} trials")]


def _until(search: Iterator[Spent], epochs: int) -> list[Spent]:
    seen = []
    for spent in search:
        seen.append(spent)
        if spent.epochs > epochs:
            break
    return seen


def _differences(ends: Mapping[str, NDArray[np.float64]], where: str) -> Iterator[str]:
    """Promotion less each other rule, seed by seed."""
    for rule in (other for other in RULES if other != "promotion"):
        yield f"promotion less {rule} {where}: {_cell(ends['promotion'] - ends[rule], '+.4f')}, n {len(ends[rule])}"


def _cell(values: Any, form: str = ".4f") -> str:
    mean, low, high = interval(np.asarray(values))
    return f"{mean:{form}} [{low:{form}}, {high:{form}}]"


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints how well rungs foretell the end, and both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--curves", type=Path, default=CURVES)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--trials", type=int, default=60)
    given = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    curves = read(given.curves)
    whole = [curve for curve in curves if not curve.has_diverged]
    print(f"{len(curves)} trainings, {len(curves) - len(whole)} diverged")
    for rung in Rungs(epochs=EPOCHS, least=1).below:
        found = rank_correlation([curve.fitness[rung - 1] for curve in whole], [curve.fitness[-1] for curve in whole])
        print(f"after {rung} of {EPOCHS} epochs and at the end: {found.text}")
    tables: list[Callable[[], list[str]]] = [
        lambda: by_epochs(curves, given.seeds),
        lambda: by_trials(curves, given.seeds, given.trials),
    ]
    for table in tables:
        print("\n".join(["", *table()]))


if __name__ == "__main__":
    main()
