"""What a run of a study reports while it goes on, from a trial that begins to the run's end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evolve.outcome.training import TrialOutcome
from evolve.study.trial import Record, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class StartChecked:
    """The weights that trainings start from can be used; the text says what is taken from them."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LanesChosen:
    """Trials side by side in each process, and why.

    Attributes:
        lanes: Number of trials side by side that is taken.
        rates: Images a second of all lanes together, by number of lanes that was tried.
        reason: Why no more were tried or taken.
    """

    lanes: int
    rates: Mapping[int, float]
    reason: str

    @property
    def text(self) -> str:
        """The number, the reason and the rates in a line, for people."""
        rates = ", ".join(f"{lanes}: {rate:.0f}" for lanes, rate in self.rates.items())
        return f"lanes {self.lanes}: {self.reason} (images/s by number of lanes: {rates})"


@dataclass(frozen=True, slots=True, kw_only=True)
class RangesPlaced:
    """Ranges lie around what was measured before the first trial; a text for each."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyGoesOn:
    """The study has trials that ended before.

    Attributes:
        num_ended: Number of these trials.
        best: Number of the best of them; None where none trained through.
        fitness: Fitness of the best; NaN where there is none.
    """

    num_ended: int
    best: int | None
    fitness: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStarted:
    """A trial begins to train, or goes on from where it was stopped."""

    trial: Trial
    is_resumed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialProgressed:
    """Records of a trial, already stored."""

    trial: Trial
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLost:
    """A trial's worker died or was killed; the trial goes on from its last checkpoint."""

    trial: Trial
    reason: str
    is_retried: bool  # in this run; else in the next


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointPassedOver:
    """A trial did not go on from a checkpoint that is there, but from one before it or from its beginning."""

    trial: Trial
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LanesParted:
    """The training of several trials raised, as when memory ran out; the trial goes on with fewer beside it."""

    trial: Trial
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialWarned:
    """The steps of a training foretell for the first time that it is going to be lost; it trains on."""

    trial: Trial
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseAway:
    """The database does not answer; the run waits, and goes on from what it holds when it is back."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPaused:
    """A trial has come to a rung and waits there with its checkpoint; it goes on if it is promoted."""

    trial: Trial
    outcome: TrialOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEnded:
    """A trial is judged, and its outcome stored and passed on to Optuna."""

    trial: Trial
    outcome: TrialOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyStopped:
    """The run of a study has ended; no event comes after this one.

    Attributes:
        reason: Why the run ended, in words.
        is_complete: Whether the budget of trials is spent and each of them has ended.
        is_failed: Whether something a person must put right ended it.
    """

    reason: str
    is_complete: bool
    is_failed: bool = False


RunEvent = (
    StartChecked
    | LanesChosen
    | RangesPlaced
    | StudyGoesOn
    | TrialStarted
    | TrialProgressed
    | WorkerLost
    | CheckpointPassedOver
    | LanesParted
    | TrialWarned
    | DatabaseAway
    | TrialPaused
    | TrialEnded
    | StudyStopped
)
