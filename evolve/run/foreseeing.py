"""What the steps of trainings under way foretell, of those that are stored: a run that goes on knows as much."""

from __future__ import annotations

from collections.abc import Mapping

from evolve.outcome.warnings import Foreseen, Kind, Watch
from evolve.storage.records import Records
from evolve.study import Study
from evolve.study.space import Scalar


class Foresight:
    """Watches the trainings of trials, each from its first step on.

    It is asked once an epoch, when all steps of the epoch are stored. A training that goes on from a checkpoint yields
    the steps again that it had yielded before, so what has been seen of them stays true.

    Args:
        records: Records that are stored, whose steps are read.
        study: Study of the trials, with the levels from which on the steps of a training warn.
    """

    def __init__(self, records: Records, study: Study) -> None:
        self._records, self._study = records, study
        self._watches: dict[tuple[int, int], Watch] = {}

    def foretold(self, trial_id: int, seed: int, params: Mapping[str, Scalar]) -> str:
        """Why a training is doomed at its last stored step, with the evidence; empty where it is not, or recovers.

        Args:
            trial_id: Optuna's id of the trial.
            seed: Seed of the training.
            params: Values of all that the study searches, in that trial.
        """
        watch = self._watches.get((trial_id, seed))
        if watch is None:
            watch = Watch(self._study.warnings, Kind.of(self._study.hyperparameters(params)))
            self._watches[trial_id, seed] = watch
        found: Foreseen | None = None
        for step in self._records.steps(trial_id, seed, first=watch.num_steps):
            found = watch.see(step)
        return "" if found is None or watch.is_recovering else found.text

    def forget(self, trial_id: int) -> None:
        """Lets go of a trial that has ended."""
        for key in [key for key in self._watches if key[0] == trial_id]:
            del self._watches[key]
