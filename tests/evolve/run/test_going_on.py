"""What a run goes on from, and what it does not: real processes, real checkpoints, real databases."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from evolve.outcome.verdict import TRAINED_THROUGH
from evolve.run.crew import Asked
from evolve.run.events import StudyGoesOn, TrialEnded
from evolve.run.run import Run, run_study
from evolve.storage import database, sqlite
from evolve.storage.database import Storage
from evolve.storage.opening import open_engine
from evolve.storage.sqlite import Patience
from evolve.study.definition import Budget
from evolve.study.file import read_study
from tests.evolve.commands.test_my_data import write_voc
from tests.processes import environment, evolve, forked
from tests.small_study import ON_PHOTOS, SMALL

# Two trainings of two steps each.
PHOTOS = ON_PHOTOS.replace("[0.01, 1.0e+5]", "[0.01, 0.02]").replace("epochs: 1", "epochs: 2")


def write_study(folder: Path, text: str = PHOTOS) -> None:
    write_voc(folder / "photos", 20, data="digits-1")
    (folder / "small.yaml").write_text(text)


def rows(folder: Path, database: str = "runs/evolve.db", study: str = "small") -> list[dict[str, Any]]:
    said = evolve(folder, "show", study, "--storage", f"sqlite:///{database}", "--json").stdout
    found: list[dict[str, Any]] = json.loads(said)
    return sorted(found, key=lambda row: row["trial"])


def told(folder: Path, database: str = "runs/evolve.db") -> list[tuple[object, ...]]:
    """What the trials came to, without times."""
    return [(row["trial"], row["verdict"], row["fitness"], row["reason"]) for row in rows(folder, database)]


def test_a_run_says_what_the_runs_before_it_came_to(tmp_path: Path) -> None:
    write_study(tmp_path)
    study = read_study(str(tmp_path / "small.yaml"), {"data": str(tmp_path / "photos")}).preview()
    url = f"sqlite:///{tmp_path}/evolve.db"
    run = Run(study=study, storage_url=url, device="cpu", asked=Asked(engine="serial"), runs=tmp_path)

    said = [
        [event for event in run_study(run, should_stop=lambda: False) if isinstance(event, StudyGoesOn | TrialEnded)]
        for run in (run, replace(run, study=study.model_copy(update={"budget": Budget(trials=3)})))
    ]

    ended = [event for event in said[0] if isinstance(event, TrialEnded)]
    best = max(ended, key=lambda event: event.outcome.fitness)
    assert said[0] == ended and len(ended) == 2
    assert said[1][0] == StudyGoesOn(num_ended=2, best=best.trial.number, fitness=best.outcome.fitness)


def test_checkpoints_of_a_database_that_is_gone_are_not_gone_on_from(tmp_path: Path) -> None:
    write_study(tmp_path)
    evolve(tmp_path, "run", "--study", "small.yaml")
    before = told(tmp_path)
    for file in (tmp_path / "runs").glob("evolve.db*"):
        file.unlink()

    again = evolve(tmp_path, "run", "--study", "small.yaml")

    assert "checkpoint not used" in again.stderr and "another study, another database or other data" in again.stderr
    assert told(tmp_path) == before
    assert any("checkpoint passed over" in each for row in rows(tmp_path) for each in row["events"])


def test_two_databases_in_one_folder_do_not_take_each_others_checkpoints(tmp_path: Path) -> None:
    write_study(tmp_path)

    for file in ("one.db", "two.db"):
        evolve(tmp_path, "run", "--study", "small.yaml", "--storage", f"sqlite:///{file}")

    assert told(tmp_path, "one.db") == told(tmp_path, "two.db")
    for file in ("one.db", "two.db"):
        with sqlite3.connect(tmp_path / file) as connection:
            counts = connection.execute("select count(*), min(step) from evolve_step group by trial_id").fetchall()
        assert counts == [(2, 0), (2, 0)]


def test_data_that_changed_are_refused_or_accepted_and_shown(tmp_path: Path) -> None:
    write_study(tmp_path)
    evolve(tmp_path, "run", "--study", "small.yaml", "--trials", "1")
    for number in (3, 4):
        label = tmp_path / "photos/annotations" / f"{number}.xml"
        label.write_text(label.read_text().replace("<ymin>", "<ymin>1"))
    (tmp_path / "photos/annotations/7.xml").unlink()
    (tmp_path / "photos/images/7.jpg").unlink()

    refused = evolve(tmp_path, "run", "--study", "small.yaml", check=False)
    accepted = evolve(tmp_path, "run", "--study", "small.yaml", "--accept-changed-data")
    report = (tmp_path / "runs/small/report.html").read_text()

    assert refused.returncode == 2
    assert "1 removed (images/7.jpg); 2 with other boxes, classes or pixels" in refused.stderr
    assert "--accept-changed-data" in refused.stderr
    assert accepted.returncode == 0 and len(rows(tmp_path)) == 2
    assert "data changed" in report and "1 removed (images/7.jpg)" in report


@pytest.mark.slow  # quicker: what a termination does to a driver (test_cli), and to workers (contracts/test_engines)
def test_a_termination_of_the_whole_group_leaves_the_trial_to_go_on(tmp_path: Path) -> None:
    write_study(tmp_path, PHOTOS.replace("epochs: 2", "epochs: 40"))
    running = subprocess.Popen(
        [sys.executable, "-m", "evolve.cli", "run", "--study", "small.yaml", "--workers", "1"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not any((tmp_path / "runs").glob("small/trials/*/seed-0.pt")):
        assert running.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGTERM)
    _, err = running.communicate(timeout=60)

    assert running.returncode == 1
    assert "stopping; unfinished trials go on with the next run" in err and "Traceback" not in err
    assert [row["verdict"] for row in rows(tmp_path)] == ["interrupted"]
    assert "1 interrupted" in evolve(tmp_path, "show", "small").stdout
    whole = evolve(tmp_path, "run", "--study", "small", "--resume", "--trials", "1")
    assert "goes on" in whole.stderr
    assert [row["verdict"] in TRAINED_THROUGH for row in rows(tmp_path)] == [True]


def test_showing_a_database_of_others_writes_nothing_to_it(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table mine (x)")
    before = path.read_bytes()

    for command in (["show", "latest"], ["report", "latest"], ["export", "latest"], ["note", "latest", "0", "hello"]):
        refused = evolve(tmp_path, *command, "--storage", "sqlite:///theirs.db", check=False)

        assert refused.returncode == 1 and "holds no studies of evolve" in refused.stderr
    assert path.read_bytes() == before


def make_database(url: str, at: float) -> None:
    time.sleep(max(at - time.time(), 0))
    Storage(url).close()


def test_several_processes_may_make_a_database_at_once(tmp_path: Path) -> None:
    program = partial(make_database, "sqlite:///new.db", time.time() + 2)
    with ExitStack() as stack:
        started = [stack.enter_context(forked(program, tmp_path)) for _ in range(3)]

        ended = [each.ended() for each in started]

    assert [(each.returncode, each.stderr) for each in ended] == [(0, "")] * 3


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite itself waits for a second where it waits for five."""
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 1)


