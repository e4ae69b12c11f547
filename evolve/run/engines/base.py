"""What every engine does: train submitted trials and pass their records on, waiting for a decision after each epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Protocol, runtime_checkable

from detector.telemetry import EpochMetrics
from evolve.study.trial import Record, Trial

# Records of steps are passed on together; this often is live enough for a person.
FLUSH_SECONDS = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Records of a trial; with `awaits_decision` set the trial waits for `Engine.decide` before it goes on.

    Attributes:
        place: Where the trial trains, with the first records of each start; empty where that goes without saying.
    """

    trial: int
    records: Sequence[Record]
    awaits_decision: bool
    place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The trial's records are complete, or it was stopped by a decision.

    Attributes:
        stopped_by: Name of the engine's own scheduler where that stopped the trial; else empty.
    """

    trial: int
    stopped_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crashed:
    """The trial's training raised, or its process died.

    Attributes:
        reason: What went wrong, in one line.
        traceback: Traceback printed by Python, or what is known of a dead process.
        is_fatal: Whether other trials must fail in the same way, such as on a full disk.
        by_machine: Whether the process was lost rather than the training at fault, so that it may be tried again.
    """

    trial: int
    reason: str
    traceback: str
    is_fatal: bool = False
    by_machine: bool = False


EngineEvent = Progress | Ended | Crashed


class Engine(Protocol):
    """Trains up to `capacity` trials at once. Every submitted trial ends with one `Ended` or `Crashed`."""

    @property
    def capacity(self) -> int:
        """Trials trained at once."""

    def submit(self, trial: Trial) -> None:
        """Starts a trial; at most `capacity` may be under way."""

    def events(self, timeout: float) -> list[EngineEvent]:
        """Events since the last call, after waiting at most `timeout` seconds for one."""

    def decide(self, trial: int, *, goes_on: bool) -> None:
        """Lets a trial that awaits a decision go on, or stops it."""

    def hurry(self) -> None:
        """Says that the time is up: trials under way may end, but one that gets no further is not waited for."""

    def close(self) -> None:
        """Ends all trials under way and releases everything; they keep their last checkpoints."""


@runtime_checkable
class SchedulingEngine(Engine, Protocol):
    """An engine that stops trials by itself, with a scheduler of its own."""

    @property
    def scheduler(self) -> str:
        """Its name; none for none."""

    def remember(self, history: Mapping[int, Mapping[int, float]]) -> None:
        """Tells the scheduler, before the first trial is submitted, what trials of earlier runs have come to.

        Args:
            history: Fitness after each epoch, from 0, by number of the trial.
        """


def in_batches(records: Iterator[Record]) -> Iterator[tuple[list[Record], bool]]:
    """Records together with whether the trial awaits a decision after them: after the validation of each epoch.

    A checkpoint is written only after that decision, so the database never knows less than the file.
    """
    batch: list[Record] = []
    since = monotonic()
    for record in records:
        batch.append(record)
        awaits_decision = isinstance(record.telemetry, EpochMetrics) and record.telemetry.split == "val"
        if awaits_decision or monotonic() - since > FLUSH_SECONDS:
            yield batch, awaits_decision
            batch, since = [], monotonic()
    if batch:
        yield batch, False
