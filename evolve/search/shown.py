"""A study in memory that shows trials to Optuna's samplers and pruners without copying them.

Optuna's own storage in memory copies every trial deeply that is added to it, and its database reads them again: both
take longer with every trial, and longer than most samplers think.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any, final

import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

_STUDY_ID = 0


def shown_study(
    trials: Sequence[FrozenTrial],
    *,
    name: str = "shown",
    sampler: BaseSampler | None = None,
    pruner: BasePruner | None = None,
) -> tuple[optuna.Study, dict[str, Any]]:
    """A study that maximises, and what is written to its trials, by key.

    Args:
        trials: All trials of the study, in the order of their numbers; nobody changes them.
        name: Name of the study, which some pruners draw lots by.
        sampler, pruner: Sampler and pruner that look at the study; by default a sampler without memory and a pruner
            that never stops a trial.
    """
    storage: Any = _Shown(trials, name)
    study = optuna.Study(name, storage, sampler=sampler or RandomSampler(), pruner=pruner or NopPruner())
    return study, storage.written


@final
class _Shown:
    """As much of a storage as samplers and pruners ask for; what they write to the trial at hand is kept aside."""

    def __init__(self, trials: Sequence[FrozenTrial], name: str) -> None:
        self._trials, self._name = trials, name
        self.written: dict[str, Any] = {}

    def get_study_id_from_name(self, name: str) -> int:
        assert name == self._name
        return _STUDY_ID

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        assert study_id == _STUDY_ID
        return [StudyDirection.MAXIMIZE]

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,  # noqa: ARG002 - those who look change nothing
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        assert study_id == _STUDY_ID
        return [trial for trial in self._trials if states is None or trial.state in states]

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:  # noqa: ARG002 - of the one at hand
        self.written[key] = value
