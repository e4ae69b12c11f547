"""The training loop: generators of telemetry over a population of lanes.

Whoever reads the records may stop at any of them; closing the generator ends the training. A lane whose loss or
gradient is not finite yields that record, is not updated, and ends as diverged; its neighbours go on. Lanes may join
and leave whenever an epoch is over: each has its own epoch, and its numbers do not depend on who trains beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import replace
from functools import partial
from math import isfinite

from detector import checkpoint
from detector.ahead import BatchesAhead, loading_threads
from detector.augment import in_epoch, without_augmentation
from detector.batches import TrainingBatches, TrainingOrder, num_batches, training_batches
from detector.critical import critical_steps
from detector.datasets.listing import Dataset, Split
from detector.examining import Examiner, pictures_taken, step_traced
from detector.hyperparameters import Hyperparameters
from detector.lane import Lane, LaneSpec
from detector.plan import TrainingPlan
from detector.population import Population
from detector.priors import choose_anchors, label_statistics
from detector.schedule import anchor_pull_at, rates_at
from detector.start import load_start
from detector.telemetry import (
    TERMS,
    CheckpointSaved,
    EndCause,
    EpochMetrics,
    LaneEnded,
    LaneStarted,
    Measurement,
    Rates,
    StepTelemetry,
    Telemetry,
    values_of,
)
from detector.tracing import Trace
from detector.watching import batch_picture

__all__ = ["LaneSpec", "Trainer"]


class Trainer:
    """One training of T lanes, some there from the start, others admitted later.

    Args:
        plan: What the lanes share.
        dataset: Images to train and measure on.
        lanes: Lanes that are there from the start, at least one.
        clock: Function that gives the time in seconds, for the timings in the records.

    Raises:
        ValueError: The lanes disagree on something shared, or there are fewer layers than are to be frozen.
        WeightsError: The weights to start from cannot be used.
        CheckpointError: A lane's start is of another training.
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
        start = load_start(plan, dataset.names, lanes[0].values)  # lanes share what is read of these
        statistics = label_statistics(dataset.train, num_classes=len(dataset.names))
        chosen = choose_anchors(plan.anchors, model=plan.model, statistics=statistics)
        self._anchors = chosen if start.anchors is None else list(start.anchors)
        self._population = Population(
            plan,
            prior=statistics.prior,
            class_rarity=statistics.class_rarity,
            anchors=self._anchors,
            start=start.state,
            values=lanes[0].values,
        )
        self._steps_per_epoch = num_batches(dataset.train, plan.batch_size, lanes[0].values.train_share)
        self._lanes: list[Lane] = []
        self._waiting: list[Lane] = []
        self._num_admitted = 0
        self._stopped: dict[int, str] = {}
        self._examiner = Examiner(plan, dataset, self._population, clock)
        self._since = clock()
        for lane in lanes:
            self.admit(lane)
        self._join()

    @property
    def total_steps(self) -> int:
        """Batches of the whole training of a lane."""
        return self._steps_per_epoch * self._plan.epochs

    @property
    def num_lanes(self) -> int:
        """Lanes that have not ended, those included that have not begun."""
        return len(self._lanes) + len(self._waiting)

    def admit(self, spec: LaneSpec) -> int:
        """Lets a lane join as soon as no epoch is under way.

        Returns:
            Number of the lane, which its records carry.

        Raises:
            ValueError: It or another is traced, and would not train alone.
            CheckpointError: Its start is of another training.
        """
        if self.num_lanes and any(lane_spec.traced_from is not None for lane_spec in (spec, *self._specs())):
            raise ValueError("traced_from: a lane that is traced trains alone; allowed beside others: None")
        plan = self._plan if spec.data_seed is None else replace(self._plan, data_seed=spec.data_seed)
        if (stored := spec.start.checkpoint) is not None:
            checkpoint.check_same_training(stored, plan, spec.values_at(stored.epoch), spec.seed)
        epoch = 0 if stored is None else stored.epoch + 1
        critical = spec.critical_at or (self._critical_steps(spec.values) if spec.has_critical else frozenset())
        lane = Lane(
            number=self._num_admitted,
            spec=spec,
            plan=plan,
            epoch=epoch,
            steps_per_epoch=self._steps_per_epoch,
            critical_steps=critical,
        )
        self._waiting.append(lane)
        self._num_admitted += 1
        return lane.number

    def _critical_steps(self, values: Hyperparameters) -> frozenset[int]:
        return critical_steps(
            values,
            steps_per_epoch=self._steps_per_epoch,
            total_steps=self.total_steps,
            accumulation=self._plan.accumulation,
        )

    def _specs(self) -> list[LaneSpec]:
        return [lane.spec for lane in (*self._lanes, *self._waiting)]

    def stop(self, lane: int, reason: str = "was told to stop") -> None:
        """Ends a lane at the record just read: before its update, or before what it learned in an epoch is saved."""
        self._stopped[lane] = reason

    def fit(self) -> Generator[Telemetry, None, None]:
        """Trains to the end, yielding a record of each event."""
        while self.num_lanes:
            yield from self.train_epoch()
            yield from self.settle()

    def train_epoch(self) -> Generator[Telemetry, None, None]:
        """Takes in the lanes that wait, trains each lane for one epoch of its own, and measures all.

        A lane that goes on from its last epoch has nothing left to train, and ends.
        """
        self._join()
        yield from self._start()
        yield from self._finish()
        if self._lanes:
            self._change_values()
            yield from self._inspect(self._lanes)
            yield from self._train()
            yield from self._evaluate(self._lanes, "val", self._dataset.val)

    def settle(self) -> Generator[Telemetry, None, None]:
        """After `train_epoch`: ends lanes that were told to stop, saves the others, and ends those that are done."""
        yield from self._end_stopped()
        yield from self._save()
        for lane in self._lanes:
            lane.epoch += 1
        yield from self._finish()

    def evaluate_once(self) -> tuple[Telemetry, ...]:
        """Metrics of every lane on the validation images as it stands, without training."""
        records = self._evaluate(self._lanes, "val", self._dataset.val)
        return tuple(record for record in records if isinstance(record, EpochMetrics))

    # Coming and going

    def _join(self) -> None:
        """Takes the lanes that wait into the population."""
        if not self._waiting:
            return
        first = len(self._lanes)
        self._population.add([lane.values for lane in self._waiting], [lane.spec.seed for lane in self._waiting])
        for slot, lane in enumerate(self._waiting, start=first):
            if (stored := lane.spec.start.checkpoint) is not None:
                self._population.load_lane(slot, dict(stored.weights), dict(stored.optimizer))
                # Yielded again with the test metrics, if the last epoch is over already.
                lane.train_losses = dict(stored.train_losses)
                lane.val_losses = stored.val_losses
        self._lanes += self._waiting
        self._waiting = []

    def _change_values(self) -> None:
        """Gives lanes the hyperparameters that they have from this epoch on."""
        for slot, lane in enumerate(self._lanes):
            if lane.epoch in lane.spec.later:
                self._population.change_values(slot, lane.values)

    def _start(self) -> Iterator[Telemetry]:
        new = [lane for lane in self._lanes if not lane.has_started]
        for lane in new:
            lane.has_started = True
            yield LaneStarted(
                lane=lane.number,
                epoch=lane.epoch,
                step=lane.epoch * self._steps_per_epoch,
                total_steps=self.total_steps,
                passed_over=lane.spec.start.passed_over,
            )
        yield from self._examiner.watched(new)

    def _finish(self) -> Iterator[Telemetry]:
        """Ends lanes whose epochs are over; what ran all of the plan's is measured on the test images before."""
        over = [lane for lane in self._lanes if lane.epoch >= lane.epochs]
        whole = [lane for lane in over if lane.epoch >= self._plan.epochs]
        yield from self._inspect(whole)
        if whole and self._dataset.test is not None:
            yield from self._evaluate(whole, "test", self._dataset.test)
        for lane in over:
            reason = "ran all epochs" if lane in whole else f"ran {lane.epoch} of {self._plan.epochs} epochs"
            yield LaneEnded(lane=lane.number, step=lane.step_of(0), cause=EndCause.FINISHED, reason=reason)
        self._drop(over)

    def _end_stopped(self) -> Iterator[Telemetry]:
        stopped = [lane for lane in self._lanes if lane.number in self._stopped]
        for lane in stopped:
            yield self._stop_record(lane, (lane.epoch + 1) * self._steps_per_epoch)
        self._drop(stopped)

    def _stop_record(self, lane: Lane, step: int) -> LaneEnded:
        return LaneEnded(lane=lane.number, step=step, cause=EndCause.STOPPED, reason=self._stopped.pop(lane.number))

    def _drop(self, ended: Collection[Lane]) -> None:
        if ended:
            self._population.drop([self._lanes.index(lane) for lane in ended])
            self._lanes = [lane for lane in self._lanes if lane not in ended]

    # One epoch

    def _train(self) -> Iterator[Telemetry]:
        for lane in self._lanes:
            lane.loss_sums, lane.seconds = dict.fromkeys(TERMS, 0.0), 0.0
        self._since = self._clock()  # time since then has not been divided among the lanes
        with ExitStack() as opened:
            batches = self._batches_ahead(opened)
            _prepare([*batches.values()])
            for place in range(self._steps_per_epoch):
                yield from self._step(place, batches)
                if not self._lanes:
                    return
        for lane in self._lanes:
            lane.train_losses = {name: value / self._steps_per_epoch for name, value in lane.loss_sums.items()}

    def _step(self, place: int, batches: Mapping[tuple[int, int], BatchesAhead]) -> Iterator[Telemetry]:
        """One batch of every lane, the `place`-th of its epoch."""
        used = [batches[lane.place] for lane in self._one_by_place()]
        found = {lane.place: ahead.take() for lane, ahead in zip(self._one_by_place(), used, strict=True)}
        if place == 0:
            pictures = {key: batch_picture(batch) for key, batch in found.items() if key[1] == 0}
            for lane in self._lanes:
                if lane.place in pictures:
                    yield from pictures_taken([lane], "train", (pictures[lane.place],))
        with self._tracing(place) as trace:
            measured = self._population.measure(
                [found[lane.place] for lane in self._lanes],
                [self._rates(lane, place) for lane in self._lanes],
                [anchor_pull_at(lane.step_of(place), lane.values) for lane in self._lanes],
                [slot for slot, lane in enumerate(self._lanes) if lane.step_of(place) in lane.critical_steps],
                meanwhile=partial(_prepare, used),
            )
        if trace is not None:
            yield step_traced(self._lanes[0], place, trace, found[self._lanes[0].place])
        seconds = self._clock() - self._since
        for lane, values in zip(self._lanes, measured, strict=True):
            lane.add(values, seconds / len(measured))
            yield StepTelemetry(
                lane=lane.number,
                step=lane.step_of(place),
                epoch=lane.epoch,
                seconds=seconds / len(measured),
                images_per_second=self._plan.batch_size / max(seconds, 1e-9),
                **values_of(values),
            )
        self._since = self._clock()
        yield from self._update(place, measured)

    def _tracing(self, place: int) -> AbstractContextManager[Trace | None]:
        """A trace of the step, where its lane, which trains alone then, is to be traced."""
        first = self._lanes[0]
        since = first.spec.traced_from
        is_traced = since is not None and first.step_of(place) >= since
        return self._population.traced() if is_traced else nullcontext()

    def _one_by_place(self) -> Collection[Lane]:
        """A lane for each seed and epoch that lanes train on."""
        return {lane.place: lane for lane in self._lanes}.values()

    def _batches_ahead(self, opened: ExitStack) -> dict[tuple[int, int], BatchesAhead]:
        """What makes the epoch's batches, for each seed and epoch that lanes train on; ends with what is opened."""
        device, lanes = self._plan.device, self._one_by_place()
        num_threads = loading_threads(device)
        threads = opened.enter_context(ThreadPoolExecutor(max_workers=num_threads, thread_name_prefix="batches"))
        count = -(-num_threads // len(lanes))
        return {
            lane.place: opened.enter_context(
                closing(BatchesAhead(self._batches(lane), threads, count=count, is_pinned=device.startswith("cuda")))
            )
            for lane in lanes
        }

    def _batches(self, lane: Lane) -> TrainingBatches:
        order = TrainingOrder(
            epoch=lane.epoch,
            seed=lane.plan.data_seed,
            batch_size=self._plan.batch_size,
            image_size=self._plan.image_size,
            max_boxes=self._dataset.max_boxes,
        )
        values = in_epoch(lane.values, lane.epoch, self._plan.epochs)  # lanes agree on augmentation
        if not self._dataset.augments:
            values = without_augmentation(values)
        return training_batches(self._dataset.train, order, values)

    def _update(self, place: int, measured: Sequence[Measurement]) -> Iterator[Telemetry]:
        """Steps every lane that may be stepped and takes the others out."""
        ended: list[Lane] = []
        due: list[int] = []
        # What is left at the end of an epoch is not carried over: a checkpoint holds no gradient.
        is_due = (place + 1) % self._plan.accumulation == 0 or place + 1 == self._steps_per_epoch
        for slot, (lane, values) in enumerate(zip(self._lanes, measured, strict=True)):
            if lane.number in self._stopped:
                ended.append(lane)
                yield self._stop_record(lane, lane.step_of(place))
            elif not values.is_finite:
                # The loss scale multiplies gradients alone, so a loss that is no number is the lane's own doing.
                if not (isfinite(values.loss) and self._population.skip(slot)):
                    ended.append(lane)
                    step = lane.step_of(place)
                    yield LaneEnded(lane=lane.number, step=step, cause=EndCause.DIVERGED, reason=_reason(values))
            elif is_due:
                due.append(slot)
        self._population.update(due)
        self._drop(ended)

    def _rates(self, lane: Lane, place: int) -> Rates:
        return rates_at(
            lane.step_of(place),
            total_steps=self.total_steps,
            steps_per_epoch=self._steps_per_epoch,
            values=lane.values,
            val_losses=lane.val_losses[: lane.epoch],  # not one of `evaluate_once`
        )

    def _evaluate(self, lanes: Sequence[Lane], name: str, split: Split) -> Iterator[Telemetry]:
        for lane in lanes:
            yield from self._examiner.evaluate(lane, self._lanes.index(lane), name, split)

    def _inspect(self, lanes: Sequence[Lane]) -> Iterator[Telemetry]:
        for lane in lanes:
            yield from self._examiner.inspect(lane, self._lanes.index(lane))

    def _save(self) -> Iterator[Telemetry]:
        for slot, lane in enumerate(self._lanes):
            if (path := lane.spec.checkpoint) is not None:
                weights, optimizer = self._population.lane_state(slot)
                saved = lane.as_checkpoint(weights, optimizer, names=self._dataset.names, anchors=self._anchors)
                checkpoint.save(saved, path, keeps_before=True)
                yield CheckpointSaved(lane=lane.number, epoch=lane.epoch, step=saved.step, path=str(path))


def _prepare(batches: Sequence[BatchesAhead]) -> None:
    for ahead in batches:
        ahead.prepare()


def _reason(values: Measurement) -> str:
    broken = values.broken_terms
    return f"{' and '.join(broken)} loss is not finite" if broken else "gradient is not finite"
