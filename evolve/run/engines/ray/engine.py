"""The engine whose workers are processes of a Ray cluster, placed and kept by Ray Tune."""

from __future__ import annotations

import logging
import os
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from math import inf
from pathlib import Path
from threading import Thread
from typing import Any

import ray
from ray import tune

from detector.telemetry import EpochMetrics
from evolve.run.engines.base import EngineEvent
from evolve.run.engines.processes import Limits
from evolve.run.engines.ray.cluster import Cluster, Resources, fitting
from evolve.run.engines.ray.exchange import Exchange, Training
from evolve.run.engines.ray.scheduling import Decisions, Observer, Submitted
from evolve.run.engines.ray.schedulers import make_scheduler
from evolve.run.engines.ray.training import TuneTraining, Wiring
from evolve.run.objective import MakeObjective
from evolve.study.trial import Trial

_CLOSING_SECONDS = 30.0
# Of Tune, which would write every record a second and a third time, and its state every ten seconds.
_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # which prints tables whatever it is asked
}


def _map50(metrics: EpochMetrics) -> float:
    return metrics.map50


class RayEngine:
    """Trains trials as trials of Ray Tune.

    Args:
        make_objective: Called once in each process; must be picklable, and importable on each node.
        workers: Trials trained at once; None for as many as the nodes have room for now.
        resources: What one trial takes. Its process sees no other GPUs.
        address: Of a Ray cluster to join, as `ray.init` takes it; empty for the Ray that this process has joined
            already, else one of our own on this machine, which ends with the engine.
        scheduler: none, or the scheduler of Tune's that stops trials.
        epochs: Of a training, at least 1; for the scheduler.
        fitness: Of the metrics of an epoch; for the scheduler.
        storage_path: Where Tune keeps its files: a folder that all nodes see, or an address such as s3://...; needed
            where a scheduler pauses trials on nodes that share no disk. A folder of its own, gone in the end, by default.
        limits: How long a process is waited for; `silent_seconds` is Ray's to watch.

    Raises:
        ValueError: Fewer than one worker, or an unknown scheduler.
        EvolveError: There is no cluster at the address, or no node has room for a trial.
    """

    def __init__(
        self,
        make_objective: MakeObjective,
        *,
        workers: int | None = None,
        resources: Resources = Resources(),
        address: str = "",
        scheduler: str = "none",
        epochs: int = 1,
        fitness: Callable[[EpochMetrics], float] = _map50,
        storage_path: str = "",
        limits: Limits = Limits(),
    ) -> None:
        if workers is not None and workers < 1:
            raise ValueError(f"workers: {workers} is not at least 1")
        make_scheduler(scheduler, epochs=epochs)  # for the error, before anything is started
        self._wiring = Wiring(make_objective=make_objective, folder=Path.cwd())
        self._resources, self._limits = resources, limits
        self._scheduler, self._epochs, self._fitness = scheduler, epochs, fitness
        self._is_hurried, self._longest = False, 0.0
        self._cluster = Cluster.joined(address, resources, workers)
        try:
            self._slots = workers or fitting(resources)
            fitting(resources)
        except BaseException:
            self._cluster.leave()
            raise
        self._own_files = tempfile.TemporaryDirectory(prefix="evolve-tune-", ignore_cleanup_errors=True)
        self._storage_path = storage_path or self._own_files.name
        self._start()

    @property
    def capacity(self) -> int:
        # A trial that Tune's scheduler has paused waits for others, which have to be asked for.
        return self._slots + self._exchange.num_paused

    def submit(self, trial: Trial) -> None:
        if not self._thread.is_alive():
            self._start()
        self._exchange.submit(trial)

    def events(self, timeout: float) -> list[EngineEvent]:
        for training in list(self._exchange.trainings.values()):
            self._kill_overdue(training)
        return self._exchange.events(timeout)

    def decide(self, trial: int, *, goes_on: bool) -> None:
        self._exchange.decide(trial, goes_on=goes_on)

    def hurry(self) -> None:
        self._is_hurried = True

    def close(self) -> None:
        self._exchange.close()
        self._thread.join(_CLOSING_SECONDS)
        self._cluster.leave()
        self._own_files.cleanup()

    def _start(self) -> None:
        self._exchange = Exchange(fitness=self._fitness)
        self._thread = Thread(target=_fit, args=(self._tuner(self._exchange), self._exchange), daemon=True)
        self._thread.start()

    def _tuner(self, exchange: Exchange) -> tune.Tuner:
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the run reports what goes on
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        inner = make_scheduler(self._scheduler, epochs=self._epochs)
        decisions = Decisions(exchange, epochs=self._epochs, name=self._scheduler, scheduler=inner)
        training = tune.with_parameters(TuneTraining, wiring=self._wiring)
        return tune.Tuner(
            tune.with_resources(training, self._resources.to_mapping()),
            tune_config=tune.TuneConfig(
                search_alg=Submitted(exchange),
                scheduler=decisions,
                num_samples=-1,
                reuse_actors=True,
                trial_dirname_creator=_folder_name,
            ),
            run_config=tune.RunConfig(
                name="evolve",
                storage_path=self._storage_path,
                verbose=0,
                callbacks=[Observer(exchange)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )

    def _kill_overdue(self, training: Training) -> None:
        """Kills a process that lives and gets nowhere; Tune then finds it lost."""
        reason = self._overdue_reason(training)
        if not reason or training.killed:
            return
        training.killed = reason
        actor: Any = training.ray_trial.temporary_state.ray_actor
        with suppress(Exception):  # it may have ended by itself in between
            ray.kill(actor)

    def _overdue_reason(self, training: Training) -> str:
        if not training.is_running or training.awaits_decision:
            return ""
        limits, now = self._limits, self._exchange.clock()
        least = limits.hurried_seconds if self._is_hurried else limits.stuck_seconds
        if now - training.recorded > max(least, limits.times_longest * self._exchange.longest_wait):
            return f"worker process got no further for {now - training.recorded:.0f} s and was killed"
        if now - training.started > (inf if limits.trial_seconds is None else limits.trial_seconds):
            return f"training took longer than budget.trial_seconds, {limits.trial_seconds:g} s, and was killed"
        return ""


def _fit(tuner: tune.Tuner, exchange: Exchange) -> None:
    """The life of the thread in which Tune's controller runs, until the exchange is closed."""
    try:
        tuner.fit()
        if not exchange.is_closed:
            exchange.lose_all("Ray Tune ended by itself")
    except BaseException as error:
        if not exchange.is_closed:
            exchange.lose_all(f"Ray Tune failed: {type(error).__name__}: {error}\n{traceback.format_exc()}")


def _folder_name(trial: Any) -> str:
    """Of a Tune trial: its values would make the name too long."""
    return str(trial.trial_id)
