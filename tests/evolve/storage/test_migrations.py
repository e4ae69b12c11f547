"""Databases of older evolves: migrated by what writes, read as they are by what reads, refused where they are newer.

`data/evolve-schema-1.db.gz` was made by the commands of commit 3dc22d0: a study of two seeds with diverged, pruned and
trained trials, a note and an event, and one that was killed in its second trial. `data/evolve-schema-1.json` is what
`evolve show --json` said of the two then.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
from dataclasses import astuple
from math import isnan
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, select

from dashboards.data.reader import Reader
from dashboards.report import write_report
from evolve.errors import StorageError
from evolve.storage import schema
from evolve.storage.database import Storage
from evolve.storage.migrations import alembic_config, latest
from evolve.storage.notes import add_note
from evolve.storage.time_spent import TimeSpent, time_spent
from evolve.storage.trial_rows import trial_rows
from tests.places import DATA


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "old.db"
    with gzip.open(DATA / "evolve-schema-1.db.gz") as packed, path.open("wb") as file:
        shutil.copyfileobj(packed, file)
    return path


def rows_of(database: Path | str) -> dict[str, list[dict[str, Any]]]:
    """Every trial of a file or URL as JSON has it, without what came with migrations."""
    storage = Storage(f"sqlite:///{database}" if isinstance(database, Path) else database, reads_only=True)
    found = {name: [row.as_json() for row in trial_rows(storage.engine, name)] for name in ("old", "halted")}
    storage.close()
    for row in (row for rows in found.values() for row in rows):
        del row["trainings"], row["spread"]
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def tables_of(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with sqlite3.connect(path) as connection:
        names = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        return {name: sorted(connection.execute(f"select * from {name}").fetchall(), key=repr) for name in names}


def spent_of(storage: Storage, name: str) -> TimeSpent:
    with storage.engine.connect() as connection:
        return time_spent(connection, storage.study_id(name))


def differences(storage: Storage) -> list[Any]:
    """What our tables have otherwise than those that are made new; Optuna's beside them are no matter."""
    with storage.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": schema.revision.name})
        ours = [found for found in compare_metadata(context, schema.metadata) if "evolve_" in repr(found)]
        return [found for found in ours if found[0] != "remove_table"]


def test_the_last_migration_is_the_revision_that_new_databases_are_of() -> None:
    assert ScriptDirectory.from_config(alembic_config()).get_current_head() == latest()


def test_a_database_that_is_only_read_says_what_it_said_and_stays_as_it_was(old: Path) -> None:
    before = old.read_bytes()

    assert rows_of(old) == json.loads((DATA / "evolve-schema-1.json").read_text())
    assert old.read_bytes() == before


def test_one_that_lacks_later_tables_is_read_without_them(old: Path) -> None:
    with sqlite3.connect(old) as connection:
        for name in ("identity", "event", "decision", "note"):
            connection.execute(f"drop table evolve_{name}")
    expected = json.loads((DATA / "evolve-schema-1.json").read_text())
    for row in (row for rows in expected.values() for row in rows):
        row["notes"] = row["events"] = []

    assert rows_of(old) == expected
    reader = Reader(f"sqlite:///{old}")
    assert len(reader.study("old").trials) == 6
    reader.close()


@pytest.mark.parametrize("lacking", [(), ("identity", "event", "decision", "note")])
def test_writing_migrates_with_everything_in_it_to_the_tables_that_are_made_new(
    old: Path, tmp_path: Path, lacking: tuple[str, ...]
) -> None:
    with sqlite3.connect(old) as connection:
        for name in lacking:
            connection.execute(f"drop table evolve_{name}")
    before = tables_of(old)

    storage = Storage(f"sqlite:///{old}")

    assert differences(storage) == []
    storage.close()
    after = tables_of(old)
    new = ("class_scores", "objectness", "picture", "taken", "watched", "run", "layer")
    grown = {"evolve_version", "evolve_training", "evolve_schema", *(f"evolve_{name}" for name in (*new, *lacking))}
    assert not any(after[f"evolve_{name}"] for name in new)
    assert {row[-1] for row in after["evolve_trial"]} == {None}  # nobody knows what they lost
    assert {row[-1] for row in after["evolve_step"]} == {None}  # nor how near to the edge they were
    for name in ("evolve_trial", "evolve_step"):
        after[name] = [row[:-1] for row in after[name]]
    assert {name: rows for name, rows in after.items() if name not in grown} == {
        name: rows for name, rows in before.items() if name not in grown
    }
    assert after["evolve_version"] == [(latest(),)]


