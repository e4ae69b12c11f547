"""One trial at a time in this process: the plainest engine, and the oracle for the others."""

from __future__ import annotations

import traceback
from collections.abc import Generator, Iterator

from evolve.run.engines.base import Ended, EngineEvent, Progress, in_batches
from evolve.run.engines.crash import crash_of
from evolve.run.objective import MakeObjective
from evolve.study.trial import Record, Trial


class SerialEngine:
    """Trains in the calling process, a batch of records each time events are asked for."""

    capacity = 1

    def __init__(self, make_objective: MakeObjective) -> None:
        self._objective = make_objective()
        self._trial: Trial | None = None
        self._records: Generator[Record, None, None] | None = None
        self._batches: Iterator[tuple[list[Record], bool]] = iter(())
        self._awaits_decision = False

    def submit(self, trial: Trial) -> None:
        assert self._trial is None
        self._trial = trial
        self._records = self._objective(trial)
        self._batches = in_batches(self._records)

    def events(self, timeout: float) -> list[EngineEvent]:  # noqa: ARG002 - training is the waiting
        if self._trial is None or self._awaits_decision:
            return []
        number = self._trial.number
        try:
            records, awaits_decision = next(self._batches)
        except StopIteration:
            self._finish()
            return [Ended(trial=number)]
        except Exception as error:
            self._finish()
            return [crash_of(number, error, traceback.format_exc())]
        self._awaits_decision = awaits_decision
        return [Progress(trial=number, records=records, awaits_decision=awaits_decision)]

    def decide(self, trial: int, *, goes_on: bool) -> None:
        assert self._awaits_decision and self._trial is not None and self._trial.number == trial
        self._awaits_decision = False
        if not goes_on:
            self._close_records()
            self._batches = iter(())

    def hurry(self) -> None:
        """Nothing to do: training is the waiting."""

    def close(self) -> None:
        self._close_records()
        self._finish()

    def _finish(self) -> None:
        self._trial, self._records, self._batches, self._awaits_decision = None, None, iter(()), False

    def _close_records(self) -> None:
        if self._records is not None:
            self._records.close()
