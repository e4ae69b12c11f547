"""The engine whose workers are processes of a Ray cluster, placed and kept by Ray Tune."""

from __future__ import annotations

import logging
import os
import traceback
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import ray
from ray import tune

from evolve.errors import EvolveError
from evolve.run.engines.base import BEHIND, EngineEvent
from evolve.run.engines.limits import Limits
from evolve.run.engines.ray.cluster import Cluster, Resources, fitting
from evolve.run.engines.ray.exchange import Exchange, Training
from evolve.run.engines.ray.files import Checkpoints, KeptFolder
from evolve.run.engines.ray.folders import drop, own_folder
from evolve.run.engines.ray.schedulers import NOTHING_STOPS, History, Stopping, make_scheduler
from evolve.run.engines.ray.scheduling import Decisions, Observer, Submitted
from evolve.run.engines.ray.training import TuneTraining, Wiring
from evolve.run.objective import MakeObjective
from evolve.study.trial import Trial

_CLOSING_SECONDS = 20.0
# Of Tune, which would write every record a second and a third time, and its state every ten seconds.
_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # which prints tables whatever it is asked
}


_LIMITS = Limits()


class RayEngine:
    """Trains trials as trials of Ray Tune.

    Args:
        make_objective: Makes the objective, called once in each process; must be picklable, and importable on each
            node.
        workers: Number of trials trained at once; None for as many as the nodes have room for.
        address: Address of a Ray cluster to join, as `ray.init` takes it; empty for the Ray that this process has
            joined already, else one of our own on this machine, which ends with the engine.
        cpus_per_trial: Cores that a trial takes, above 0; parts of one are allowed.
        gpus_per_trial: GPUs that a trial takes, whole or a part of one. Its process sees no others.
        stopping: The scheduler of Tune's that stops trials, none by default.
        checkpoints: Where the objective keeps checkpoints, for nodes that do not share the driver's disk; None where
            all do.
        limits: How long a process is waited for; `silent_seconds` is Ray's to watch.

    Raises:
        ValueError: Fewer than one worker, or resources out of their range.
        EvolveError: There is no cluster at the address, or no node has room for a trial.
    """

    def __init__(
        self,
        make_objective: MakeObjective,
        *,
        workers: int | None = None,
        address: str = "",
        cpus_per_trial: float = 1.0,
        gpus_per_trial: float = 0.0,
        stopping: Stopping = NOTHING_STOPS,
        checkpoints: Checkpoints | None = None,
        limits: Limits = _LIMITS,
    ) -> None:
        if workers is not None and workers < 1:
            raise ValueError(f"workers: {workers} is not at least 1")
        self._resources = Resources(cpus=cpus_per_trial, gpus=gpus_per_trial)
        self._stopping, self._limits = stopping, limits
        self._is_hurried = False
        self._history: History = {}
        self._cluster = Cluster.joined(address, self._resources, workers)
        try:
            room = fitting(self._resources)
        except BaseException:
            self._cluster.leave()
            raise
        self._slots = workers or room
        self._kept: KeptFolder | None = None
        if checkpoints is not None and self._cluster.own_folder is None:
            self._kept = KeptFolder(checkpoints)
        mirror = None if self._kept is None else self._kept.mirror
        self._wiring = Wiring(make_objective=make_objective, folder=Path.cwd(), mirror=mirror)
        self._files = own_folder()
        # Tune runs from the first trial on, when what its scheduler has to remember is known.
        self._exchange, self._thread = Exchange(fitness=stopping.fitness, is_over=True), Thread()

    @property
    def scheduler(self) -> str:
        return self._stopping.scheduler

    def remember(self, history: History) -> None:
        assert not self._thread.is_alive()
        self._history = history

    @property
    def capacity(self) -> int:
        return self._slots

    def submit(self, trial: Trial) -> None:
        if not self._exchange.submit(trial):
            self._start()
            self._exchange.submit(trial)

    def events(self, timeout: float) -> list[EngineEvent]:
        for training in list(self._exchange.trainings.values()):
            self._kill_overdue(training)
        return self._exchange.events(timeout)

    def decide(self, trial: int, *, goes_on: bool, reason: str = BEHIND) -> None:
        self._exchange.decide(trial, "" if goes_on else reason)

    def hurry(self) -> None:
        self._is_hurried = True

    def close(self) -> None:
        self._exchange.close()
        if self._thread.is_alive():
            self._thread.join(_CLOSING_SECONDS)
        if self._kept is not None:
            self._kept.close()
        self._cluster.leave()
        drop(self._files)

    def _start(self) -> None:
        self._exchange = Exchange(fitness=self._stopping.fitness, queue=self._exchange.queue)
        try:
            tuner = self._tuner(self._exchange)
        except Exception as error:
            raise EvolveError(f"Ray Tune cannot be started: {type(error).__name__}: {error}") from error
        self._thread = Thread(target=_fit, args=(tuner, self._exchange), daemon=True)
        self._thread.start()

    def _tuner(self, exchange: Exchange) -> tune.Tuner:
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the run reports what goes on
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        inner = make_scheduler(self._stopping, self._history)
        decisions = Decisions(exchange, self._stopping, scheduler=inner)
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
                storage_path=str(self._files),
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
        now = self._exchange.clock()
        return self._limits.overdue_reason(
            without_record=now - training.recorded,
            trained=now - training.started,
            longest=self._exchange.longest_wait,
            is_hurried=self._is_hurried,
        )


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
    """Name of a Tune trial's folder: the trial's values would make the name too long."""
    return str(trial.trial_id)
