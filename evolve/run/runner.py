"""Ask, run, judge, store, tell: a study from its first trial to its last, as a stream of events."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from optuna.trial import FrozenTrial

from detector.telemetry import EpochMetrics, LaneEnded, LaneStarted
from evolve.errors import StudyError
from evolve.outcome.training import TrainingOutcome, TrialOutcome, fold
from evolve.outcome.verdict import TRAINED_THROUGH, Verdict
from evolve.run.engines import BEHIND, Crashed, Ended, Engine, EngineEvent, Parted, Progress, SchedulingEngine
from evolve.run.events import (
    CheckpointPassedOver,
    LanesParted,
    RunEvent,
    StudyStopped,
    TrialEnded,
    TrialPaused,
    TrialProgressed,
    TrialStarted,
    TrialWarned,
    WorkerLost,
)
from evolve.run.judging import judged
from evolve.run.search import Begun, Search
from evolve.search.pruners import DOOMED
from evolve.storage.database import Storage
from evolve.storage.lease import Lease
from evolve.storage.ledger import EventKind
from evolve.study import Study
from evolve.study.earlier import Earlier
from evolve.study.trial import Record, Trial

POLL_SECONDS = 0.5
# When every trial so far failed and there are this many, the rest would fail too.
HOPELESS_FAILURES = 3
# A trial whose worker is lost goes on in another one, once between two epochs.
RETRIES = 1
FORESEEN = "was going to be lost"


@dataclass(slots=True)
class _UnderWay:
    """A trial that trains now."""

    begun: Begun
    started: float = 0.0
    losses: int = 0  # of workers, since the last epoch

    @property
    def trial(self) -> Trial:
        """The trial as it is trained."""
        return self.begun.trial

    @property
    def trial_id(self) -> int:
        """Optuna's id of the trial."""
        return self.begun.trial_id


