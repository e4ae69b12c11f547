"""Where a hyperparameter parts the trials that diverged from the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

import numpy as np
from numpy.typing import ArrayLike

from evolve import analysis
from evolve.formatting import counted, number

LEAST_SEPARATION = 0.6
LEAST_DIVERGED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A value of one hyperparameter that parts the trials that diverged from the others.

    Attributes:
        name: Name of the hyperparameter.
        value: Value at which it parts them, in the hyperparameter's own unit; most that diverged lie beyond.
        is_above: Whether beyond means larger.
        beyond, others: Number of trials beyond the value, and of the others; each with how many of them diverged.
        separation: Share of diverged trials beyond the value minus share of the others beyond it, in 0..1.
    """

    name: str
    value: float
    is_above: bool
    beyond: tuple[int, int]
    others: tuple[int, int]
    separation: float

    @property
    def label(self) -> str:
        """What stands beside its line: `above 0.29: 5 of 5 diverged`."""
        total, diverged = self.beyond
        return f"{'above' if self.is_above else 'below'} {number(self.value)}: {diverged:,} of {total:,} diverged"


def edge_of(name: str, values: ArrayLike, is_diverged: Sequence[bool], *, is_log: bool) -> Edge | None:
    """Where a hyperparameter parts the trials that diverged from the others; None where it does not clearly.

    Args:
        name: Name of the hyperparameter.
        values: Value of the hyperparameter in each trial; NaN where it has none.
        is_diverged: Whether each trial diverged.
        is_log: Whether equal ratios count as equal steps.
    """
    numbers = np.asarray(values, dtype=np.float64)
    found = analysis.divergence_threshold(np.log(numbers) if is_log else numbers, is_diverged)
    if found is None or found.num_diverged < LEAST_DIVERGED or found.separation < LEAST_SEPARATION:
        return None
    num_known = int(np.isfinite(numbers).sum())
    return Edge(
        name=name,
        value=exp(found.value) if is_log else found.value,
        is_above=found.is_above,
        beyond=(found.num_beyond, found.num_diverged_beyond),
        others=(num_known - found.num_beyond, found.num_diverged - found.num_diverged_beyond),
        separation=found.separation,
    )


def edge_sentence(edge: Edge) -> str:
    """How many trials diverged on either side of an edge, in a sentence."""
    (num_beyond, lost_beyond), (num_others, lost_others) = edge.beyond, edge.others
    here, there = ("Above", "below") if edge.is_above else ("Below", "above")
    return (
        f"{here} {edge.name} {number(edge.value)}, {lost_beyond:,} of {counted(num_beyond, 'trial')} diverged; "
        f"{there}, {lost_others:,} of {num_others:,}."
    )
