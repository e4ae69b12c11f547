"""Worker processes that stay alive and are forked from one that has torch, since importing it takes seconds.

Each trains one trial at a time. A thread beside the training says that its process lives and ends it when the driver is
gone; a worker that is silent, or lives and gets nowhere, is killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from threading import Lock, Thread
from time import monotonic
from typing import Any

from evolve.run.engines.base import Crashed, Ended, EngineEvent, Progress, in_batches
from evolve.run.engines.crash import crash_of
from evolve.run.objective import MakeObjective, Objective
from evolve.study.trial import Trial

# Workers are forked from a process that has imported things and done nothing else: they inherit no locks or threads.
_HAS_FORKSERVER = "forkserver" in multiprocessing.get_all_start_methods()
_CONTEXT: Any = multiprocessing.get_context("forkserver" if _HAS_FORKSERVER else "spawn")
_GRACE_SECONDS = 5.0
_HEARTBEAT = "alive"
_HEARTBEAT_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a worker may keep its driver waiting before it is killed.

    Attributes:
        silent_seconds: Without a heartbeat, as when it is stopped or the machine is out of memory.
        stuck_seconds: Without a record of its training, while it lives; loading program and data is part of that.
        hurried_seconds: The same once the time of the study is up.
        times_longest: Multiple of the longest wait for a record so far that is allowed, where that is more.
        trial_seconds: For one trial at one go; None for no limit.
    """

    silent_seconds: float = 60.0
    stuck_seconds: float = 1800.0
    hurried_seconds: float = 60.0
    times_longest: float = 20.0
    trial_seconds: float | None = None


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    pipe: Connection
    trial: int | None = None
    is_decided: bool = True
    has_spoken: bool = False
    started: float = field(default_factory=monotonic)
    heard: float = field(default_factory=monotonic)
    recorded: float = field(default_factory=monotonic)


def warm_up(preload: Sequence[str]) -> None:
    """Starts the process that workers are forked from, which imports for seconds while this one does something else.

    Args:
        preload: Modules that workers need.
    """
    if _HAS_FORKSERVER:
        _CONTEXT.set_forkserver_preload(["evolve.run.engines.server", *preload])
        forkserver.ensure_running()


