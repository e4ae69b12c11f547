"""How many training batches a second threads make of photographs.

    python benchmarks/loading.py DATA [--image-size 160,416,640] [--threads 1,2] [--batches 20] [--batch-size 16]

Prints a row for each image size and way of varying images: milliseconds a batch with so many threads, and how many
times faster the last number of threads is than the first. Turns change with every batch count, so that a noisy machine
disturbs all alike. Pictures are decoded beforehand, as they are after a training's first epoch.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import torch

from detector.ahead import BatchesAhead
from detector.augment import without_augmentation
from detector.batches import TrainingOrder, training_batches
from detector.datasets import open_dataset
from detector.datasets.listing import Dataset
from detector.hyperparameters import Hyperparameters

TURNS = 5
WAYS = {
    "letterboxed only": without_augmentation(Hyperparameters()),
    "defaults": Hyperparameters(),
    "mosaics": Hyperparameters(mosaic=1.0, scale=0.5, translate=0.1),
}


def seconds_a_batch(dataset: Dataset, order: TrainingOrder, values: Hyperparameters, threads: int, count: int) -> float:
    """Wall time of a batch where nothing else is done meanwhile."""
    batches = training_batches(dataset.train, order, values)
    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        for _ in range(-(-count // len(batches))):
            ahead = BatchesAhead(batches, pool, count=threads)
            for _ in range(min(count, len(batches))):
                ahead.prepare()
                ahead.take()
            ahead.close()
        return (time.perf_counter() - started) / count


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--image-size", default="160,416,640")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=16)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    numbers = [int(number) for number in arguments.threads.split(",")]
    print(f"torch {torch.__version__}, {platform.machine()}, {os.cpu_count()} cores, batch {arguments.batch_size}")
    print("| px | images are | " + " | ".join(f"ms, {number} threads" for number in numbers) + " | times |")
    for image_size in map(int, arguments.image_size.split(",")):
        dataset = open_dataset(arguments.data, image_size=image_size)
        order = TrainingOrder(
            epoch=0, seed=0, batch_size=arguments.batch_size, image_size=image_size, max_boxes=dataset.max_boxes
        )
        for name, values in WAYS.items():
            taken: dict[int, list[float]] = {number: [] for number in numbers}
            for _ in range(TURNS):
                for number, seconds in taken.items():
                    seconds.append(seconds_a_batch(dataset, order, values, number, arguments.batches))
            medians = [statistics.median(seconds) for seconds in taken.values()]
            times = statistics.median(
                first / last for first, last in zip(taken[numbers[0]], taken[numbers[-1]], strict=True)
            )
            shown = " | ".join(f"{1e3 * median:.1f}" for median in medians)
            print(f"| {image_size} | {name} | {shown} | {times:.2f} |", flush=True)


if __name__ == "__main__":
    main()
