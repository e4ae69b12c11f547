"""The command line as a process of its own, and a port for a server that cannot choose one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def evolve(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs `evolve` in a folder; whatever it meets, it may not end in a traceback."""
    finished = subprocess.run(
        [sys.executable, "-m", "evolve.cli", *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert not check or finished.returncode == 0, finished.stderr
    assert "Traceback" not in finished.stderr
    return finished


def environment() -> dict[str, str]:
    """Of a process that runs this checkout, on one thread and with wide lines."""
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
