"""What became of every training of an ablation: one arm, one seed, one number or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

OUTCOMES = ("finished", "diverged", "failed", "missing")


@dataclass(frozen=True, slots=True)
class ArmRun:
    """One training of one arm with one seed.

    Attributes:
        arm: Name of the arm.
        seed: Seed that the arm was trained with; arms are compared seed by seed.
        value: Value of the metric, higher is better; None unless the training finished.
        outcome: One of OUTCOMES: trained to its end; its loss or its weights left all bounds; ended by the machine or
            by a mistake; not trained (yet).

    Raises:
        ValueError: The outcome is none of them, or there is a value exactly where there must not be one.
    """

    arm: str
    seed: int
    value: float | None
    outcome: str

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES:
            raise ValueError(f"arm {self.arm}, seed {self.seed}: outcome {self.outcome!r}; allowed: {OUTCOMES}")
        has_value = self.value is not None and isfinite(self.value)
        if has_value != (self.outcome == "finished"):
            allowed = "a finite number if finished, else None"
            raise ValueError(f"arm {self.arm}, seed {self.seed}: {self.outcome} with value {self.value}; {allowed}")
