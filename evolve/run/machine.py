"""The machine that trains, as far as it can be asked without torch, and the code that runs on it."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from pathlib import Path


def available_cores() -> int:
    """Number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_for(workers: int) -> int:
    """Threads of torch in each of so many processes: all cores divided, but no more than OMP_NUM_THREADS says.

    Two threads on two cores that others use as well can be twenty times slower than one.
    """
    limit = os.environ.get("OMP_NUM_THREADS", "")
    most = int(limit) if limit.isdecimal() and int(limit) > 0 else available_cores()
    return max(min(available_cores() // workers, most), 1)


def cpu_name() -> str:
    """What the processor is called."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def commit() -> str:
    """Commit of the code that runs, if it runs from a checkout."""
    folder = Path(__file__).resolve().parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return "not a checkout"
