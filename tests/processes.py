"""The command line as a process of its own, and a port for a server that cannot choose one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.places import ROOT

SECONDS = 240
# Imported once for all commands of a test process, which are forked from there: importing takes longer than most do.
WARM = (
    "evolve.run.engines.server",
    "detector.trainer",
    "evolve.run.run",
    "evolve.cli",
    "dashboards.report",
    "rich.live",
)
CONTEXT = multiprocessing.get_context("forkserver")


def share_server() -> None:
    """Has all processes that are forked in this test process, by whomever, come from one server that is warm.

    Its preloads are those of whoever starts it, and an engine's of a test of its own would be none.
    """
    CONTEXT.set_forkserver_preload(list(WARM))
    forkserver.set_forkserver_preload = lambda modules: None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A program that runs in a process of its own.

    Attributes:
        process: The process, which its workers outlive for a moment where it is killed.
        outputs: Files with what it has said on standard output and standard error so far.
        before: What had been forked from the same server, and lived, when it began.
    """

    process: BaseProcess
    outputs: tuple[Path, Path]
    before: frozenset[int]

    def said(self) -> str:
        """On standard output, so far."""
        return self.outputs[0].read_text()

    def wait_until(self, condition: Callable[[], object], seconds: float = SECONDS) -> None:
        """Waits for what the program is about to do; it may neither end before that nor take longer."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.is_alive() and time.monotonic() < deadline, self.outputs[1].read_text()
            time.sleep(0.01)

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the process and to none of its workers."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def workers(self) -> frozenset[int]:
        """Processes that it has had forked from the server since."""
        return _forked() - self.before - {self.process.pid or 0}

    def ended(self, seconds: float = SECONDS) -> subprocess.CompletedProcess[str]:
        """How it ended, waiting for that."""
        self.process.join(seconds)
        if self.process.is_alive():
            raise subprocess.TimeoutExpired(self.process.name, seconds, *(each.read_bytes() for each in self.outputs))
        out, err = (each.read_text() for each in self.outputs)
        assert self.process.exitcode is not None
        return subprocess.CompletedProcess(self.process.name, self.process.exitcode, out, err)


@contextmanager
def forked(program: Callable[[], None], folder: Path, name: str = "") -> Iterator[Running]:
    """A function of a module in a process of its own, in a folder; what runs at the end of the block is killed."""
    with tempfile.TemporaryDirectory() as place:
        outputs = Path(place) / "out", Path(place) / "err"
        for each in outputs:
            each.touch()
        process = CONTEXT.Process(target=_run, name=name, args=(program, folder, environment(), outputs))
        before = _forked()
        process.start()
        try:
            yield Running(process=process, outputs=outputs, before=before)
        finally:
            process.kill()
            process.join()


def _forked() -> frozenset[int]:
    server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    return frozenset(map(int, Path(f"/proc/{server}/task/{server}/children").read_text().split() if server else ()))


def _run(program: Callable[[], None], folder: Path, settings: dict[str, str], outputs: tuple[Path, Path]) -> None:
    for number, output in enumerate(outputs, start=1):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(settings)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Workers come from the same server; Python 3.11 would start another for a process that did not start this one.
    # Both names: the module's is the method that the server had when it was made.
    forkserver.ensure_running = forkserver._forkserver.ensure_running = lambda: None  # type: ignore[method-assign]
    program()


def running(folder: Path, *arguments: str) -> AbstractContextManager[Running]:
    """`evolve` in a process of its own, in a folder; what runs at the end of the block is killed."""
    return forked(partial(_be_evolve, arguments), folder, name=" ".join(["evolve", *arguments]))


def _be_evolve(arguments: tuple[str, ...]) -> None:
    sys.argv = ["evolve", *arguments]
    from evolve import cli

    cli.main()


def evolve(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs `evolve` in a process of its own, in a folder; whatever it meets, it may not end in a traceback."""
    with running(folder, *arguments) as started:
        ended = started.ended()
    assert not check or ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended


def environment() -> dict[str, str]:
    """Of a process that runs this checkout, on one thread and with wide lines."""
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
