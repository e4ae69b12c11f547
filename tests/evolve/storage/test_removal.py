"""Removing a study: nothing of it is left, nothing of others is taken, and nobody's running study is touched."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.storages._rdb.models import BaseModel
from sqlalchemy import Engine, func, insert, select, update

from evolve.errors import StorageError
from evolve.storage import schema
from evolve.storage.confirmations import confirmations
from evolve.storage.database import Storage
from evolve.storage.lease import Lease
from evolve.storage.ledger import EventKind, Ledger
from evolve.storage.notes import add_note
from evolve.storage.removal import Removable, removable, remove_study
from evolve.storage.transactions import Transactions
from evolve.study.confirming import confirmation
from evolve.study.trial import Decision
from tests.fakes import fake_study
from tests.places import ROOT
from tests.processes import evolve
from tests.synthetic import Plan, add_study, new_engine
from tests.synthetic_seeing import layer_rows

TABLES = (*BaseModel.metadata.sorted_tables, *schema.metadata.sorted_tables)
OF_THE_DATABASE = {"version_info", "evolve_schema", "evolve_version"}


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """A database with one study, kept."""
    (tmp_path / "runs").mkdir()
    engine = new_engine(tmp_path / "runs/evolve.db")
    add_study(engine, Plan(name="kept", num_trials=3, heartbeat=None))
    return engine


def add_doomed(engine: Engine) -> int:
    """A study with a row in every table that can hold something of one, and a run folder."""
    study_id = add_study(engine, Plan(name="doomed", num_trials=3, heartbeat=None))
    url = engine.url.render_as_string()
    storage = optuna.storages.RDBStorage(url, heartbeat_interval=60)
    storage.set_study_user_attr(study_id, "a", 1)
    storage.set_study_system_attr(study_id, "a", 1)
    trial_id = storage.create_new_trial(study_id)
    storage.set_trial_user_attr(trial_id, "a", 1)
    storage.set_trial_system_attr(trial_id, "a", 1)
    storage.set_trial_intermediate_value(trial_id, 0, 0.5)
    storage.record_heartbeat(trial_id)
    add_note(engine, "doomed", 0, "odd")
    row = {"trial_id": trial_id, "seed": 0, "epoch": 1, "step": 20, "path": "trials/0003/seed-0.pt"}
    with engine.begin() as connection:
        connection.execute(insert(schema.checkpoint).values(row))
        connection.execute(insert(schema.layer), layer_rows(trial_id, seed=0, epochs=1))
        connection.execute(insert(schema.environment).values(environment_id="d" * 64, facts="{}"))
        connection.execute(update(schema.trial).where(schema.trial.c.trial_id == 4).values(environment_id="d" * 64))
        dead = {"token": "x", "host": "elsewhere", "pid": 1, "heartbeat": 0.0}
        connection.execute(insert(schema.lease).values(study_id=study_id, **dead))
    ledger = Ledger(Transactions(engine))
    ledger.origin(study_id, {"images/0.jpg": "train:1"})
    ledger.keep_decision(trial_id, 0, Decision(is_pruned=False))
    ledger.note_event(study_id, EventKind.WORKER_LOST, "worker process died", trial_id=trial_id)
    weights = Path(str(engine.url.database)).parent / "doomed/trials/0003"
    weights.mkdir(parents=True)
    (weights / "seed-0.pt").write_bytes(bytes(2_500_000))
    return study_id


def add_search(engine: Engine, name: str, *, created: float) -> None:
    study_id = add_study(engine, Plan(name=name, num_trials=0))
    with engine.begin() as connection:
        connection.execute(update(schema.study).where(schema.study.c.study_id == study_id).values(created=created))


def add_confirmation(engine: Engine, search: str, *, created: float) -> None:
    made = confirmation(
        fake_study(name=search), {0: {"lr0": 0.1, "momentum": 0.9}}, name=f"{search}-confirm", seeds=(5, 6, 7), epochs=4
    )
    study_id = add_study(engine, Plan(name=made.name, num_trials=0))
    values = {"config": made.to_json(), "created": created}
    with engine.begin() as connection:
        connection.execute(update(schema.study).where(schema.study.c.study_id == study_id).values(values))


def counts(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        return {each.name: connection.scalar(select(func.count()).select_from(each)) or 0 for each in TABLES}


def test_nothing_of_the_study_is_left_and_nothing_of_another_is_taken(engine: Engine, tmp_path: Path) -> None:
    before = counts(engine)
    add_doomed(engine)
    with_both = counts(engine)

    remove_study(engine, removable(engine, "doomed", tmp_path / "runs"))

    # The test speaks of every table there is, so that a new one is not forgotten.
    assert {name for name, count in with_both.items() if count <= before[name]} == OF_THE_DATABASE
    assert counts(engine) == before
    assert not (tmp_path / "runs/doomed").exists()


def test_what_would_be_removed_is_said_first(engine: Engine, tmp_path: Path) -> None:
    study_id = add_doomed(engine)
    folder = tmp_path / "runs/doomed"

    found = removable(engine, "doomed", tmp_path / "runs")

    assert found == Removable(
        name="doomed", study_id=study_id, trials=4, folder=folder, size=2_500_000, confirmed_by=()
    )
    assert found.text() == f"study doomed, 4 trials, {folder} (2.5 MB)"
    assert removable(engine, "kept", tmp_path / "runs").text() == "study kept, 3 trials, no run folder"


def test_a_study_that_somebody_runs_is_left_alone(engine: Engine, tmp_path: Path) -> None:
    found = removable(engine, "kept", tmp_path / "runs")
    before = counts(engine)
    lease = Lease(engine, found.study_id, "kept")
    lease.take()

    with pytest.raises(StorageError, match=f"study kept: process {os.getpid()} on .* runs it"):
        removable(engine, "kept", tmp_path / "runs")
    with pytest.raises(StorageError, match="runs it"):
        remove_study(engine, found)
    lease.release()

    assert counts(engine) == before


def test_where_a_file_cannot_be_removed_all_rows_stay(engine: Engine, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "report.html").touch()
    (tmp_path / "runs/kept").symlink_to(elsewhere)
    before = counts(engine)

    with pytest.raises(OSError, match="symbolic link"):
        remove_study(engine, removable(engine, "kept", tmp_path / "runs"))

    assert counts(engine) == before
    assert (elsewhere / "report.html").exists()


def test_an_environment_stays_while_another_study_is_run_that_may_be_about_to_use_it(
    engine: Engine, tmp_path: Path
) -> None:
    add_doomed(engine)
    lease = Lease(engine, removable(engine, "kept", tmp_path / "runs").study_id, "kept")
    lease.take()

    remove_study(engine, removable(engine, "doomed", tmp_path / "runs"))
    lease.release()

    assert counts(engine)[schema.environment.name] == 2


@pytest.mark.parametrize("name", ["..", "other", "/etc"])
def test_a_study_of_others_and_what_its_name_leads_to_are_left_alone(engine: Engine, tmp_path: Path, name: str) -> None:
    storage = Storage(engine.url.render_as_string())
    optuna.create_study(storage=storage.optuna, study_name=name)
    if name != "other":
        with engine.begin() as connection:
            connection.execute(insert(schema.study).values(study_id=2, config="{}", created=0.0))

    with pytest.raises(StorageError, match="was not made by evolve; Optuna removes it"):
        removable(engine, name, tmp_path / "runs")


def test_delete_tells_what_it_removed(engine: Engine, tmp_path: Path) -> None:
    add_doomed(engine)

    done = evolve(tmp_path, "delete", "doomed", "--yes")
    kept = json.loads(evolve(tmp_path, "delete", "kept", "--yes", "--json").stdout)

    assert done.stdout.splitlines()[0] == "deleted study doomed, 4 trials, runs/doomed (2.5 MB)"
    assert kept == {"study": "kept", "trials": 3, "folder": None, "bytes": 0, "confirmed_by": []}


def test_delete_takes_whole_names_alone_and_asks_nobody_who_is_not_there(engine: Engine, tmp_path: Path) -> None:
    before = counts(engine)

    part = evolve(tmp_path, "delete", "kep", "--yes", check=False)
    unasked = evolve(tmp_path, "delete", "kept", check=False)

    assert part.returncode == 1 and "only a whole name is taken here" in part.stderr and "kept" in part.stderr
    assert unasked.returncode == 2 and "--yes is not given; nothing was deleted" in unasked.stderr
    assert counts(engine)["trials"] == before["trials"] == 3


@pytest.mark.parametrize(("answer", "status"), [("n", 1), ("y", 0)])
def test_delete_asks_the_person_at_the_terminal(engine: Engine, tmp_path: Path, answer: str, status: int) -> None:
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())

    finished = subprocess.run(
        [sys.executable, "-m", "evolve.cli", "delete", "kept"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=theirs,
        capture_output=True,
        text=True,
        timeout=120,
    )

    os.close(ours)
    os.close(theirs)
    assert "delete study kept, 3 trials, no run folder? This cannot be taken back" in finished.stderr
    assert finished.returncode == status
    assert ("nothing was deleted" in finished.stderr) == (answer == "n")
    assert (counts(engine)["studies"] == 0) == (answer == "y")


def test_what_confirms_a_study_is_named_and_stays_and_confirms_no_new_study_of_its_name(
    engine: Engine, tmp_path: Path
) -> None:
    add_search(engine, "hunt", created=1e9)
    add_confirmation(engine, "hunt", created=1e9 + 60)
    found = removable(engine, "hunt", tmp_path / "runs")

    assert [study.name for study in confirmations(engine, "hunt")] == ["hunt-confirm"]
    assert found.text() == "study hunt, 0 trials, no run folder; what confirms it stays: hunt-confirm"
    remove_study(engine, found)
    add_search(engine, "hunt", created=1e9 + 120)
    assert confirmations(engine, "hunt") == []
    assert removable(engine, "hunt", tmp_path / "runs").confirmed_by == ()


def test_capitals_tell_the_studies_apart_that_a_confirmation_may_be_of(engine: Engine) -> None:
    for name in ("My_data", "my_data"):
        add_search(engine, name, created=1e9)
    add_confirmation(engine, "My_data", created=1e9)

    assert [len(confirmations(engine, name)) for name in ("My_data", "my_data")] == [1, 0]
