"""The seam between search and training: an objective turns trials into trainings that yield records."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Sequence
from typing import Protocol

from evolve.study.trial import Record, Trial


class Training(Protocol):
    """Trials trained side by side, each with its seeds one after another, from their checkpoints where there are any.

    An epoch of all of them is `train_epoch`, then `stop` for those that shall not go on, then `settle`. Closing either
    generator ends the training.
    """

    def admit(self, trial: Trial) -> None:
        """Lets one more trial join when the next epoch begins; its fuse key is that of the others."""

    def train_epoch(self) -> Generator[Record, None, None]:
        """The records of an epoch of each trial, with the metrics on the validation images that it ends with."""

    def stop(self, trial: int, reason: str) -> None:
        """Ends a trial, by its number, when the training settles; its last record carries the reason."""

    def settle(self) -> Generator[Record, None, None]:
        """The records of what follows an epoch: trials that were stopped, checkpoints, and trainings that are over."""


class Objective(Protocol):
    """Trains trials."""

    def fuse_key(self, trial: Trial) -> Hashable:
        """Trials of equal keys may be trained by one training.

        Raises:
            ValueError: The trial's parameters are not allowed.
        """

    def start(self, trials: Sequence[Trial]) -> Training:
        """A training of at least one trial, of equal keys."""


# Made anew in each worker process, so it must be picklable itself: a function of a module, or a partial of one.
MakeObjective = Callable[[], Objective]
