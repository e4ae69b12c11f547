"""What a crash leaves is found and put right: runs that are really killed, files and rows that really lie about."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy import create_engine, text

from detector import checkpoint
from evolve.run.detection import best_path, checkpoint_path
from evolve.run.doctor import Examination, Kind, examine
from evolve.run.doctor.finding import State
from evolve.run.picture_folder import picture_folder
from evolve.storage.database import Storage
from tests.places import ROOT
from tests.processes import environment, evolve, running
from tests.small_study import SMALL

STUDY = SMALL.replace("epochs: 1", "epochs: 2").replace("[0.01, 1.0e+5]", "[0.01, 0.02]")
ELEVEN_MINUTES = 660.0


def write_study(folder: Path) -> tuple[str, ...]:
    """The study of this module in a folder, and the command that runs it."""
    (folder / "small.yaml").write_text(STUDY)
    return "run", "--study", "small.yaml", "--workers", "1"


def doctor(folder: Path, *options: str) -> tuple[int, dict[str, Any]]:
    finished = evolve(folder, "doctor", "--json", *options, check=False)
    return finished.returncode, json.loads(finished.stdout)


def kinds(said: dict[str, Any]) -> Counter[str]:
    return Counter(finding["kind"] for finding in said["findings"])


def test_a_run_that_was_killed_is_put_right_and_completes(tmp_path: Path) -> None:
    command = write_study(tmp_path)
    with running(tmp_path, *command) as driver:
        driver.wait_until(lambda: list(tmp_path.glob("runs/small/trials/*/seed-0.pt")))
        workers = driver.workers()
        driver.send(signal.SIGSTOP)  # so that it cannot end while it is looked at
        beside = doctor(tmp_path)
        driver.send(signal.SIGKILL)
        driver.ended()
        while any(Path(f"/proc/{pid}").exists() for pid in workers):  # which end when their driver is gone
            time.sleep(0.05)

    before, found = doctor(tmp_path)
    after, mended = doctor(tmp_path, "--fix")
    again = evolve(tmp_path, *command, "--json")
    last, healthy = doctor(tmp_path)

    assert workers
    assert beside[1]["findings"] == [] and "runs it" in beside[1]["running"][0]
    assert before == 1 and kinds(found) >= Counter({"dead lease": 1, "unfinished": 1})
    assert {finding["state"] for finding in found["findings"]} == {"left"}
    states = {finding["kind"]: finding["state"] for finding in mended["findings"] if finding["kind"] != "partial file"}
    assert states == {"dead lease": "fixed", "unfinished": "left to the next run"}
    assert after == (0 if "partial file" not in kinds(mended) else 1)
    assert json.loads(again.stdout)["is_complete"]
    assert kinds(healthy) <= Counter({"partial file": 2}) and last == bool(healthy["findings"])
    spent = json.loads(evolve(tmp_path, "show", "small", "--time", "--json").stdout)
    assert [run["has_ended"] for run in spent["runs"]] == [False, True]
    parts = [spent[name] for name in ("training", "validating", "lost", "waiting")]
    assert sum(parts) == pytest.approx(spent["worker_seconds"]) and min(parts) >= 0 and spent["waiting"] > 0


@pytest.fixture(scope="module")
def wrecked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study in which a worker was killed while it wrote a checkpoint; not to be changed."""
    folder = tmp_path_factory.mktemp("wrecked")
    settings = environment() | {"FAULT": "detector.checkpoint:link:2:before", "FAULT_MARK": str(folder / "hit")}
    settings["PYTHONPATH"] = f"{ROOT / 'tests/faults/site'}{os.pathsep}{settings['PYTHONPATH']}"
    command = [sys.executable, "-m", "evolve.cli", *write_study(folder)]
    finished = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, timeout=240)
    assert (folder / "hit").exists() and finished.returncode == 0, finished.stderr
    return folder


@pytest.fixture
def wreck(wrecked: Path, tmp_path: Path) -> Path:
    """A copy of its own for a test."""
    shutil.copytree(wrecked, tmp_path / "wreck")
    return tmp_path / "wreck"


def runs_of(folder: Path) -> tuple[str, Path]:
    return f"sqlite:///{folder}/runs/evolve.db", folder / "runs"


def test_a_trial_whose_outcome_was_stored_and_not_told_is_told(wreck: Path) -> None:
    # As evolves left it that wrote the two in two transactions.
    url, _ = runs_of(wreck)
    (before, *_) = optuna.load_study(study_name="small", storage=url).get_trials()
    database = create_engine(url)
    with database.begin() as connection:
        where = {"trial": before._trial_id}
        connection.execute(
            text("update trials set state = 'RUNNING', datetime_complete = null where trial_id = :trial"), where
        )
        connection.execute(text("delete from trial_values where trial_id = :trial"), where)
    database.dispose()

    (_, found), (_, mended) = doctor(wreck), doctor(wreck, "--fix")

    assert kinds(found)["half told"] == 1
    assert {"half told"} <= {each["kind"] for each in mended["findings"] if each["state"] == "fixed"}
    (after, *_) = optuna.load_study(study_name="small", storage=url).get_trials()
    assert (after.state, after.values) == (before.state, before.values)


def best_folder(folder: Path) -> Path:
    url, runs = runs_of(folder)
    with closing(Storage(url)) as storage:
        best = storage.best(storage.study_id("small"))
    assert best is not None
    return checkpoint_path(runs / "small", best, 0).parent


def by_kind(found: Examination) -> dict[Kind, list[str]]:
    rows: dict[Kind, list[str]] = {}
    for finding in found.findings:
        rows.setdefault(finding.kind, []).append(Path(finding.where).name)
    return rows


