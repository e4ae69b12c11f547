"""What became of a training, in one word and a reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite

from detector.telemetry import LaneEnded
from evolve.study import Thresholds


class Verdict(StrEnum):
    """The ways a training ends, best first."""

    CONVERGED = "converged"
    UNDERTRAINED = "undertrained"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict and why.

    Attributes:
        verdict: What became of the training.
        reason: The same in words, with the numbers that decided.
    """

    verdict: Verdict
    reason: str


def judge(
    fitness: Sequence[float],
    *,
    first_loss: float,
    last_loss: float,
    ended: LaneEnded,
    thresholds: Thresholds,
) -> Judgement:
    """Judgement of a training that was not stopped from outside.

    Args:
        fitness: On the validation images, after each epoch.
        first_loss: Mean training loss of the first five steps.
        last_loss: Mean training loss of the last epoch.
        ended: Last record of the lane.
        thresholds: Where the verdict turns.
    """
    if diverged := _divergence(fitness, first_loss, last_loss, ended, thresholds.loss_growth):
        return Judgement(verdict=Verdict.DIVERGED, reason=diverged)
    if not fitness:
        return Judgement(verdict=Verdict.FAILED, reason=f"ended at step {ended.step}, before the first epoch was over")
    if fitness[-1] < thresholds.floor:
        reason = f"fitness {fitness[-1]:.2g} never left the ground (below {thresholds.floor:g})"
        return Judgement(verdict=Verdict.UNDERTRAINED, reason=reason)
    gain = _late_gain(fitness)
    if gain > thresholds.still_rising:
        reason = f"fitness {fitness[-1]:.3g} still rising: last quarter added {gain:.0%}"
        return Judgement(verdict=Verdict.UNDERTRAINED, reason=reason)
    reason = f"fitness {fitness[-1]:.3g}; last quarter added {gain:.0%}"
    return Judgement(verdict=Verdict.CONVERGED, reason=reason)


def worst(judgements: Mapping[int, Judgement]) -> Judgement:
    """Judgement of a trial trained with several seeds: the worst one, its reason headed by the seed it came from.

    Args:
        judgements: By seed, at least one. Between equals the first one counts.
    """
    seed, judgement = max(judgements.items(), key=lambda item: list(Verdict).index(item[1].verdict))
    if len(judgements) == 1:
        return judgement
    return Judgement(verdict=judgement.verdict, reason=f"seed {seed}: {judgement.reason}")


def _divergence(
    fitness: Sequence[float], first_loss: float, last_loss: float, ended: LaneEnded, loss_growth: float
) -> str:
    if ended.is_diverged:
        return ended.reason
    if not fitness:
        return ""
    if not isfinite(fitness[-1]):
        return f"fitness {fitness[-1]:g} after epoch {len(fitness) - 1}"
    if not (isfinite(first_loss) and isfinite(last_loss)):
        return f"training loss {first_loss:g} in the first steps, {last_loss:g} in the last epoch"
    if last_loss > loss_growth * first_loss:
        return (
            f"loss grew to {last_loss / first_loss:.3g}x its start" if first_loss > 0 else f"loss grew to {last_loss}"
        )
    return ""


def _late_gain(fitness: Sequence[float]) -> float:
    # After a single epoch there is nothing to compare with.
    quarter = max(1, len(fitness) // 4)
    if len(fitness) <= quarter or fitness[-1] <= 0:
        return 0.0
    return (fitness[-1] - fitness[-1 - quarter]) / fitness[-1]
