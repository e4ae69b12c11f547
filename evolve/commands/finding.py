"""The command that follows a finding: the study with what it advises, as a file to run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evolve.commands.options import DEFAULT_STORAGE, RUNS, JsonOption, StorageOption, StudyName
from evolve.commands.output import chosen_study, found_in, opened_storage, say, say_next
from evolve.errors import StudyError, unknown_text

if TYPE_CHECKING:
    from evolve.findings import Finding


def follow(
    study: StudyName,
    finding: Annotated[str, typer.Argument(help="Name of a finding, as `evolve show` has it.", show_default=False)],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.")] = None,
    storage: StorageOption = DEFAULT_STORAGE,
    as_json: JsonOption = False,
) -> None:
    """Write the study that follows a finding of `evolve show`: the same but for what the finding changes.

    Example: `evolve follow my_data-photos edge-lr0`
    """
    from detector.yaml_text import dump
    from evolve.study.following import following
    from evolve.study.hyp import write_whole

    with opened_storage(storage, reads_only=True) as opened:
        name = chosen_study(opened.engine, study)
        known = {found.key: found for found in found_in(opened.engine, name)}
        stored = opened.stored_study(name)
    chosen = _chosen(known, name, finding)
    assert stored is not None
    made = following(stored, finding, changes=chosen.changes, fixes=chosen.fixes)
    path = output or RUNS / name / f"{finding}.yaml"
    mapping = {key: value for key, value in made.to_mapping().items() if value is not None}
    write_whole(path, f"# {' '.join(chosen.text.split())}\n{dump(mapping)}")
    say(
        {"study": name, "file": str(path), "name": made.name} | chosen.as_mapping(name),
        as_json=as_json,
        text=lambda: f"finding {chosen.text}\nstudy   {path}",
    )
    say_next(["evolve", "run", "--study", str(path)], as_json=as_json, storage=storage)


def _chosen(known: dict[str, Finding], study: str, key: str) -> Finding:
    """The finding of that name.

    Raises:
        StudyError: There is none, or it changes nothing of the study.
    """
    if key not in known:
        raise StudyError(f"study {study}: {unknown_text('finding', key, list(known))}")
    if not known[key].changes:
        raise StudyError(f"study {study}: {key} changes nothing of the study; instead: {known[key].command}")
    return known[key]
