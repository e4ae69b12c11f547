"""A real PostgreSQL under a study: it trains, is shown, and every page opens."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from optuna.storages import RDBStorage
from sqlalchemy import MetaData, create_engine, text, update

from dashboards.data.reader import Reader
from dashboards.state import PageState
from evolve.storage import schema
from evolve.storage.database import Storage, open_engine
from evolve.storage.lease import LEASE_SECONDS, Lease, _place
from evolve.storage.notes import add_note
from tests.contracts.optuna_tables import check_written_alike
from tests.evolve.storage.elsewhere import woken_after_another_finished
from tests.evolve.storage.test_migrations import differences, rows_of
from tests.places import DATA
from tests.processes import evolve, free_port
from tests.shown import drawn
from tests.small_study import SMALL

pytestmark = [pytest.mark.postgresql, pytest.mark.timeout(600)]


def as_postgres(*command: str | Path) -> None:
    """Runs one of its programs, which refuse to run as root."""
    other = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    subprocess.run([*other, *map(str, command)], check=True, stdout=subprocess.DEVNULL, cwd="/", timeout=120)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("Debian's postgresql is not installed: make test-postgresql installs it")
    folder = Path(tempfile.mkdtemp())
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
    port = free_port()
    data, control = folder / "data", programs[-1] / "pg_ctl"
    as_postgres(programs[-1] / "initdb", "-D", data, "-A", "trust", "-U", "postgres")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
    as_postgres(control, "-D", data, "-o", options, "-l", folder / "log", "-w", "start")
    yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    as_postgres(control, "-D", data, "-m", "fast", "-w", "stop")
    shutil.rmtree(folder)


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
