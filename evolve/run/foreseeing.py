"""What the steps of trainings under way foretell, of those that are stored: a run that goes on knows as much."""

from __future__ import annotations

from evolve.outcome.warnings import Foreseen, Kind, Watch
from evolve.storage.records import Records
from evolve.study import Warnings


class Foresight:
    """Watches the trainings of trials, each from its first step on.

    It is asked once an epoch, when all steps of the epoch are stored. A training that goes on from a checkpoint yields
    the steps again that it had yielded before, so what has been seen of them stays true.

    Args:
        records: Records that are stored, whose steps are read.
        warnings: Levels from which on the steps of a training warn, and how many warnings doom it.
    """

    def __init__(self, records: Records, warnings: Warnings) -> None:
        self._records, self._warnings = records, warnings
        self._watches: dict[tuple[int, int], Watch] = {}

    def foretold(self, trial_id: int, seed: int, kind: Kind) -> str:
        """Why a training of some kind is doomed at its last stored step, with the evidence; empty where it is not."""
        watch = self._watches.setdefault((trial_id, seed), Watch(self._warnings, kind))
        found: Foreseen | None = None
        for step in self._records.steps(trial_id, seed, first=watch.num_steps):
            found = watch.see(step)
        return "" if found is None else found.text

    def forget(self, trial_id: int) -> None:
        """Lets go of a trial that has ended."""
        for key in [key for key in self._watches if key[0] == trial_id]:
            del self._watches[key]
