"""Frames that are read when they are first asked for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pandas as pd
import pytest

from dashboards.data.measured import Measured

ROWS = pd.DataFrame({"number": [0, 0, 1, 2], "value": [1.0, 2.0, 3.0, 4.0]})


def test_a_frame_is_read_once_however_many_threads_ask():
    reads = []
    barrier = Barrier(4)

    def read():
        reads.append(1)
        return ROWS

    found = Measured({"epochs": read})

    def ask(_):
        barrier.wait()
        return found.frame("epochs")

    with ThreadPoolExecutor(4) as threads:
        frames = list(threads.map(ask, range(4)))

    assert len(reads) == 1
    assert all(each is ROWS for each in frames)


def test_nothing_is_read_before_it_is_asked_for_and_a_restriction_keeps_its_trials_alone():
    reads = []

    def read():
        reads.append(1)
        return ROWS

    found = Measured({"steps": read}).restricted({0, 2})

    assert reads == []
    assert found.frame("steps")["value"].tolist() == [1.0, 2.0, 4.0]
    assert found.restricted({2}).frame("steps")["number"].tolist() == [2]
    assert len(reads) == 1


def test_a_read_that_fails_is_tried_again_by_the_next_who_asks():
    answers = iter([OSError("the file is locked"), ROWS])

    def read():
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    found = Measured({"epochs": read})

    with pytest.raises(OSError, match="locked"):
        found.frame("epochs")
    assert found.frame("epochs") is ROWS
