"""What is read again when something changes, and databases that cannot be read."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from math import inf
from pathlib import Path
from typing import Any

import optuna
import pytest
from plotly.io.json import to_json_plotly
from sqlalchemy import Engine, create_engine, insert, select, text, update

from dashboards.data.overview import Overview
from dashboards.data.reader import Reader, UnavailableError
from dashboards.live.callbacks import panel_content
from dashboards.live.context import PanelContext
from dashboards.panels import PAGES
from dashboards.state import PageState
from evolve.outcome.cured import decision_key
from evolve.storage import schema
from evolve.storage.notes import add_note
from evolve.storage.sqlite import tune
from evolve.storage.under_way import ALIVE_SECONDS
from tests.dashboards.examples import HOSTILE, NAME
from tests.processes import free_port
from tests.shown import drawn
from tests.synthetic import Plan, add_study, new_engine


def test_nothing_can_be_written_through_the_reader(reader: Reader) -> None:
    with reader._engine.connect() as connection, pytest.raises(Exception, match=r"readonly|read-only"):
        connection.execute(text("DELETE FROM evolve_trial"))


def test_a_change_of_a_study_changes_its_stamp_and_its_view(tmp_path: Path) -> None:
    engine = new_engine(tmp_path / "live.db")
    add_study(engine, Plan(num_trials=4, verdicts=("converged", "running", "running", "waiting")))
    reader = Reader(f"sqlite:///{tmp_path / 'live.db'}")
    state = PageState(page="/study", study=NAME)
    version, view = reader.version(state), reader.study(NAME)

    assert reader.version(state) == version
    assert reader.study(NAME) is view
    with engine.begin() as connection:
        connection.execute(update(schema.trial).where(schema.trial.c.number == 1).values(verdict="diverged", ended=2e9))
    assert reader.version(state) != version
    assert reader.study(NAME).trial(1)["verdict"] == "diverged"
    version = reader.version(state)
    add_note(engine, NAME, 0, "seen")
    assert reader.version(state) != version
    assert list(reader.study(NAME).notes["text"]) == ["seen"]


def test_a_password_in_the_query_of_the_database_is_on_no_page(tmp_path: Path) -> None:
    add_study(new_engine(tmp_path / "live.db"), Plan(num_trials=0))
    reader = Reader(f"sqlite:///file:{tmp_path}/live.db?uri=true&password=secret")
    overview = reader.view(PageState())

    assert isinstance(overview, Overview) and overview.storage.endswith("/live.db?uri=true")
    assert reader.where.endswith("/live.db?password=***&uri=true")
    with pytest.raises(UnavailableError) as raised:
        reader.study("absent")
    assert "secret" not in str(raised.value)


def add_cure(engine: Engine, plan: Plan) -> None:
    """A study of one cure, of trial 0."""
    study_id = add_study(engine, plan)
    with engine.begin() as connection:
        own = schema.study.c
        config = json.loads(connection.scalar(select(own.config).where(own.study_id == study_id)) or "{}")
        tried = json.dumps(config | {"decisions": {decision_key(0): "lr0=0.01"}})
        connection.execute(update(schema.study).where(own.study_id == study_id).values(config=tried))


@pytest.mark.parametrize(
    ("heartbeat", "then"), [({}, "running"), ({"heartbeat": None}, "interrupted")], ids=["run", "run by nobody"]
)
def test_a_remedy_under_way_is_told_from_one_that_was_interrupted(
    heartbeat: dict[str, None], then: str, tmp_path: Path
) -> None:
    engine = new_engine(tmp_path / "live.db")
    add_study(engine, Plan(num_trials=1, verdicts=("diverged",), log_steps=False))
    add_cure(engine, Plan(name=f"{NAME}-cured", num_trials=1, verdicts=("running",), log_steps=False, **heartbeat))

    cures = Reader(f"sqlite:///{tmp_path / 'live.db'}").study(NAME).measured.frame("cures")

    assert list(cures["verdict"]) == [then]


def test_remedies_that_are_tried_later_are_seen_by_the_page_of_the_study(tmp_path: Path) -> None:
    engine = new_engine(tmp_path / "live.db")
    add_study(engine, Plan(num_trials=2, verdicts=("diverged", "converged"), log_steps=False))
    add_study(engine, Plan(name="other", num_trials=1, verdicts=("diverged",), log_steps=False))
    reader, states = Reader(f"sqlite:///{tmp_path / 'live.db'}"), [PageState(page="/study", study=NAME)]
    states.append(PageState(page="/study", study="other"))
    versions = [reader.version(state) for state in states]
    assert "No remedy has been tried" in drawn(reader, states[0])

    add_cure(engine, Plan(name=f"{NAME}-cured", num_trials=1, verdicts=("converged",), log_steps=False))

    assert [reader.version(state) == known for state, known in zip(states, versions, strict=True)] == [False, True]
    assert "Cured: 1 of 1" in drawn(reader, states[0])


def test_trials_of_a_run_that_is_heard_of_no_more_are_interrupted(tmp_path: Path) -> None:
    engine = new_engine(tmp_path / "live.db")
    add_study(engine, Plan(num_trials=2, verdicts=("converged", "running"), log_steps=False, heartbeat=1000.0))
    now = [1000.0 + ALIVE_SECONDS - 1]
    reader, state = (
        Reader(f"sqlite:///{tmp_path / 'live.db'}", clock=lambda: now[0]),
        PageState(page="/study", study=NAME),
    )
    versions, verdicts = [reader.version(state)], [list(reader.study(NAME).trials["verdict"])]

    now[0] += 2
    versions.append(reader.version(state))
    verdicts.append(list(reader.study(NAME).trials["verdict"]))

    assert verdicts == [["converged", "running"], ["converged", "interrupted"]]
    assert versions[0] != versions[1]
    assert reader.view(PageState()).studies[0].verdicts == {"converged": 1, "interrupted": 1}


def test_a_run_that_is_heard_of_no_more_changes_the_list_of_studies(tmp_path: Path) -> None:
    engine = new_engine(tmp_path / "live.db")
    add_study(engine, Plan(num_trials=2, log_steps=False, heartbeat=1000.0))
    now = [1000.0 + ALIVE_SECONDS - 1]
    reader, state = Reader(f"sqlite:///{tmp_path / 'live.db'}", clock=lambda: now[0]), PageState()
    version, overview = reader.version(state), reader.view(state)
    assert isinstance(overview, Overview) and overview.studies[0].is_running

    now[0] += 2
    after = reader.view(state)

    assert reader.version(state) != version
    assert isinstance(after, Overview) and not after.studies[0].is_running


def test_a_file_that_comes_later_is_found_then_and_never_made_by_reading(tmp_path: Path) -> None:
    path = tmp_path / "later.db"
    reader = Reader(f"sqlite:///{path}")

    with pytest.raises(UnavailableError, match="does not exist yet"):
        reader.version(PageState())
    assert not path.exists()
    engine = new_engine(path)
    assert "evolve run --study lr_sweep --storage sqlite:" in drawn(reader, PageState())
    add_study(engine, Plan(num_trials=2))
    assert "digits-lr" in drawn(reader, PageState())


def test_databases_that_cannot_be_shown_say_why(tmp_path: Path) -> None:
    empty, newer, broken = (tmp_path / name for name in ("empty.db", "newer.db", "broken.db"))
    sqlite3.connect(empty).close()
    empty.touch()
    engine = new_engine(newer)
    with engine.begin() as connection:
        connection.execute(update(schema.revision).values(version_num="9999"))
    broken.write_bytes(b"this is not a database at all" * 200)

    for path, why in ((empty, "missing"), (newer, "upgrade evolve"), (broken, "not a database")):
        reader = Reader(f"sqlite:///{path}")
        for state in (PageState(), PageState(page="/study", study=NAME)):
            said = to_json_plotly(panel_content(reader, PanelContext(state=state, panel=PAGES[state.page][0].key)))
            assert why in said, (path, said)
    with pytest.raises(UnavailableError, match="cannot be opened"):
        Reader("postgresql+nosuchdriver://x/y")


def test_half_written_and_huge_trials_are_shown(tmp_path: Path) -> None:
    engine = new_engine(tmp_path / "half.db")
    add_study(engine, Plan(num_trials=10, verdicts=("converged", "diverged") * 5))
    with engine.begin() as connection:
        first = connection.scalar(select(schema.trial.c.trial_id).where(schema.trial.c.number == 0))
        own = schema.trial.c.trial_id
        connection.execute(
            update(schema.trial).where(own == first).values(reason="x" * 200_000, fitness=inf, diagnosis="{not json")
        )
        connection.execute(update(schema.trial).where(own == first + 1).values(diagnosis='{"step": "NaN", "lr": []}'))
        connection.execute(update(schema.trial).where(own == first + 2).values(verdict="from a later version"))
        connection.execute(schema.epoch.delete().where(schema.epoch.c.trial_id == first + 4))
        connection.execute(schema.step.delete().where(schema.step.c.trial_id == first + 6))
        connection.execute(schema.trial.delete().where(own == first + 8))
    reader = Reader(f"sqlite:///{tmp_path / 'half.db'}")

    trials = [PageState(page="/trial", study=NAME, number=number) for number in (0, 1, 2, 3, 4, 6, 8)]
    for state in (PageState(page="/study", study=NAME), *trials):
        assert "cannot be drawn" not in drawn(reader, state)


def test_a_study_of_plain_optuna_is_shown_and_its_database_opens_in_plain_optuna(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'plain.db'}"
    add_study(new_engine(tmp_path / "plain.db"), Plan(num_trials=6))
    study = optuna.create_study(storage=url, study_name="plain", direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)

    assert "cannot be drawn" not in drawn(Reader(url), PageState(page="/study", study="plain"))
    ours = optuna.load_study(study_name=NAME, storage=url)
    assert len(ours.trials) == 6


def test_the_same_database_opens_in_optuna_dashboard(url: str, tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("optuna-dashboard"))
    port = free_port()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([program, url, "--port", str(port)], stdout=log, stderr=log)
    try:
        until = time.monotonic() + 60
        while (answer := answered(f"http://127.0.0.1:{port}/api/studies")) is None:
            assert process.poll() is None and time.monotonic() < until, (tmp_path / "log").read_text()
            time.sleep(0.3)
        numbers = {each["study_name"]: each["study_id"] for each in answer["study_summaries"]}
        study = answered(f"http://127.0.0.1:{port}/api/studies/{numbers[NAME]}?after=0")
    finally:
        process.terminate()
        process.wait(timeout=20)

    assert set(numbers) == {NAME, HOSTILE}
    assert study is not None
    assert len(study["trials"]) == 28
    assert any(param["name"] == "lr0" for param in study["trials"][0]["params"])


def answered(url: str) -> Any:
    """What a server says as JSON, or None while it cannot be reached."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return json.load(answer)
    except OSError:
        return None


