"""How a training ended, how a trial did, and the one way from a trial's trainings to the trial."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from statistics import fmean

from evolve.outcome.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOutcome:
    """How one training ended: a trial trained with one of its seeds.

    Attributes:
        verdict: What became of the training.
        reason: The same in words, with the numbers that decided.
        fitness: Fitness on the validation images after its last epoch; NaN where it has none or is lost.
        diagnosis: JSON of `evolve.outcome.forensics.Diagnosis`; None where it did not diverge.
    """

    verdict: Verdict
    reason: str
    fitness: float = nan
    diagnosis: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialOutcome:
    """How a trial ended.

    Attributes:
        verdict: Verdict of the worst of the trial's trainings.
        reason: Reason of that verdict in words, with the seed of that training where the trial has several.
        fitness: Mean fitness of the trainings after their last epochs; NaN where one is lost or failed.
        diagnosis: JSON of the first divergence's diagnosis; None where nothing diverged.
        traceback: Python traceback of a failed training; None without a failure.
    """

    verdict: Verdict
    reason: str
    fitness: float = nan
    diagnosis: str | None = None
    traceback: str | None = None


def fold(trainings: Mapping[int, TrainingOutcome], *, num_seeds: int, traceback: str | None = None) -> TrialOutcome:
    """The outcome of a trial whose trainings have ended: as bad as the worst of them.

    Args:
        trainings: How each training ended, by seed, at least one; between equally bad ones the first counts.
        num_seeds: Number of trainings that the trial would have had; after one that diverges or fails, no further one
            begins.
        traceback: Traceback of what ended the trial from outside, None where nothing did.

    Example: seeds 0 and 1 with verdicts converged and diverged make a diverged trial, whose reason begins with
    `seed 1:` and ends with `(the others: 1 converged)`.
    """
    order = list(Verdict)
    seed, worst = max(trainings.items(), key=lambda item: order.index(item[1].verdict))
    fitness = nan
    reason = worst.reason
    if num_seeds > 1 and worst.verdict not in (Verdict.PRUNED, Verdict.DOOMED):
        reason = f"seed {seed}: {reason}{_the_others(trainings, worst.verdict)}"
    if not (worst.verdict.is_lost or worst.verdict is Verdict.FAILED):
        values = [training.fitness for training in trainings.values()]
        fitness = fmean(values)
        # The reason is that of one training, the fitness that of all.
        reason = f"mean fitness {fitness:.3g} of {len(values)} seeds; {reason}" if len(values) > 1 else reason
    diagnosis = next((training.diagnosis for training in trainings.values() if training.diagnosis is not None), None)
    return TrialOutcome(verdict=worst.verdict, reason=reason, fitness=fitness, diagnosis=diagnosis, traceback=traceback)


def _the_others(trainings: Mapping[int, TrainingOutcome], worst: Verdict) -> str:
    counts = Counter(training.verdict for training in trainings.values())
    if len(counts) == 1:
        return ""
    counts[worst] -= 1
    rest = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict])
    return f" (the others: {rest})"