def hold_locked(path: Path, seconds: float) -> subprocess.Popen[str]:
    """A process that holds a database locked for a while, and says when it has begun."""
    code = (
        "import sqlite3, sys, time\nconnection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('begin immediate')\nprint('locked', flush=True)\ntime.sleep(float(sys.argv[2]))"
    )
    holding = subprocess.Popen([sys.executable, "-c", code, str(path), str(seconds)], stdout=subprocess.PIPE, text=True)
    assert holding.stdout is not None and holding.stdout.readline() == "locked\n"
    return holding


@pytest.mark.usefixtures("hasty")
def test_what_is_written_while_the_database_is_locked_is_written_when_the_lock_goes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/evolve.db"
    Storage(url).close()
    said: list[str] = []
    engine = open_engine(url, patience=Patience(60, say=said.append))
    with hold_locked(tmp_path / "evolve.db", 3), engine.begin() as connection:
        connection.exec_driver_sql("insert into evolve_environment values ('x', '{}')")

    assert said == ["the database is locked by another process; waiting up to 1 minutes"]
    with engine.connect() as connection:
        assert connection.exec_driver_sql("select count(*) from evolve_environment").scalar() == 1
    engine.dispose()


@pytest.mark.usefixtures("hasty")
def test_a_database_that_stays_locked_is_an_error_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from evolve import cli

    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SMALL)
    Storage("sqlite:///runs/evolve.db").close()
    monkeypatch.setattr(database, "Patience", partial(Patience, 1))
    monkeypatch.setattr(sys, "argv", ["evolve", "run", "--study", "small.yaml"])
    holding = hold_locked(tmp_path / "runs/evolve.db", 60)
    try:
        with pytest.raises(SystemExit) as stopped:
            cli.main()
    finally:
        holding.kill()
        holding.communicate()

    assert stopped.value.code == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: database is locked; nothing finished is lost, run again"
    )
