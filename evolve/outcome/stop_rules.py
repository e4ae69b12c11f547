"""Rules that stop a training by its steps, ours and those of peers: each from a training to the step it would stop at.

Peers' rules are written from what their publications and manuals say of them, for what our telemetry holds:

- it has one gradient norm and one update ratio for all weights together, where these tools look at tensors or layers.
  The norm is at least the largest gradient and at least the mean absolute one, so a limit on either fires on the norm
  whenever it would there, and earlier: in favour of hits, against false alarms.
- vanishing gradients (AutoTrainer 1e-3 and 1e-4, BTTackler 1e-5), ratios of neighbouring layers (BTTackler 1e3), dead
  units (SageMaker and BTTackler half, AutoTrainer seven tenths), saturated activations and the size of weights cannot
  be told from it, so no rule here has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from statistics import fmean, pstdev

from detector.telemetry import StepTelemetry
from evolve.outcome.warnings import Kind, Watch
from evolve.study.definition import Warnings


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A training that nobody stopped, and what became of it.

    Attributes:
        kind: Kind of the training, which decides the signs that it has.
        steps: Steps of the training with one seed, from the first to the last that it had.
        total_steps: Number of steps that it was to have.
        steps_per_epoch: Number of steps in an epoch, one for each batch.
        is_doomed: Whether it came to diverge; never what a rule said.
        is_spared: For each epoch whether it then did better than ever before, or was among the best quarter of those
            before it: ours never stops such a training.
        is_best: Whether it ended in the best quarter of those it can be compared with.
    """

    kind: Kind
    steps: Sequence[StepTelemetry]
    total_steps: int
    steps_per_epoch: int
    is_doomed: bool
    is_spared: Sequence[bool]
    is_best: bool


# The index of the step after which a training is stopped; None where it is left alone.
StopRule = Callable[[Recorded], int | None]


def doomed(warnings: Warnings) -> StopRule:
    """Ours as the pruner has it: at the end of an epoch whose last step is doomed, unless it recovers or is spared."""

    def rule(run: Recorded) -> int | None:
        watch = Watch(warnings, run.kind)
        for index, step in enumerate(run.steps):
            watch.see(step)
            epoch, rest = divmod(index + 1, run.steps_per_epoch)
            if watch.doom is None or rest or index + 1 >= run.total_steps:
                continue
            if not (epoch <= len(run.is_spared) and run.is_spared[epoch - 1]):
                return index
        return None

    return rule


def doomed_at_once(warnings: Warnings) -> StopRule:
    """The same without waiting for the end of an epoch, and without looking at any other training."""

    def rule(run: Recorded) -> int | None:
        watch = Watch(warnings, run.kind)
        return next((index for index, step in enumerate(run.steps) if watch.see(step) is not None), None)

    return rule


def large_update(run: Recorded) -> int | None:
    """The sign that a diagnosis looks for: one update above a fifth of the weights."""
    return _first(step.update_ratio > 0.2 for step in run.steps)


def sagemaker_update(run: Recorded) -> int | None:
    """Updates above ten times the weights or below 1e-8 of them.

    Source: Amazon SageMaker Debugger, built-in rule WeightUpdateRatio, with its default thresholds.
    """
    return _first(step.update_ratio > 10 or step.update_ratio < 1e-8 for step in run.steps)


def sagemaker_loss(run: Recorded) -> int | None:
    """A loss that has not decreased by a thousandth over ten steps.

    Source: Amazon SageMaker Debugger, built-in rule LossNotDecreasing, with num_steps 10 and diff_percent 0.1.
    """
    losses = [step.loss for step in run.steps]
    return _first(index >= 10 and loss > 0.999 * losses[index - 10] for index, loss in enumerate(losses))


def autotrainer(run: Recorded) -> int | None:
    """A gradient above 70 or a loss above 1,000.

    Source: Zhang et al. 2021, AutoTrainer (ICSE), exploding gradient and unstable training, with their thresholds.
    """
    return _first(step.grad_norm > 70 or step.loss > 1e3 for step in run.steps)


def bttackler(run: Recorded) -> int | None:
    """A gradient above 1e4, or losses of ten steps whose deviation is below 1e-4 of their mean.

    Source: Pei et al. 2024, BTTackler (KDD, arXiv:2602.23630), exploding gradients and passive loss changes.
    """
    losses = [step.loss for step in run.steps]
    windows = (losses[max(index - 9, 0) : index + 1] for index in range(len(losses)))
    passive = (
        len(window) == 10 and 0 < fmean(window) < inf and pstdev(window) < 1e-4 * fmean(window) for window in windows
    )
    return _first(step.grad_norm > 1e4 or is_passive for step, is_passive in zip(run.steps, passive, strict=True))


def _first(fires: Iterator[bool]) -> int | None:
    return next((index for index, found in enumerate(fires) if found), None)


PEERS: dict[str, StopRule] = {
    "update above 0.2": large_update,
    "SageMaker update": sagemaker_update,
    "SageMaker loss": sagemaker_loss,
    "AutoTrainer": autotrainer,
    "BTTackler": bttackler,
}


def rules(warnings: Warnings) -> dict[str, StopRule]:
    """All rules by name, ours first."""
    return {"doomed": doomed(warnings), "doomed, at once": doomed_at_once(warnings), **PEERS}
