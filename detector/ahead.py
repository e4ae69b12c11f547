"""Batches made on threads while the network is busy with the ones before."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor, Future, wait
from dataclasses import replace
from typing import final

from detector.batches import Batch

_MOST_THREADS = 8


def loading_threads(device: str) -> int:
    """How many threads make batches for a training on a device.

    Beside a CUDA device the processor has nothing else to do, and one thread makes fewer batches of photographs than
    it takes (`benchmarks/loading.py`). On the CPU the network wants the processor, and one thread makes as many as it
    uses.

    Args:
        device: torch's name of the device, such as cpu or cuda:0.
    """
    if not device.startswith("cuda"):
        return 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(max(usable - 1, 1), _MOST_THREADS)


@final
class BatchesAhead:
    """Batches in their order, of which the next ones are prepared on threads, from when that is asked for.

    Making a batch holds the interpreter for a part of its time, so it is best done beside the backward pass, which
    does not need it.

    Args:
        batches: Batches in the order they are taken. Each is made when it is read, the same on whatever thread that is.
        threads: Executor on whose threads the batches are made; it is not shut down here.
        count: How many batches are under way at once, at least 1.
        is_pinned: Whether batches are put in memory that a CUDA device copies from by itself.
    """

    def __init__(self, batches: Sequence[Batch], threads: Executor, *, count: int = 1, is_pinned: bool = False) -> None:
        self._batches, self._threads, self._count, self._is_pinned = batches, threads, count, is_pinned
        self._under_way: deque[Future[Batch]] = deque()
        self._next = 0

    def prepare(self) -> None:
        """Begins with the next batches, as far as that has not been done and any are left."""
        while len(self._under_way) < self._count and self._next < len(self._batches):
            self._under_way.append(self._threads.submit(self._made, self._next))
            self._next += 1

    def take(self) -> Batch:
        """The next batch, made here if nobody has asked for it.

        Raises:
            ValueError: There is none left, or it could not be made; the errors of making it are raised here.
        """
        if self._under_way:
            return self._under_way.popleft().result()
        if self._next == len(self._batches):
            raise ValueError("no batch of the epoch is left")
        self._next += 1
        return self._made(self._next - 1)

    def close(self) -> None:
        """Gives up what has not been begun, and waits for the rest."""
        for future in self._under_way:
            future.cancel()
        wait(self._under_way)

    def _made(self, place: int) -> Batch:
        batch = self._batches[place]
        return replace(batch, images=batch.images.pin_memory()) if self._is_pinned else batch
