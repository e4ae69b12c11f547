"""Ray Tune's own loop with OptunaSearch beside ours: what each remembers of the same trials, and how long it takes.

    python -m benchmarks.stock_tune [--trials 16] [--repeats 3]

Trainings of milliseconds whose loss turns to NaN from lr0 1 on (tests/fakes.py), on two cores of a Ray of their own, in
turns; sampler TPE with the same seed. The stock loop reports NaN as a user's script would. Of each loop: the states in
Optuna's storage afterwards, and how many trials a sampler takes for infeasible.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage

from evolve.run.runner import StudyRun
from evolve.storage.database import Storage
from tests.fakes import STEPS_PER_EPOCH, fake_study, make_fake, metrics_of, step_of

EPOCHS, CORES = 4, 2
STUDY = "compared"


def report_epochs(config: dict[str, Any]) -> None:
    """A training as a user of Tune writes it."""
    from ray import tune

    for epoch in range(EPOCHS):
        for step in range(epoch * STEPS_PER_EPOCH, (epoch + 1) * STEPS_PER_EPOCH):
            if not step_of(config["lr0"], 0, step, epoch).is_finite:
                tune.report({"fitness": float("nan")})
                return
        tune.report({"fitness": metrics_of(config["lr0"], 0, epoch, EPOCHS, "val").map50_95})


def stock(url: str, folder: Path, trials: int) -> None:
    """Tune's loop, asked by OptunaSearch."""
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    search = OptunaSearch(storage=RDBStorage(url), study_name=STUDY, sampler=TPESampler(seed=0))
    tune.Tuner(
        tune.with_resources(report_epochs, {"cpu": 1}),
        param_space={"lr0": tune.loguniform(1e-3, 10), "momentum": tune.uniform(0.5, 0.95)},
        tune_config=tune.TuneConfig(
            metric="fitness", mode="max", search_alg=search, num_samples=trials, max_concurrent_trials=CORES
        ),
        run_config=tune.RunConfig(verbose=0, storage_path=str(folder)),
    ).fit()


def ours(url: str, folder: Path, trials: int) -> None:
    """A study of ours on the same Ray."""
    from evolve.run.engines.ray import RayEngine

    study = fake_study(sampler="tpe", epochs=EPOCHS, budget={"trials": trials}, name=STUDY)
    engine = RayEngine(partial(make_fake, EPOCHS, folder), workers=CORES)
    with closing(engine), closing(Storage(url)) as storage:
        run = StudyRun(study, storage, engine, environment_id="benchmark")
        with storage.lease(run.study_id, study.name) as lease:
            list(run.events(lease))


def measured(loop: Callable[[str, Path, int], None], trials: int) -> tuple[float, Counter[str], int]:
    """Seconds, trials by Optuna's state, and how many of them Optuna takes for infeasible rather than never ended."""
    with TemporaryDirectory() as place:
        url, started = f"sqlite:///{place}/compared.db", time.monotonic()
        loop(url, Path(place), trials)
        seconds = time.monotonic() - started
        found = optuna.load_study(study_name=STUDY, storage=url).get_trials()
    infeasible = sum(any(key.startswith("constraints") for key in trial.system_attrs) for trial in found)
    return seconds, Counter(trial.state.name for trial in found), infeasible


def main() -> None:
    import ray

    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    packages = ", ".join(f"{name} {version(name)}" for name in ("optuna", "ray"))
    print(f"{packages}; {platform.machine()}; {asked.trials} trials, n {asked.repeats}")
    ray.init(num_cpus=CORES, include_dashboard=False, object_store_memory=150 * 2**20, log_to_driver=False)
    found: dict[str, list[tuple[float, Counter[str], int]]] = {"stock": [], "ours": []}
    for _ in range(asked.repeats):
        for name, loop in (("stock", stock), ("ours", ours)):
            found[name].append(measured(loop, asked.trials))
    ray.shutdown()
    print(f"{'loop':<8}{'seconds':>9}{'told as diverged':>18}   Optuna's states")
    for name, runs in found.items():
        seconds, infeasible = statistics.median(run[0] for run in runs), statistics.median(run[2] for run in runs)
        states = ", ".join(f"{count} {state}" for state, count in sorted(runs[-1][1].items()))
        print(f"{name:<8}{seconds:>9.1f}{infeasible:>18g}   {states}")


if __name__ == "__main__":
    main()
