"""What one hyperparameter of a search space varies over, and what a person thinks of it beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, isclose, isfinite, log, nan
from typing import TYPE_CHECKING, Any

from evolve.errors import shown

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Scalar = float | str | bool
MAX_POINTS = 100_000  # of a grid and of each range in it; the grid is held in memory
CONFIDENCES = ("low", "medium", "high")
AROUND = ("critical",)
BELOW, ABOVE, MAX_FACTOR = 100.0, 4.0, 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """Where a person thinks that the best value is.

    Attributes:
        centre: The value that is thought to be good.
        confidence: low, medium or high: how near to it the best one is thought to be.

    Raises:
        ValueError: The confidence is none of these.
    """

    centre: Scalar
    confidence: str = CONFIDENCES[0]

    def __post_init__(self) -> None:
        if self.confidence not in CONFIDENCES:
            raise ValueError(f"confidence {shown(self.confidence)} is not one of {', '.join(CONFIDENCES)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """How a range lies around something that is measured before the first trial.

    Attributes:
        what: What is measured: `critical`, the learning rate beyond which short trainings do not bear their own
            updates.
        below, above: Factors: the range begins at what is measured over `below`, and ends at `above` times it.
        edge: Value that was measured; None while nobody has measured it.
        measured: The highest rate that was borne and the lowest that was not; none where a person has named the edge.

    Raises:
        ValueError: One of these is not allowed.
    """

    what: str = AROUND[0]
    below: float = BELOW
    above: float = ABOVE
    edge: float | None = None
    measured: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.what not in AROUND:
            raise ValueError(f"around {shown(self.what)} is not one of {', '.join(AROUND)}")
        for name in ("below", "above"):
            factor = getattr(self, name)
            if not 1 <= factor <= MAX_FACTOR:
                raise ValueError(f"{name} {factor:g} is not a factor of 1 to {MAX_FACTOR:,}")
        if self.below == self.above == 1:
            raise ValueError("below and above are both 1, which leaves a single value; raise one of them")
        if self.edge is not None and not (isfinite(self.edge) and self.edge > 0):
            raise ValueError(f"edge {self.edge:g} is not a number above 0")

    def ends(self, unmeasured: float) -> tuple[float, float]:
        """Lower and upper end of the range, to three digits.

        Args:
            unmeasured: Value that stands for the edge while nobody has measured it.
        """
        edge = unmeasured if self.edge is None else self.edge
        return float(f"{edge / self.below:.3g}"), float(f"{edge * self.above:.3g}")

    def to_mapping(self) -> dict[str, Any]:
        """Keys and values that are written of it in a study."""
        written: dict[str, Any] = {"around": self.what, "below": self.below, "above": self.above}
        return written if self.edge is None else written | {"edge": self.edge, "measured": list(self.measured)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Numbers between two ends, both included.

    Attributes:
        low, high: Smallest and largest value.
        log: Whether equal ratios count as equal steps.
        step: Distance of the allowed values from `low` on, or None for all numbers.
        points: Number of values in a grid, or None to fit the budget of trials.
        prior: What a person thinks of the best value beforehand, or None.
        around: What the ends follow from, or None where they are given; while nobody has measured it, they stand around
            the default.

    Raises:
        ValueError: The ends, the step, the number of points or the prior are not allowed.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    points: int | None = None
    prior: Prior | None = None
    around: Around | None = None

    def __post_init__(self) -> None:
        if not (isfinite(self.low) and isfinite(self.high)):
            raise ValueError(f"low {self.low:g} and high {self.high:g} are not both finite")
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low {self.low:g} is not above 0, which log needs")
        if self.step is not None:
            self._check_step(self.step)
        if self.points is not None and self.points < 2:
            raise ValueError(f"points {self.points} is not at least 2, one for each end")
        if self.points is not None and self.points > MAX_POINTS:
            raise ValueError(f"points {self.points} is above {MAX_POINTS:,}")
        if self.prior is not None and self.is_placed and not self.holds(self.prior.centre):
            raise ValueError(f"centre {shown(self.prior.centre)} of the prior is outside {self.low:g}..{self.high:g}")

    @property
    def is_placed(self) -> bool:
        """Whether its ends are known."""
        return self.around is None or self.around.edge is not None

    @property
    def largest(self) -> float:
        """The upper end."""
        return self.high

    @property
    def most_points(self) -> int | None:
        """Number of values the range has, or None for any number."""
        return None if self.step is None else round((self.high - self.low) / self.step) + 1

    def holds(self, value: Scalar) -> bool:
        """Whether a value lies between the ends; steps are not looked at."""
        return not isinstance(value, str | bool) and self.low <= value <= self.high

    def distribution(self) -> BaseDistribution:
        """The range as a distribution of Optuna's."""
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def values(self, count: int) -> list[float]:
        """Values at equal steps (ratios under log), both ends included, to six digits between them.

        Args:
            count: Number of values, at least 2.
        """
        inner = [self._at(index / (count - 1)) for index in range(1, count - 1)]
        return [self.low, *inner, self.high]

    def to_mapping(self) -> dict[str, Any]:
        """The range as it may be written in a study."""
        optional = {"step": self.step, "points": self.points, **_written(self.prior)}
        if self.around is not None:
            optional |= self.around.to_mapping()
            if not self.is_placed:
                return {key: value for key, value in optional.items() if value is not None}
        return {"low": self.low, "high": self.high, "log": self.log} | {
            key: value for key, value in optional.items() if value is not None
        }

    def _at(self, part: float) -> float:
        if self.step is not None:
            value = self.low + self.step * round(part * (self.high - self.low) / self.step)
        elif self.log:
            value = exp(log(self.low) + part * (log(self.high) - log(self.low)))
        else:
            value = self.low + part * (self.high - self.low)
        return min(max(float(f"{value:.6g}"), self.low), self.high)

    def _check_step(self, step: float) -> None:
        if self.log:
            raise ValueError("log and step exclude each other; leave one out")
        if not (isfinite(step) and 0 < step <= self.high - self.low):
            raise ValueError(f"step {step:g} is not above 0 and at most {self.high - self.low:g}")
        steps = (self.high - self.low) / step
        if steps > MAX_POINTS:
            raise ValueError(f"step {step:g} leads to {steps:.3g} values; allowed: {MAX_POINTS:,}")
        if not isclose(steps, round(steps), rel_tol=1e-9):
            raise ValueError(f"step {step:g} does not lead from low {self.low:g} to high {self.high:g}")
        if self.points is not None and self.points > round(steps) + 1:
            raise ValueError(f"points {self.points} is above {round(steps) + 1}, all values at step {step:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Values without an order.

    Attributes:
        choices: Values to choose from, at least one, none repeated.
        prior: What a person thinks of the best value beforehand, or None.

    Raises:
        ValueError: There are none, one is repeated, or the prior is not allowed.
    """

    choices: tuple[Scalar, ...]
    prior: Prior | None = None

    def __post_init__(self) -> None:
        if not self.choices:
            raise ValueError("choices is empty; name at least one")
        if len({(type(choice), choice) for choice in self.choices}) < len(self.choices):
            raise ValueError(f"choices {shown(list(self.choices))} repeats a value")
        if self.prior is not None and not self.holds(self.prior.centre):
            raise ValueError(
                f"centre {shown(self.prior.centre)} of the prior is not one of {shown(list(self.choices))}"
            )

    @property
    def largest(self) -> float:
        """The largest number among the choices; nan where none is a number."""
        return max((choice for choice in self.choices if not isinstance(choice, str | bool)), default=nan)

    def holds(self, value: Scalar) -> bool:
        """Whether a value is one of the choices."""
        return value in self.choices

    def distribution(self) -> BaseDistribution:
        """The choices as a distribution of Optuna's."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.choices)

    def to_mapping(self) -> dict[str, Any]:
        """The choices as they may be written in a study."""
        return {"choices": list(self.choices), **_written(self.prior)}


def _written(prior: Prior | None) -> dict[str, Any]:
    return {} if prior is None else {"prior": {"centre": prior.centre, "confidence": prior.confidence}}
