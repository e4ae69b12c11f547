"""The folder in which a run's processes share decoded images: there while it lives, gone however it ends."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from detector.datasets import picture_store
from detector.datasets.pictures import Picture, read_picture
from evolve.errors import EvolveError
from evolve.run import data
from evolve.run.crew import Asked
from evolve.run.data import surveyed
from evolve.run.events import StudyStopped, TrialEnded
from evolve.run.picture_folder import picture_folder
from evolve.run.run import Run, run_study
from evolve.study import Study
from tests.evolve.commands.test_my_data import write_voc
from tests.processes import environment, running
from tests.small_study import ON_PHOTOS

HOLDS_A_FOLDER = """
import sys, time
from pathlib import Path
from evolve.run.picture_folder import picture_folder
with picture_folder(Path(sys.argv[1])) as folder:
    (folder / "picture").write_bytes(b"x" * 1000)
    print(folder, flush=True)
    time.sleep(600)
"""


def holder(parent: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that has a folder, and that folder."""
    command = [sys.executable, "-c", HOLDS_A_FOLDER, str(parent)]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_folder_is_there_for_the_block_and_nothing_is_left_of_it(tmp_path: Path) -> None:
    (parent := tmp_path / "study").mkdir()
    (parent / "report.html").write_text("kept")

    with picture_folder(parent) as folder:
        assert folder is not None and folder.is_dir() and folder.is_absolute() and folder.parent == parent
        assert folder.stat().st_mode & 0o077 == 0
        (folder / "picture").write_bytes(b"x")

    assert [path.name for path in parent.iterdir()] == ["report.html"]


def test_an_error_in_the_block_removes_the_folder_too_and_the_studys_if_nothing_else_came(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), picture_folder(tmp_path / "runs/study") as folder:
        assert folder is not None
        raise KeyboardInterrupt

    assert list(tmp_path.glob("runs/*")) == []


def test_a_killed_runs_folder_is_removed_by_the_next_and_a_living_ones_is_not(tmp_path: Path) -> None:
    process, other = holder(tmp_path)
    with picture_folder(tmp_path):
        beside_a_living = sorted(path.name for path in other.iterdir())
    process.kill()
    process.wait()
    left = other.exists()

    with picture_folder(tmp_path) as folder:
        there = [path for path in tmp_path.iterdir() if path.is_dir()]

    assert beside_a_living == ["picture"] and left
    assert there == [folder] and list(tmp_path.iterdir()) == []


def test_what_a_person_put_beside_it_stays(tmp_path: Path) -> None:
    (tmp_path / "pictures-of-mine").mkdir()
    (tmp_path / "pictures-of-mine" / "1.jpg").write_bytes(b"x")

    with picture_folder(tmp_path):
        pass

    assert (tmp_path / "pictures-of-mine" / "1.jpg").exists()


def test_where_no_folder_can_be_made_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    with picture_folder(tmp_path / "file" / "study") as folder:
        assert folder is None


# Whole runs

PHOTOS = {
    "name": "small",
    "model": "yolov3-tiny-compact",
    "image_size": 64,
    "epochs": 1,
    "hyperparameters": {"warmup_epochs": 0},
    "space": {"lr0": {"choices": [0.001, 0.002]}},
    "sampler": "grid",
    "budget": {"trials": 1},
}


class _Disk(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Image files in the order in which this process decodes them, on a disk with room for them."""
    files: list[Path] = []

    def counting(path: Path, *, longest: int) -> Picture:
        files.append(path)
        return read_picture(path, longest=longest)

    monkeypatch.setattr(picture_store, "read_picture", counting)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: _Disk(total=2**40, used=2**39, free=2**39))
    return files


def photos(folder: Path) -> Run:
    """A run in this process on twenty photographs."""
    source = write_voc(folder / "photos", 20, data="digits-1")
    study = Study.from_mapping({**PHOTOS, "data": str(source)}, origin="test")
    asked = Asked(engine="serial")
    url = f"sqlite:///{folder}/evolve.db"
    return Run(study=study, storage_url=url, device="cpu", asked=asked, runs=folder / "runs")


def test_the_check_and_the_trainings_of_a_run_decode_each_image_once(
    tmp_path: Path, decoded: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "SURVEY_SIZE", 64)  # as of a study at 416 px

    events = list(run_study(photos(tmp_path), should_stop=lambda: False))

    ended = [event for event in events if isinstance(event, TrialEnded)]
    assert len(ended) == 1 and isinstance(events[-1], StudyStopped) and events[-1].is_complete
    assert len(decoded) == len(set(decoded)) == 20
    assert list((tmp_path / "runs/small").glob("pictures-*")) == []


def test_a_check_at_another_size_leaves_no_pictures_that_nobody_would_read(tmp_path: Path, decoded: list[Path]) -> None:
    (shared := tmp_path / "pictures").mkdir()

    surveyed(photos(tmp_path).study, shared)

    assert len(decoded) == 20 and list(shared.iterdir()) == []


def test_a_run_finds_what_it_finds_without_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared, alone = (photos(tmp_path / name) for name in ("shared", "alone"))
    alone = replace(alone, study=shared.study)
    with_folder = list(run_study(shared, should_stop=lambda: False))
    monkeypatch.setattr("evolve.run.picture_folder._take", _no_locks)
    without = list(run_study(alone, should_stop=lambda: False))

    outcomes = [
        [each.outcome.fitness for each in events if isinstance(each, TrialEnded)] for events in (with_folder, without)
    ]
    assert outcomes[0] == outcomes[1] and len(outcomes[0]) == 1


def _no_locks(_: object) -> None:
    raise OSError("no locks")


def test_a_run_that_is_refused_or_left_early_leaves_no_folder(tmp_path: Path) -> None:
    run = photos(tmp_path)
    left = run_study(run, should_stop=lambda: False)
    next(left)
    there = [path.name for path in (tmp_path / "runs/small").iterdir()]
    left.close()
    shutil.rmtree(tmp_path / "photos")
    with pytest.raises(EvolveError):
        list(run_study(run, should_stop=lambda: False))

    assert len(there) == 2 and list(tmp_path.glob("runs/*")) == []


@pytest.mark.parametrize(("data", "folders"), [("digits-1", 0), ("photos", 1)])
def test_rendered_scenes_have_no_folder(
    data: str, folders: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    monkeypatch.setattr("evolve.run.run.picture_folder", lambda parent: made.append(parent) or nullcontext())
    study = Study.from_mapping({**PHOTOS, "data": data}, origin="test")
    run = Run(study=study, storage_url=f"sqlite:///{tmp_path}/evolve.db", device="none", runs=tmp_path)

    with pytest.raises(EvolveError, match="--device none"):
        next(run_study(run, should_stop=lambda: False))

    assert made == [tmp_path / "small"][:folders]


def made_in(folder: Path) -> list[Path]:
    return [path for path in folder.glob("runs/small/pictures-*") if path.is_dir()]


def test_the_folder_of_a_run_that_was_killed_goes_with_the_next(tmp_path: Path) -> None:
    run = photos(tmp_path)
    (tmp_path / "small.yaml").write_text(ON_PHOTOS)
    with running(tmp_path, "run", "--study", "small.yaml", "--workers", "1") as driver:
        driver.wait_until(lambda: made_in(tmp_path))
        driver.send(signal.SIGKILL)
        driver.ended()
    left = made_in(tmp_path)

    events = list(run_study(run, should_stop=lambda: False))

    assert left and isinstance(events[-1], StudyStopped) and events[-1].is_complete
    assert list(tmp_path.glob("runs/small/pictures-*")) == []
