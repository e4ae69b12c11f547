"""The seam between search and training: an objective turns a trial into a stream of records."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Protocol

from detector.telemetry import Telemetry
from evolve.trial import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One piece of telemetry of one of a trial's trainings.

    Attributes:
        trial: Number of the trial.
        seed: Seed of the training.
        telemetry: What the trainer yielded.
    """

    trial: int
    seed: int
    telemetry: Telemetry


class Objective(Protocol):
    """Trains a trial, once for each of its seeds, going on from its checkpoints where there are any."""

    def __call__(self, trial: Trial) -> Generator[Record, None, None]:
        """The records of the trial; closing the generator ends the training."""


# Made anew in each worker process, so it must be picklable itself: a function of a module, or a partial of one.
MakeObjective = Callable[[], Objective]
