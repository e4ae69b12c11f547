"""What a trial costs beside its training: asking, storing, deciding and telling, with trainings that take no time.

    python -m benchmarks.machinery rate [--samplers random,tpe] [--trials 100] [--rounds 5] [--pruner none]
    python -m benchmarks.machinery growth [--sampler random] [--pruner none] [--trials 10000] [--at-once 1]
    python -m benchmarks.machinery asks [--samplers tpe,cmaes] [--stored 1000,10000] [--asks 11]

All in this process and an SQLite file. A trial has ten parameters and ten epochs, each with the records of a step and
of an epoch and a decision. `rate` runs studies of ours and of bare Optuna (ten suggestions, ten reports, each with
should_prune) in turns. `growth` runs one long study and prints the processor time of an ask, of a whole trial and the
memory on the way. `asks` times asks of studies whose trials were written beforehand, for samplers that would take hours
to get there.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import insert

from benchmarks.untrained import EPOCHS, NAMES, NoTraining, fitness, study_of
from evolve.run.events import RunEvent, TrialEnded, TrialStarted
from evolve.run.runner import StudyRun
from evolve.search.pruners import make_pruner
from evolve.search.samplers import make_sampler
from evolve.storage import schema
from evolve.storage.database import Storage
from evolve.study import Study

OF_OPTUNA: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
    "random": optuna.samplers.RandomSampler,
    "qmc": optuna.samplers.QMCSampler,
    "tpe": optuna.samplers.TPESampler,
    "gp": optuna.samplers.GPSampler,
    "cmaes": optuna.samplers.CmaEsSampler,
    "grid": lambda: optuna.samplers.GridSampler({name: [0.15, 0.45] for name in NAMES}),
}


# One study


@dataclass(slots=True, kw_only=True)
class Cost:
    """Processor seconds of each ask of a study, and of all its machinery up to the end of each trial."""

    asks: list[float] = field(default_factory=list)
    ended_at: list[float] = field(default_factory=list)


def ours(study: Study, url: str, *, at_once: int = 1, look: Callable[[int], None] | None = None) -> Cost:
    """Runs a study.

    Args:
        study: Study to run.
        url: SQLAlchemy URL of its database.
        at_once: Number of trials under way together.
        look: Called with the number of trials that have ended, whenever one has; None for nothing.
    """
    storage, cost = Storage(url), Cost()
    run = StudyRun(study, storage, NoTraining(capacity=at_once), environment_id="benchmark")
    with storage.lease(run.study_id, study.name) as lease:
        before = time.process_time()
        for event in run.events(lease):
            now = time.process_time()
            _count(cost, event, now - before, now)
            if isinstance(event, TrialEnded) and look is not None:
                look(len(cost.ended_at))
            before = time.process_time()
    storage.close()
    return cost


def _count(cost: Cost, event: RunEvent, seconds: float, now: float) -> None:
    if isinstance(event, TrialStarted):
        cost.asks.append(seconds)
    elif isinstance(event, TrialEnded):
        cost.ended_at.append(now)


def bare(sampler: str, url: str, num_trials: int) -> None:
    """Runs such a study with Optuna alone, as its documentation has it."""

    def objective(trial: optuna.Trial) -> float:
        params = {name: trial.suggest_float(name, 0.1, 0.5) for name in NAMES}
        for epoch in range(EPOCHS):
            trial.report(fitness(params) * (epoch + 1) / EPOCHS, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return fitness(params)

    pruner = optuna.pruners.NopPruner()
    study = optuna.create_study(storage=url, sampler=OF_OPTUNA[sampler](), pruner=pruner, direction="maximize")
    study.optimize(objective, n_trials=num_trials)


# What is measured


def rate(samplers: list[str], pruner: str, num_trials: int, rounds: int) -> None:
    """Trials/s of ours and of bare Optuna in turns, and what a trial takes of the processor."""
    print("| sampler | ours: trials/s | CPU ms | bare Optuna: trials/s | CPU ms | trials/s, ratio | lowest, highest |")
    print("|---|---|---|---|---|---|---|")
    for sampler in samplers:
        turns = [_turn(sampler, pruner, num_trials) for _ in range(rounds)]
        mine, cpu, theirs, their_cpu = (statistics.median(column) for column in zip(*turns, strict=True))
        ratios = sorted(turn[2] / turn[0] for turn in turns)
        print(
            f"| {sampler} | {1 / mine:.0f} | {1000 * cpu:.0f} | {1 / theirs:.0f} | {1000 * their_cpu:.0f} | "
            f"{statistics.median(ratios):.1f} | {ratios[0]:.1f}, {ratios[-1]:.1f} |",
            flush=True,
        )


def _turn(sampler: str, pruner: str, num_trials: int) -> tuple[float, ...]:
    """Seconds and processor seconds of a trial of ours, then of Optuna's."""
    with tempfile.TemporaryDirectory() as folder:
        study, mine, theirs = study_of(sampler, pruner, num_trials), f"{folder}/ours.db", f"{folder}/bare.db"
        spent = [
            *_spent(lambda: ours(study, f"sqlite:///{mine}")),
            *_spent(lambda: bare(sampler, f"sqlite:///{theirs}", num_trials)),
        ]
    return tuple(seconds / num_trials for seconds in spent)


