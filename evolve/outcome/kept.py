"""Whose weights a study keeps: those of its best trial, the way back from divergence, or all.

An ablation keeps those of all that it may yet export (`evolve.study.arms.exportable_trials`): of every arm until it is
complete, then of the arm that is to be used, of the best and of the baseline.
"""

from __future__ import annotations

from collections.abc import Mapping

from evolve.outcome.verdict import TRAINED_THROUGH, Verdict
from evolve.study import Study

_BEATEN = (*TRAINED_THROUGH, Verdict.PARTIAL, Verdict.PRUNED)


def may_begin_another(study: Study, number: int, verdicts: Mapping[int, str]) -> bool:
    """Whether a trial of a generation that has not ended may begin with the weights of this one.

    Args:
        study: Study of the trial.
        number: Number of the trial within its study, from 0.
        verdicts: Verdicts of all trials that have ended, by number of the trial.
    """
    members = study.population
    return members is not None and any(successor not in verdicts for successor in members.generation_after(number))


def drops_weights(study: Study, number: int, verdicts: Mapping[int, str], *, is_exportable: bool) -> bool:
    """Whether nothing will go on from the weights of a trial or choose them, so that the study removes them.

    Args:
        study: Study of the trial, which says whether all weights are kept.
        number: Number of the trial within its study, from 0.
        verdicts: Verdicts of all trials that have ended, and of this one, by number of the trial.
        is_exportable: Whether the trial may be exported, as the best or what an ablation chooses.
    """
    is_beaten = not is_exportable and verdicts[number] in _BEATEN
    return is_beaten and study.keep_weights != "all" and not may_begin_another(study, number, verdicts)
