"""What a screening says of its changes, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evolve.commands.aligning import aligned, interval, signed
from evolve.formatting import number, parameter
from evolve.study import Study

if TYPE_CHECKING:
    from evolve.screened import Effect
    from evolve.storage.trial_rows import TrialRow

_HEADS = ("change", "in place of", "difference", "95 % interval", "p corrected", "verdict", "recommended")


def screening_of(study: Study, rows: Sequence[TrialRow], *, width: int | None) -> str:
    """Changes as a table, the best first; empty where the study screens none, or too few trials have ended.

    Args:
        study: The study.
        rows: All of its trials.
        width: Characters of a line; None where there is no terminal.
    """
    if study.screening is None:
        return ""
    from evolve.findings.screening import screened_of  # statistics, which no other study has need of

    found = screened_of(study, [row.tried for row in rows])
    if found is None or not found.effects:
        return ""
    return "\n".join(aligned(_HEADS, [_cells(effect) for effect in found.effects], left=(0, 1, 5, 6), width=width))


def _cells(effect: Effect) -> tuple[str, ...]:
    change = effect.change
    return (
        change.text,
        parameter(change.own),
        signed(effect.difference),
        interval(effect.low, effect.high),
        number(effect.p),
        effect.verdict,
        "yes" if effect.is_recommended else "no",
    )
