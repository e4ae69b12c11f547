"""Trials in this process, one after another or several side by side: the plainest engine, and the oracle for others.

Trials of the same fuse key make up a cohort, which is trained by one training; cohorts take turns, an epoch each. What
happens follows from what was submitted and decided alone, never from a clock.
"""

from __future__ import annotations

import traceback
from collections.abc import Generator, Hashable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace

from detector.telemetry import EpochMetrics
from evolve.run.engines.base import (
    BEHIND,
    Ended,
    EngineEvent,
    Parted,
    in_batches,
    is_over,
    progress_of,
)
from evolve.run.engines.crash import crash_of, is_out_of_memory
from evolve.run.objective import MakeObjective, Training
from evolve.study.trial import Record, Trial


@dataclass(slots=True)
class _Cohort:
    """Trials that one training trains.

    Attributes:
        is_closed: Whether no others may join, since it was parted from some that it could not be trained with.
    """

    key: Hashable
    trials: dict[int, Trial]
    is_closed: bool = False
    training: Training | None = None
    ended: list[int] = field(default_factory=list)


class SerialEngine:
    """Trains in the calling process, a batch of records each time events are asked for.

    Args:
        make_objective: Makes the objective; called at once.
        lanes: Most trials that are trained side by side, at least 1.

    Raises:
        ValueError: Fewer than one lane.
    """

    def __init__(self, make_objective: MakeObjective, *, lanes: int = 1) -> None:
        if lanes < 1:
            raise ValueError(f"lanes: {lanes} is not at least 1")
        self._objective = make_objective()
        self._lanes = self._most = lanes  # the second is less once memory has run out
        self._cohorts: list[_Cohort] = []
        self._turn: Generator[list[EngineEvent], None, None] | None = None
        self._undecided: dict[int, tuple[int, int]] = {}  # seed and epoch of what is to be decided on, by trial
        self._is_measured = False  # all of the cohort whose turn it is
        self._found: list[EngineEvent] = []

    @property
    def capacity(self) -> int:
        return self._lanes

    @property
    def awaits(self) -> bool:
        """Whether nothing goes on before a decision or a new trial."""
        return not self._found and (not self._cohorts or (self._is_measured and bool(self._undecided)))

    def submit(self, trial: Trial) -> None:
        try:
            key = self._objective.fuse_key(trial)
            cohort = next((cohort for cohort in self._cohorts if self._takes(cohort, key)), None)
            if cohort is None:
                self._cohorts.append(_Cohort(key, {trial.number: trial}))
                return
            if cohort.training is not None:
                cohort.training.admit(trial)
            cohort.trials[trial.number] = trial
        except Exception as error:
            self._found.append(crash_of(trial.number, error, traceback.format_exc()))

    def events(self, timeout: float) -> list[EngineEvent]:  # noqa: ARG002 - training is the waiting
        if self._found:
            found, self._found = self._found, []
            return found
        if not self._cohorts:
            return []
        cohort = self._cohorts[0]
        self._turn = self._turn or self._one_turn(cohort)
        try:
            return next(self._turn)
        except StopIteration:
            return self._pass_on(cohort)
        except Exception as error:
            return self._broken(cohort, error)

    def decide(self, trial: int, *, goes_on: bool, reason: str = BEHIND) -> None:
        if trial not in self._undecided:  # it has been parted from others since, and will ask again
            return
        seed, epoch = self._undecided.pop(trial)
        cohort = next(cohort for cohort in self._cohorts if trial in cohort.trials)
        mine = cohort.trials[trial]
        # What is decided on has been stored; from there the trial goes on should it have to start again.
        cohort.trials[trial] = replace(mine, last_epochs={**(mine.last_epochs or {}), seed: epoch})
        if not goes_on:
            assert cohort.training is not None
            cohort.training.stop(trial, reason)

    def hurry(self) -> None:
        """Nothing to do: training is the waiting."""

    def close(self) -> None:
        if self._turn is not None:
            self._turn.close()
        self._turn, self._cohorts, self._found = None, [], []
        self._undecided.clear()

    def _takes(self, cohort: _Cohort, key: Hashable) -> bool:
        return cohort.key == key and not cohort.is_closed and len(cohort.trials) < self._most

    def _one_turn(self, cohort: _Cohort) -> Generator[list[EngineEvent], None, None]:
        """An epoch of all trials of a cohort."""
        if cohort.training is None:
            cohort.training = self._objective.start([*cohort.trials.values()])
        yield from self._passed_on(cohort, cohort.training.train_epoch())
        self._is_measured = True
        while self._undecided:
            yield []
        self._is_measured = False
        yield from self._passed_on(cohort, cohort.training.settle())

    def _passed_on(self, cohort: _Cohort, records: Generator[Record, None, None]) -> Iterator[list[EngineEvent]]:
        with closing(records):
            for batch, awaits_decision in in_batches(records):
                for record in batch:
                    if is_over(cohort.trials[record.trial], record):
                        cohort.ended.append(record.trial)
                if awaits_decision:
                    metrics = batch[-1].telemetry
                    assert isinstance(metrics, EpochMetrics)
                    self._undecided[batch[-1].trial] = batch[-1].seed, metrics.epoch
                events: list[EngineEvent] = [*progress_of(batch, awaits_decision=awaits_decision)]
                yield events

    def _pass_on(self, cohort: _Cohort) -> list[EngineEvent]:
        """Ends a cohort's turn; it waits behind the others for its next."""
        ended: list[EngineEvent] = [Ended(trial=number) for number in cohort.ended]
        for number in cohort.ended:
            del cohort.trials[number]
        cohort.ended = []
        self._turn = None
        self._cohorts.remove(cohort)
        if cohort.trials:
            self._cohorts.append(cohort)
        return ended

    def _broken(self, cohort: _Cohort, error: Exception) -> list[EngineEvent]:
        """A training that raised: with several trials it is tried again in halves, so that one fails for itself."""
        text = traceback.format_exc()
        trials = [trial for number, trial in cohort.trials.items() if number not in cohort.ended]
        ended: list[EngineEvent] = [Ended(trial=number) for number in cohort.ended]
        self._turn, self._is_measured = None, False
        self._cohorts.remove(cohort)
        self._undecided.clear()
        crashes = [crash_of(trial.number, error, text) for trial in trials]
        if len(trials) < 2 or crashes[0].is_fatal:
            return [*ended, *crashes]
        half = (len(trials) + 1) // 2
        if is_out_of_memory(error):
            self._most = min(self._most, half)
        for part in (trials[:half], trials[half:]):
            mine = {trial.number: trial for trial in part}
            self._cohorts.append(_Cohort(cohort.key, mine, is_closed=not is_out_of_memory(error)))
        reason = f"{crashes[0].reason}; goes on from its last checkpoint with {half} instead of {len(trials)} lanes"
        return [*ended, *(Parted(trial=trial.number, reason=reason) for trial in trials)]
