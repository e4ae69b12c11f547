"""Batches made ahead on threads: the same ones in the same order, and nothing left running."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from detector.ahead import BatchesAhead, loading_threads
from detector.batches import Batch


class Numbered(Sequence[Batch]):
    """Batches whose pixels are their place; the earlier one is, the longer it takes."""

    def __init__(self, count: int, *, broken: int | None = None) -> None:
        self._count, self._broken = count, broken
        self.made: list[int] = []
        self.threads: set[str] = set()

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: Any) -> Any:
        time.sleep(0.002 * (self._count - place))
        self.made.append(place)
        self.threads.add(threading.current_thread().name)
        if place == self._broken:
            raise ValueError(f"image {place} cannot be read")
        return Batch(images=torch.full((1, 3, 2, 2), place, dtype=torch.uint8), labels_NM5=torch.zeros(1, 1, 5))


def _place(batch: Batch) -> int:
    return int(batch.images[0, 0, 0, 0])


@pytest.mark.parametrize("count", [1, 2, 5])
def test_batches_come_in_order_however_many_are_under_way(count: int) -> None:
    batches = Numbered(12)
    taken = []
    with ThreadPoolExecutor(count) as threads:
        ahead = BatchesAhead(batches, threads, count=count)
        for place in range(12):
            if place % 3:  # some are prepared, some are not, some are asked for twice
                ahead.prepare()
                ahead.prepare()
            taken.append(_place(ahead.take()))
        ahead.prepare()

        with pytest.raises(ValueError, match="no batch of the epoch is left"):
            ahead.take()

    assert taken == list(range(12))
    assert sorted(batches.made) == taken  # each once


def test_several_are_made_at_once_but_no_more_than_that() -> None:
    batches = Numbered(12)
    with ThreadPoolExecutor(3) as threads:
        ahead = BatchesAhead(batches, threads, count=3)
        ahead.prepare()
    ahead.close()

    assert sorted(batches.made) == [0, 1, 2]
    assert len(batches.threads) > 1


def test_closing_gives_up_what_has_not_begun_and_waits_for_the_rest() -> None:
    batches = Numbered(40)
    with ThreadPoolExecutor(1) as thread:
        ahead = BatchesAhead(batches, thread, count=10)
        ahead.prepare()
        ahead.close()
        num_made = len(batches.made)

        assert thread.submit(lambda: True).result()

    assert num_made == len(batches.made) <= 2


def test_an_error_on_a_thread_reaches_the_reader_at_its_place() -> None:
    with ThreadPoolExecutor(2) as threads:
        ahead = BatchesAhead(Numbered(4, broken=1), threads, count=2)
        ahead.prepare()

        assert _place(ahead.take()) == 0
        with pytest.raises(ValueError, match="image 1 cannot be read"):
            ahead.take()
        assert _place(ahead.take()) == 2


def test_one_thread_beside_a_network_on_the_cpu_and_several_beside_a_device() -> None:
    assert loading_threads("cpu") == 1
    assert 1 <= loading_threads("cuda:0") <= 8
