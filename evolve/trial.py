"""What a study asks an objective to train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One suggestion: the parameters to train with, once for each seed.

    Attributes:
        study: Name of the study.
        number: Position of the trial in the study, from 0.
        params: Value of each searched hyperparameter.
        seeds: Seeds of the trainings, at least one.
        origin: Identity of the study, its database and its data, which its checkpoints carry.
        last_epochs: The last epoch that is stored of each training, by seed; a seed without one has no epoch yet. None
            where that is not known.

    Raises:
        ValueError: The number is negative, or seeds are missing, negative or repeated.
    """

    study: str
    number: int
    params: dict[str, float | int | str | bool]
    seeds: tuple[int, ...]
    origin: str = ""
    last_epochs: Mapping[int, int] | None = None

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError(f"number: {self.number} is negative")
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: {list(self.seeds)} is not a list of different numbers, each at least 0")