class ProcessEngine:
    """Trains trials in worker processes.

    Args:
        make_objective: Called once in each worker; must be picklable.
        workers: Processes, at least 1.
        preload: Modules that workers need, imported once for all of them. Importing them may not start threads or use
            a device.
        limits: How long a worker is waited for.
        clock: Returns seconds of a clock that never goes back.

    Raises:
        ValueError: Fewer than one worker.
    """

    def __init__(
        self,
        make_objective: MakeObjective,
        *,
        workers: int,
        preload: Sequence[str] = (),
        limits: Limits = Limits(),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers: {workers} is not at least 1")
        self._make_objective, self._limits, self._clock = make_objective, limits, clock
        self._longest, self._is_hurried, self._looked = 0.0, False, clock()
        warm_up(preload)
        self._workers = [self._start() for _ in range(workers)]

    @property
    def capacity(self) -> int:
        return len(self._workers)

    def submit(self, trial: Trial) -> None:
        place = next(place for place, worker in enumerate(self._workers) if worker.trial is None)
        worker = self._workers[place]
        try:
            self._give(worker, trial)
        except OSError:  # it died while it had nothing to do
            worker.pipe.close()
            self._workers[place] = self._start()
            self._give(self._workers[place], trial)

    def events(self, timeout: float) -> list[EngineEvent]:
        self._forgive(self._clock() - self._looked)
        pipes: dict[Any, _Worker] = {worker.pipe: worker for worker in self._workers if worker.trial is not None}
        found = [event for pipe in wait(list(pipes), timeout) for event in self._receive(pipes[pipe])]
        found += [event for worker in list(self._workers) for event in self._overdue(worker)]
        self._looked = self._clock()
        return found

    def decide(self, trial: int, *, goes_on: bool) -> None:
        worker = next(worker for worker in self._workers if worker.trial == trial)
        worker.is_decided, worker.recorded = True, self._clock()
        with suppress(OSError):  # a worker that died while it waited is found at the next read of its pipe
            worker.pipe.send(goes_on)

    def hurry(self) -> None:
        self._is_hurried = True

    def close(self) -> None:
        for worker in self._workers:
            worker.pipe.close()  # a worker that finds its pipe closed ends at its next record
        for worker in self._workers:
            if worker.trial is not None:
                worker.process.kill()
            worker.process.join(_GRACE_SECONDS)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def _start(self) -> _Worker:
        ours, theirs = _CONTEXT.Pipe()
        process = _CONTEXT.Process(target=_work, args=(theirs, self._make_objective), daemon=True)
        process.start()
        theirs.close()
        now = self._clock()
        return _Worker(process, ours, heard=now, recorded=now)

    def _give(self, worker: _Worker, trial: Trial) -> None:
        worker.pipe.send(trial)
        worker.trial, worker.is_decided = trial.number, True
        worker.started = worker.heard = worker.recorded = self._clock()

    def _forgive(self, seconds: float) -> None:
        """Workers are not to blame for the time in which nobody listened."""
        for worker in self._workers:
            worker.started, worker.heard = worker.started + seconds, worker.heard + seconds
            worker.recorded += seconds

    def _receive(self, worker: _Worker) -> Iterator[EngineEvent]:
        try:
            message: Any = worker.pipe.recv()
            while message == _HEARTBEAT and worker.pipe.poll():
                message = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join(_GRACE_SECONDS)
            yield from self._replaced(worker, _death(worker.process.exitcode))
            return
        worker.heard, worker.has_spoken = self._clock(), True
        if message == _HEARTBEAT:
            return
        if isinstance(message, Progress):
            self._longest = max(self._longest, worker.heard - worker.recorded)
            worker.recorded, worker.is_decided = worker.heard, not message.awaits_decision
        else:
            worker.trial = None
        yield message

    def _overdue(self, worker: _Worker) -> Iterator[EngineEvent]:
        if worker.trial is not None and (reason := self._overdue_reason(worker)):
            worker.process.kill()
            worker.process.join()
            yield from self._replaced(worker, reason)

    def _overdue_reason(self, worker: _Worker) -> str:
        limits, now = self._limits, self._clock()
        if worker.has_spoken and now - worker.heard > limits.silent_seconds:
            return f"worker process was silent for {now - worker.heard:.0f} s and was killed"
        least = limits.hurried_seconds if self._is_hurried else limits.stuck_seconds
        if worker.is_decided and now - worker.recorded > max(least, limits.times_longest * self._longest):
            return f"worker process got no further for {now - worker.recorded:.0f} s and was killed"
        if limits.trial_seconds is not None and now - worker.started > limits.trial_seconds:
            return f"training took longer than budget.trial_seconds, {limits.trial_seconds:g} s, and was killed"
        return ""

    def _replaced(self, worker: _Worker, reason: str) -> Iterator[EngineEvent]:
        number = worker.trial
        worker.pipe.close()
        self._workers[self._workers.index(worker)] = self._start()
        if number is not None:
            yield Crashed(trial=number, reason=reason, traceback=reason, by_machine=True)


def _death(exit_code: int | None) -> str:
    how = f"exit code {exit_code}"
    if exit_code is not None and exit_code < 0:
        how = f"signal {_signal_name(-exit_code)}"
    hint = "; the kernel kills a process so when memory runs out" if exit_code == -signal.SIGKILL else ""
    return f"worker process died with {how}{hint}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # those between SIGRTMIN and SIGRTMAX have no names
        return str(number)


class _Line:
    """The worker's end of the pipe, on which a second thread says that the process lives."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._lock = pipe, Lock()

    def send(self, message: object) -> None:
        with self._lock:
            self._pipe.send(message)

    def receive(self) -> Any:
        return self._pipe.recv()

    def say_alive(self) -> None:
        """Until the driver is gone; then the process ends, even in the middle of a step that never does."""
        parent: Any = multiprocessing.parent_process()
        while not wait([parent.sentinel], _HEARTBEAT_SECONDS):
            with suppress(OSError):  # a closed pipe is the main thread's to find, or the next check of the driver
                self.send(_HEARTBEAT)
        os._exit(1)


def _work(pipe: Connection, make_objective: MakeObjective) -> None:
    """A worker's life: a trial at a time until the pipe closes. Stopping is the parent's business."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    line = _Line(pipe)
    Thread(target=line.say_alive, daemon=True).start()
    objective: Objective | None = None
    # Made before the first trial is there: imports and data take seconds. A failure is the first trial's to report.
    with suppress(Exception):
        objective = make_objective()
    while True:
        try:
            trial: Trial = line.receive()
        except (EOFError, OSError):
            return
        try:
            objective = objective or make_objective()
            _train(line, trial, objective)
            event: EngineEvent = Ended(trial=trial.number)
        except (BrokenPipeError, EOFError, ConnectionResetError):
            return
        except Exception as error:
            event = crash_of(trial.number, error, traceback.format_exc())
        try:
            line.send(event)
        except OSError:
            return


def _train(line: _Line, trial: Trial, objective: Objective) -> None:
    with closing(objective(trial)) as records:
        for batch, awaits_decision in in_batches(records):
            line.send(Progress(trial=trial.number, records=batch, awaits_decision=awaits_decision))
            if awaits_decision and not line.receive():
                return
