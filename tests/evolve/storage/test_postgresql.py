"""A real PostgreSQL under a study: it trains, is shown, and every page opens."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from optuna.storages import RDBStorage
from sqlalchemy import MetaData, create_engine, text, update

from dashboards.data.reader import Reader
from dashboards.state import PageState
from evolve.storage import schema
from evolve.storage.database import Storage
from evolve.storage.lease import LEASE_SECONDS, Lease, _place
from evolve.storage.notes import add_note
from evolve.storage.opening import open_engine
from tests.contracts.optuna_tables import check_written_alike
from tests.evolve.storage.elsewhere import woken_after_another_finished
from tests.evolve.storage.test_migrations import differences, rows_of
from tests.places import DATA
from tests.processes import environment, evolve, free_port
from tests.shown import drawn
from tests.small_study import SMALL

pytestmark = [pytest.mark.postgresql, pytest.mark.timeout(600)]


def as_postgres(*command: str | Path) -> None:
    """Runs one of its programs, which refuse to run as root."""
    other = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    subprocess.run([*other, *map(str, command)], check=True, stdout=subprocess.DEVNULL, cwd="/", timeout=120)


@dataclass(frozen=True)
class Server:
    """A PostgreSQL of these tests, which can be stopped and started again."""

    control: Path
    data: Path
    port: int

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        as_postgres(self.control, "-D", self.data, "-o", options, "-l", self.data.with_name("log"), "-w", "start")

    def stop(self, mode: str) -> None:
        as_postgres(self.control, "-D", self.data, "-m", mode, "-w", "stop")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("Debian's postgresql is not installed: make test-postgresql installs it")
    folder = Path(tempfile.mkdtemp())
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
    found = Server(control=programs[-1] / "pg_ctl", data=folder / "data", port=free_port())
    as_postgres(programs[-1] / "initdb", "-D", found.data, "-A", "trust", "-U", "postgres")
    found.start()
    yield found
    found.stop("fast")
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def url(server: Server) -> str:
    return server.url


@pytest.fixture(scope="module")
def trained(url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The database with a study of two trainings, one of which diverged."""
    folder = tmp_path_factory.mktemp("postgresql")
    (folder / "small.yaml").write_text(SMALL)
    finished = evolve(folder, "run", "--study", "small.yaml", "--storage", url, "--json")
    assert json.loads(finished.stdout)["verdicts"] == {"diverged": 1, "undertrained": 1}
    return url


@pytest.mark.parametrize(
    "state",
    [
        PageState(),
        PageState(page="/study", study="small"),
        PageState(page="/trial", study="small", number=1),
        PageState(page="/compare", compared=(("small", 0), ("small", 1), ("small", None))),
    ],
    ids=lambda state: state.page,
)
def test_every_page_opens(trained: str, state: PageState) -> None:
    reader = Reader(trained)

    said = drawn(reader, state)

    assert "cannot be drawn" not in said
    assert "cannot be read" not in said
    assert reader.version(state) == reader.version(state)


def test_a_note_is_a_change_that_readers_see(trained: str) -> None:
    reader, state = Reader(trained), PageState(page="/study", study="small")
    before = reader.version(state)

    add_note(open_engine(trained), "small", 1, "too fast")

    assert reader.version(state) != before
    assert list(reader.study("small").notes["text"]) == ["too fast"]


@pytest.fixture
def migrated_from(url: str, tmp_path: Path) -> Iterator[str]:
    """The URL of a PostgreSQL with the tables and rows of an older evolve, those of the file of test_migrations."""
    with gzip.open(DATA / "evolve-schema-1.db.gz") as packed:
        (tmp_path / "old.db").write_bytes(packed.read())
    source = create_engine(f"sqlite:///{tmp_path / 'old.db'}")
    server = create_engine(url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text("create database older"))
    older = url.removesuffix("postgres") + "older"
    RDBStorage(older)  # Optuna's own tables, which have types of PostgreSQL's
    target, theirs, ours = create_engine(older), MetaData(), MetaData()
    theirs.reflect(target)
    ours.reflect(source)
    with source.connect() as reading, target.begin() as writing:
        ours.create_all(writing, [table for table in ours.sorted_tables if table.name.startswith("evolve_")])
        for table in [*reversed(theirs.sorted_tables)]:
            writing.execute(table.delete())
        for table in [*theirs.sorted_tables, *(t for t in ours.sorted_tables if t.name not in theirs.tables)]:
            if rows := reading.execute(ours.tables[table.name].select()).mappings().all():
                writing.execute(table.insert(), [dict(row) for row in rows])
    target.dispose()
    yield older
    with server.connect() as connection:
        connection.execute(text("drop database older with (force)"))
    server.dispose()


