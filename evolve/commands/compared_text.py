"""What a comparison has come to, in the lines with which a study is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evolve.commands.output import opened_storage
from evolve.formatting import listed

if TYPE_CHECKING:
    from evolve.ablation.interim import Standing
    from evolve.commands.effect_text import Shown
    from evolve.storage.trial_rows import TrialRow
    from evolve.study import Study
    from evolve.study.ablation import Ablation
    from evolve.study.arms import ArmPlan


def compared_of(storage: str, study: Study | None, rows: Sequence[TrialRow]) -> tuple[list[TrialRow], list[str]]:
    """Trials with those that only tune at the end, and what a comparison has come to; no lines where there is none.

    Args:
        storage: Database of the study.
        study: As it is stored; None where evolve did not make it.
        rows: All its trials.
    """
    if study is None or study.ablation is None:
        return list(rows), []
    shown = shown_of(storage, study)
    ordered = sorted(rows, key=lambda row: row.number < shown.plan.num_tuning)
    return ordered, compared_lines(shown.ablation, shown.plan, shown.standing)


def shown_of(storage: str, study: Study) -> Shown:
    """What is stored of an ablation, and what it shows.

    Raises:
        StudyError: It compares no arms.
        StorageError: It is not stored.
    """
    from evolve.ablation.sharing import gain_shares
    from evolve.ablation.trained import plan_of, standing_of
    from evolve.commands.effect_text import Shown
    from evolve.storage.ablations import trainings_of

    ablation, plan = plan_of(study)
    with opened_storage(storage, reads_only=True) as opened:
        trainings = trainings_of(opened.engine, study.name)
        ended = opened.verdicts(opened.study_id(study.name))
    standing = standing_of(ablation, plan, trainings, ended)
    shares = gain_shares(ablation, plan, standing.runs)
    return Shown(study=study, ablation=ablation, plan=plan, standing=standing, shares=shares)


def compared_lines(ablation: Ablation, plan: ArmPlan, standing: Standing) -> list[str]:
    """What the arms say together, how much is missing, and which trials are not compared.

    Args:
        ablation: What is compared.
        plan: Which trial trains which arm.
        standing: What the trainings say.
    """
    from evolve.ablation.verdicts import conclusion

    lines = []
    if standing.missing == len(standing.runs):
        lines.append("found   nothing yet: no training that is compared has ended")
    else:
        lines.append(f"found   {conclusion(standing.effects)}")
    if 0 < standing.missing < len(standing.runs):
        lines.append(f"missing {standing.missing} of {len(standing.runs)} trainings, so what was found may change")
    if ablation.nuisance is not None:
        tuned = listed(list(ablation.nuisance.space))
        lines.append(f"tuning  trials 0 to {plan.num_tuning - 1} tune {tuned} for each arm and are not compared")
    return lines
