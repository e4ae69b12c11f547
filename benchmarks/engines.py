"""What the engines are worth: the same sixteen trainings under each, lanes that were chosen, and ten-second trials.

    python -m benchmarks.engines [--repeats 3] [--only sweep|lanes|seconds] [--lanes 4] [--epochs 10]

- sweep: `evolve run --study lr_sweep` in an empty folder under each engine, in turns. Seconds are those between the
  start of the first trial and the end of the last; loading and reporting are the same for all.
- lanes: for every shipped model the lanes that `--lanes auto` takes, measured again beside one lane.
- seconds: sixteen trials that take ten seconds each and no processor, on two workers: what an engine adds.
Prints medians and ratios of one run.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import create_engine, text

from detector.datasets import open_dataset
from detector.plan import MODELS
from evolve.run.engines import Engine, ProcessEngine
from evolve.run.measuring import measured, rate_of_pair
from evolve.run.runner import StudyRun
from evolve.storage.database import Storage
from evolve.study.file import read_study
from tests.fakes import STEPS_PER_EPOCH, fake_study, make_fake
from tests.processes import environment

CORES = 2
EPOCHS_OF_SECONDS = 10
WAITING = 16  # trials that only wait, as many as the sweep has


def commands(lanes: int) -> dict[str, list[str]]:
    """Options of each engine, by name."""
    return {
        "serial": ["--engine", "serial"],
        "processes": ["--engine", "processes", "--workers", str(CORES)],
        f"processes x {lanes} lanes": ["--workers", str(CORES), "--lanes", str(lanes)],
        "ray": ["--engine", "ray", "--workers", str(CORES)],
    }


def sweep_seconds(options: list[str], epochs: int) -> float:
    """Seconds from the first trial's start to the last one's end."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "evolve.cli", "run", "--study", "lr_sweep", "--epochs", str(epochs), *options]
        done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
        engine = create_engine(f"sqlite:///{folder}/runs/evolve.db")
        with engine.connect() as connection:
            query = "select min(started), max(ended), count(*) from evolve_trial where verdict is not null"
            first, last, count = connection.execute(text(query)).one()
        engine.dispose()
    assert count == 16
    return float(last - first)


def in_turns(tried: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each, measured one after another, again and again."""
    found: dict[str, list[float]] = {name: [] for name in tried}
    for _ in range(repeats):
        for name, seconds in tried.items():
            found[name].append(seconds())
            print(f"  {name}: {found[name][-1]:.1f} s", file=sys.stderr, flush=True)
    return found


def print_table(found: dict[str, list[float]], *, trials: int) -> None:
    """A row for each engine: trials an hour, and how many times the first and the second that is."""
    median = {name: statistics.median(seconds) for name, seconds in found.items()}
    first, second = [*median.values()][:2]
    print(f"{'engine':<24}{'trials/h':>10}{'seconds':>10}{'least':>8}{'most':>8}{'x first':>9}{'x second':>9}")
    for name, seconds in median.items():
        spread = f"{min(found[name]):>8.1f}{max(found[name]):>8.1f}"
        ratios = f"{first / seconds:>9.2f}{second / seconds:>9.2f}"
        print(f"{name:<24}{3600 * trials / seconds:>10.0f}{seconds:>10.1f}{spread}{ratios}")


def lanes_table(repeats: int) -> None:
    """For every model what is chosen, and how it does beside one lane."""
    print(f"{'model, px':<28}{'lanes':>6}{'x one lane':>12}   reason")
    for model in MODELS:
        study = read_study("lr_sweep", {"model": model}).preview()
        data = open_dataset("digits-1", image_size=study.image_size)
        chosen = measured(study, data, "cpu", most=8)
        ratio = 1.0
        if chosen.lanes > 1:
            pairs = [rate_of_pair(study, data, "cpu", 1, chosen.lanes) for _ in range(repeats)]
            ratio = statistics.median(together / alone for alone, together in pairs)
        print(f"{model + ', ' + str(study.image_size):<28}{chosen.lanes:>6}{ratio:>12.2f}   {chosen.text}", flush=True)


def idle_seconds(engine_of: Callable[[Path], Engine]) -> float:
    """Seconds of a study of trials that only wait."""
    rates = {"lr0": {"low": 0.01, "high": 0.5, "log": True}}  # at which no trial ends early
    study = fake_study(epochs=EPOCHS_OF_SECONDS, budget={"trials": WAITING}, space=rates, name="waiting")
    with TemporaryDirectory() as place:
        folder = Path(place)
        with closing(engine_of(folder)) as engine, closing(Storage(f"sqlite:///{folder}/evolve.db")) as storage:
            run = StudyRun(study, storage, engine, environment_id="benchmark")
            with storage.lease(run.study_id, study.name) as lease:
                started = time.monotonic()
                list(run.events(lease))
                return time.monotonic() - started


def waiting(folder: Path) -> Callable[[], object]:
    """A function that makes trainings of ten seconds, for an engine."""
    return partial(make_fake, EPOCHS_OF_SECONDS, folder, 10 / (EPOCHS_OF_SECONDS * STEPS_PER_EPOCH))


def processes(folder: Path) -> Engine:
    """An engine of two processes, whose trainings only wait."""
    return ProcessEngine(waiting(folder), workers=CORES)  # type: ignore[arg-type]


def ray(folder: Path) -> Engine:
    """The same with two workers of Ray."""
    from evolve.run.engines.ray import RayEngine

    return RayEngine(waiting(folder), workers=CORES)  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=("sweep", "lanes", "seconds"))
    parser.add_argument("--lanes", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=10)
    asked = parser.parse_args()
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "optuna", "ray"))
    print(f"{packages}; {platform.machine()}, {os.cpu_count()} cores; n {asked.repeats}, one thread a process")
    if asked.only in (None, "sweep"):
        tried = {name: partial(sweep_seconds, options, asked.epochs) for name, options in commands(asked.lanes).items()}
        print_table(in_turns(tried, asked.repeats), trials=16)
    if asked.only in (None, "lanes"):
        lanes_table(asked.repeats)
    if asked.only in (None, "seconds"):
        tried = {"processes": partial(idle_seconds, processes), "ray": partial(idle_seconds, ray)}
        print_table(in_turns(tried, asked.repeats), trials=WAITING)


if __name__ == "__main__":
    main()
