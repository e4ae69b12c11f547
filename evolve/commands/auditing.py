"""The command that checks a data set before anything is trained on it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from evolve.commands.options import DATA_HELP, JsonOption, SizeOption
from evolve.commands.output import say, say_next


def audit(
    data: Annotated[str, typer.Argument(help=DATA_HELP, show_default=False)],
    image_size: SizeOption = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Page to write; else named like the data set.", show_default=False)
    ] = None,
    fix: Annotated[
        Path | None, typer.Option("--fix", help="New folder for a corrected copy, in the same format.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for warnings, too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a data set from end to end: everything wrong with it, in a table and on a page with pictures.

    Errors stop a training; warnings do not, but it learns or measures something else than was meant; notes are worth
    knowing. The exit status is 1 where there are errors, else 0. Without --image-size boxes are seen as at 416 px.

    Example: `evolve audit photos`, `evolve audit photos --fix photos-fixed`
    """
    from dashboards.audit_page import write_audit_page
    from detector.findings import Severity
    from evolve.commands.audit_text import audit_text, fixed_text
    from evolve.run.auditing import Auditing
    from evolve.run.data import survey_size

    if fix is not None:
        Auditing.check_copy(data, fix)
    auditing = Auditing(data, image_size=survey_size(data) if image_size is None else image_size)
    found = auditing.result
    copy = None if fix is None else auditing.fix(fix)
    page = write_audit_page(html or _default_page(data), found, auditing.drawn())
    result: dict[str, Any] = found.as_mapping() | {"page": str(page)}
    result |= {} if copy is None else {"fixed": copy.as_mapping()}
    lines = [audit_text(found), f"page    {page}", *([] if copy is None else [fixed_text(copy)])]
    say(result, as_json=as_json, text=lambda: "\n".join(lines))
    next_data = data if copy is None else copy.folder
    say_next(shlex.join(["evolve", "run", "--study", "my_data", "--data", next_data, "--dry-run"]), as_json=as_json)
    counts = (found if copy is None else copy.after).severities()
    is_bad = counts[Severity.ERROR] or (strict and counts[Severity.WARNING])
    raise typer.Exit(1 if is_bad else 0)


def _default_page(data: str) -> Path:
    """A page named like the data set: like its folder, where the file has the name that all of them have."""
    path = Path(data)
    name = path.resolve().parent.name if path.stem in ("data", "dataset") else path.resolve().stem
    plain = re.sub(r"[^\w.-]", "_", name)[:80]
    return Path(f"audit-{plain or 'data'}.html")
