"""What a study has an objective train, the records that come back, and decisions on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from detector.telemetry import EndCause, Telemetry
from evolve.study.space import OF_PLAN


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One suggestion: the parameters to train with, once for each seed.

    Attributes:
        study: Name of the study.
        number: Position of the trial in the study, from 0.
        params: Value of each searched hyperparameter.
        seeds: Seeds of the trainings, at least one.
        parent: Number of the trial from whose last weights it goes on; None where it begins from the start.
        epochs: Epochs after which it ends, those of its parent among them; None for all of the study's.
        origin: Identity of the study, its database and its data, which its checkpoints carry.
        trains_every_seed: Whether seeds are trained after one that diverged, as an ablation counts them all.
        last_epochs: The last epoch that is stored of each training, by seed; a seed without one has no epoch yet. None
            where that is not known.

    Raises:
        ValueError: The number is negative, or seeds are missing, negative or repeated.
    """

    study: str
    number: int
    params: dict[str, float | int | str | bool]
    seeds: tuple[int, ...]
    parent: int | None = None
    epochs: int | None = None
    origin: str = ""
    trains_every_seed: bool = False
    last_epochs: Mapping[int, int] | None = None

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError(f"number: {self.number} is negative")
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: {list(self.seeds)} is not a list of different numbers, each at least 0")

    def seed_after(self, seed: int, cause: EndCause) -> int | None:
        """The seed to train with next, or None where the trial is over.

        Args:
            seed: Seed of the training that has ended.
            cause: Why that training ended.
        """
        # After one that diverges, further seeds could not make the trial converge.
        goes_on = cause is EndCause.FINISHED or (cause is EndCause.DIVERGED and self.trains_every_seed)
        place = self.seeds.index(seed) + 1
        return self.seeds[place] if goes_on and place < len(self.seeds) else None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the pruner decided about a trial after an epoch.

    Attributes:
        is_pruned: Whether the trial is stopped.
        attributes: What the pruner keeps with the trial, such as rungs that it has passed.
    """

    is_pruned: bool
    attributes: Mapping[str, Any] = field(default_factory=dict)


def plan_of_trial(study: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, int]:
    """What a trial's parameters make of a study's plan, by key; nothing where none of them is of the plan.

    Args:
        study: The study's values of the keys in `OF_PLAN`, which stand where the trial has none.
        params: Parameters of the trial.
    """
    if not any(key in params for key in OF_PLAN):
        return {}
    found = {key: int(params.get(key, study[key])) for key in OF_PLAN}
    # Fewer images than a batch has mean an update after each batch as well.
    return found | {"nominal_batch_size": max(found.values())}
