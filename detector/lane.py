"""A lane of a training: what it is trained with, and how far it has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from detector.checkpoint import Checkpoint, Found
from detector.hyperparameters import Hyperparameters
from detector.plan import TrainingPlan
from detector.schedule import values_at
from detector.telemetry import TERMS, Measurement, Scores, values_of


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSpec:
    """One lane of a training.

    Attributes:
        values: Hyperparameters of the lane, from its first epoch on.
        later: Hyperparameters that take the place of these, by the epoch from which on they do; each has all of them,
            and shares with the first what lanes of one population share.
        epochs: Epochs after which it ends, counted from the training's beginning; None for all of the plan's.
        seed: Seed of the lane's first weights.
        data_seed: Seed of image order, augmentation, and the choice of a share of the images; None for the plan's.
        checkpoint: File written after each epoch, the one before it kept; None for none.
        start: State to go on from; one without a checkpoint for a training from its beginning.
        origin: Text that is written to the checkpoint, for whoever looks for something to go on from.
        is_inspected: Whether it is recorded what its layers hold, before the first epoch and after some others.
        traced_from: Step from which on every step is traced, module by module, which takes time; None for none. Such a
            lane trains alone.
        has_critical: Whether the critical ratio of its updates is measured at a few steps (`detector.critical`).
        critical_at: Steps at which that ratio is measured instead, whatever `has_critical` says; empty to go by that.
    """

    values: Hyperparameters
    later: Mapping[int, Hyperparameters] = field(default_factory=dict)
    epochs: int | None = None
    seed: int = 0
    data_seed: int | None = None
    checkpoint: Path | None = None
    start: Found = field(default_factory=Found)
    origin: str = ""
    is_inspected: bool = False
    traced_from: int | None = None
    has_critical: bool = False
    critical_at: frozenset[int] = frozenset()

    def values_at(self, epoch: int) -> Hyperparameters:
        """Hyperparameters that it is trained with in an epoch, counted from 0."""
        return values_at(epoch, self.values, self.later)


@dataclass(slots=True)
class Lane:
    """A lane under way.

    `number` is its place among all that were ever admitted; the slot in the population may change. `epoch` is the one
    that it trains next, `train_losses` are means over the steps of the last whole epoch, `val_losses` are those of all
    epochs that are over, and `seconds` is its share of the time that the epoch under way has taken. At
    `critical_steps` the critical ratio is measured.
    """

    number: int
    spec: LaneSpec
    plan: TrainingPlan
    epoch: int
    steps_per_epoch: int
    critical_steps: frozenset[int]
    loss_sums: dict[str, float] = field(default_factory=lambda: dict.fromkeys(TERMS, 0.0))
    train_losses: dict[str, float] = field(default_factory=dict)
    val_losses: tuple[float, ...] = ()
    scores: Scores | None = None
    seconds: float = 0.0
    has_started: bool = False

    def add(self, values: Measurement, seconds: float) -> None:
        """Adds the terms of a batch to the sums of the epoch."""
        for term, value in values.terms.sums().items():
            self.loss_sums[term] += value
        self.seconds += seconds

    def step_of(self, place: int) -> int:
        """Batches seen before the `place`-th of the epoch that it trains next."""
        return self.epoch * self.steps_per_epoch + place

    @property
    def values(self) -> Hyperparameters:
        """Hyperparameters that it trains with in its next epoch."""
        return self.spec.values_at(self.epoch)

    @property
    def epochs(self) -> int:
        """Epochs after which it ends."""
        return self.plan.epochs if self.spec.epochs is None else min(self.spec.epochs, self.plan.epochs)

    @property
    def place(self) -> tuple[int, int]:
        """Seed and epoch: lanes that agree on both train on the same batches."""
        return self.plan.data_seed, self.epoch

    def as_checkpoint(
        self,
        weights: dict[str, Tensor],
        optimizer: dict[str, object],
        *,
        names: tuple[str, ...],
        anchors: Sequence[Tensor],
    ) -> Checkpoint:
        """What a training goes on from after the epoch that the lane has just trained.

        Args:
            weights, optimizer: Weights of the lane and state of its optimizer, as `Population.lane_state` gives them.
            names: Class names by index.
            anchors: For each scale the sizes (A, 2) as fractions of the image.
        """
        return Checkpoint(
            plan=self.plan,
            values=self.values,
            seed=self.spec.seed,
            names=names,
            anchors=tuple(tuple((w, h) for w, h in sizes_A2.tolist()) for sizes_A2 in anchors),
            epoch=self.epoch,
            step=(self.epoch + 1) * self.steps_per_epoch,
            weights=weights,
            optimizer=optimizer,
            metrics={} if self.scores is None else values_of(self.scores),
            train_losses=self.train_losses,
            val_losses=self.val_losses,
            origin=self.spec.origin,
        )
