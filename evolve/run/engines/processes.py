"""Worker processes that stay alive and are forked from one that has torch, since importing it takes seconds.

In each (`worker`) a `SerialEngine` trains a trial or several side by side. A thread beside the training says that its
process lives and ends it when the driver is gone; a worker that is silent, or lives and gets nowhere, is killed. A
worker begins, and goes on after a trial has ended, when the driver has given it what there is: what trains beside what
follows from no clock.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from time import monotonic
from typing import Any

from evolve.run.engines.base import BEHIND, Crashed, EngineEvent, Parted, Progress
from evolve.run.engines.crash import crash_of
from evolve.run.engines.limits import Limits
from evolve.run.engines.worker import GO_ON, HEARTBEAT, Decision, work
from evolve.run.objective import MakeObjective
from evolve.study.trial import Trial

# Workers are forked from a process that has imported things and done nothing else: they inherit no locks or threads.
_HAS_FORKSERVER = "forkserver" in multiprocessing.get_all_start_methods()
CONTEXT: Any = multiprocessing.get_context("forkserver" if _HAS_FORKSERVER else "spawn")
_GRACE_SECONDS = 5.0
_LIMITS = Limits()


@dataclass(slots=True)
class _Worker:
    """A process and what is known of it.

    Attributes:
        started: Time at which each of its trials was given to it, by number of the trial, in seconds of the engine's
            clock.
        keys: Fuse key of each of its trials, by number of the trial.
        undecided: Numbers of the trials that await a decision.
        holds: Whether it waits to be told to go on, since it has not begun, or a trial has ended or been parted.
    """

    process: BaseProcess
    pipe: Connection
    make_objective: MakeObjective
    started: dict[int, float] = field(default_factory=dict)
    keys: dict[int, Hashable] = field(default_factory=dict)
    undecided: set[int] = field(default_factory=set)
    holds: bool = True
    has_spoken: bool = False
    heard: float = 0.0
    recorded: float = 0.0

    @property
    def is_training(self) -> bool:
        """Whether the worker is to be waited for, since it trains."""
        return bool(self.started) and not self.undecided and not self.holds


def warm_up(preload: Sequence[str]) -> None:
    """Starts the process that workers are forked from, which imports for seconds while this one does something else.

    Args:
        preload: Modules that workers need.
    """
    if _HAS_FORKSERVER:
        CONTEXT.set_forkserver_preload(["evolve.run.engines.server", *preload])
        forkserver.ensure_running()


class ProcessEngine:
    """Trains trials in worker processes.

    Args:
        make_objective: Makes the objective, called once in each worker; must be picklable. One for all workers, or one
            for each.
        workers: Number of processes, at least 1.
        lanes: Number of trials side by side in each process, at least 1.
        preload: Modules that workers need, imported once for all of them. Importing them may not start threads or use
            a device.
        limits: How long a worker is waited for.
        fuse_key: Returns a trial's fuse key as the objective does, to bring trials together that may be trained as one;
            without it all trials are alike.
        clock: Returns seconds of a clock that never goes back.

    Raises:
        ValueError: Fewer than one worker or lane.
    """

    def __init__(
        self,
        make_objective: MakeObjective | Sequence[MakeObjective],
        *,
        workers: int,
        lanes: int = 1,
        preload: Sequence[str] = (),
        limits: Limits = _LIMITS,
        fuse_key: Callable[[Trial], Hashable] = lambda _: None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        for name, number in (("workers", workers), ("lanes", lanes)):
            if number < 1:
                raise ValueError(f"{name}: {number} is not at least 1")
        self._lanes = lanes
        self._limits, self._fuse_key, self._clock = limits, fuse_key, clock
        self._found: list[EngineEvent] = []
        self._longest, self._is_hurried, self._looked = 0.0, False, clock()
        warm_up(preload)
        makes = [make_objective] * workers if callable(make_objective) else make_objective
        self._workers = [self._start(make) for make in makes]

    @property
    def capacity(self) -> int:
        return len(self._workers) * self._lanes

    def submit(self, trial: Trial) -> None:
        try:
            key = self._fuse_key(trial)
        except Exception as error:
            self._found.append(crash_of(trial.number, error, traceback.format_exc()))
            return
        worker = min(self._workers, key=lambda worker: (len(worker.started), key not in worker.keys.values()))
        worker.keys[trial.number] = key
        try:
            self._give(worker, trial)
        except OSError:
            if worker.started:  # its death is found at the next read of its pipe, and its trials given to another
                worker.started[trial.number] = self._clock()
                return
            worker.pipe.close()  # it died while it had nothing to do
            place = self._workers.index(worker)
            self._workers[place] = self._start(worker.make_objective)
            self._workers[place].keys[trial.number] = key
            self._give(self._workers[place], trial)

    def events(self, timeout: float) -> list[EngineEvent]:
        found, self._found = self._found, []
        self._forgive(self._clock() - self._looked)
        for worker in self._workers:
            if worker.holds and worker.started:
                self._tell(worker, GO_ON)
                worker.holds, worker.recorded = False, self._clock()
        pipes: dict[Any, _Worker] = {worker.pipe: worker for worker in self._workers if worker.started}
        ready = wait(list(pipes), 0.0 if found else timeout)
        found += [event for pipe in ready for event in self._receive(pipes[pipe])]
        found += [event for worker in list(self._workers) for event in self._overdue(worker)]
        self._looked = self._clock()
        return found

    def decide(self, trial: int, *, goes_on: bool, reason: str = BEHIND) -> None:
        worker = next((worker for worker in self._workers if trial in worker.started), None)
        if worker is None:  # it has been replaced since
            return
        worker.undecided.discard(trial)
        worker.recorded = self._clock()
        self._tell(worker, Decision(trial=trial, goes_on=goes_on, reason=reason))

    def hurry(self) -> None:
        self._is_hurried = True

    def close(self) -> None:
        for worker in self._workers:
            worker.pipe.close()  # a worker that finds its pipe closed ends at its next record
        for worker in self._workers:
            if worker.started:
                worker.process.kill()
            worker.process.join(_GRACE_SECONDS)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def _start(self, make_objective: MakeObjective) -> _Worker:
        ours, theirs = CONTEXT.Pipe()
        process = CONTEXT.Process(target=work, args=(theirs, make_objective, self._lanes), daemon=True)
        process.start()
        theirs.close()
        now = self._clock()
        return _Worker(process, ours, make_objective, heard=now, recorded=now)

    def _tell(self, worker: _Worker, message: object) -> None:
        with suppress(OSError):  # a worker that died while it waited is found at the next read of its pipe
            worker.pipe.send(message)

    def _give(self, worker: _Worker, trial: Trial) -> None:
        worker.pipe.send(trial)
        now = self._clock()
        if not worker.started:
            worker.heard = worker.recorded = now
        worker.started[trial.number] = now

    def _forgive(self, seconds: float) -> None:
        """Workers are not to blame for the time in which nobody listened."""
        for worker in self._workers:
            worker.started = {trial: since + seconds for trial, since in worker.started.items()}
            worker.heard, worker.recorded = worker.heard + seconds, worker.recorded + seconds

    def _receive(self, worker: _Worker) -> Iterator[EngineEvent]:
        try:
            message: Any = worker.pipe.recv()
            while message == HEARTBEAT and worker.pipe.poll():
                message = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join(_GRACE_SECONDS)
            yield from self._replaced(worker, _death(worker.process.exitcode))
            return
        worker.heard, worker.has_spoken = self._clock(), True
        if message == HEARTBEAT:
            return
        for event in message:
            self._note(worker, event)
        yield from message

    def _note(self, worker: _Worker, event: EngineEvent) -> None:
        if isinstance(event, Progress):
            self._longest = max(self._longest, worker.heard - worker.recorded)
            if event.awaits_decision:
                worker.undecided.add(event.trial)
        else:
            worker.undecided.discard(event.trial)
            worker.holds = True
            if not isinstance(event, Parted):
                del worker.started[event.trial], worker.keys[event.trial]
        worker.recorded = worker.heard

    def _overdue(self, worker: _Worker) -> Iterator[EngineEvent]:
        if worker.started and (reason := self._overdue_reason(worker)):
            worker.process.kill()
            worker.process.join()
            yield from self._replaced(worker, reason)

    def _overdue_reason(self, worker: _Worker) -> str:
        now = self._clock()
        if worker.has_spoken and now - worker.heard > self._limits.silent_seconds:
            return f"worker process was silent for {now - worker.heard:.0f} s and was killed"
        return self._limits.overdue_reason(
            without_record=now - worker.recorded if worker.is_training else None,
            trained=now - min(worker.started.values()),
            longest=self._longest,
            is_hurried=self._is_hurried,
        )

    def _replaced(self, worker: _Worker, reason: str) -> Iterator[EngineEvent]:
        worker.pipe.close()
        self._workers[self._workers.index(worker)] = self._start(worker.make_objective)
        for number in worker.started:
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