def no_partial(folder: Path) -> None:
    for path in folder.rglob("*.partial"):
        path.unlink()


def test_a_file_that_was_not_written_to_its_end_is_removed_once_nobody_can_be_writing_to_it(wreck: Path) -> None:
    trial = best_folder(wreck)
    partials = list(wreck.rglob("*.partial"))
    if not partials:  # the trial whose worker was killed was not the best, and its folder is gone
        partials = [trial / "seed-0.0123456789ab.partial"]
        shutil.copy(trial / "seed-0.pt", partials[0])
    others = [trial / "mine.partial", trial / "seed-0.pt"]
    others[0].touch()

    young = examine(*runs_of(wreck), fixes=True)
    for path in partials:
        os.utime(path, times=(time.time() - ELEVEN_MINUTES,) * 2)
    listed = examine(*runs_of(wreck), fixes=False)
    old = examine(*runs_of(wreck), fixes=True)

    assert not young.is_healthy and "minutes, if nobody writes to it" in young.findings[0].remedy
    assert by_kind(listed) == by_kind(old) == {Kind.PARTIAL_FILE: [path.name for path in partials]}
    assert not listed.is_healthy and old.is_healthy and not any(path.exists() for path in partials)
    assert all(path.exists() for path in others)


def test_weights_that_the_run_would_have_dropped_are_dropped_if_they_say_that_they_are_of_this_study(
    wreck: Path,
) -> None:
    no_partial(wreck)
    best = best_folder(wreck)
    beaten = best.with_name("0001" if best.name == "0000" else "0000")
    shutil.copytree(best, beaten)
    spare = checkpoint.before_path(best / "seed-0.pt")
    shutil.copy(best / "seed-0.pt", spare)

    found = examine(*runs_of(wreck), fixes=True)

    assert found.is_healthy and {Path(finding.where) for finding in found.findings} == {beaten, spare}
    assert not beaten.exists() and not spare.exists()
    assert (best / "seed-0.pt").exists() and best_path(best / "seed-0.pt").exists()


@pytest.mark.parametrize("how", ["of another database", "not readable"])
def test_weights_that_may_be_somebody_elses_are_left_where_they_are(wreck: Path, how: str) -> None:
    no_partial(wreck)
    best = best_folder(wreck)
    beaten, unknown = (best.with_name(name) for name in ("0001" if best.name == "0000" else "0000", "0042"))
    kept = checkpoint.load(best / "seed-0.pt")
    for folder in (beaten, unknown):
        checkpoint.save(replace(kept, origin="another:data"), folder / "seed-0.pt")
        if how == "not readable":
            (folder / "seed-0.pt").write_bytes((folder / "seed-0.pt").read_bytes()[:5000])

    found = examine(*runs_of(wreck), fixes=True)

    assert [finding.state for finding in found.findings] == [State.LEFT] * 2 and not found.is_healthy
    assert (beaten / "seed-0.pt").exists() and (unknown / "seed-0.pt").exists()


def test_what_is_unknown_is_listed_and_moved_aside_within_its_study(wreck: Path) -> None:
    no_partial(wreck)
    best, folder = best_folder(wreck), wreck / "runs/small"
    shutil.copytree(best, best.with_name("0042"))
    shutil.copy(folder / "weights/seed-0-best.pt", folder / "weights/seed-7-best.pt")
    (folder / "weights/mine.pt").touch()
    (wreck / "runs/gone/trials").mkdir(parents=True)
    (wreck / "runs/detect").mkdir()

    listed = examine(*runs_of(wreck), fixes=False)
    before = sorted(wreck.rglob("*"))
    moved = examine(*runs_of(wreck), fixes=True)
    again = examine(*runs_of(wreck), fixes=True)

    expected = {Kind.UNKNOWN_TRIAL: ["0042"], Kind.UNOWNED_WEIGHTS: ["seed-7-best.pt"], Kind.UNKNOWN_STUDY: ["gone"]}
    assert by_kind(listed) == by_kind(moved) == expected
    assert before != sorted(wreck.rglob("*")) and not moved.is_healthy  # for the folder that may be another database's
    assert sorted(path.name for path in (folder / "aside").iterdir()) == ["0042", "seed-7-best.pt"]
    assert (folder / "weights/mine.pt").exists() and (wreck / "runs/gone/trials").exists()
    assert by_kind(again) == {Kind.UNKNOWN_STUDY: ["gone"]}


def test_links_are_not_followed(wreck: Path, tmp_path: Path) -> None:
    no_partial(wreck)
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "trials/0042").mkdir(parents=True)
    (elsewhere / "a.0123456789ab.partial").touch()
    os.utime(elsewhere / "a.0123456789ab.partial", times=(0, 0))
    shutil.rmtree(wreck / "runs/small/trials")
    (wreck / "runs/small/trials").symlink_to(elsewhere / "trials")
    (wreck / "runs/small/more").symlink_to(elsewhere)
    (wreck / "runs/gone").symlink_to(elsewhere)

    found = examine(*runs_of(wreck), fixes=True)

    assert not found.findings
    assert (elsewhere / "trials/0042").exists() and (elsewhere / "a.0123456789ab.partial").exists()


def test_decoded_images_of_a_run_that_is_over_go_and_those_of_a_living_one_stay(wreck: Path) -> None:
    no_partial(wreck)
    study = wreck / "runs/small"

    with picture_folder(study) as living:
        (study / "pictures-left.lock").touch()
        (study / "pictures-left").mkdir()
        found = examine(*runs_of(wreck), fixes=True)

        assert living is not None and living.exists()
    assert by_kind(found) == {Kind.PICTURES: ["pictures-left"]} and found.is_healthy
    assert not (study / "pictures-left").exists() and not (study / "pictures-left.lock").exists()