def test_each_training_gets_what_was_known_of_it(old: Path) -> None:
    storage = Storage(f"sqlite:///{old}")

    with storage.engine.connect() as connection:
        rows = connection.execute(select(schema.training)).mappings().all()
    found = {(row["trial_id"], row["seed"]): row for row in rows}
    best = {seed: found[1, seed] for seed in (0, 1)}
    assert best[0]["verdict"] == "undertrained"
    assert best[0]["reason"].startswith("fitness 0.242 after 3 epochs, too few")
    assert best[1]["verdict"] is None
    (whole,) = (row for row in trial_rows(storage.engine, "old", number=0))
    assert sum(row["fitness"] for row in best.values()) / 2 == pytest.approx(whole.fitness)
    assert sum(row["seconds"] for row in best.values()) == pytest.approx(whole.seconds)
    diverged = found[2, 0]
    assert diverged["verdict"] == "diverged"
    assert json.loads(diverged["diagnosis"])["step"] == 2
    assert [key for key in found if key[0] == 3] == [(3, 0)]
    assert found[3, 0]["verdict"] == "pruned"
    storage.close()


def test_where_the_time_went_is_the_same_before_and_after_but_for_runs_that_nobody_recorded(old: Path) -> None:
    url = f"sqlite:///{old}"
    reading = Storage(url, reads_only=True)
    before = {name: spent_of(reading, name) for name in ("old", "halted")}
    reading.close()

    storage = Storage(url)

    for name, spent in before.items():
        after = spent_of(storage, name)
        assert after.by_verdict.keys() == spent.by_verdict.keys()
        for verdict, seconds in spent.by_verdict.items():
            assert astuple(after.by_verdict[verdict]) == pytest.approx(astuple(seconds))
            assert seconds.training > 0
        assert after.runs == () and isnan(after.waiting) and set(after.parts) == {"training", "validating", "lost"}
    assert before["old"].spent.total == pytest.approx(
        sum(row.seconds or 0 for row in trial_rows(storage.engine, "old"))
    )
    storage.close()


def test_a_note_migrates_as_it_is_the_first_to_write(old: Path) -> None:
    storage = Storage(f"sqlite:///{old}", reads_only=True)
    reader = Reader(f"sqlite:///{old}")
    assert len(reader.study("old").trials) == 6
    with sqlite3.connect(old) as connection:
        assert "evolve_training" not in tables_of(old)
    writing = Storage(f"sqlite:///{old}")

    add_note(writing.engine, "old", 2, "looks odd")

    # A reader that was there before sees what was migrated beside it.
    with storage.engine.connect() as connection:
        assert connection.scalar(select(schema.training.c.verdict).where(schema.training.c.trial_id == 2)) == "diverged"
        assert inspect(connection).has_table(schema.training.name)
    notes = [note["text"] for row in rows_of(old)["old"] for note in row["notes"]]
    assert sorted(notes) == ["looks odd", "loss spikes at the end of warm-up"]
    for each in (storage, reader, writing):
        each.close()


def test_the_report_and_the_halted_study_are_there(old: Path, tmp_path: Path) -> None:
    storage = Storage(f"sqlite:///{old}", reads_only=True)

    page = write_report(storage.engine, "old", tmp_path / "report.html").read_text()

    assert "loss spikes at the end of warm-up" in page or "worker lost" in page
    study = storage.stored_study("halted")
    assert study is not None
    assert study.budget.trials == 3
    storage.close()


def test_a_newer_one_is_refused_by_what_reads_and_what_writes(old: Path) -> None:
    Storage(f"sqlite:///{old}").close()
    with sqlite3.connect(old) as connection:
        connection.execute("update evolve_version set version_num = '0999'")

    for reads_only in (False, True):
        with pytest.raises(StorageError, match=r"tables are of revision 0999, this evolve reads up to 0\d+; upgrade"):
            Storage(f"sqlite:///{old}", reads_only=reads_only)