def test_an_older_database_is_read_as_it_is_and_migrated_by_what_writes(migrated_from: str) -> None:
    expected = json.loads((DATA / "evolve-schema-1.json").read_text())

    assert rows_of(migrated_from) == expected
    storage = Storage(migrated_from)
    assert differences(storage) == []
    storage.close()
    assert rows_of(migrated_from) == expected


def test_a_driver_that_was_frozen_until_another_had_finished_writes_no_row_when_it_wakes(
    url: str, tmp_path: Path
) -> None:
    said = woken_after_another_finished(tmp_path, url, age=LEASE_SECONDS + 30)
    evolve(tmp_path, "delete", "frozen", "--yes", "--storage", url)

    assert "another process has taken it over; this one stops" in said


def test_a_run_waits_for_a_server_that_is_started_anew_and_loses_nothing(server: Server, tmp_path: Path) -> None:
    name = "waited"
    study = SMALL.replace("epochs: 1", "epochs: 10").replace("[0.01, 1.0e+5]", "[0.01, 0.02]")
    (tmp_path / f"{name}.yaml").write_text(study)
    command = [sys.executable, "-m", "evolve.cli", "run", "--study", f"{name}.yaml", "--storage", server.url]
    running = subprocess.Popen(
        [*command, "--workers", "1"], cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True
    )
    while not list(tmp_path.glob("runs/*/trials/*/seed-0.pt")):
        assert running.poll() is None
        time.sleep(0.02)
    server.stop("immediate")  # as when its machine fails
    time.sleep(3)
    server.start()
    _, said = running.communicate(timeout=200)

    assert running.returncode == 0, said
    assert "database does not answer, waiting for it" in said
    trials = json.loads(evolve(tmp_path, "show", name, "--storage", server.url, "--json").stdout)
    assert sorted(trial["trial"] for trial in trials) == [0, 1]  # they come ranked
    assert all(trial["fitness"] is not None for trial in trials)
    opened = create_engine(server.url)
    query = (
        "select trial.number, step.step from evolve_step as step join evolve_trial as trial using (trial_id) "
        "join studies using (study_id) where study_name = :name order by trial.number, step.step"
    )
    with opened.connect() as connection:
        rows = [tuple(row) for row in connection.execute(text(query), {"name": name})]
    opened.dispose()
    evolve(tmp_path, "delete", name, "--yes", "--storage", server.url)
    assert rows == [(number, step) for number in (0, 1) for step in range(len(rows) // 2)]


def test_a_holder_elsewhere_is_timed_by_the_servers_clock(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(url)
    monkeypatch.setattr(time, "time", partial(float, 1e9))  # which no clock of a driver may matter for
    watched: list[float] = []

    for age, seconds in ((LEASE_SECONDS + 1, 0), (1, LEASE_SECONDS)):
        dead = Lease(storage.engine, 77, "dead")
        dead._token = dead._token.replace(_place(), "place")
        dead.take()
        with storage.engine.begin() as connection:
            of_study = schema.lease.c.study_id == 77
            connection.execute(update(schema.lease).where(of_study).values(heartbeat=schema.lease.c.heartbeat - age))
            watched.clear()
        lease = Lease(storage.engine, 77, "dead", sleep=watched.append)
        lease.take()
        lease.release()
        assert sum(watched) == seconds
    storage.close()


def test_optuna_reads_of_direct_writing_what_it_would_have_written_itself(url: str) -> None:
    server = create_engine(url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text("create database alike"))
    check_written_alike(url.removesuffix("postgres") + "alike")
    with server.connect() as connection:
        connection.execute(text("drop database alike with (force)"))
    server.dispose()


# Stands last: it takes the study away from the tests before.
def test_the_commands_around_a_study_find_show_and_delete_it(trained: str, tmp_path: Path) -> None:
    found = evolve(tmp_path, "show", "latest", "--json", "--storage", trained)
    one = evolve(tmp_path, "show", "sma", "1", "--storage", trained)

    rows = json.loads(found.stdout)
    assert [row["verdict"] for row in rows] == ["undertrained", "diverged"]
    assert rows[0]["study"] == "small" and set(rows[0]["metrics"]) == {"val", "test"}
    assert "study   small (the one trained last)" in found.stderr
    assert "diagnosis" in one.stdout and "study   small (the only one that begins with sma)" in one.stderr
    deleted = evolve(tmp_path, "delete", "small", "--yes", "--json", "--storage", trained)
    assert json.loads(deleted.stdout)["trials"] == 2
    gone = evolve(tmp_path, "show", "latest", "--storage", trained, check=False)
    assert gone.returncode == 1 and "holds no study yet" in gone.stderr
