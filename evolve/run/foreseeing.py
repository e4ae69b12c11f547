"""What the steps of trainings under way foretell, as they come; a run that goes on knows as much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from detector.telemetry import LaneStarted, StepTelemetry
from evolve.outcome.warnings import Foreseen, Kind, Watch
from evolve.storage.records import Records
from evolve.study import Study
from evolve.study.space import Scalar
from evolve.study.trial import Record


@dataclass(slots=True)
class _Watched:
    """A training that is watched.

    Attributes:
        watch: What its steps have come to.
        has_warned: Whether any step has foretold anything.
    """

    watch: Watch
    has_warned: bool = False

    def see(self, step: StepTelemetry) -> Foreseen | None:
        """Takes one more step in; the evidence where it is the first that foretells anything.

        A step whose loss is no number foretells nothing any more.
        """
        foreseen = self.watch.see(step)
        if foreseen is None or self.has_warned or not step.is_finite:
            return None
        self.has_warned = True
        return foreseen


class Foresight:
    """Watches the trainings of trials, each from its first step on.

    A training that goes on from a checkpoint yields the steps again that it had yielded before, so what has been seen
    of them stays true, and those that another run saw are stored. One that goes on from where another trial was, as
    members of a population do, is not watched: its first update was that trial's.

    Args:
        records: Records that are stored.
        study: Study of the trials, with the levels from which on the steps of a training warn.
    """

    def __init__(self, records: Records, study: Study) -> None:
        self._records, self._study = records, study
        self._watched: dict[tuple[int, int], _Watched] = {}

    def see(self, trial_id: int, params: Mapping[str, Scalar], records: Sequence[Record]) -> list[tuple[int, Foreseen]]:
        """Takes records in, before they are stored; seed and evidence of each training that warns for the first time.

        Args:
            trial_id: Optuna's id of the trial.
            params: Values of all that the study searches, in that trial.
            records: What its trainings have yielded since it was last asked.
        """
        found = []
        for record in records:
            key, telemetry = (trial_id, record.seed), record.telemetry
            if isinstance(telemetry, LaneStarted):
                self._begin(key, params, telemetry.step)
            elif isinstance(telemetry, StepTelemetry) and (watched := self._watched.get(key)) is not None:
                is_new = telemetry.step >= watched.watch.num_steps
                if is_new and (warning := watched.see(telemetry)) is not None:
                    found.append((record.seed, warning))
        return found

    def foretold(self, trial_id: int, seed: int) -> str:
        """Why a training is doomed at its last step, with the evidence; empty where it is not, or recovers.

        Args:
            trial_id: Optuna's id of the trial.
            seed: Seed of the training.
        """
        watched = self._watched.get((trial_id, seed))
        doom = None if watched is None else watched.watch.doom
        return "" if doom is None else doom.text

    def forget(self, trial_id: int) -> None:
        """Lets go of a trial that has ended."""
        for key in [key for key in self._watched if key[0] == trial_id]:
            del self._watched[key]

    def _begin(self, key: tuple[int, int], params: Mapping[str, Scalar], start: int) -> None:
        """Makes sure that all stored steps of a training have been seen, those before it goes on among them."""
        if key in self._watched:
            return
        watched = _Watched(Watch(self._study.warnings, Kind.of(self._study.hyperparameters(params))))
        for step in self._records.steps(*key):
            if step.step == watched.watch.num_steps:
                watched.see(step)
        if watched.watch.num_steps >= start:
            self._watched[key] = watched