def write_at_full_speed(url: str, until: float, errors: list[BaseException]) -> None:
    """Writes steps and ends of trials until the clock says so, as a runner does."""
    engine = create_engine(url, connect_args={"timeout": 60})
    tune(engine)
    try:
        with engine.connect() as connection:
            row = dict(connection.execute(select(schema.step).limit(1)).mappings().one())
        step = 10**6
        while time.monotonic() < until:
            with engine.begin() as connection:
                connection.execute(insert(schema.step), [row | {"step": step + each} for each in range(50)])
                connection.execute(update(schema.trial).where(schema.trial.c.number == 0).values(ended=float(step)))
            step += 50
    except BaseException as error:
        errors.append(error)
    finally:
        engine.dispose()


@pytest.mark.parametrize(
    "seconds", [3, pytest.param(120, marks=[pytest.mark.slow, pytest.mark.timeout(300)])], ids=["short", "long"]
)
def test_a_writer_at_full_speed_and_a_reader_never_stop_each_other(tmp_path: Path, seconds: int) -> None:
    path = tmp_path / "busy.db"
    engine = new_engine(path)
    tune(engine)
    add_study(engine, Plan(num_trials=20))
    errors: list[BaseException] = []
    url, until = f"sqlite:///{path}", time.monotonic() + seconds
    writer = threading.Thread(target=write_at_full_speed, args=(url, until, errors))
    reader = Reader(url)
    versions = set()
    writer.start()
    while time.monotonic() < until:
        for state in (PageState(), PageState(page="/study", study=NAME), PageState(page="/trial", study=NAME)):
            versions.add(reader.version(state))
            panel = PAGES[state.page][0].key
            said = to_json_plotly(panel_content(reader, PanelContext(state=state, panel=panel)))
            assert "cannot be" not in said
    writer.join(timeout=90)

    assert not writer.is_alive()
    assert errors == []
    assert len(versions) > 3
