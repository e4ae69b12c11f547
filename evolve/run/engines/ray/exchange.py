"""Where two threads of the driver meet: the study's run, and Tune's controller with all its trials.

What comes from a Tune trial is queued as events of the engine; a trial that awaits a decision holds the controller's
thread until the run has decided, which takes as long as storing an epoch does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from threading import Condition
from time import monotonic
from typing import Any

from detector.telemetry import CheckpointSaved, EndCause, EpochMetrics, LaneEnded
from evolve.run.engines.base import Crashed, Ended, EngineEvent, Parted, Progress
from evolve.study.trial import Record, Trial

_SUGGEST_SECONDS = 2.0


@dataclass(slots=True)
class Training:
    """A Tune trial under way.

    Attributes:
        trial: Trial of the study that it trains.
        ray_trial: Tune's own object for the trial.
        is_running: Whether it has a process; a paused or waiting trial has none.
        place: Where it runs, in words; empty until that is known.
        started, recorded: Times at which its process began, and last had something to say, in seconds of the exchange's
            clock.
        seed, step: Seed and step of its last validated epoch.
        fitness: Fitness after the last validated epoch of the first seed.
        epochs: Number of epochs that the first seed has finished.
        awaits_decision: Whether it waits for the study's run.
        killed: Why its process was killed by us; empty where it was not.
    """

    trial: Trial
    ray_trial: Any
    is_running: bool = False
    place: str = ""
    started: float = 0.0
    recorded: float = 0.0
    seed: int = 0
    step: int = 0
    fitness: float = 0.0
    epochs: int = 0
    awaits_decision: bool = False
    killed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """What became of events that a training sent.

    Attributes:
        goes_on: Whether it trains further, as far as the study's run is concerned.
        has_checkpoint: Whether the first seed has a new checkpoint, so that a scheduler may be asked.
    """

    goes_on: bool
    has_checkpoint: bool = False


@dataclass(slots=True)
class Exchange:
    """Submitted trials one way, events the other, decisions back.

    Attributes:
        fitness: Returns the fitness of the metrics of an epoch, for schedulers of Tune's.
        clock: Returns seconds of a clock that never goes back.
        queue: Events that nobody has read yet.
        trainings: Tune trials under way, by Tune's ids of them.
        longest_wait: Longest wait so far for a training to say something, in seconds.
        is_closed: Whether nothing is to be trained any more.
        is_over: Whether Tune has ended without being asked to.
    """

    fitness: Callable[[EpochMetrics], float]
    clock: Callable[[], float] = monotonic
    queue: SimpleQueue[EngineEvent] = field(default_factory=SimpleQueue)
    trainings: dict[str, Training] = field(default_factory=dict)
    longest_wait: float = 0.0
    is_closed: bool = False
    is_over: bool = False
    _submitted: deque[Trial] = field(default_factory=deque)
    _in_hand: Trial | None = None  # taken by Tune, and not yet one of its trials
    _decisions: dict[int, str] = field(default_factory=dict)
    _changed: Condition = field(default_factory=Condition)

    def __reduce__(self) -> tuple[Callable[[], Exchange], tuple[()]]:
        # Tune pickles what it is given for `Tuner.restore`, which nothing here uses.
        return _left_behind, ()

    # The study's run

    def submit(self, trial: Trial) -> bool:
        """Queues a trial until Tune asks for one; False where it never will."""
        with self._changed:
            if self.is_over:
                return False
            self._submitted.append(trial)
            self._changed.notify_all()
            return True

    def events(self, timeout: float) -> list[EngineEvent]:
        """Events since the last call, after waiting at most `timeout` seconds for one."""
        found: list[EngineEvent] = []
        try:
            found.append(self.queue.get(timeout=timeout))
            while True:
                found.append(self.queue.get_nowait())
        except Empty:
            return found

    def decide(self, trial: int, stops_since: str) -> None:
        """Answers a training that awaits a decision: why it is stopped, or nothing where it goes on."""
        with self._changed:
            self._decisions[trial] = stops_since
            self._changed.notify_all()

    def close(self) -> None:
        """Lets nobody wait any longer, and hands out no more trials."""
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()

    # Tune's controller

    def take(self) -> Trial | None:
        """A submitted trial. Where nothing trains, one is waited for: Tune itself would look once a second."""
        with self._changed:
            if not self._submitted and not self.trainings and not self.is_closed:
                self._changed.wait(_SUGGEST_SECONDS)
            self._in_hand = self._submitted.popleft() if self._submitted and not self.is_closed else None
            return self._in_hand

    def added(self, ray_id: str, training: Training) -> None:
        """Notes which of Tune's trials trains what it has taken."""
        self.trainings[ray_id], self._in_hand = training, None

    def began(self, ray_id: str) -> None:
        """Notes that a training has got its process."""
        if training := self.trainings.get(ray_id):
            training.is_running = True
            training.started = training.recorded = self.clock()

    def passed(self, ray_id: str, events: Sequence[EngineEvent], place: str) -> Passed:
        """Passes events on, and waits where the training awaits a decision."""
        training = self.trainings.get(ray_id)
        if training is None:
            return Passed(goes_on=False)
        now = self.clock()
        self.longest_wait = max(self.longest_wait, now - training.recorded)
        has_checkpoint = False
        for event in events:
            if isinstance(event, Ended | Crashed):
                self.end(ray_id, event)
                return Passed(goes_on=False)
            if isinstance(event, Parted):
                self.queue.put(event)
                continue
            if not training.place:
                training.place, event = place, replace(event, place=place)
            passed = self._progress(ray_id, training, event)
            if not passed.goes_on:
                return passed
            has_checkpoint = has_checkpoint or passed.has_checkpoint
        training.recorded = self.clock()
        return Passed(goes_on=True, has_checkpoint=has_checkpoint)

    def _progress(self, ray_id: str, training: Training, event: Progress) -> Passed:
        first_seed = training.trial.seeds[0]
        has_checkpoint = False
        for record in event.records:
            telemetry, is_first = record.telemetry, record.seed == first_seed
            if isinstance(telemetry, EpochMetrics) and telemetry.split == "val":
                training.seed, training.step = record.seed, telemetry.step
                if is_first:
                    training.fitness, training.epochs = self.fitness(telemetry), telemetry.epoch + 1
            has_checkpoint = has_checkpoint or (is_first and isinstance(telemetry, CheckpointSaved))
        # Before it is asked about, since the answer may come at once.
        training.awaits_decision = event.awaits_decision
        self.queue.put(event)
        if not event.awaits_decision:
            return Passed(goes_on=True, has_checkpoint=has_checkpoint)
        stops_since = self._decision(event.trial)
        training.recorded = self.clock()
        training.awaits_decision = False
        if stops_since:
            self.stop(ray_id, stops_since)
        return Passed(goes_on=not stops_since and not self.is_closed)

    def _decision(self, trial: int) -> str:
        with self._changed:
            self._changed.wait_for(lambda: trial in self._decisions or self.is_closed)
            return self._decisions.pop(trial, "")

    def stop(self, ray_id: str, reason: str) -> None:
        """Passes on that a training is stopped: Tune then asks it for nothing more, so its last record is made here.

        Args:
            ray_id: Tune's id of the trial.
            reason: Why the training is stopped, in words that complete "the trial ...".
        """
        training = self.trainings.get(ray_id)
        if training is None or self.is_closed:
            return
        number = training.trial.number
        ended = LaneEnded(lane=0, step=training.step, cause=EndCause.STOPPED, reason=reason)
        record = Record(trial=number, seed=training.seed, telemetry=ended)
        self.queue.put(Progress(trial=number, records=[record], awaits_decision=False))
        self.end(ray_id, Ended(trial=number))

    def end(self, ray_id: str, event: Ended | Crashed) -> None:
        """Passes on how a training ended, once."""
        if self.trainings.pop(ray_id, None) is not None:
            self.queue.put(event)

    def lose(self, ray_id: str, reason: str) -> None:
        """Passes on that a training's process is gone."""
        if training := self.trainings.get(ray_id):
            reason = training.killed or reason
            crash = Crashed(trial=training.trial.number, reason=_first_line(reason), traceback=reason, by_machine=True)
            self.end(ray_id, crash)

    def lose_all(self, reason: str) -> None:
        """Passes on that Tune itself has failed, with all that it trained or was to train."""
        for ray_id in list(self.trainings):
            self.lose(ray_id, reason)
        with self._changed:
            self.is_over = True
            taken = [self._in_hand] if self._in_hand is not None else []
            for trial in [*taken, *self._submitted]:
                crash = Crashed(trial=trial.number, reason=_first_line(reason), traceback=reason, by_machine=True)
                self.queue.put(crash)
            self._submitted.clear()


def _first_line(text: str) -> str:
    lines: Iterable[str] = (line.strip() for line in text.splitlines())
    return next((line for line in lines if line), "lost without a word")


def _left_behind() -> Exchange:
    return Exchange(fitness=_no_fitness, is_closed=True)


def _no_fitness(metrics: EpochMetrics) -> float:  # noqa: ARG001 - of an exchange that nobody uses
    return 0.0