class StudyRun:
    """One run of a study, up to its budget.

    Args:
        study: Definition of what is searched, and how.
        storage: Database that keeps trials and records.
        engine: Trains the trials, up to its capacity at once.
        environment_id: Row of packages and machine that `Storage.keep_environment` returned.
        data_files: Digest of each file that is trained on, by the file's name; None for no files.
        earlier: Trials of earlier searches that a new study begins with.
        should_stop: Asked often; True ends the run, and unfinished trials go on in the next.
        clock: Returns seconds of a clock that never goes back, for the time budget.

    Raises:
        StorageError: The study is stored with another definition.
        StudyError: The engine has not the study's scheduler.
    """

    def __init__(
        self,
        study: Study,
        storage: Storage,
        engine: Engine,
        *,
        environment_id: str,
        data_files: Mapping[str, str] | None = None,
        earlier: Sequence[Earlier] = (),
        should_stop: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        _check_scheduler(study, engine)
        self._study, self._storage, self._engine = study, storage, engine
        self._should_stop, self._clock = should_stop, clock
        self._search = Search(study, storage, environment_id=environment_id, earlier=earlier)
        self._under_way: dict[int, _UnderWay] = {}
        self._fatal = ""
        self._hopeless = ""
        self._lost_in_a_row = 0
        self._typical_seconds = 0.0  # of the last trial that trained through
        self._origin = storage.ledger.origin(self.study_id, data_files or {})
        self._has_worked = False  # any trial of the study, as far as somebody had to know
        # What the engine is told once the open transaction is over.
        self._afterwards: list[Callable[[], None]] = []

    @property
    def study_id(self) -> int:
        """Optuna's id of the study."""
        return self._search.study_id

    def events(self, lease: Lease) -> Generator[RunEvent, None, None]:
        """Runs the study; closing the iterator stops it."""
        started = self._clock()
        resumed = self._search.open()
        yield from self._give_up()
        if isinstance(self._engine, SchedulingEngine) and self._engine.scheduler != "none":
            self._engine.remember(self._search.fitness_by_epoch())
        try:
            while True:
                lease.heartbeat()
                if reason := self._reason_to_stop(started):
                    self._engine.hurry()
                while not reason and len(self._under_way) < self._engine.capacity:
                    begun = self._next(resumed)
                    if begun is None:
                        break
                    yield self._pass_over(begun) or self._start(begun)
                if not self._under_way or self._fatal or self._should_stop():
                    yield self._stopped(reason)
                    return
                yield from self._take(self._engine.events(POLL_SECONDS), is_over=bool(reason))
        finally:
            self._engine.close()

    # Asking

    def _next(self, resumed: list[FrozenTrial]) -> Begun | None:
        if resumed:
            return self._search.resume(resumed.pop(0))
        if (promoted := self._search.promoted(is_last=not self._to_come and not self._under_way)) is not None:
            return promoted
        if not self._to_come or self._search.awaits_earlier:
            return None
        return self._search.ask()

    @property
    def _to_come(self) -> int:
        """Trials of the budget that have not begun."""
        return max(self._study.budget.trials - self._search.num_asked, 0)

    def _pass_over(self, begun: Begun) -> TrialEnded | None:
        """Ends a trial that cannot be trained, or that a look at an ablation has made needless; None for all others."""
        if (outcome := self._search.passed_over(begun)) is None:
            return None
        self._search.end(begun, outcome)
        return TrialEnded(trial=begun.trial, outcome=outcome)

    def _start(self, begun: Begun) -> TrialStarted:
        self._under_way[begun.trial.number] = under_way = _UnderWay(begun, started=self._clock())
        self._submit(under_way, may_have_epochs=begun.is_resumed)
        return TrialStarted(trial=begun.trial, is_resumed=begun.is_resumed)

    def _submit(self, under_way: _UnderWay, *, may_have_epochs: bool) -> None:
        last_epochs = self._storage.records.last_epochs(under_way.trial_id) if may_have_epochs else {}
        self._engine.submit(replace(under_way.trial, origin=self._origin, last_epochs=last_epochs))

    def _reason_to_stop(self, started: float) -> str:
        if self._should_stop():
            return "stopped"
        if (seconds := self._study.budget.seconds) is not None:
            left = seconds - (self._clock() - started)
            if left < 0:
                return f"time budget of {seconds:g} s spent"
            if left < self._typical_seconds:
                return f"time budget of {seconds:g} s: another trial would not be over by then"
        return self._fatal or self._hopeless

    def _is_everything_failing(self) -> str:
        """Why to stop if nothing has worked so far; empty where something has."""
        if self._lost_in_a_row >= HOPELESS_FAILURES:
            return (
                f"{self._lost_in_a_row} trials in a row lost their worker twice; if memory is short: --workers 1, a "
                "smaller --batch-size or --image-size"
            )
        if self._has_worked:
            return ""
        verdicts = self._storage.verdicts(self.study_id)
        self._has_worked = set(verdicts.values()) != {"failed"}
        lost = self._storage.ledger.trials_with(self.study_id, EventKind.WORKER_LOST)
        by_training = [number for number, verdict in verdicts.items() if verdict == "failed" and number not in lost]
        if len(by_training) >= HOPELESS_FAILURES and not self._has_worked:
            return f"all of the first {len(by_training)} trials failed"
        return ""

    # Listening

    def _take(self, events: Sequence[EngineEvent], *, is_over: bool) -> list[RunEvent]:
        """Stores what came, all of it or nothing, before anybody else learns of it."""
        if not events:
            return []
        with self._storage.transactions.together():
            found = [run_event for event in events for run_event in self._handle(event, is_over=is_over)]
        afterwards, self._afterwards = self._afterwards, []
        for call in afterwards:
            call()
        return found

    def _handle(self, event: EngineEvent, *, is_over: bool) -> Iterator[RunEvent]:
        under_way = self._under_way[event.trial]
        if isinstance(event, Progress):
            if event.place:
                self._note(under_way, EventKind.PLACED, event.place)
            yield from self._passed_over(under_way, event)
            yield from self._warned(under_way, event)
            yield self._progress(under_way, event)
        elif isinstance(event, Parted):
            self._note(under_way, EventKind.PARTED, event.reason)
            yield LanesParted(trial=under_way.trial, reason=event.reason)
        elif isinstance(event, Crashed) and event.is_fatal:
            self._fatal = event.reason
            del self._under_way[event.trial]
        elif isinstance(event, Crashed) and event.by_machine and (is_over or under_way.losses < RETRIES):
            yield self._retry(under_way, event, is_over=is_over)
        else:
            del self._under_way[event.trial]
            yield self._pause(under_way) if self._is_to_wait(under_way, event) else self._end(under_way, event)
            yield from self._give_up()

    def _retry(self, under_way: _UnderWay, event: Crashed, *, is_over: bool) -> WorkerLost:
        """Gives the trial to another worker; in a run whose time is up, it is left to the next."""
        under_way.losses += 1
        self._note(under_way, EventKind.WORKER_LOST, event.reason)
        if is_over:
            del self._under_way[event.trial]
        else:
            self._afterwards.append(partial(self._submit, under_way, may_have_epochs=True))
        return WorkerLost(trial=under_way.trial, reason=event.reason, is_retried=not is_over)

    def _passed_over(self, under_way: _UnderWay, event: Progress) -> Iterator[CheckpointPassedOver]:
        starts = [record.telemetry for record in event.records if isinstance(record.telemetry, LaneStarted)]
        for reason in (reason for start in starts for reason in start.passed_over):
            self._note(under_way, EventKind.CHECKPOINT_PASSED_OVER, reason)
            yield CheckpointPassedOver(trial=under_way.trial, reason=reason)

    def _warned(self, under_way: _UnderWay, event: Progress) -> Iterator[TrialWarned]:
        for seed, foreseen in self._search.foreseen(under_way.begun, event.records):
            reason = foreseen.text + (f" (seed {seed})" if len(under_way.trial.seeds) > 1 else "")
            self._note(under_way, EventKind.WARNED, reason)
            yield TrialWarned(trial=under_way.trial, reason=reason)

    def _note(self, under_way: _UnderWay, kind: EventKind, message: str) -> None:
        trial_id = under_way.trial_id
        self._storage.ledger.note_event(self.study_id, kind, message, trial_id=trial_id)

    def _progress(self, under_way: _UnderWay, event: Progress) -> TrialProgressed:
        """Stores records, and decides whether the trial goes on."""
        epochs = [record for record in event.records if isinstance(record.telemetry, EpochMetrics)]
        fitness = {_key(record): self._study.fitness.of(_metrics(record)) for record in epochs}
        self._storage.records.write(under_way.trial_id, event.records, fitness)
        for record in event.records:
            if isinstance(record.telemetry, LaneEnded):
                ids = (*self._search.ancestors(under_way.begun), under_way.trial_id)
                training = judged(self._study, self._storage, ids, under_way.trial, record.seed, record.telemetry)
                if training.verdict is Verdict.PARTIAL and self._search.is_at_rung(under_way.begun):
                    continue  # it waits, and may go on
                self._storage.records.end_training(under_way.trial_id, record.seed, training)
        if event.awaits_decision:
            under_way.losses = 0
            last = epochs[-1]
            # The other seeds only refine what the pruner said of the first.
            is_first = last.seed == under_way.trial.seeds[0]
            epoch = _metrics(last).epoch
            goes_on, reason = True, BEHIND
            if is_first:
                decision = self._search.report(under_way.begun, epoch, fitness[_key(last)], last.seed)
                goes_on, reason = not decision.is_pruned, FORESEEN if DOOMED in decision.attributes else BEHIND
            self._afterwards.append(partial(self._engine.decide, event.trial, goes_on=goes_on, reason=reason))
        return TrialProgressed(trial=under_way.trial, records=tuple(event.records))

    def _is_to_wait(self, under_way: _UnderWay, event: Crashed | Ended) -> bool:
        """Whether a trial is at its rung, and has not been found to have diverged there."""
        is_there = isinstance(event, Ended) and self._search.is_at_rung(under_way.begun)
        return is_there and not self._storage.records.trainings(under_way.trial_id)

    def _pause(self, under_way: _UnderWay) -> TrialPaused:
        self._has_worked, self._lost_in_a_row = True, 0
        return TrialPaused(trial=under_way.trial, outcome=self._search.pause(under_way.begun))

    def _give_up(self) -> Iterator[TrialEnded]:
        """Ends trials that wait and can never be promoted."""
        with self._storage.transactions.together():
            ends = self._search.given_up(to_come=self._to_come)
            for begun, outcome in ends:
                training = TrainingOutcome(verdict=outcome.verdict, reason=outcome.reason, fitness=outcome.fitness)
                self._storage.records.end_training(begun.trial_id, begun.trial.seeds[0], training)
                self._search.end(begun, outcome)
        yield from (TrialEnded(trial=begun.trial, outcome=outcome) for begun, outcome in ends)

    def _end(self, under_way: _UnderWay, event: Crashed | Ended) -> TrialEnded:
        outcome = self._outcome(under_way, event)
        self._search.end(under_way.begun, outcome)
        is_lost = isinstance(event, Crashed) and event.by_machine
        self._lost_in_a_row = self._lost_in_a_row + 1 if is_lost else 0
        if outcome.verdict in (*TRAINED_THROUGH, Verdict.PARTIAL):
            self._typical_seconds = self._clock() - under_way.started
        if outcome.verdict == "failed":
            self._hopeless = self._is_everything_failing()
        return TrialEnded(trial=under_way.trial, outcome=outcome)

    def _outcome(self, under_way: _UnderWay, event: Crashed | Ended) -> TrialOutcome:
        """What the trial's trainings come to; one that was under way has failed."""
        trainings, seeds = self._storage.records.trainings(under_way.trial_id), under_way.trial.seeds
        failure = traceback = None
        if isinstance(event, Crashed):
            failure = f"{event.reason}, twice without an epoch between" if event.by_machine else event.reason
            traceback = event.traceback
        elif not trainings:
            failure = traceback = "its training ended without a last record"
        if failure:
            seed = next((seed for seed in seeds if seed not in trainings), seeds[-1])
            training = TrainingOutcome(verdict=Verdict.FAILED, reason=failure)
            self._storage.records.end_training(under_way.trial_id, seed, training)
            trainings[seed] = training
        return fold(trainings, num_seeds=len(seeds), traceback=traceback)

    def _stopped(self, reason: str) -> StudyStopped:
        if self._fatal:
            text = f"{self._fatal}; put that right and run again: nothing finished is lost"
            return StudyStopped(reason=text, is_complete=False, is_failed=True)
        unfinished = self._search.unfinished()
        if not (self._to_come or unfinished or self._hopeless):
            return StudyStopped(reason=f"budget of {self._study.budget.trials} trials spent", is_complete=True)
        # Without a reason of ours, others train what is left.
        reason = reason or f"trials {unfinished} have not ended"
        return StudyStopped(reason=reason, is_complete=False, is_failed=bool(self._hopeless))


def _check_scheduler(study: Study, engine: Engine) -> None:
    found = engine.scheduler if isinstance(engine, SchedulingEngine) else "none"
    if found != study.scheduler:
        has = "stops trials by none" if found == "none" else f"has {found}"
        text = f"{study.scheduler!r} is one of Ray Tune's, and this engine {has}; take --engine ray"
        raise StudyError(f"scheduler: {text}")


def _metrics(record: Record) -> EpochMetrics:
    assert isinstance(record.telemetry, EpochMetrics)
    return record.telemetry


def _key(record: Record) -> tuple[int, str, int]:
    metrics = _metrics(record)
    return record.seed, metrics.split, metrics.epoch
