"""What is measured and shown of lanes between their steps: scores, objectness, pictures, and what layers hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import final

from detector.batches import Batch, evaluation_batches, fixed_batch
from detector.datasets.listing import Dataset, Split
from detector.lane import Lane
from detector.observations import LayerInspected, Picture, PicturesTaken, PicturesWatched, ScaleObjectness, StepTraced
from detector.plan import TrainingPlan
from detector.population import Evaluation, Population
from detector.telemetry import ClassScores, EpochMetrics, Telemetry, values_of
from detector.tracing import Trace
from detector.watching import Watched, batch_labels, batch_pictures, found_boxes, is_inspected, is_watched, watch


@final
class Examiner:
    """Looks at lanes of a population; nothing that they train with is changed.

    Args:
        plan: What the lanes share.
        dataset: Images that lanes are measured and inspected on.
        population: Networks of the lanes.
        clock: Function that gives the time in seconds, for the timings in the records.
    """

    def __init__(
        self, plan: TrainingPlan, dataset: Dataset, population: Population, clock: Callable[[], float]
    ) -> None:
        self._plan, self._dataset, self._population, self._clock = plan, dataset, population, clock

    def watched(self, lanes: Sequence[Lane]) -> Iterator[PicturesTaken]:
        """The validation images that are watched, once for each lane."""
        return pictures_taken(lanes, "val", self._watched.pictures)

    def evaluate(self, lane: Lane, slot: int, name: str, split: Split) -> Iterator[Telemetry]:
        """Measures a lane after an epoch; one at its end, on the test images, after its last epoch.

        Args:
            lane: Lane that is measured; it keeps its scores and, of the validation images, its loss.
            slot: Slot of the lane in the population.
            name: Name of the split, val or test.
            split: Images to measure on.
        """
        started = self._clock()
        plan = self._plan
        batches = evaluation_batches(
            split, batch_size=plan.batch_size, image_size=plan.image_size, max_boxes=self._dataset.max_boxes
        )
        found = self._population.evaluate(slot, batches)
        seconds = self._clock() - started
        lane.scores = found.scores.overall
        if name == "val":
            lane.val_losses = (*lane.val_losses[: lane.epoch], sum(found.losses.values()))
        epoch = min(lane.epoch, plan.epochs - 1)
        # Before the metrics, after which a lane may be stopped.
        yield from self._details(lane.number, epoch, name, found)
        yield EpochMetrics(
            lane=lane.number,
            epoch=epoch,
            step=(epoch + 1) * lane.steps_per_epoch,
            split=name,
            losses=found.losses,
            train_losses=lane.train_losses,
            seconds=lane.seconds + seconds if name == "val" else seconds,
            **values_of(lane.scores),
        )

    def inspect(self, lane: Lane, slot: int) -> Iterator[LayerInspected]:
        """What the layers of a lane hold before its next epoch, or at its end, where that was asked for."""
        if lane.spec.is_inspected and is_inspected(lane.epoch, self._plan.epochs):
            for layer_values in self._population.inspect(slot, self._batch_to_inspect):
                yield LayerInspected(lane=lane.number, epoch=lane.epoch, **values_of(layer_values))

    @cached_property
    def _watched(self) -> Watched:
        return watch(self._dataset.val)

    @cached_property
    def _batch_to_inspect(self) -> Batch:
        plan, dataset = self._plan, self._dataset
        return fixed_batch(
            dataset.train, batch_size=plan.batch_size, image_size=plan.image_size, max_boxes=dataset.max_boxes
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
        for objectness in found.objectness:
            yield ScaleObjectness(lane=lane, epoch=epoch, split=split, **values_of(objectness))
        if split == "val" and is_watched(epoch, self._plan.epochs):
            boxes = tuple(
                found_boxes(found.evaluator.found_in(index), size, self._plan.image_size)
                for index, size in zip(self._watched.indices, self._watched.sizes, strict=True)
            )
            yield PicturesWatched(lane=lane, epoch=epoch, boxes=boxes)


def pictures_taken(lanes: Sequence[Lane], split: str, pictures: tuple[Picture, ...]) -> Iterator[PicturesTaken]:
    """The same pictures as a record of each lane."""
    return (PicturesTaken(lane=lane.number, split=split, pictures=pictures) for lane in lanes)


def step_traced(lane: Lane, place: int, trace: Trace, batch: Batch) -> StepTraced:
    """What passed through a lane's network in a step, and what it was shown.

    Args:
        lane: Lane that was traced.
        place: Place of the step's batch in the lane's epoch, from 0.
        trace: What passed through the network in the step.
        batch: Images and labels that the lane was shown.
    """
    return StepTraced(
        lane=lane.number,
        step=lane.step_of(place),
        modules=trace.modules(),
        places=batch.places,
        pictures=batch_pictures(batch),
        labels=tuple(tuple(map(tuple, rows_M5.tolist())) for rows_M5 in batch_labels(batch)),
    )