def _spent(run: Callable[[], object]) -> tuple[float, float]:
    """Seconds and processor seconds that a call takes."""
    started, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - started, time.process_time() - cpu


def growth(sampler: str, pruner: str, num_trials: int, at_once: int) -> None:
    """Time of an ask, of a trial, and memory as a study grows."""
    print(f"{sampler}, {pruner}, {at_once} at once")
    print("| trials | ask: CPU ms, median of 100 | whole trial: CPU ms, mean of 100 | memory, MB |")
    print("|---|---|---|---|")
    marks = {number for number in (100, 200, 500, 1000, 2000, 5000, num_trials) if number <= num_trials}
    memory: dict[int, float] = {}

    def look(ended: int) -> None:
        if ended in marks:
            memory[ended] = resident_megabytes()

    with tempfile.TemporaryDirectory() as folder:
        cost = ours(study_of(sampler, pruner, num_trials), f"sqlite:///{folder}/growth.db", at_once=at_once, look=look)
    for mark in sorted(marks):
        ask = statistics.median(cost.asks[mark - 100 : mark])
        whole = (cost.ended_at[mark - 1] - cost.ended_at[max(mark - 101, 0)]) / min(mark - 1, 100)
        print(f"| {mark:,} | {1000 * ask:.1f} | {1000 * whole:.1f} | {memory[mark]:.0f} |")


def asks(samplers: list[str], sizes: list[int], count: int) -> None:
    """Time of an ask, and memory, with many trials stored; each size in turn."""
    print("| sampler | " + " | ".join(f"{size:,}: CPU ms, median of {count - 1}" for size in sizes) + " | ratio |")
    print("|---" * (len(sizes) + 2) + "|")
    for sampler in samplers:
        medians = []
        for size in sizes:
            with tempfile.TemporaryDirectory() as folder:
                url = f"sqlite:///{folder}/asks.db"
                study = study_of(sampler, "none", size + count)
                fill(study, url, size)
                medians.append(statistics.median(ours(study, url).asks[1:]))  # the first reads what is stored
        cells = " | ".join(f"{1000 * median:.1f}" for median in medians)
        print(f"| {sampler} | {cells} | {medians[-1] / medians[0]:.1f} |", flush=True)


def fill(study: Study, url: str, num_trials: int) -> None:
    """Stores finished trials of a study, as if they had been run: Optuna's rows and ours of each, without epochs."""
    storage = Storage(url)
    study_id = storage.open_study(study, make_sampler(study), make_pruner(study))._study_id
    params, now = _drawn(study, num_trials), datetime.now(UTC).replace(tzinfo=None)
    ids = range(1, num_trials + 1)
    finite = models.TrialValueModel.TrialValueType.FINITE
    texts = {name: distribution_to_json(distribution) for name, distribution in study.space.distributions().items()}
    of_study = {"study_id": study_id, "state": TrialState.COMPLETE, "datetime_start": now, "datetime_complete": now}
    rows: dict[Any, list[dict[str, Any]]] = {
        models.TrialModel.__table__: [{**of_study, "trial_id": trial_id, "number": trial_id - 1} for trial_id in ids],
        models.TrialParamModel.__table__: [
            {"trial_id": trial_id, "param_name": name, "param_value": value, "distribution_json": texts[name]}
            for trial_id, found in zip(ids, params, strict=True)
            for name, value in found.items()
        ],
        models.TrialValueModel.__table__: [
            {"trial_id": trial_id, "objective": 0, "value": fitness(found), "value_type": finite}
            for trial_id, found in zip(ids, params, strict=True)
        ],
        schema.trial: [
            {"trial_id": trial_id, "study_id": study_id, "number": trial_id - 1, "environment_id": "", "started": 0.0}
            | {"verdict": "converged", "reason": "", "fitness": fitness(params[trial_id - 1])}
            for trial_id in ids
        ],
    }
    with storage.engine.begin() as connection:
        for table, values in rows.items():
            connection.execute(insert(table), values)
    storage.close()


def _drawn(study: Study, num_trials: int) -> list[dict[str, Any]]:
    """Parameters of random trials; of a grid its points in turn."""
    if study.sampler == "grid":
        bits = range(len(NAMES))
        return [{name: (0.1, 0.5)[number >> bit & 1] for bit, name in zip(bits, NAMES, strict=True)}
                for number in range(num_trials)]  # fmt: skip
    drawing = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [drawing.ask(study.space.distributions()).params for _ in range(num_trials)]


def resident_megabytes() -> float:
    """Memory of this process now, in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("rate", "growth", "asks"))
    parser.add_argument("--samplers", default="random,tpe")
    parser.add_argument("--sampler", default="random")
    parser.add_argument("--pruner", default="none")
    parser.add_argument("--trials", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--stored", default="1000,10000")
    parser.add_argument("--asks", type=int, default=11)
    said = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    print(f"{platform.machine()}, Python {platform.python_version()}, optuna {optuna.__version__}")
    if said.what == "rate":
        rate(said.samplers.split(","), said.pruner, said.trials or 100, said.rounds)
    elif said.what == "growth":
        growth(said.sampler, said.pruner, said.trials or 10_000, said.at_once)
    else:
        asks(said.samplers.split(","), [int(size) for size in said.stored.split(",")], said.asks)


if __name__ == "__main__":
    main()
