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
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from detector import checkpoint
from detector.augment import in_epoch, without_augmentation
from detector.batches import (
    Batch,
    BatchesAhead,
    TrainingOrder,
    evaluation_batches,
    fixed_batch,
    num_batches,
    training_batches,
)
from detector.checkpoint import Checkpoint, Found
from detector.critical import critical_steps
from detector.datasets.listing import Dataset, Split
from detector.hyperparameters import Hyperparameters
from detector.plan import TrainingPlan
from detector.population import Evaluation, Population
from detector.priors import choose_anchors, label_statistics
from detector.schedule import anchor_pull_at, rates_at
from detector.start import load_start
from detector.telemetry import (
    TERMS,
    CheckpointSaved,
    ClassScores,
    EndCause,
    EpochMetrics,
    LaneEnded,
    LaneStarted,
    LayerInspected,
    Measurement,
    Picture,
    PicturesTaken,
    PicturesWatched,
    Rates,
    ScaleObjectness,
    Scores,
    StepTelemetry,
    StepTraced,
    Telemetry,
    values_of,
)
from detector.tracing import Trace
from detector.watching import (
    Watched,
    batch_labels,
    batch_picture,
    batch_pictures,
    found_boxes,
    is_inspected,
    is_watched,
    watch,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSpec:
    """One lane of a training.

    Attributes:
        values: Hyperparameters of the lane.
        seed: Seed of the lane's first weights.
        data_seed: Seed of image order, augmentation and rendering; None for the plan's.
        checkpoint: File written after each epoch, the one before it kept; None for none.
        start: What to go on from; nothing for a training from its beginning.
        origin: Written to the file, for whoever looks for something to go on from.
        is_inspected: Whether it is recorded what its layers hold, before the first epoch and after some others.
        traced_from: Step from which on each is traced, module by module, which takes time; None for none. Such a lane
            trains alone.
        has_critical: Whether the critical ratio of its updates is measured at a few steps (`detector.critical`).
    """

    values: Hyperparameters
    seed: int = 0
    data_seed: int | None = None
    checkpoint: Path | None = None
    start: Found = field(default_factory=Found)
    origin: str = ""
    is_inspected: bool = False
    traced_from: int | None = None
    has_critical: bool = False


@dataclass(slots=True)
class _Lane:
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

    @property
    def place(self) -> tuple[int, int]:
        """Seed and epoch: lanes that agree on both train on the same batches."""
        return self.plan.data_seed, self.epoch


class Trainer:
    """One training of T lanes, some there from the start, others admitted later.

    Args:
        plan: What the lanes share.
        dataset: Images to train and measure on.
        lanes: At least one.
        clock: Seconds, for the timings in the records.

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
        self._lanes: list[_Lane] = []
        self._waiting: list[_Lane] = []
        self._num_admitted = 0
        self._stopped: dict[int, str] = {}
        self._watched: Watched | None = None
        self._inspected_on: Batch | None = None
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
        if self.num_lanes and any(each.traced_from is not None for each in (spec, *self._specs())):
            raise ValueError("traced_from: a lane that is traced trains alone; allowed beside others: None")
        plan = self._plan if spec.data_seed is None else replace(self._plan, data_seed=spec.data_seed)
        if (stored := spec.start.checkpoint) is not None:
            checkpoint.check_same_training(stored, plan, spec.values, spec.seed)
        epoch = 0 if stored is None else stored.epoch + 1
        critical = self._critical_steps(spec.values) if spec.has_critical else frozenset()
        lane = _Lane(number=self._num_admitted, spec=spec, plan=plan, epoch=epoch, critical_steps=critical)
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
        self._population.add([lane.spec.values for lane in self._waiting], [lane.spec.seed for lane in self._waiting])
        for slot, lane in enumerate(self._waiting, start=first):
            if (stored := lane.spec.start.checkpoint) is not None:
                self._population.load_lane(slot, dict(stored.weights), dict(stored.optimizer))
                # Yielded again with the test metrics, if the last epoch is over already.
                lane.train_losses = dict(stored.train_losses)
                lane.val_losses = stored.val_losses
        self._lanes += self._waiting
        self._waiting = []

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
        if self._watched is None:
            self._watched = watch(self._dataset.val)
        yield from _pictures(new, "val", self._watched.pictures)

    def _finish(self) -> Iterator[Telemetry]:
        """Measures lanes whose epochs are over on the test images, and ends them."""
        over = [lane for lane in self._lanes if lane.epoch >= self._plan.epochs]
        yield from self._inspect(over)
        if over and self._dataset.test is not None:
            yield from self._evaluate(over, "test", self._dataset.test)
        for lane in over:
            yield LaneEnded(lane=lane.number, step=self.total_steps, cause=EndCause.FINISHED, reason="ran all epochs")
        self._drop(over)

    def _end_stopped(self) -> Iterator[Telemetry]:
        stopped = [lane for lane in self._lanes if lane.number in self._stopped]
        for lane in stopped:
            yield self._stop_record(lane, (lane.epoch + 1) * self._steps_per_epoch)
        self._drop(stopped)

    def _stop_record(self, lane: _Lane, step: int) -> LaneEnded:
        return LaneEnded(lane=lane.number, step=step, cause=EndCause.STOPPED, reason=self._stopped.pop(lane.number))

    def _drop(self, ended: Collection[_Lane]) -> None:
        if ended:
            self._population.drop([self._lanes.index(lane) for lane in ended])
            self._lanes = [lane for lane in self._lanes if lane not in ended]

    # One epoch

    def _train(self) -> Iterator[Telemetry]:
        for lane in self._lanes:
            lane.loss_sums, lane.seconds = dict.fromkeys(TERMS, 0.0), 0.0
        self._since = self._clock()  # time since then has not been divided among the lanes
        with ExitStack() as opened:
            thread = opened.enter_context(ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches"))
            batches = {
                lane.place: opened.enter_context(closing(BatchesAhead(self._batches(lane), thread)))
                for lane in self._one_by_place()
            }
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
                    yield from _pictures([lane], "train", (pictures[lane.place],))
        with self._tracing(place) as trace:
            measured = self._population.measure(
                [found[lane.place] for lane in self._lanes],
                [self._rates(lane, place) for lane in self._lanes],
                [anchor_pull_at(self._step_of(lane, place), lane.spec.values) for lane in self._lanes],
                [slot for slot, lane in enumerate(self._lanes) if self._step_of(lane, place) in lane.critical_steps],
                meanwhile=partial(_prepare, used),
            )
        if trace is not None:
            yield self._traced(self._lanes[0], place, trace, found[self._lanes[0].place])
        seconds = self._clock() - self._since
        for lane, values in zip(self._lanes, measured, strict=True):
            lane.add(values, seconds / len(measured))
            yield StepTelemetry(
                lane=lane.number,
                step=self._step_of(lane, place),
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
        is_traced = since is not None and self._step_of(first, place) >= since
        return self._population.traced() if is_traced else nullcontext()

    def _traced(self, lane: _Lane, place: int, trace: Trace, batch: Batch) -> StepTraced:
        return StepTraced(
            lane=lane.number,
            step=self._step_of(lane, place),
            modules=trace.modules(),
            places=batch.places,
            pictures=batch_pictures(batch),
            labels=tuple(tuple(map(tuple, rows_M5.tolist())) for rows_M5 in batch_labels(batch)),
        )

    def _one_by_place(self) -> Collection[_Lane]:
        """A lane for each seed and epoch that lanes train on."""
        return {lane.place: lane for lane in self._lanes}.values()

    def _step_of(self, lane: _Lane, place: int) -> int:
        return lane.epoch * self._steps_per_epoch + place

    def _batches(self, lane: _Lane) -> Generator[Batch, None, None]:
        order = TrainingOrder(
            epoch=lane.epoch,
            seed=lane.plan.data_seed,
            batch_size=self._plan.batch_size,
            image_size=self._plan.image_size,
            max_boxes=self._dataset.max_boxes,
        )
        values = in_epoch(lane.spec.values, lane.epoch, self._plan.epochs)  # lanes agree on augmentation
        if not self._dataset.augments:
            values = without_augmentation(values)
        return training_batches(self._dataset.train, order, values)

    def _update(self, place: int, measured: Sequence[Measurement]) -> Iterator[Telemetry]:
        """Steps every lane that may be stepped and takes the others out."""
        ended: list[_Lane] = []
        due: list[int] = []
        # What is left at the end of an epoch is not carried over: a checkpoint holds no gradient.
        is_due = (place + 1) % self._plan.accumulation == 0 or place + 1 == self._steps_per_epoch
        for slot, (lane, values) in enumerate(zip(self._lanes, measured, strict=True)):
            if lane.number in self._stopped:
                ended.append(lane)
                yield self._stop_record(lane, self._step_of(lane, place))
            elif not values.is_finite:
                if not self._population.skip(slot):
                    ended.append(lane)
                    step = self._step_of(lane, place)
                    yield LaneEnded(lane=lane.number, step=step, cause=EndCause.DIVERGED, reason=_reason(values))
            elif is_due:
                due.append(slot)
        self._population.update(due)
        self._drop(ended)

    def _rates(self, lane: _Lane, place: int) -> Rates:
        return rates_at(
            self._step_of(lane, place),
            total_steps=self.total_steps,
            steps_per_epoch=self._steps_per_epoch,
            values=lane.spec.values,
            val_losses=lane.val_losses[: lane.epoch],  # not one of `evaluate_once`
        )

    def _evaluate(self, lanes: Sequence[_Lane], name: str, split: Split) -> Iterator[Telemetry]:
        """Measures lanes one after another; those at their end on the test images, after their last epoch."""
        for lane in lanes:
            started = self._clock()
            batches = evaluation_batches(
                split,
                batch_size=self._plan.batch_size,
                image_size=self._plan.image_size,
                max_boxes=self._dataset.max_boxes,
            )
            found = self._population.evaluate(self._lanes.index(lane), batches)
            seconds = self._clock() - started
            lane.scores = found.scores.overall
            if name == "val":
                lane.val_losses = (*lane.val_losses[: lane.epoch], sum(found.losses.values()))
            epoch = min(lane.epoch, self._plan.epochs - 1)
            # Before the metrics, after which a lane may be stopped.
            yield from self._details(lane.number, epoch, name, found)
            yield EpochMetrics(
                lane=lane.number,
                epoch=epoch,
                step=(epoch + 1) * self._steps_per_epoch,
                split=name,
                losses=found.losses,
                train_losses=lane.train_losses,
                seconds=lane.seconds + seconds if name == "val" else seconds,
                **values_of(lane.scores),
            )

    def _details(self, lane: int, epoch: int, split: str, found: Evaluation) -> Iterator[Telemetry]:
        """Scores by class, objectness by scale, and after some epochs what is found in the images that are watched."""
        for index, part in enumerate(found.scores.classes):
            yield ClassScores(
                lane=lane,
                epoch=epoch,
                split=split,
                class_index=index,
                objects=part.objects,
                **values_of(part.scores),
            )
        for each in found.objectness:
            yield ScaleObjectness(lane=lane, epoch=epoch, split=split, **values_of(each))
        if split == "val" and self._watched is not None and is_watched(epoch, self._plan.epochs):
            boxes = tuple(
                found_boxes(found.evaluator.found_in(index), size, self._plan.image_size)
                for index, size in zip(self._watched.indices, self._watched.sizes, strict=True)
            )
            yield PicturesWatched(lane=lane, epoch=epoch, boxes=boxes)

    def _inspect(self, lanes: Sequence[_Lane]) -> Iterator[Telemetry]:
        """What the layers of lanes hold before their next epoch, or at their end, where that was asked for."""
        for lane in lanes:
            if lane.spec.is_inspected and is_inspected(lane.epoch, self._plan.epochs):
                for each in self._population.inspect(self._lanes.index(lane), self._batch_to_inspect()):
                    yield LayerInspected(lane=lane.number, epoch=lane.epoch, **values_of(each))

    def _batch_to_inspect(self) -> Batch:
        if self._inspected_on is None:
            plan, dataset = self._plan, self._dataset
            self._inspected_on = fixed_batch(
                dataset.train, batch_size=plan.batch_size, image_size=plan.image_size, max_boxes=dataset.max_boxes
            )
        return self._inspected_on

    def _save(self) -> Iterator[Telemetry]:
        for slot, lane in enumerate(self._lanes):
            if (path := lane.spec.checkpoint) is not None:
                saved = self._checkpoint(slot, lane)
                checkpoint.save(saved, path, keeps_before=True)
                yield CheckpointSaved(lane=lane.number, epoch=lane.epoch, step=saved.step, path=str(path))

    def _checkpoint(self, slot: int, lane: _Lane) -> Checkpoint:
        weights, optimizer = self._population.lane_state(slot)
        return Checkpoint(
            plan=lane.plan,
            values=lane.spec.values,
            seed=lane.spec.seed,
            names=self._dataset.names,
            anchors=tuple(tuple((w, h) for w, h in sizes_A2.tolist()) for sizes_A2 in self._anchors),
            epoch=lane.epoch,
            step=(lane.epoch + 1) * self._steps_per_epoch,
            weights=weights,
            optimizer=optimizer,
            metrics={} if lane.scores is None else values_of(lane.scores),
            train_losses=lane.train_losses,
            val_losses=lane.val_losses,
            origin=lane.spec.origin,
        )


def _prepare(batches: Sequence[BatchesAhead]) -> None:
    for ahead in batches:
        ahead.prepare()


def _pictures(lanes: Sequence[_Lane], split: str, pictures: tuple[Picture, ...]) -> Iterator[PicturesTaken]:
    return (PicturesTaken(lane=lane.number, split=split, pictures=pictures) for lane in lanes)


def _reason(values: Measurement) -> str:
    broken = values.broken_terms
    return f"{' and '.join(broken)} loss is not finite" if broken else "gradient is not finite"
