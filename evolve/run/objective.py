"""The seam between search and training: an objective turns a trial into a stream of records."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Protocol

from evolve.study.trial import Record, Trial


class Objective(Protocol):
    """Trains a trial, once for each of its seeds, going on from its checkpoints where there are any."""

    def __call__(self, trial: Trial) -> Generator[Record, None, None]:
        """The records of the trial; closing the generator ends the training."""


# Made anew in each worker process, so it must be picklable itself: a function of a module, or a partial of one.
MakeObjective = Callable[[], Objective]
