"""Files in run folders that nothing refers to: half-written, kept for nothing, or of trials and studies unknown.

Nothing is removed but what was never whole and what a run would have removed itself, and of checkpoints only those that
say that they are of this study. Everything else that nobody owns is moved aside, within the folder of its study.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

from evolve.run.doctor.finding import Finding, Kind
from evolve.run.keeping import drop, unneeded
from evolve.run.picture_folder import left_behind, remove_left_behind
from evolve.storage.database import Storage
from evolve.study import Study

ASIDE = "aside"  # a folder in that of the study
_PARTIAL = re.compile(r".*\.[0-9a-f]{12}\.partial|\..+\.html\.\d+")
_WEIGHTS = re.compile(r"seed-(\d+)-(best|last)\.pt")
# What only runs of a study leave.
_SIGNS = ("trials", "weights", "report.html", "hyp.yaml")


def of_study(folder: Path, study: Study, storage: Storage, study_id: int) -> Iterator[Finding]:
    """What lies in a study's run folder and should not, while nobody runs the study.

    Args:
        folder: Run folder of the study, which may not exist.
        study: Study as it is stored.
        storage: Database that has the trials of the study.
        study_id: Optuna's id of the study.
    """
    if folder.is_symlink() or not folder.is_dir():
        return
    identity = storage.ledger.identity(study_id)
    yield from partial_files(folder)
    yield from _pictures(folder)
    for path in list(unneeded(folder, study, storage, study_id)):
        yield _spare(path, identity)
    numbers = {trial.number for trial in storage.optuna.get_all_trials(study_id, deepcopy=False)}
    yield from _unknown_trials(folder, numbers, identity)
    best = storage.best(study_id)
    yield from _unowned_weights(folder, () if best is None else study.seeds_of(best))


def partial_files(folder: Path, *, now: float | None = None) -> Iterator[Finding]:
    """Files whose writers were killed; a young one may have a writer still."""
    from detector.checkpoint import STALE_SECONDS

    now = time.time() if now is None else now
    for path in _files(folder):
        if not _PARTIAL.fullmatch(path.name):
            continue
        age = now - path.lstat().st_mtime
        is_stale = age > STALE_SECONDS
        wait = f"evolve doctor --fix removes it in {(STALE_SECONDS - age) / 60:.0f} minutes, if nobody writes to it"
        yield Finding(
            kind=Kind.PARTIAL_FILE,
            where=str(path),
            what=f"was not written to its end; last written to {age:.0f} s ago",
            remedy="--fix removes it" if is_stale else wait,
            mend=partial(path.unlink, missing_ok=True) if is_stale else None,
        )


def _pictures(folder: Path) -> Iterator[Finding]:
    """Decoded images of runs that were killed: whose lock nobody holds any more."""
    for path in left_behind(folder):
        yield Finding(
            kind=Kind.PICTURES,
            where=str(path),
            what="holds decoded images of a run that is over",
            remedy="--fix removes it, as the next run would",
            mend=partial(remove_left_behind, folder),
        )


def unknown_studies(runs: Path, names: Collection[str]) -> Iterator[Finding]:
    """Folders of studies that a database does not know; they may be another one's, so nothing is done to them.

    Args:
        runs: Folder with a folder for each study.
        names: Names of all studies that the database knows.
    """
    for folder in sorted(runs.iterdir()) if runs.is_dir() else ():
        is_folder = folder.is_dir() and not folder.is_symlink()
        if is_folder and folder.name not in names and any((folder / sign).exists() for sign in _SIGNS):
            yield Finding(
                kind=Kind.UNKNOWN_STUDY,
                where=str(folder),
                what="is of a study that this database does not know",
                remedy=f"if no other database knows it either: rm -r {folder}",
            )


def _files(folder: Path) -> Iterator[Path]:
    """All files below a folder, without following links."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(place) / name for name in sorted(names))


def _spare(path: Path, identity: str) -> Finding:
    others = _of_others(path, identity)
    return Finding(
        kind=Kind.SPARE_WEIGHTS,
        where=str(path),
        what="is of a trial that ended, and that is not the best"
        if path.is_dir()
        else "was kept while its trial trained",
        remedy=f"{others}; remove it if you know better" if others else "--fix removes it, as the run would have",
        mend=None if others else partial(drop, path),
    )


def _of_others(path: Path, identity: str) -> str:
    """Why checkpoints of a file or folder may not be this study's; empty where all say that they are."""
    from detector.checkpoint import CheckpointError
    from evolve.run.detection import is_of_study

    for file in sorted(path.glob("*.pt")) if path.is_dir() else [path]:
        try:
            if not identity or not is_of_study(file, identity):
                return f"{file.name} is of another study or another database"
        except CheckpointError:
            return f"{file.name} cannot be read, so nobody knows whose it is"
    return ""


def _unknown_trials(folder: Path, numbers: Collection[int], identity: str) -> Iterator[Finding]:
    trials = folder / "trials"
    if trials.is_symlink() or not trials.is_dir():
        return
    for path in sorted(trials.iterdir()):
        is_known = re.fullmatch(r"\d{4,}", path.name) is not None and int(path.name) in numbers
        if is_known or not path.is_dir() or path.is_symlink():
            continue
        others = _of_others(path, identity)
        yield Finding(
            kind=Kind.UNKNOWN_TRIAL,
            where=str(path),
            what="is of a trial that this database does not know",
            remedy=f"{others}; it is left" if others else f"--fix moves it to {folder / ASIDE}",
            mend=None if others else partial(_move_aside, folder, path),
        )


def _unowned_weights(folder: Path, seeds: Collection[int]) -> Iterator[Finding]:
    """Weights that were written for the best trial, of which there is none, or none of that seed."""
    weights = folder / "weights"
    if weights.is_symlink() or not weights.is_dir():
        return
    for path in sorted(weights.iterdir()):
        named = _WEIGHTS.fullmatch(path.name)
        if named is not None and int(named[1]) not in seeds:
            yield Finding(
                kind=Kind.UNOWNED_WEIGHTS,
                where=str(path),
                what="is of no training that could be the best",
                remedy=f"--fix moves it to {folder / ASIDE}",
                mend=partial(_move_aside, folder, path),
            )


def _move_aside(folder: Path, path: Path) -> None:
    aside = folder / ASIDE
    aside.mkdir(exist_ok=True)
    name, number = path.name, 1
    while (target := aside / name).exists():
        number += 1
        name = f"{path.stem}-{number}{path.suffix}"
    path.rename(target)
