"""The command that looks for what a crash left, and puts it right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from evolve import formatting
from evolve.commands.options import DEFAULT_STORAGE, RUNS, JsonOption, StorageOption
from evolve.commands.output import check_exists, say, say_next

if TYPE_CHECKING:
    from evolve.run.doctor import Examination


def doctor(
    storage: StorageOption = DEFAULT_STORAGE,
    fix: Annotated[bool, typer.Option("--fix", help="Put right what can be, and say what was done.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Find what a crash left in the database and its run folders, and with --fix put it right.

    Studies that are being run are left alone. Nothing is deleted but what provably nobody needs; the rest is moved
    aside within its study's folder, or only listed. Exit status 0: nothing is left to do; 1: something is.

    Example: `evolve doctor`, `evolve doctor --fix`
    """
    from evolve.run.doctor import examine
    from evolve.storage.sqlite import without_password

    check_exists(storage)
    where = without_password(storage)
    found = examine(storage, RUNS, fixes=fix)
    say({"storage": where, **found.as_json()}, as_json=as_json, text=lambda: _text(where, found))
    say_next(_next(found, has_fixed=fix), as_json=as_json, storage=storage)
    if not found.is_healthy:
        raise typer.Exit(1)


def _text(where: str, found: Examination) -> str:
    """A line for each finding, then how many there are."""
    rows = [
        (finding.state.value, finding.kind.value, f"{finding.where}: {finding.what}; {finding.remedy}")
        for finding in found.findings
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(2)]
    lines = [f"{state:<{widths[0]}}  {kind:<{widths[1]}}  {text}" for state, kind, text in rows]
    lines += [f"running  {said}" for said in found.running]
    looked_at = f"{where}: {formatting.counted(found.studies, 'study', 'studies')}"
    left = sum(finding.state.value == "left" for finding in found.findings)
    if not found.findings:
        return "\n".join([*lines, f"healthy {looked_at}, nothing to put right"])
    settled = len(found.findings) - left
    return "\n".join([*lines, f"found   {looked_at}, {len(found.findings)} found, {settled} settled, {left} left"])


def _next(found: Examination, *, has_fixed: bool) -> list[str]:
    is_unfinished = any(finding.kind.value == "unfinished" for finding in found.findings)
    if not has_fixed and any(finding.is_fixable or is_unfinished for finding in found.findings):
        return ["evolve", "doctor", "--fix"]
    return ["evolve", "show", "latest"]
