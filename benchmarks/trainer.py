"""What a training step costs, and how much of it is spent outside forward and backward.

    python benchmarks/trainer.py [--model yolov3-tiny-compact] [--image-size 64] [--batch-size 16] [--steps 60]
        [--optimizers sgd,muon] [--lanes 1,2,4,8]

Prints a row for each optimizer and number of lanes: images/s of one lane, of all lanes together (trial-images/s), the
median time of a step of the whole loop, the median time of forward, loss and backward alone on the same batches, and
the share of the step that is left: data, targets' transfer, telemetry, optimizer and average. The two are measured in
turn, a few steps of each at a time, so that a noisy machine disturbs both alike. The last column is the share of the
loop that the clock finds outside its own forward, loss and backward, which take longer there than alone: beside the
thread that makes the next batch, and on caches that the update has used. One thread.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any
from unittest.mock import patch

import torch

from detector.augment import without_augmentation
from detector.batches import TrainingOrder, training_batches
from detector.datasets import open_dataset
from detector.datasets.listing import Dataset
from detector.hyperparameters import Hyperparameters
from detector.lane_losses import LaneLosses
from detector.plan import TrainingPlan
from detector.telemetry import StepTelemetry
from detector.trainer import LaneSpec, Trainer

WARM_STEPS = 5
TURN = 10


@contextmanager
def timed_passes() -> Iterator[list[float]]:
    """Wall time of every forward pass with its loss, and of every backward pass, as long as it is open."""
    seconds: list[float] = []

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            started = time.perf_counter()
            found = function(*arguments, **named)
            seconds.append(time.perf_counter() - started)
            return found

        return call

    with (
        patch.object(LaneLosses, "of_batches", timed(LaneLosses.of_batches)),
        patch.object(torch.Tensor, "backward", timed(torch.Tensor.backward)),
    ):
        yield seconds


def loop_seconds(training: Iterator[object], count: int) -> list[tuple[float, float]]:
    """Wall time of steps, from one's record to the next, evaluation left out; and that of it outside the passes."""
    seconds = []
    last = None
    with timed_passes() as passes:
        for record in training:
            if not isinstance(record, StepTelemetry):
                last = None
                continue
            if record.lane:
                continue
            now = time.perf_counter()
            if last is not None:
                seconds.append((now - last, now - last - sum(passes)))
            last = now
            passes.clear()
            if len(seconds) == count:
                return seconds
    raise RuntimeError("the training is too short for the measurement")


def bare_seconds(trainer: Trainer, dataset: Dataset, plan: TrainingPlan, count: int) -> list[float]:
    """Wall time of forward, loss and backward alone, batches made beforehand."""
    population = trainer._population
    order = TrainingOrder(
        epoch=0, seed=0, batch_size=plan.batch_size, image_size=plan.image_size, max_boxes=dataset.max_boxes
    )
    seconds = []
    values = without_augmentation(Hyperparameters())
    for batch in training_batches(dataset.train, order, values)[:count]:
        started = time.perf_counter()
        population._network.train()
        lanes = population.num_lanes
        loss = population._losses.of_batches(population._network, [batch] * lanes, [0.0] * lanes).terms_TS4.sum()
        loss.backward()
        if plan.device.startswith("cuda"):
            torch.cuda.synchronize()  # the loop waits for its telemetry in every step
        seconds.append(time.perf_counter() - started)
        population._optimizers.clear_gradient(range(population.num_lanes))
    return seconds


def measure(specs: Sequence[LaneSpec], dataset: Dataset, plan: TrainingPlan, steps: int) -> tuple[float, float, float]:
    """Median seconds of a step of the loop, of what is outside its passes, and of forward, loss and backward alone."""
    trainer, other = Trainer(plan, dataset, specs), Trainer(plan, dataset, specs)
    training = trainer.fit()
    loop_seconds(training, WARM_STEPS)
    bare_seconds(other, dataset, plan, WARM_STEPS)
    whole: list[tuple[float, float]] = []
    bare: list[float] = []
    while len(whole) < steps:
        whole += loop_seconds(training, TURN)
        bare += bare_seconds(other, dataset, plan, TURN)
    step, outside = (statistics.median(column) for column in zip(*whole, strict=True))
    return step, outside, statistics.median(bare)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="digits-1")
    parser.add_argument("--model", default="yolov3-tiny-compact")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--lanes", default="1,2,4,8")
    parser.add_argument("--optimizers", default="sgd")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    plan = TrainingPlan(
        model=arguments.model,
        image_size=arguments.image_size,
        batch_size=arguments.batch_size,
        nominal_batch_size=arguments.batch_size,
        epochs=100,
        device=arguments.device,
    )
    dataset = open_dataset(arguments.data, image_size=plan.image_size)
    print(f"{arguments.model}, {plan.image_size} px, batch {plan.batch_size}, {arguments.steps} steps, one thread")
    print(f"torch {torch.__version__}, {platform.machine()}, {torch.get_num_threads()} thread, {plan.device}")
    heads = (("lanes", 5), ("images/s", 9), ("trial-images/s", 15), ("step ms", 8), ("fwd+bwd ms", 11), ("outside", 8))
    print(f"{'':<8}" + " ".join(f"{head:>{width}}" for head, width in (*heads, ("by the clock", 12))))
    for optimizer, lanes in product(arguments.optimizers.split(","), map(int, arguments.lanes.split(","))):
        values = Hyperparameters(lr0=1e-3, optimizer=optimizer)
        specs = [LaneSpec(values=values, seed=lane) for lane in range(lanes)]
        whole, outside, bare = measure(specs, dataset, plan, arguments.steps)
        rate = plan.batch_size / whole
        print(
            f"{optimizer:<8}{lanes:>5} {rate:>9.0f} {rate * lanes:>15.0f} {whole * 1e3:>8.2f} {bare * 1e3:>11.2f} "
            f"{max(1 - bare / whole, 0):>8.1%} {outside / whole:>12.1%}"
        )


if __name__ == "__main__":
    main()
