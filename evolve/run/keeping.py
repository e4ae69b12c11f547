"""Files of the weights that a study keeps no longer, and how they are removed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from evolve.outcome.kept import drops_weights, may_begin_another
from evolve.run.detection import checkpoint_path
from evolve.storage.database import Storage
from evolve.study import Study
from evolve.study.arms import exportable_trials


def unneeded(folder: Path, study: Study, storage: Storage, study_id: int) -> Iterator[Path]:
    """Folders and files of trials that ended and that nothing will go on from or choose.

    Args:
        folder: Run folder of the study.
        study: Study of the trials, which says whether all weights are kept.
        storage: Database that has the trials.
        study_id: Optuna's id of the study.
    """
    verdicts = storage.verdicts(study_id)
    kept = exportable(study, storage, study_id, verdicts)
    for number in verdicts:
        yield from unneeded_of(folder, study, number, verdicts, is_exportable=number in kept)


def exportable(study: Study, storage: Storage, study_id: int, verdicts: Mapping[int, str]) -> frozenset[int]:
    """Numbers of the trials whose weights may be exported, now or when all have ended.

    Args:
        study: Study of the trials.
        storage: Database that has the trials.
        study_id: Optuna's id of the study.
        verdicts: Verdicts of all trials that have ended, by number of the trial.
    """

    def chosen() -> int | None:
        from evolve.storage.comparisons import chosen_in  # statistics, of no use to a run that trains

        arm = chosen_in(storage, study)
        return None if arm is None else arm.trial

    return exportable_trials(study.arm_plan, verdicts.keys(), best=storage.best(study_id), chosen=chosen)


def unneeded_of(
    folder: Path, study: Study, number: int, verdicts: Mapping[int, str], *, is_exportable: bool
) -> Iterator[Path]:
    """Folders and files that nothing needs any more of one trial, which has ended or waits to be promoted.

    Args:
        folder: Run folder of the study.
        study: Study of the trial, which says whether all weights are kept, and which trials go on from this one.
        number: Number of the trial within its study, from 0.
        verdicts: Verdicts of all trials that have ended, and of this one, by number of the trial; a trial that diverged
            keeps its last checkpoints, and one that waits keeps its last and its best.
        is_exportable: Whether the trial may be exported, as the best or what an ablation chooses.
    """
    of_trial = checkpoint_path(folder, number, 0).parent
    if drops_weights(study, number, verdicts, is_exportable=is_exportable):
        if of_trial.exists():
            yield of_trial
    elif not may_begin_another(study, number, verdicts):
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
