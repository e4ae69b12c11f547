"""What is wrong with a database is found, and put right where it can be: rows, leases, schema, damage."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, func, insert, select
from typer.testing import CliRunner

from evolve.cli import app
from evolve.errors import StorageError
from evolve.run.doctor import Examination, Kind, examine, tables
from evolve.run.doctor.finding import State
from evolve.storage import schema
from evolve.storage.lease import Lease
from evolve.storage.notes import add_note
from evolve.storage.optuna_tables import TRIALS
from tests.evolve.run.test_doctor import by_kind, doctor, kinds, runs_of
from tests.places import DATA
from tests.processes import evolve
from tests.synthetic import Plan, add_study, new_engine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    (tmp_path / "runs").mkdir()
    engine = new_engine(tmp_path / "runs/evolve.db")
    add_study(engine, Plan(name="whole", num_trials=3, verdicts=["converged"] * 3))
    add_study(engine, Plan(name="holed", num_trials=3, verdicts=["converged"] * 3))
    yield engine
    engine.dispose()


def counts(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        return {
            table.name: connection.scalar(select(func.count()).select_from(table)) or 0
            for table in schema.metadata.sorted_tables
        }


def test_rows_whose_trial_or_study_is_gone_are_removed_and_no_others(engine: Engine, tmp_path: Path) -> None:
    add_note(engine, "holed", 2, "odd")
    with engine.begin() as connection:
        connection.execute(delete(TRIALS).where(TRIALS.c.trial_id == 6))
        identity = {"study_id": 99, "identity": "x", "data_files": "{}"}
        connection.execute(insert(schema.identity).values(identity))
    before = counts(engine)

    listed = examine(*runs_of(tmp_path), fixes=False)
    unchanged = counts(engine)
    mended = examine(*runs_of(tmp_path), fixes=True)
    after = counts(engine)

    assert {finding.kind for finding in listed.findings} == {Kind.ORPHAN_ROWS} and not listed.is_healthy
    assert unchanged == before and mended.is_healthy
    fewer = {name for name in before if after[name] < before[name]}
    assert {"evolve_trial", "evolve_training", "evolve_step", "evolve_epoch", "evolve_note", "evolve_identity"} <= fewer
    assert fewer == {finding.where for finding in listed.findings}
    assert after["evolve_trial"] == 5 and after["evolve_study"] == 2
    assert not examine(*runs_of(tmp_path), fixes=False).findings


def test_a_study_that_is_run_is_left_alone_whatever_lies_there(engine: Engine, tmp_path: Path) -> None:
    lease = Lease(engine, 2, "holed")
    lease.take()
    with engine.begin() as connection:
        connection.execute(delete(TRIALS).where(TRIALS.c.trial_id == 6))
    (tmp_path / "runs/holed/trials/0042").mkdir(parents=True)
    before = counts(engine)

    found = examine(*runs_of(tmp_path), fixes=True)

    assert found.findings == () and found.is_healthy
    assert found.running == (
        f"study holed: process {os.getpid()} on {os.uname().nodename} runs it; wait for it, or end it, and run again",
    )
    assert counts(engine) == before and (tmp_path / "runs/holed/trials/0042").exists()
    lease.release()


def test_a_lease_of_a_study_that_is_gone_goes_with_its_dead_holder(engine: Engine, tmp_path: Path) -> None:
    row = {"study_id": 99, "token": "x", "host": "elsewhere", "pid": 1, "heartbeat": 0.0}
    with engine.begin() as connection:
        connection.execute(insert(schema.lease).values(row))

    found = examine(*runs_of(tmp_path), fixes=True)

    assert by_kind(found) == {Kind.ORPHAN_ROWS: ["evolve_lease"]} and found.is_healthy
    assert counts(engine)["evolve_lease"] == 0


def test_an_older_database_is_looked_at_as_it_is_and_migrated_on_request(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with gzip.open(DATA / "evolve-schema-1.db.gz") as packed:
        (tmp_path / "runs/evolve.db").write_bytes(packed.read())
    before = (tmp_path / "runs/evolve.db").read_bytes()

    (code, found), unchanged = doctor(tmp_path), (tmp_path / "runs/evolve.db").read_bytes() == before
    mended_code, mended = doctor(tmp_path, "--fix")
    again = doctor(tmp_path)[1]

    assert code == 1 and unchanged
    assert "its tables are of revision 0001, this evolve's are of 0" in found["findings"][0]["what"]
    assert kinds(found)["older schema"] == 1 and kinds(found)["unfinished"] == 1
    assert mended_code == 0 and mended["findings"][0]["state"] == "fixed"
    assert kinds(again) == Counter({"unfinished": 1})


def test_a_damaged_database_is_said_to_be_and_nothing_is_written_to_it(engine: Engine, tmp_path: Path) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql("pragma wal_checkpoint(truncate)")
    engine.dispose()
    file = tmp_path / "runs/evolve.db"
    content = bytearray(file.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 8192] = b"\xab" * 8192
    file.write_bytes(content)

    code, found = doctor(tmp_path, "--fix")

    assert code == 1 and set(kinds(found)) == {"damaged"}
    assert ".recover" in found["findings"][0]["remedy"]
    assert file.read_bytes() == content


def test_what_is_no_database_and_what_is_none_of_ours_is_said_and_left(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is not a database " * 100)
    with closing(sqlite3.connect(tmp_path / "theirs.db")) as connection:
        connection.execute("create table mine (x)")
    before = {path: path.read_bytes() for path in tmp_path.glob("*.db")}

    found = {path.name: examine(f"sqlite:///{path}", tmp_path, fixes=True) for path in before}

    assert [finding.kind for finding in found["text.db"].findings] == [Kind.DAMAGED]
    assert [finding.kind for finding in found["theirs.db"].findings] == [Kind.NOT_OURS]
    assert not any(each.is_healthy for each in found.values())
    assert {path: path.read_bytes() for path in before} == before
    with pytest.raises(StorageError, match="cannot be opened"):
        examine("nosuchdialect://host/db", tmp_path, fixes=False)


def test_a_newer_database_is_left_to_a_newer_evolve(engine: Engine, tmp_path: Path) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("update evolve_version set version_num = '0999'")

    (finding,) = examine(*runs_of(tmp_path), fixes=True).findings

    assert finding.kind is Kind.NEWER_SCHEMA and finding.state is State.LEFT and finding.remedy == "upgrade evolve"


def test_doctor_tells_people_what_it_found_and_what_to_type(engine: Engine, tmp_path: Path) -> None:
    healthy = evolve(tmp_path, "doctor")
    with engine.begin() as connection:
        connection.execute(delete(TRIALS).where(TRIALS.c.trial_id == 6))

    found = evolve(tmp_path, "doctor", check=False)
    mended = evolve(tmp_path, "doctor", "--fix")
    missing = evolve(tmp_path, "doctor", "--storage", "sqlite:///no.db", check=False)

    assert healthy.stdout.startswith("healthy sqlite:///runs/evolve.db: 2 studies, nothing to put right\n")
    assert found.returncode == 1 and found.stdout.endswith("next    evolve doctor --fix\n")
    assert found.stdout.splitlines()[0].startswith("left  orphan rows  evolve_")
    assert "0 left" in mended.stdout and "--fix removes them" in mended.stdout
    assert missing.returncode == 1 and "there is no such file" in missing.stderr


def test_the_password_of_a_server_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server, empty = "postgresql+psycopg://me:secret@host/x", new_engine(tmp_path / "empty.db")
    with empty.begin() as connection:
        connection.exec_driver_sql("drop table trials")
    monkeypatch.setattr(tables, "made_engine", lambda *_, **__: empty)
    (found,) = tables.unusable(server)
    monkeypatch.setattr("evolve.run.doctor.examine", lambda *_, **__: Examination(findings=(found,)))
    said = CliRunner().invoke(app, ["doctor", "--storage", server, "--json"]).stdout
    text = CliRunner().invoke(app, ["doctor", "--storage", server]).stdout.partition("next ")[0]

    assert found.where == json.loads(said)["storage"] == "postgresql+psycopg://me:***@host/x"
    assert "secret" not in said + text and text.count("me:***@host/x") == 2
