"""What every engine does: train submitted trials and pass their records on, waiting for a decision after each epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Protocol, runtime_checkable

from detector.telemetry import EpochMetrics, LaneEnded
from evolve.study.trial import Record, Trial

# Records of steps are passed on together; this often is live enough for a person.
FLUSH_SECONDS = 0.25
BEHIND = "was behind the others"


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
    """The trial's records are complete, or it was stopped by a decision."""

    trial: int


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Parted:
    """The training of several trials raised; the trial goes on from its last checkpoint, with fewer beside it.

    Attributes:
        reason: What went wrong and how many lanes there are now, in one line.
    """

    trial: int
    reason: str


EngineEvent = Progress | Ended | Crashed | Parted


class Engine(Protocol):
    """Trains up to `capacity` trials at once. Every submitted trial ends with one `Ended` or `Crashed`."""

    @property
    def capacity(self) -> int:
        """Number of trials that may be trained at once."""

    def submit(self, trial: Trial) -> None:
        """Starts a trial; at most `capacity` may be under way."""

    def events(self, timeout: float) -> list[EngineEvent]:
        """Events since the last call, after waiting at most `timeout` seconds for one.

        Whoever calls decides on every trial that awaits it, and submits what is to join at once, before calling again.
        """

    def decide(self, trial: int, *, goes_on: bool, reason: str = BEHIND) -> None:
        """Lets a trial that awaits a decision go on, or stops it for a reason that completes "the trial ..."."""

    def hurry(self) -> None:
        """Says that the time is up: trials under way may end, but one that gets no further is not waited for."""

    def close(self) -> None:
        """Ends all trials under way and releases everything; they keep their last checkpoints."""


@runtime_checkable
class SchedulingEngine(Engine, Protocol):
    """An engine that stops trials by itself, with a scheduler of its own."""

    @property
    def scheduler(self) -> str:
        """Name of the scheduler; `none` where nothing stops trials."""

    def remember(self, history: Mapping[int, Mapping[int, float]]) -> None:
        """Tells the scheduler, before the first trial is submitted, what trials of earlier runs have come to.

        Args:
            history: Fitness after each epoch by the epoch's index from 0, for each trial by its number.
        """


def in_batches(records: Iterator[Record]) -> Iterator[tuple[list[Record], bool]]:
    """Records together with whether the last one's trial awaits a decision: after the validation of each epoch.

    A checkpoint is written only after that decision, so the database never knows less than the file.
    """
    batch: list[Record] = []
    since = monotonic()
    try:
        for record in records:
            batch.append(record)
            awaits_decision = isinstance(record.telemetry, EpochMetrics) and record.telemetry.split == "val"
            if awaits_decision or monotonic() - since > FLUSH_SECONDS:
                yield batch, awaits_decision
                batch, since = [], monotonic()
    except Exception:
        if batch:  # what led to it
            yield batch, False
        raise
    if batch:
        yield batch, False


def progress_of(batch: Sequence[Record], *, awaits_decision: bool) -> list[Progress]:
    """An event for each trial that has records in a batch, the last record's trial last."""
    by_trial: dict[int, list[Record]] = {batch[-1].trial: []}
    for record in batch:
        by_trial.setdefault(record.trial, []).append(record)
    last = by_trial.pop(batch[-1].trial)
    events = [Progress(trial=trial, records=mine, awaits_decision=False) for trial, mine in by_trial.items()]
    return [*events, Progress(trial=batch[-1].trial, records=last, awaits_decision=awaits_decision)]


def is_over(trial: Trial, record: Record) -> bool:
    """Whether a record is the last of its trial: of its last seed, or of one after which no other begins."""
    ended = record.telemetry
    return isinstance(ended, LaneEnded) and trial.seed_after(record.seed, ended.cause) is None
