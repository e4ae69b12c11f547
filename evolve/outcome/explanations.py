"""What is said of a training that diverged: causes, the evidence for each in numbers, and what to change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Value = float | str | bool


class Cause(StrEnum):
    """Why a training diverged."""

    RATE = "rate"
    BOX_SIZE = "box_size"
    SPIKE = "spike"
    BAD_LABEL = "bad_label"
    HALF_PRECISION = "half_precision"
    WARMUP = "warmup"
    MOMENTUM = "momentum"
    BIAS_RATE = "bias_rate"
    LOSS_GAIN = "loss_gain"
    INITIALISATION = "initialisation"
    UNKNOWN = "unknown"

    @property
    def text(self) -> str:
        """The cause in words."""
        return _TEXTS[self]


_TEXTS = {
    Cause.RATE: "learning rate above the stable limit",
    Cause.BOX_SIZE: "box size overflows through exp",
    Cause.SPIKE: "gradient spike on one batch",
    Cause.BAD_LABEL: "a label that cannot be learned",
    Cause.HALF_PRECISION: "overflow of half precision",
    Cause.WARMUP: "no warm-up, or too short a one",
    Cause.MOMENTUM: "momentum and learning rate together",
    Cause.BIAS_RATE: "learning rate of biases in the warm-up",
    Cause.LOSS_GAIN: "gain of a loss term",
    Cause.INITIALISATION: "first weights too large",
    Cause.UNKNOWN: "unknown: nothing stands out",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """One thing to change.

    Attributes:
        name: Name of a hyperparameter, or `precision` for that of the study.
        before: Value that it had.
        value: Value to set it to.
        why: Where the value is from, in a clause.
    """

    name: str
    before: Value
    value: Value
    why: str

    @property
    def direction(self) -> str:
        """lower or raise, and set for a choice."""
        if isinstance(self.value, str | bool) or isinstance(self.before, str | bool):
            return "set"
        return "lower" if self.value < self.before else "raise"

    @property
    def setting(self) -> str:
        """As it is written on a command line, `name=value`."""
        return f"{self.name}={_written(self.value)}"

    @property
    def text(self) -> str:
        """Knob, direction and value in a clause."""
        return f"{self.direction} {self.name} from {_written(self.before)} to {_written(self.value)} ({self.why})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One cause that the evidence speaks for.

    Attributes:
        cause: Cause that is meant.
        strength: How strong the evidence is, in powers of ten beyond what sound trainings show.
        evidence: Numbers that speak for the cause, by words for what they are.
        remedies: Changes to make, all of them together; empty where none is known to help.
    """

    cause: Cause
    strength: float
    evidence: Mapping[str, float] = field(default_factory=dict)
    remedies: tuple[Remedy, ...] = ()

    @property
    def text(self) -> str:
        """Cause and evidence in a clause."""
        return f"{self.cause.text} ({self.numbers})" if self.evidence else self.cause.text

    @property
    def numbers(self) -> str:
        """The evidence alone."""
        return ", ".join(f"{name} {value:.3g}" for name, value in self.evidence.items())

    @classmethod
    def from_mapping(cls, stored: Mapping[str, Any]) -> Explanation:
        """The explanation that `dataclasses.asdict` made a mapping of.

        Raises:
            KeyError: Something is missing.
            ValueError: The cause is not known.
        """
        return cls(
            cause=Cause(stored["cause"]),
            strength=float(stored["strength"]),
            evidence={str(name): float(value) for name, value in stored["evidence"].items()},
            remedies=tuple(Remedy(**remedy) for remedy in stored["remedies"]),
        )


def causes_of(diagnosis: Mapping[str, Any]) -> tuple[Explanation, ...]:
    """Causes in a diagnosis as it is stored, the strongest first; empty where it has none, or none that is known."""
    try:
        return tuple(Explanation.from_mapping(cause) for cause in diagnosis.get("causes", ()))
    except (AttributeError, KeyError, TypeError, ValueError):
        return ()  # of another program or version, or cut short


def remedies_of(diagnosis: Mapping[str, Any]) -> tuple[Remedy, ...]:
    """What the strongest cause in a stored diagnosis asks for, all of it together."""
    causes = causes_of(diagnosis)
    return causes[0].remedies if causes else ()


def _written(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else f"{value:.6g}"
