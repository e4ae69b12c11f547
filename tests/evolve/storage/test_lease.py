"""Who is asked, who is timed and who is watched: real processes, in real namespaces where the machine allows them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from evolve.errors import StorageError
from evolve.storage import lease as lease_module
from evolve.storage import schema
from evolve.storage.database import Storage
from evolve.storage.lease import LEASE_SECONDS, Lease, process_mark
from tests.evolve.storage.elsewhere import elsewhere, has_namespaces, woken_after_another_finished
from tests.processes import environment

PLACE = "from evolve.storage import lease\nprint(lease._place())"
HOLD = """
import sys, time
from evolve.storage.database import Storage
with Storage(sys.argv[1]).lease(1, "mine") as lease:
    while True:
        lease._written_at = -1e9
        lease.heartbeat()
        print(lease._token, flush=True)
        time.sleep(0.1)
"""
# The clock of a server, made of SQLite's: what is decided by it is the same for all databases.
CLOCK = "((julianday('now') - 2440587.5) * 86400.0)"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(f"sqlite:///{tmp_path}/evolve.db")


@pytest.fixture
def server(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """A database with a clock of its own."""
    monkeypatch.setitem(lease_module._SERVER_CLOCKS, "sqlite", CLOCK)
    return storage


def said(command: list[str]) -> str:
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=True).stdout.strip()


def hold(storage: Storage, *, age: float, token: str = "x-place-mark-s") -> None:
    """The lease of a holder elsewhere whose last heartbeat is so old."""
    row = {"study_id": 1, "token": token, "host": "elsewhere", "pid": 1, "heartbeat": time.time() - age}
    with storage.engine.begin() as connection:
        connection.execute(insert(schema.lease).values(**row))


def taken_after(storage: Storage, doing: Callable[[float], None] = lambda seconds: None) -> float:
    """Seconds that a holder was watched before its lease was taken."""
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        doing(sum(waited))

    lease = Lease(storage.engine, 1, "mine", sleep=sleep)
    lease.take()
    lease.release()
    return sum(waited)


@pytest.mark.skipif(not has_namespaces(), reason="namespaces of processes may not be made here")
def test_a_namespace_of_processes_on_this_host_is_another_place() -> None:
    here = lease_module._place()

    there = said(elsewhere(PLACE))

    assert len(here) == len(there) == 16 and here != there
    assert said([sys.executable, "-c", PLACE]) == here


@pytest.mark.skipif(not has_namespaces(), reason="namespaces of processes may not be made here")
def test_where_proc_shows_the_processes_of_another_namespace_nobody_is_asked_for() -> None:
    assert said(["unshare", "--pid", "--fork", sys.executable, "-c", PLACE]) == ""


def test_a_living_holder_in_another_container_of_this_host_keeps_its_lease_and_a_dead_one_loses_it(
    storage: Storage,
) -> None:
    holding = subprocess.Popen(elsewhere(HOLD, storage.url), env=environment(), stdout=subprocess.PIPE, text=True)
    try:
        assert holding.stdout is not None
        token = holding.stdout.readline().strip()
        assert token.split("-")[1] != lease_module._place()

        # Its number is, in its namespace, that of another process here.
        with pytest.raises(StorageError, match="runs it"):
            Lease(storage.engine, 1, "mine", sleep=lambda seconds: time.sleep(0.3)).take()
    finally:
        holding.kill()
        holding.communicate()
    assert taken_after(storage) == LEASE_SECONDS


def test_a_holder_that_may_only_be_hidden_is_watched_and_not_taken_for_dead(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with storage.lease(1, "mine"), closing(Storage(storage.url)) as other:
        monkeypatch.setattr(lease_module, "_stat", lambda pid: [])  # as /proc with hidepid hides others' processes

        assert taken_after(other) == LEASE_SECONDS


def test_a_holder_that_is_there_or_gone_or_a_zombie_is_told_at_once(storage: Storage) -> None:
    mark = process_mark(os.getpid())
    with subprocess.Popen(["sleep", "60"]) as other:
        alive = process_mark(other.pid)
        assert lease_module._is_there(other.pid, alive) is True
        assert lease_module._is_there(other.pid, mark) is False
        other.kill()
        while lease_module._stat(other.pid)[:1] != ["Z"]:
            time.sleep(0.01)
        assert lease_module._is_there(other.pid, alive) is False
    assert lease_module._is_there(other.pid, alive) is False
    assert lease_module._is_there(os.getpid(), "") is None


def test_by_a_servers_clock_an_old_heartbeat_is_a_dead_holders(server: Storage) -> None:
    hold(server, age=LEASE_SECONDS + 1)

    assert taken_after(server) == 0


@pytest.mark.parametrize("age", [5.0, -7200.0], ids=["young", "in the future, as after a clock was put back"])
def test_by_a_servers_clock_a_holder_is_watched_until_its_heartbeat_is_too_old(server: Storage, age: float) -> None:
    hold(server, age=age)

    def beat(waited: float) -> None:
        with server.engine.begin() as connection:
            connection.execute(update(schema.lease).values(heartbeat=time.time()))

    with pytest.raises(StorageError, match="runs it"):
        taken_after(server, beat)
    assert taken_after(server) == LEASE_SECONDS


def test_by_a_servers_clock_the_last_seconds_of_a_dead_holder_are_all_that_is_waited_for(server: Storage) -> None:
    hold(server, age=LEASE_SECONDS - 0.5)

    assert taken_after(server, lambda waited: time.sleep(0.6)) == 1


def test_a_holder_of_an_older_evolve_wrote_its_own_clock_and_is_watched(server: Storage) -> None:
    hold(server, age=LEASE_SECONDS + 60, token="x-place-mark")

    assert taken_after(server) == LEASE_SECONDS


def test_heartbeats_are_by_the_servers_clock_whatever_this_machines_says(
    server: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(lease_module.time, "time", lambda: now - 5 * 3600)

    with server.lease(1, "mine") as lease:
        lease._written_at = -1e9
        lease.heartbeat()
        with server.engine.connect() as connection:
            assert connection.scalar(select(schema.lease.c.heartbeat)) == pytest.approx(now, abs=30)


def test_a_heartbeat_that_comes_while_the_lease_is_taken_keeps_it(
    server: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(server, age=LEASE_SECONDS + 1)
    lease = Lease(server.engine, 1, "mine")
    row = lease.check_free()
    with server.engine.begin() as connection:
        connection.execute(update(schema.lease).values(heartbeat=time.time()))
    monkeypatch.setattr(lease, "check_free", lambda: row)

    with pytest.raises(StorageError, match="another process has just begun to run it"):
        lease.take()


@pytest.mark.slow
def test_a_driver_that_was_frozen_until_another_had_finished_writes_no_row_when_it_wakes(tmp_path: Path) -> None:
    assert "another process has taken it over; this one stops" in woken_after_another_finished(
        tmp_path, f"sqlite:///{tmp_path}/evolve.db", age=7200
    )
