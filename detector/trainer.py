"""The training loop: a generator of telemetry over a population of lanes.

Whoever reads the records may stop at any of them; closing the generator ends the training. A lane whose loss or
gradient is not finite yields that record, is not updated, and ends as diverged; its neighbours go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from detector import checkpoint
from detector.augment import without_augmentation
from detector.batches import Batch, TrainingOrder, evaluation_batches, num_batches, training_batches
from detector.checkpoint import Checkpoint, Found
from detector.datasets.listing import Dataset, Split
from detector.hyperparameters import Hyperparameters
from detector.plan import TrainingPlan
from detector.population import Population
from detector.priors import choose_anchors, label_statistics
from detector.schedule import rates_at
from detector.start import load_start
from detector.telemetry import (
    TERMS,
    CheckpointSaved,
    EpochMetrics,
    LaneEnded,
    LaneStarted,
    Measurement,
    Rates,
    Scores,
    StepTelemetry,
    Telemetry,
    values_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSpec:
    """One lane of a training.

    Attributes:
        values: Hyperparameters of the lane.
        seed: Seed of the lane's first weights.
        checkpoint: File written after each epoch, the one before it kept; None for none.
        start: What to go on from; nothing for a training from its beginning.
        origin: Written to the file, for whoever looks for something to go on from.
    """

    values: Hyperparameters
    seed: int = 0
    checkpoint: Path | None = None
    start: Found = field(default_factory=Found)
    origin: str = ""


@dataclass(slots=True)
class _Lane:
    """A lane under way: `number` is its place at the start, the slot in the population may change.

    `train_losses` are means over the steps of the last whole epoch.
    """

    number: int
    spec: LaneSpec
    loss_sums: dict[str, float] = field(default_factory=lambda: dict.fromkeys(TERMS, 0.0))
    train_losses: dict[str, float] = field(default_factory=dict)
    scores: Scores | None = None

    def add(self, values: Measurement) -> None:
        """Adds the terms of a batch to the sums of the epoch."""
        for term, value in values.terms.sums().items():
            self.loss_sums[term] += value


class Trainer:
    """One training of T >= 1 lanes.

    Args:
        plan: What the lanes share.
        dataset: Images to train and measure on.
        lanes: At least one.
        clock: Seconds, for the timings in the records.

    Raises:
        ValueError: The lanes disagree on something shared, or there are fewer layers than are to be frozen.
        WeightsError: The weights to start from cannot be used.
        CheckpointError: A lane's start is of another training, or the lanes' starts are of different epochs.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        dataset: Dataset,
        lanes: Sequence[LaneSpec],
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._plan, self._dataset, self._clock = plan, dataset, clock
        self._lanes = [_Lane(number, spec) for number, spec in enumerate(lanes)]
        start = load_start(plan, dataset.names, coding=lanes[0].values.coding)  # which lanes share
        statistics = label_statistics(dataset.train, num_classes=len(dataset.names))
        chosen = choose_anchors(plan.anchors, model=plan.model, statistics=statistics)
        self._anchors = chosen if start.anchors is None else list(start.anchors)
        self._population = Population(
            plan,
            [lane.values for lane in lanes],
            [lane.seed for lane in lanes],
            prior=statistics.prior,
            anchors=self._anchors,
            start=start.state,
        )
        self._stopped: set[int] = set()
        self._steps_per_epoch = num_batches(dataset.train, plan.batch_size)
        self._first_epoch = self._resume()

    @property
    def total_steps(self) -> int:
        """Batches of the whole training."""
        return self._steps_per_epoch * self._plan.epochs

    def stop(self, lane: int) -> None:
        """Ends a lane at the record just read, before its update."""
        self._stopped.add(lane)

    def fit(self) -> Generator[Telemetry, None, None]:
        """Trains to the end, yielding a record of each event."""
        for lane in self._lanes:
            yield LaneStarted(
                lane=lane.number,
                epoch=self._first_epoch,
                step=self._first_epoch * self._steps_per_epoch,
                total_steps=self.total_steps,
                passed_over=lane.spec.start.passed_over,
            )
        for epoch in range(self._first_epoch, self._plan.epochs):
            started = self._clock()
            yield from self._train(epoch)
            yield from self._evaluate(epoch, "val", self._dataset.val, started)
            yield from self._save(epoch)
            if not self._lanes:
                return
        if self._dataset.test is not None:
            yield from self._evaluate(self._plan.epochs - 1, "test", self._dataset.test, self._clock())
        for lane in self._lanes:
            yield LaneEnded(lane=lane.number, step=self.total_steps, is_diverged=False, reason="ran all epochs")

    def evaluate_once(self) -> tuple[Telemetry, ...]:
        """Metrics of every lane on the validation images as it stands, without training."""
        return tuple(self._evaluate(self._first_epoch, "val", self._dataset.val, self._clock()))

    def _train(self, epoch: int) -> Iterator[Telemetry]:
        for lane in self._lanes:
            lane.loss_sums = dict.fromkeys(TERMS, 0.0)
        started = self._clock()
        for step, batch in enumerate(self._batches(epoch), start=epoch * self._steps_per_epoch):
            measured = self._population.measure(batch, [self._rates(lane, step) for lane in self._lanes])
            seconds = self._clock() - started
            for lane, values in zip(self._lanes, measured, strict=True):
                lane.add(values)
                yield StepTelemetry(
                    lane=lane.number,
                    step=step,
                    epoch=epoch,
                    seconds=seconds,
                    images_per_second=self._plan.batch_size / max(seconds, 1e-9),
                    **values_of(values),
                )
            started = self._clock()
            yield from self._update(step, measured)
            if not self._lanes:
                return
        for lane in self._lanes:
            lane.train_losses = {name: value / self._steps_per_epoch for name, value in lane.loss_sums.items()}

    def _batches(self, epoch: int) -> Iterator[Batch]:
        order = TrainingOrder(
            epoch=epoch,
            seed=self._plan.data_seed,
            batch_size=self._plan.batch_size,
            image_size=self._plan.image_size,
            max_boxes=self._dataset.max_boxes,
        )
        is_prefetched = self._plan.device.startswith("cuda")
        values = self._lanes[0].spec.values  # lanes agree on augmentation
        if not self._dataset.augments:
            values = without_augmentation(values)
        return training_batches(self._dataset.train, order, values, is_prefetched=is_prefetched)

    def _update(self, step: int, measured: Sequence[Measurement]) -> Iterator[Telemetry]:
        """Steps every lane that may be stepped and takes the others out."""
        ended: list[_Lane] = []
        place = step % self._steps_per_epoch + 1
        # What is left at the end of an epoch is not carried over: a checkpoint holds no gradient.
        is_due = place % self._plan.accumulation == 0 or place == self._steps_per_epoch
        for slot, (lane, values) in enumerate(zip(self._lanes, measured, strict=True)):
            if lane.number in self._stopped:
                ended.append(lane)
            elif not values.is_finite:
                if not self._population.skip(slot):
                    ended.append(lane)
                    yield LaneEnded(lane=lane.number, step=step, is_diverged=True, reason=_reason(values))
            elif is_due:
                self._population.update(slot)
        self._drop(ended)

    def _drop(self, ended: Sequence[_Lane]) -> None:
        for lane in ended:
            self._population.drop(self._lanes.index(lane))
            self._lanes.remove(lane)

    def _rates(self, lane: _Lane, step: int) -> Rates:
        return rates_at(
            step, total_steps=self.total_steps, steps_per_epoch=self._steps_per_epoch, values=lane.spec.values
        )

    def _evaluate(self, epoch: int, name: str, split: Split, started: float) -> Iterator[Telemetry]:
        for slot, lane in enumerate(self._lanes):
            batches = evaluation_batches(
                split,
                batch_size=self._plan.batch_size,
                image_size=self._plan.image_size,
                max_boxes=self._dataset.max_boxes,
            )
            scores, losses = self._population.evaluate(slot, batches)
            lane.scores = scores
            yield EpochMetrics(
                lane=lane.number,
                epoch=epoch,
                step=(epoch + 1) * self._steps_per_epoch,
                split=name,
                losses=losses,
                train_losses=lane.train_losses,
                seconds=self._clock() - started,
                **values_of(scores),
            )
        self._drop([lane for lane in self._lanes if lane.number in self._stopped])

    def _save(self, epoch: int) -> Iterator[Telemetry]:
        for slot, lane in enumerate(self._lanes):
            if (path := lane.spec.checkpoint) is not None:
                saved = self._checkpoint(slot, lane, epoch)
                checkpoint.save(saved, path, keeps_before=True)
                yield CheckpointSaved(lane=lane.number, epoch=epoch, step=saved.step, path=str(path))

    def _checkpoint(self, slot: int, lane: _Lane, epoch: int) -> Checkpoint:
        weights, optimizer = self._population.lane_state(slot)
        return Checkpoint(
            plan=self._plan,
            values=lane.spec.values,
            seed=lane.spec.seed,
            names=self._dataset.names,
            anchors=tuple(tuple((w, h) for w, h in sizes_A2.tolist()) for sizes_A2 in self._anchors),
            epoch=epoch,
            step=(epoch + 1) * self._steps_per_epoch,
            weights=weights,
            optimizer=optimizer,
            metrics={} if lane.scores is None else values_of(lane.scores),
            train_losses=lane.train_losses,
            origin=lane.spec.origin,
        )

    def _resume(self) -> int:
        epochs = {self._resume_lane(slot, lane) for slot, lane in enumerate(self._lanes)}
        if len(epochs) > 1:
            raise checkpoint.CheckpointError(f"lanes of one training resume together, but stopped after {epochs}")
        return epochs.pop() + 1

    def _resume_lane(self, slot: int, lane: _Lane) -> int:
        stored = lane.spec.start.checkpoint
        if stored is None:
            return -1
        checkpoint.check_same_training(stored, self._plan, lane.spec.values, lane.spec.seed)
        self._population.load_lane(slot, dict(stored.weights), dict(stored.optimizer))
        # Yielded again with the test metrics, if the last epoch is over already.
        lane.train_losses = dict(stored.train_losses)
        return stored.epoch


def _reason(values: Measurement) -> str:
    broken = values.broken_terms
    return f"{' and '.join(broken)} loss is not finite" if broken else "gradient is not finite"
