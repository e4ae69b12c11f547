"""What a study asks an objective to train."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One suggestion: the parameters to train with, once for each seed.

    Attributes:
        study: Name of the study.
        number: Position of the trial in the study, from 0.
        params: Value of each searched hyperparameter.
        seeds: Seeds of the trainings, at least one.

    Raises:
        ValueError: The number is negative, or seeds are missing, negative or repeated.
    """

    study: str
    number: int
    params: dict[str, float | int | str | bool]
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError(f"number: {self.number} is negative")
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: {list(self.seeds)} is not a list of different numbers, each at least 0")
