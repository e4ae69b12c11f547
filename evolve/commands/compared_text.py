"""What a comparison has come to, in the lines with which a study is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evolve.commands.output import opened_storage
from evolve.formatting import listed

if TYPE_CHECKING:
    from evolve.ablation.compared import Compared
    from evolve.storage.trial_rows import TrialRow
    from evolve.study import Study


def stored_ablation(storage: str, study: Study) -> Compared:
    """What is stored of an ablation, and what it shows.

    Raises:
        StudyError: It compares no arms.
        StorageError: It is not stored.
    """
    from evolve.storage.comparisons import comparison_of

    with opened_storage(storage, reads_only=True) as opened:
        return comparison_of(opened, study)


def compared_of(storage: str, study: Study | None, rows: list[TrialRow]) -> tuple[list[TrialRow], list[str], str]:
    """Trials with those that only tune at the end, what a comparison has come to, and the command that is next.

    There are no lines where nothing is compared.

    Args:
        storage: URL of the database that has the study.
        study: The study as it is stored; None where evolve did not make it.
        rows: Rows of all trials of the study.
    """
    if study is None or study.ablation is None:
        return rows, [], "report"
    from evolve.ablation.chosen import chosen_arm

    found = stored_ablation(storage, study)
    lines, then = _lines(found), "ablate"
    fitness = {row.number: row.fitness for row in rows if row.is_trained_through and row.fitness is not None}
    if not found.ablation.confirms and (arm := chosen_arm(found, fitness)) is not None:
        lines.append(f"export  {arm.name}: {arm.said}")
        floor = study.thresholds.floor
        has_learned = max(fitness.values(), default=floor) >= floor  # else there is nothing to export
        then = "export" if has_learned and not found.missing else then
    return sorted(rows, key=lambda row: row.number < found.plan.num_tuning), lines, then


def _lines(found: Compared) -> list[str]:
    """What the arms say together, how much is missing, and which trials are not compared."""
    from evolve.ablation.verdicts import conclusion
    from evolve.commands.effect_text import tuned_lines

    lines = []
    if found.missing == len(found.runs):
        lines.append("found   nothing yet: no training that is compared has ended")
    else:
        lines.append(f"found   {conclusion(found.effects)}")
    if 0 < found.missing < len(found.runs):
        lines.append(f"missing {found.missing} of {len(found.runs)} trainings, so what was found may change")
    if found.ablation.nuisance is not None:
        tuned = listed(list(found.ablation.nuisance.space))
        lines.append(f"tuning  trials 0 to {found.plan.num_tuning - 1} tune {tuned} for each arm and are not compared")
    return [*lines, *tuned_lines(found)]
