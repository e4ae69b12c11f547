"""What a stored ablation has come to: its arms compared over the trainings that have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evolve.storage.ablations import trainings_of
from evolve.storage.database import Storage
from evolve.study import Study

if TYPE_CHECKING:
    from evolve.ablation.chosen import ChosenArm
    from evolve.ablation.compared import Compared


def comparison_of(storage: Storage, study: Study) -> Compared:
    """The arms of an ablation with all their trainings that have ended, and what they show.

    Args:
        storage: Database that has the ablation.
        study: Study of the ablation, as it is stored there.

    Raises:
        StudyError: The study compares no arms.
        StorageError: The study is not stored.
    """
    from evolve.ablation.compared import compared  # with statistics, which other commands have no need of

    study_id = storage.study_id(study.name)
    trainings = trainings_of(storage.engine, study.name)
    return compared(study, trainings, storage.verdicts(study_id), storage.params(study_id))


def chosen_in(storage: Storage, study: Study, *, trial: int | None = None) -> ChosenArm | None:
    """The arm of an ablation that is to be used; None where there is none.

    Args:
        storage: Database that has the ablation.
        study: Study of the ablation, as it is stored there.
        trial: Number of the trial that a person asks for; None for what is proven, else the baseline.

    Raises:
        StudyError: The study compares no arms.
        StorageError: The study is not stored.
    """
    from evolve.ablation.chosen import chosen_arm

    return chosen_arm(comparison_of(storage, study), storage.fitness(storage.study_id(study.name)), trial=trial)
