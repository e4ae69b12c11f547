"""Trials of earlier searches that a study begins with: what its sampler knows before trial 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from evolve.study.parameters import Scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """A trial of an earlier search.

    Attributes:
        origin: Where the trial is from: name of the study, or path of the file of results, and the trial's number
            there.
        params: Value of every parameter that the study searches, by name, inside the study's space.
        fitness: Fitness of the trial at full length, 0..1; of a diverged one the lowest of those that did not diverge.
        margin: Margin to divergence, as `evolve.outcome.margin` measures it: above 0 where the trial diverged, below
            where not.
    """

    origin: str
    params: Mapping[str, Scalar]
    fitness: float
    margin: float

    def as_mapping(self) -> dict[str, Any]:
        """The trial as JSON may hold it; `Earlier(**mapping)` gives it back."""
        return asdict(self)
