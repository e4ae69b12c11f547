"""How far a training stayed from divergence, as one number that a sampler can learn from."""

from __future__ import annotations

from math import inf, isnan, log

from evolve.outcome.signs import WARNING_UPDATE

# Whatever its updates were, a training that did not diverge is on this side of the edge and one that did on the other.
_LEAST = 0.1
# Updates e^3 = 20 times the limit say no more than larger ones, and a few huge margins would drown the others.
_MOST, _LOWEST = 3.0, -6.0
# Of a training that diverged while nothing was measured.
UNKNOWN = 1.0


def divergence_margin(max_update_ratio: float, *, has_diverged: bool) -> float | None:
    """Logarithm of a training's largest update over the one at which trainings are in danger.

    Args:
        max_update_ratio: Largest norm of an update over that of the weights, at least 0; NaN where none was measured.
        has_diverged: Whether the training diverged.

    Returns:
        -6..-0.1 of a training that did not diverge, 0.1..3 of one that did. Where nothing was measured, 1 of one that
        diverged and None of one that did not.
    """
    if isnan(max_update_ratio):
        return UNKNOWN if has_diverged else None
    margin = log(max_update_ratio / WARNING_UPDATE) if max_update_ratio > 0 else -inf
    return min(max(margin, _LEAST), _MOST) if has_diverged else min(max(margin, _LOWEST), -_LEAST)
