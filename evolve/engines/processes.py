"""Worker processes that stay alive and are forked from one that has torch, since importing it takes seconds.

Each trains one trial at a time.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from evolve.engines.base import Crashed, Ended, Event, Progress, in_batches
from evolve.engines.crash import crash_of
from evolve.objective import MakeObjective, Objective
from evolve.trial import Trial

# Workers are forked from a process that has imported things and done nothing else: they inherit no locks or threads.
_HAS_FORKSERVER = "forkserver" in multiprocessing.get_all_start_methods()
_CONTEXT = multiprocessing.get_context("forkserver" if _HAS_FORKSERVER else "spawn")
_GRACE_SECONDS = 5.0


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    pipe: Connection
    trial: int | None = None


class ProcessEngine:
    """Trains trials in worker processes.

    Args:
        make_objective: Called once in each worker; must be picklable.
        workers: Processes, at least 1.
        preload: Modules that workers need, imported once for all of them. Importing them may not start threads or use
            a device.

    Raises:
        ValueError: Fewer than one worker.
    """

    def __init__(self, make_objective: MakeObjective, *, workers: int, preload: Sequence[str] = ()) -> None:
        if workers < 1:
            raise ValueError(f"workers: {workers} is not at least 1")
        self._make_objective = make_objective
        _CONTEXT.set_forkserver_preload(["evolve.engines.server", *preload])
        self._workers = [self._start() for _ in range(workers)]

    @property
    def capacity(self) -> int:
        return len(self._workers)

    def submit(self, trial: Trial) -> None:
        place = next(place for place, worker in enumerate(self._workers) if worker.trial is None)
        if not self._workers[place].process.is_alive():
            self._workers[place] = self._start()
        self._workers[place].trial = trial.number
        self._workers[place].pipe.send(trial)

    def events(self, timeout: float) -> list[Event]:
        busy: dict[Any, _Worker] = {worker.pipe: worker for worker in self._workers if worker.trial is not None}
        return [self._receive(busy[pipe]) for pipe in wait(list(busy), timeout)]

    def answer(self, trial: int, *, goes_on: bool) -> None:
        worker = next(each for each in self._workers if each.trial == trial)
        with suppress(OSError):  # a worker that died while it waited is found at the next look at its pipe
            worker.pipe.send(goes_on)

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
        return _Worker(process, ours)

    def _receive(self, worker: _Worker) -> Event:
        number = worker.trial
        assert number is not None
        try:
            event: Event = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join(_GRACE_SECONDS)
            event = _death_of(number, worker.process.exitcode)
            self._workers[self._workers.index(worker)] = self._start()
            return event
        if not isinstance(event, Progress):
            worker.trial = None
        return event


def _death_of(trial: int, exit_code: int | None) -> Crashed:
    how = f"exit code {exit_code}"
    if exit_code is not None and exit_code < 0:
        how = f"signal {signal.Signals(-exit_code).name}"
    hint = "; the kernel kills a process so when memory runs out" if exit_code == -signal.SIGKILL else ""
    reason = f"worker process died with {how}{hint}"
    return Crashed(trial=trial, reason=reason, traceback=reason)


def _work(pipe: Connection, make_objective: MakeObjective) -> None:
    """A worker's life: a trial at a time until the pipe closes. Stopping is the parent's business."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    objective: Objective | None = None
    # Made before the first trial is there: imports and data take seconds. A failure is the first trial's to report.
    with suppress(Exception):
        objective = make_objective()
    while True:
        try:
            trial: Trial = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            objective = objective or make_objective()
            _train(pipe, trial, objective)
            event: Event = Ended(trial=trial.number)
        except (BrokenPipeError, EOFError, ConnectionResetError):
            return
        except Exception as error:
            event = crash_of(trial.number, error, traceback.format_exc())
        try:
            pipe.send(event)
        except OSError:
            return


def _train(pipe: Connection, trial: Trial, objective: Objective) -> None:
    with closing(objective(trial)) as records:
        for batch, asks in in_batches(records):
            pipe.send(Progress(trial=trial.number, records=batch, asks=asks))
            if asks and not pipe.recv():
                return
