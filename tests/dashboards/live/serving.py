"""A server as a person starts it, and requests byte by byte."""

from __future__ import annotations

import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.processes import environment

NAME = "large"  # as the benchmark's caller names it
TOKEN = "correct horse battery"
CALLBACK = b"POST /_dash-update-component HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
MEMORY = 6 * 2**30  # bytes that a server may ask for before it ends, and with it the test, not the machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A dashboard in a process of its own."""

    process: subprocess.Popen[str]
    port: int
    log: Path

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def megabytes(self, what: str) -> float:
        """What the kernel says of its memory: VmRSS now, VmHWM the most there ever was."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024

    def seconds_of_a_reader(self) -> float:
        started = time.perf_counter()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=20) as answer:
            answer.read()
        return time.perf_counter() - started


@contextmanager
def started(large_url: str, folder: Path, **settings: str) -> Iterator[Served]:
    log = folder / "log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "evolve.cli", "dashboard", "--port", "0", "--no-browser", "--storage", large_url],
            cwd=folder,
            env=environment() | settings,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            preexec_fn=_as_a_person_starts_it,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert first.startswith("dashboard  http://127.0.0.1:"), log.read_text()
            yield Served(process=process, port=int(first.split(":")[2].split("/")[0]), log=log)
        finally:
            process.kill()


def _as_a_person_starts_it() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def answer_to(connection: socket.socket) -> bytes:
    """All that the other side says until it closes."""
    parts = []
    try:
        while part := connection.recv(2**16):
            parts.append(part)
    except ConnectionError:
        pass  # closed while we were still sending
    return b"".join(parts)


def send_all(connection: socket.socket, part: bytes, times: int) -> None:
    """Sends a part again and again, or until the other side has had enough."""
    try:
        for _ in range(times):
            connection.sendall(part)
    except ConnectionError:
        pass
