"""What is done with an update whose gradient norm is a spike; standard library only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import sqrt


@dataclass(frozen=True, slots=True, kw_only=True)
class NormHistory:
    """What is known of the gradient norms of a lane's updates.

    Attributes:
        count: Number of the norms so far.
        mean, variance: Mean and variance of all norms up to `known_after`, from then on moving by `decay`.
        decay: Share of the mean and of the variance that each further norm leaves, 0 to below 1.
        known_after: Number of norms from which on mean and variance are relied on.

    Source: Kumar et al. 2025 (ZClip), arXiv 2504.02507, section 3; Welford 1962 for the first ones.
    """

    count: int = 0
    mean: float = 0.0
    variance: float = 0.0
    decay: float = 0.97
    known_after: int = 25

    @property
    def numbers(self) -> tuple[float, float, float]:
        """Count, mean and variance."""
        return float(self.count), self.mean, self.variance

    def deviations(self, norm: float) -> float:
        """How many standard deviations a norm is above the mean; 0 while too few are known."""
        return (norm - self.mean) / (sqrt(self.variance) + 1e-6) if self.count >= self.known_after else 0.0

    def having(self, norm: float, *, most: float) -> NormHistory:
        """The history with one more norm, cut to `most` deviations above the mean: so a new level is learned in time.

        Args:
            norm: Euclidean norm of the gradient, finite.
            most: Standard deviations above the mean that a higher norm counts as, above 0.
        """
        is_known = self.count >= self.known_after
        if is_known:
            norm = min(norm, self.mean + most * (sqrt(self.variance) + 1e-6))
        weight = 1 - self.decay if is_known else 1 / (self.count + 1)
        mean = self.mean + weight * (norm - self.mean)
        spread = (norm - self.mean) * (norm - mean)
        variance = self.variance + weight * (spread - self.variance)
        return replace(self, count=self.count + 1, mean=mean, variance=variance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is done about an update and its lane.

    Attributes:
        makes_update: Whether the update is made.
        goes_back: Whether weights and optimizer go back to what they were some updates ago.
    """

    makes_update: bool = True
    goes_back: bool = False


def none(is_spike: bool) -> Answer:  # noqa: ARG001
    """Makes every update.

    Args:
        is_spike: Whether the gradient norm is above what is usual.

    Source: darknet, ultralytics/yolov3 train.py.
    """
    return Answer()


def skip(is_spike: bool) -> Answer:
    """Leaves an update out whose gradient is a spike.

    Source: allenai/OLMo-core, SkipStepOptimizer; OLMo et al. 2024 (OLMo 2), arXiv 2501.00656, section 3.
    """
    return Answer(makes_update=not is_spike)


def rewind(is_spike: bool) -> Answer:
    """As `skip`, and takes weights back to those before the spike; batches go on, so the same is not met again.

    Source: Chowdhery et al. 2022 (PaLM), arXiv 2204.02311, section 5.1.
    """
    return Answer(makes_update=not is_spike, goes_back=is_spike)


ON_SPIKE: dict[str, Callable[[bool], Answer]] = {"none": none, "skip": skip, "rewind": rewind}
