"""Which files of weights a study keeps: those of its best trial, the way back from divergence, or all."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from evolve.outcome.verdict import TRAINED_THROUGH, Verdict
from evolve.run.detection import checkpoint_path
from evolve.storage.database import Storage
from evolve.study import Study


def unneeded(folder: Path, study: Study, storage: Storage, study_id: int) -> Iterator[Path]:
    """Folders and files of trials that ended and that nothing will go on from or choose.

    Args:
        folder: Run folder of the study.
        study: Says whether all weights are kept.
        storage: Where the trials are.
        study_id: Optuna's id of the study.
    """
    best = storage.best(study_id)
    verdicts = storage.verdicts(study_id)
    for number, verdict in verdicts.items():
        if _is_gone_on_from(study, number, verdicts):
            continue
        yield from unneeded_of(folder, study, number, verdict, is_best=number == best)


def _is_gone_on_from(study: Study, number: int, ended: Collection[int]) -> bool:
    """Whether a trial of a population that has not ended yet may begin with the weights of this one."""
    members = study.population
    return members is not None and any(each not in ended for each in members.generation_after(number))


def unneeded_of(folder: Path, study: Study, number: int, verdict: str, *, is_best: bool) -> Iterator[Path]:
    """The same of one trial that has ended, or that waits to be promoted with its last checkpoint and the best.

    Args:
        folder: Run folder of the study.
        study: Says whether all weights are kept.
        number: Of the trial.
        verdict: Of the trial; diverged ones keep the way back.
        is_best: Whether it is the best of the study.
    """
    of_trial = checkpoint_path(folder, number, 0).parent
    is_beaten = not is_best and verdict in (*TRAINED_THROUGH, Verdict.PARTIAL, Verdict.PRUNED)
    if is_beaten and study.keep_weights != "all":
        if of_trial.exists():
            yield of_trial
    else:
        # As `detector.checkpoint.before_path` names them: kept in case the last ones could not be read.
        yield from sorted(of_trial.glob("seed-*-before.pt"))


def drop(path: Path) -> None:
    """Removes a file or a folder; what cannot be removed stays."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
