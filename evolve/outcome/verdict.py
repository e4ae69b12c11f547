"""What became of a training, in one word and a reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite, nan
from statistics import fmean

from detector.telemetry import LaneEnded
from evolve.study import Thresholds


class Verdict(StrEnum):
    """The ways a training ends, best first."""

    CONVERGED = "converged"
    UNDERTRAINED = "undertrained"
    WORSENED = "worsened"
    PARTIAL = "partial"  # a member of a population, trained to the next exchange
    PAUSED = "paused"  # at a rung, from which it goes on if it is promoted; it has not ended
    PRUNED = "pruned"
    DOOMED = "doomed"  # stopped since its steps foretold that it would diverge; nobody saw it do so
    DIVERGED = "diverged"
    FAILED = "failed"

    @property
    def is_lost(self) -> bool:
        """Whether it blew up, or was stopped since it was going to: no fitness speaks for it."""
        return self in (Verdict.DOOMED, Verdict.DIVERGED)

    @property
    def can_be_best(self) -> bool:
        """Whether it trained to the last epoch, so that its fitness can be compared with that of others."""
        return self in (Verdict.CONVERGED, Verdict.UNDERTRAINED, Verdict.WORSENED)


# All that can be the best of a study.
TRAINED_THROUGH = tuple(verdict for verdict in Verdict if verdict.can_be_best)
# With fewer epochs the last quarter is a single step of a curve that may be doing anything.
LEAST_EPOCHS = 5
FIRST_STEPS = 5  # of a training, whose mean loss is its start


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict and why.

    Attributes:
        verdict: What became of the training.
        reason: The same in words, with the numbers that decided.
    """

    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LossCurves:
    """Losses of a training, all terms summed.

    Attributes:
        first: Mean training loss of the first `FIRST_STEPS`.
        train: Mean training loss of each epoch.
        val: Loss on the validation images after each epoch.
    """

    first: float
    train: tuple[float, ...]
    val: tuple[float, ...]

    @property
    def last(self) -> float:
        """Mean training loss of the last epoch; NaN before the first is over."""
        return self.train[-1] if self.train else nan


def judge(fitness: Sequence[float], *, losses: LossCurves, ended: LaneEnded, thresholds: Thresholds) -> Judgement:
    """Judgement of a training that was not stopped from outside.

    Args:
        fitness: Fitness on the validation images after each epoch.
        losses: Training and validation losses of the same epochs.
        ended: Last record of the lane.
        thresholds: Values at which the verdict turns from one to another.
    """
    if diverged := _divergence(fitness, losses, ended, thresholds.loss_growth):
        return Judgement(verdict=Verdict.DIVERGED, reason=diverged)
    if not fitness:
        return Judgement(verdict=Verdict.FAILED, reason=f"ended at step {ended.step}, before the first epoch was over")
    if worsened := _worsening(fitness, losses, thresholds):
        return Judgement(verdict=Verdict.WORSENED, reason=worsened)
    if shortage := _shortage(fitness, losses, thresholds):
        return Judgement(verdict=Verdict.UNDERTRAINED, reason=f"fitness {fitness[-1]:.3g} {shortage}")
    gain = _late_gain(fitness)
    reason = f"fitness {fitness[-1]:.3g}; last quarter {'lost' if gain < 0 else 'added'} {abs(gain):.1%}"
    return Judgement(verdict=Verdict.CONVERGED, reason=reason)


def _shortage(fitness: Sequence[float], losses: LossCurves, thresholds: Thresholds) -> str:
    """What a training that ran to its end wanted more of; empty where it had enough."""
    if fitness[-1] < thresholds.floor:
        return f"never left the ground (below {thresholds.floor:g})"
    if len(fitness) < LEAST_EPOCHS:
        return f"after {len(fitness)} epochs, too few to tell whether it had flattened ({LEAST_EPOCHS} or more)"
    gain = _late_gain(fitness)
    if gain > thresholds.still_rising:
        return f"still rising: last quarter added {gain:.1%}"
    if losses.last > thresholds.little_learned * losses.first:
        part = losses.last / losses.first
        return f"level, but the rate decayed before it got anywhere: loss still at {part:.0%} of its start"
    return ""


def _worsening(fitness: Sequence[float], losses: LossCurves, thresholds: Thresholds) -> str:
    """How a training got worse than it had been; empty where it did not."""
    if len(fitness) < LEAST_EPOCHS:
        return ""
    quarter = len(fitness) // 4
    windows = [fmean(fitness[end - quarter : end]) for end in range(quarter, len(fitness) + 1)]
    late, earlier = windows[-1], windows[:-quarter]
    best = max(earlier)
    if best < thresholds.floor or late >= (1 - thresholds.worsened) * best:
        return ""
    epoch = earlier.index(best) + quarter - 1
    lost = f"fitness {fitness[-1]:.3g}: {1 - late / best:.1%} lost since epoch {epoch}"
    return f"{lost}, {_cause_of_worsening(losses, epoch)}"


def _cause_of_worsening(losses: LossCurves, since: int) -> str:
    train, val = losses.train[since:], losses.val[since:]
    if not train or not val:
        return "collapsing"
    moved = f"training loss {train[0]:.3g} to {train[-1]:.3g}, validation loss {val[0]:.3g} to {val[-1]:.3g}"
    if train[-1] > train[0]:
        return f"collapsing ({moved})"
    return f"overfitting ({moved})"


def _divergence(fitness: Sequence[float], losses: LossCurves, ended: LaneEnded, loss_growth: float) -> str:
    first_loss, last_loss = losses.first, losses.last
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
