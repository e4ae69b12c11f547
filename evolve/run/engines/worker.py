"""A worker's life, in its own process: it trains what it is given, and says all the while that it lives.

A message to it is a trial, a decision on one, or `GO_ON`. From it come `HEARTBEAT` and lists of events.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from threading import Lock, Thread
from typing import Any

from evolve.run.engines.base import Progress
from evolve.run.engines.crash import crash_of
from evolve.run.engines.serial import SerialEngine
from evolve.run.objective import MakeObjective
from evolve.study.trial import Trial

HEARTBEAT = "alive"
GO_ON = "go on"
_HEARTBEAT_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The decision on a trial that awaits one: whether it goes on.

    Attributes:
        trial: Number of the trial.
        goes_on: Whether the trial trains on.
        reason: Why the trial is stopped, where it does not go on.
    """

    trial: int
    goes_on: bool
    reason: str


def work(pipe: Connection, make_objective: MakeObjective, lanes: int) -> None:
    """Trains until the pipe closes. Stopping is the parent's business.

    Args:
        pipe: The worker's end of the pipe to the driver.
        make_objective: Makes the objective that trains; called in this process.
        lanes: Number of trials side by side, at least 1.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    line = _Line(pipe)
    Thread(target=line.say_alive, daemon=True).start()
    engine: SerialEngine | None = None
    # Made before the first trial is there: imports and data take seconds. A failure is the first trial's to report.
    with suppress(Exception):
        engine = SerialEngine(make_objective, lanes=lanes)
    with suppress(BrokenPipeError, EOFError, OSError):
        while engine is None:
            engine = _made(line, make_objective, lanes)
        _serve(line, engine)


class _Line:
    """The worker's end of the pipe, on which a second thread says that the process lives."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._lock = pipe, Lock()

    def send(self, message: object) -> None:
        with self._lock:
            self._pipe.send(message)

    def receive(self) -> Any:
        return self._pipe.recv()

    def has_message(self) -> bool:
        return self._pipe.poll()

    def say_alive(self) -> None:
        """Until the driver is gone; then the process ends, even in the middle of a step that never does."""
        parent: Any = multiprocessing.parent_process()
        while not wait([parent.sentinel], _HEARTBEAT_SECONDS):
            with suppress(OSError):  # a closed pipe is the main thread's to find, or the next check of the driver
                self.send(HEARTBEAT)
        os._exit(1)


def _made(line: _Line, make_objective: MakeObjective, lanes: int) -> SerialEngine | None:
    """An engine with the next trial; where it cannot be made, that trial has crashed."""
    message = line.receive()
    if not isinstance(message, Trial):
        return None
    try:
        engine = SerialEngine(make_objective, lanes=lanes)
    except Exception as error:
        line.send([crash_of(message.number, error, traceback.format_exc())])
        return None
    engine.submit(message)
    return engine


def _serve(line: _Line, engine: SerialEngine) -> None:
    """Trains and passes on, listening between two batches of records, and waiting where the driver has a word."""
    holds = True
    while True:
        while holds or engine.awaits or line.has_message():
            message = line.receive()
            if isinstance(message, Trial):
                engine.submit(message)
            elif isinstance(message, Decision):
                engine.decide(message.trial, goes_on=message.goes_on, reason=message.reason)
            else:
                holds = False
        if events := engine.events(0):
            line.send(events)
            # Decisions that are on their way to trials that have been parted since arrive before the word to go on.
            holds = not all(isinstance(event, Progress) for event in events)
