"""Which files of weights a study keeps: those of its best trial, the way back from divergence, or all.

An ablation keeps those of its baseline too, which is what it exports unless an arm is shown to be better.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from evolve.outcome.verdict import TRAINED_THROUGH, Verdict
from evolve.run.detection import checkpoint_path
from evolve.storage.database import Storage
from evolve.study import Study


def unneeded(folder: Path, study: Study, storage: Storage, study_id: int) -> Iterator[Path]:
    """Folders and files of trials that ended and that nothing will go on from or choose.

    Args:
        folder: Run folder of the study.
        study: Study of the trials, which says whether all weights are kept.
        storage: Database that has the trials.
        study_id: Optuna's id of the study.
    """
    best, verdicts = storage.best(study_id), storage.verdicts(study_id)
    for number in verdicts:
        yield from unneeded_of(folder, study, number, verdicts, is_best=number == best)


def unneeded_of(
    folder: Path, study: Study, number: int, verdicts: Mapping[int, str], *, is_best: bool
) -> Iterator[Path]:
    """Folders and files that nothing needs any more of one trial, which has ended or waits to be promoted.

    Args:
        folder: Run folder of the study.
        study: Study of the trial, which says whether all weights are kept, and which trials go on from this one.
        number: Number of the trial within its study, from 0.
        verdicts: Verdicts of all trials that have ended, and of this one, by number of the trial; a trial that diverged
            keeps its last checkpoints, and one that waits keeps its last and its best.
        is_best: Whether the trial is the best of the study.
    """
    members, plan = study.population, study.arm_plan
    if members is not None and any(successor not in verdicts for successor in members.generation_after(number)):
        return  # one of the next generation may begin with its weights
    of_trial = checkpoint_path(folder, number, 0).parent
    is_baseline = plan is not None and number == plan.first_of(1)
    is_beaten = not (is_best or is_baseline) and verdicts[number] in (*TRAINED_THROUGH, Verdict.PARTIAL, Verdict.PRUNED)
    if is_beaten and study.keep_weights != "all":
        if of_trial.exists():
            yield of_trial
    else:
        # As `detector.checkpoint.before_path` names them: kept in case the last ones could not be read.
        yield from sorted(of_trial.glob("seed-*-before.pt"))


def affected_by(study: Study, number: int) -> set[int]:
    """Trials whose weights may be needed no more now that one has ended: itself, and those it could have begun with."""
    members = study.population
    return {number, *(() if members is None else members.generation_before(number))}


def drop(path: Path) -> None:
    """Removes a file or a folder; what cannot be removed stays."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
