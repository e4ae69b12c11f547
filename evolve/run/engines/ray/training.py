"""What runs in a process of Ray's: the engine of one process, a batch of its records a call.

Tune's class interface and not its function interface: there each step is a call of the controller's, so the decision
about an epoch is the next call or its absence. A function would be left in a thread of its own, which Tune can only
wait for; and a process whose thread does not end within two seconds is given up together with the next trial.
"""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune
from ray.exceptions import RayTaskError

from evolve.run.engines.base import Crashed, Ended, EngineEvent, Progress
from evolve.run.engines.crash import crash_of
from evolve.run.engines.ray.files import Mirror
from evolve.run.engines.serial import SerialEngine
from evolve.run.objective import MakeObjective
from evolve.study.trial import Trial

# Keys of a Tune trial's configuration and of its results.
TRIAL = "evolve_trial"
EVENTS = "evolve_events"
_WAIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What each process needs once.

    Attributes:
        make_objective: Makes the objective, called with the first trial; must be picklable.
        folder: Working directory of the driver, against which relative paths are meant.
        mirror: The way to the driver's checkpoints; None where all processes are on its machine.
    """

    make_objective: MakeObjective
    folder: Path
    mirror: Mirror | None = None


class TuneTraining(tune.Trainable):
    """One trial at a time; the objective, and with it program and data, stays from trial to trial."""

    def setup(self, config: dict[str, Any], wiring: Wiring) -> None:  # type: ignore[override]  # by tune.with_parameters
        """Takes the first trial; nothing is loaded yet, so that a failure is the trial's to report."""
        self._wiring = wiring
        self._mirror = wiring.mirror if wiring.mirror is not None and wiring.mirror.is_needed else None
        self._engine: SerialEngine | None = None
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes the next trial, after ending the one before where it was stopped."""
        self._give_up()
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """The next events of the training. Being called after a validated epoch is the decision to go on."""
        try:
            return {EVENTS: self._next()}
        except RayTaskError as error:  # of the driver's folder, whose disk may be full
            return {EVENTS: [crash_of(self._trial.number, error.cause, str(error))]}
        except Exception as error:
            return {EVENTS: [crash_of(self._trial.number, error, traceback.format_exc())]}

    def cleanup(self) -> None:
        """Ends the training under way."""
        self._give_up()

    def _begin(self, config: dict[str, Any]) -> None:
        self._trial: Trial = config[TRIAL]
        self._is_submitted = self._awaits_decision = False
        if self._wiring.folder.is_dir():  # Tune has moved the process to a folder of its own
            os.chdir(self._wiring.folder)

    def _next(self) -> list[EngineEvent]:
        if self._engine is None:
            self._engine = SerialEngine(self._wiring.make_objective)
        if not self._is_submitted:
            if self._mirror is not None:
                self._mirror.fetch(self._trial)
            self._engine.submit(self._trial)
            self._is_submitted = True
        if self._awaits_decision:
            self._engine.decide(self._trial.number, goes_on=True)
        events = self._engine.events(_WAIT_SECONDS)
        while not events and not self._engine.awaits:  # between two of its turns
            events = self._engine.events(_WAIT_SECONDS)
        self._awaits_decision = any(isinstance(event, Progress) and event.awaits_decision for event in events)
        self._is_submitted = not any(isinstance(event, Ended | Crashed) for event in events)
        if self._mirror is not None:
            self._mirror.keep(record for event in events if isinstance(event, Progress) for record in event.records)
        return events

    def _give_up(self) -> None:
        if self._engine is not None and self._is_submitted:
            self._engine.close()
        self._is_submitted = False
