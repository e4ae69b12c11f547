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
        origin: The study, or the file of results, and the number there.
        params: Values of all that the study searches, inside its space.
        fitness: What it came to at full length, 0..1; of a diverged one the worst that did not diverge.
        margin: To divergence, above 0 where it diverged and below where it did not.
    """

    origin: str
    params: Mapping[str, Scalar]
    fitness: float
    margin: float

    def as_mapping(self) -> dict[str, Any]:
        """The trial as JSON may hold it; `Earlier(**mapping)` gives it back."""
        return asdict(self)
