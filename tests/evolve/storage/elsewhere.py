"""Real runs of a study in a place of their own: another namespace of processes, as a container has on the same host."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from sqlalchemy import MetaData, func, select, text
from sqlalchemy.exc import OperationalError

from evolve.storage import schema
from evolve.storage.opening import open_engine
from tests.processes import environment, evolve
from tests.small_study import SMALL

IN_A_NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
# Where no namespace may be made: what can be told of a place is said to be otherwise.
MADE_UP = "import evolve.storage.lease as lease\nlease._place = lambda: 'elsewhere'\n"
SECONDS = 120.0
STUDY = SMALL.replace("epochs: 1", "epochs: 13").replace("[0.01, 1.0e+5]", "[0.01]").replace("trials: 2", "trials: 1")


@cache
def has_namespaces() -> bool:
    """Whether this machine lets us make namespaces of processes."""
    with suppress(OSError):
        return subprocess.run([*IN_A_NAMESPACE, "true"], capture_output=True, timeout=60).returncode == 0
    return False


def elsewhere(code: str, *arguments: str) -> list[str]:
    """The command that runs Python's code in another place."""
    if has_namespaces():
        return [*IN_A_NAMESPACE, sys.executable, "-c", code, *arguments]
    return [sys.executable, "-c", MADE_UP + code, *arguments]


def driver(started: subprocess.Popen[str]) -> int:
    """Our number of the process that `elsewhere` was to run."""
    if not has_namespaces():
        return started.pid
    children = Path(f"/proc/{started.pid}/task/{started.pid}/children")
    deadline = time.monotonic() + SECONDS
    while not (found := children.read_text().split()):
        assert started.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    return int(found[0])


@contextmanager
def running_elsewhere(folder: Path, url: str) -> Iterator[subprocess.Popen[str]]:
    """`evolve run` of a study of one training."""
    (folder / "frozen.yaml").write_text(STUDY)
    command = elsewhere("from evolve import cli\ncli.main()", "run", "--study", "frozen.yaml", "--workers", "1")
    with subprocess.Popen(
        [*command, "--storage", url], cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True
    ) as started:
        try:
            yield started
        finally:
            started.kill()


def num_steps(url: str) -> int:
    """Steps of all trainings that are stored."""
    engine = open_engine(url)
    with suppress(Exception), engine.connect() as connection:  # before there are tables
        return connection.scalar(select(func.count()).select_from(schema.step)) or 0
    return 0


def everything(url: str) -> dict[str, list[str]]:
    """Every row of every table, Optuna's and ours."""
    engine, tables = open_engine(url), MetaData()
    tables.reflect(engine)
    with engine.connect() as connection:
        found = {table.name: sorted(map(repr, connection.execute(select(table)))) for table in tables.sorted_tables}
    engine.dispose()
    return found


def freeze(pid: int, url: str, age: float) -> None:
    """Stops a driver between two of its transactions, for as long as `age` says its lease to be old."""
    engine = open_engine(url)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        os.kill(pid, signal.SIGSTOP)
        with suppress(OperationalError), engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("set local lock_timeout = '1s'"))
            connection.execute(schema.lease.update().values(heartbeat=schema.lease.c.heartbeat - age))
            engine.dispose()
            return
        os.kill(pid, signal.SIGCONT)  # it held a lock, which nobody else could have got past either
        time.sleep(0.05)
    raise AssertionError("it was never without a lock")


def woken_after_another_finished(folder: Path, url: str, *, age: float) -> str:
    """What a driver says that was frozen, and woken when another had finished the study; it must write nothing then."""
    before_it = num_steps(url)
    with running_elsewhere(folder, url) as frozen:
        deadline = time.monotonic() + SECONDS
        while num_steps(url) < before_it + 3:
            assert frozen.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        freeze(pid := driver(frozen), url, age)
        evolve(folder, "run", "--study", "frozen.yaml", "--workers", "1", "--storage", url)
        before = everything(url)

        os.kill(pid, signal.SIGCONT)
        _, said = frozen.communicate(timeout=SECONDS)

        assert frozen.returncode != 0
        assert everything(url) == before
        return said
