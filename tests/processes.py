"""The command line as a process of its own, and a port for a server that cannot choose one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
from multiprocessing import forkserver
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
_CONTEXT = multiprocessing.get_context("forkserver")


def evolve(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs `evolve` in a process of its own, in a folder; whatever it meets, it may not end in a traceback."""
    _CONTEXT.set_forkserver_preload(list(WARM))
    with tempfile.TemporaryDirectory() as place:
        outputs = Path(place) / "out", Path(place) / "err"
        process = _CONTEXT.Process(target=_be_evolve, args=(folder, arguments, environment(), outputs))
        process.start()
        process.join(SECONDS)
        if process.is_alive():
            process.kill()
            raise subprocess.TimeoutExpired(["evolve", *arguments], SECONDS, *(each.read_bytes() for each in outputs))
        out, err = (each.read_text() for each in outputs)
    assert process.exitcode is not None
    assert not check or process.exitcode == 0, err
    assert "Traceback" not in err
    return subprocess.CompletedProcess(["evolve", *arguments], process.exitcode, out, err)


def _be_evolve(folder: Path, arguments: tuple[str, ...], settings: dict[str, str], outputs: tuple[Path, Path]) -> None:
    for number, output in enumerate(outputs, start=1):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(settings)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Workers come from the same server; Python 3.11 would start another for a process that did not start this one.
    forkserver._forkserver.ensure_running = lambda: None  # type: ignore[method-assign]
    sys.argv = ["evolve", *arguments]
    from evolve import cli

    cli.main()


def environment() -> dict[str, str]:
    """Of a process that runs this checkout, on one thread and with wide lines."""
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
