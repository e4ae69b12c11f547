"""The schedule of hyperparameters that a training of a population lived through, from what is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evolve.storage.database import Storage
from evolve.storage.optuna_tables import PARENT
from evolve.study import Study
from evolve.study.population import lineage, lived_through
from evolve.study.space import Scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class Lived:
    """What a trial's weights were trained with, from their first epoch on.

    Attributes:
        line: Numbers of the trials whose epochs the weights went through, in their order; the last one is the trial
            itself.
        first: Values of the searched hyperparameters in the first epoch, by name.
        changes: New values of what changed later by name, by the epoch from which on they held; empty where nothing
            changed.
    """

    line: tuple[int, ...]
    first: Mapping[str, Scalar]
    changes: Mapping[int, Mapping[str, Scalar]]


def lived(storage: Storage, study: Study, number: int) -> Lived:
    """Hyperparameters that a trial's weights were trained with, from their first epoch on.

    Args:
        storage: Database that has the study.
        study: Study as it is stored.
        number: Number of the trial within its study, from 0.
    """
    trials = storage.optuna.get_all_trials(storage.study_id(study.name), deepcopy=False)
    if (members := study.population) is None:
        return Lived(line=(number,), first=trials[number].params, changes=study.from_epoch)
    line = lineage({trial.number: trial.system_attrs.get(PARENT) for trial in trials}, number)
    first, changes = lived_through(members, line, {member: trials[member].params for member in line})
    return Lived(line=tuple(line), first=first, changes=changes)
