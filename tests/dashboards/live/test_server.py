"""The command that serves pages."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.dashboard import Caller
from tests.dashboards.live.serving import CALLBACK, Served, started


def test_a_page_is_answered_by_a_process_of_its_own(served: Served) -> None:
    caller = Caller(f"http://127.0.0.1:{served.port}")

    assert caller.page() > 1000 and caller.panels(("summary", "history", "trials")) > 1000


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.3])
def test_ctrl_c_ends_it_with_status_0_at_any_moment(large_url: str, tmp_path: Path, seconds: float) -> None:
    with started(large_url, tmp_path, EVOLVE_TOKEN="") as found, ExitStack() as connections:
        for _ in range(5):
            connections.enter_context(found.connect()).sendall(CALLBACK)
        time.sleep(seconds)
        for _ in range(3):
            found.process.send_signal(signal.SIGINT)

        assert found.process.wait(timeout=20) == 0
        assert found.log.read_text() == ""


def test_a_second_ctrl_c_that_comes_while_it_ends_changes_nothing(large_url: str, tmp_path: Path) -> None:
    with started(large_url, tmp_path, EVOLVE_TOKEN="") as found:
        while found.process.poll() is None:
            found.process.send_signal(signal.SIGINT)
            time.sleep(0.001)

        assert found.process.returncode == 0
        assert found.log.read_text() == ""
