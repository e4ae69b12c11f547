"""The commands that move hyperparameters between trainers, without their printing: export, import and explain."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from sqlalchemy import select

from detector import text_files
from evolve.errors import EvolveError, StudyError
from evolve.exchange.dialects import (
    Context,
    Explanation,
    detect,
    explain,
    from_dialect,
    named,
    native,
    to_dialect,
    training_in,
)
from evolve.exchange.dialects.source import read_yaml
from evolve.run.found import Best, export_hyp, provenance
from evolve.storage import schema
from evolve.storage.database import Storage
from evolve.study import Study
from evolve.study.hyp import write_whole

MAX_RESULTS = 2**25  # bytes of a result file, of which a search of ten thousand trainings has four million
# Options of the command line by what they set.
OPTIONS = {each.name: f"--{each.name.replace('_', '-')}" for each in fields(Context)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A file that was written.

    Attributes:
        path: Of the file.
        best: Trial that it is of.
        notes: What could not be carried over, and why.
    """

    path: Path
    best: Best
    notes: tuple[str, ...]


def export_study(
    storage: Storage, study_name: str, dialect: str, path: Path, *, chosen: Mapping[str, Any], schedule: str | None
) -> Exported:
    """Writes the best hyperparameters of a study for another trainer.

    Args:
        storage: Where the study is.
        study_name: Of the study.
        dialect: Of the file.
        path: Where to.
        chosen: Fields of the training there that differ from the study's, None where they do not.
        schedule: Schedule to export instead of the one found, None for that.

    Raises:
        StudyError: The dialect cannot say it, or images and classes are not known.
        EvolveError: There is no such study, or no trial of it has trained through.
    """
    named(dialect)
    given = {name: value for name, value in chosen.items() if value is not None}
    if dialect == native.NAME:
        if unused := [OPTIONS[name] for name in given] + ["--schedule"] * (schedule is not None):
            raise StudyError(f"{', '.join(unused)}: have no use with --to native, which says what the study trained")
        return Exported(path=path, best=export_hyp(storage, study_name, path), notes=())
    study, best, head = provenance(storage, study_name)
    values = study.hyperparameters(best.params)
    if schedule is not None and schedule != values.schedule:
        head.append(f"schedule {schedule}: asked for with --schedule; found with {values.schedule}.")
        values = _with_schedule(values, schedule)
    export = to_dialect(dialect, values, _context_of(storage, study, given))
    write_whole(path, export.text(tuple(head)))
    return Exported(path=path, best=best, notes=export.notes)


def _with_schedule(values: Any, schedule: str) -> Any:
    try:
        return replace(values, schedule=schedule)
    except ValueError as error:
        raise StudyError(f"--schedule: {str(error).removeprefix('schedule: ')}") from None


def _context_of(storage: Storage, study: Study, given: Mapping[str, Any]) -> Context:
    table = schema.study
    with storage.engine.connect() as connection:
        query = select(table.c.data_summary).where(table.c.study_id == storage.study_id(study.name))
        summary = json.loads(connection.scalar(query) or "{}")
    known: dict[str, Any] = {
        name: getattr(study, name) for name in ("model", "image_size", "batch_size", "nominal_batch_size", "epochs")
    }
    known |= {**_counts(summary), **given}
    if missing := [OPTIONS[name] for name in ("images", "classes") if name not in known]:
        raise StudyError(f"study {study.name}: its data was not looked at; say how many: {' and '.join(missing)}")
    return _checked(known)


def _counts(summary: Mapping[str, Any]) -> dict[str, int]:
    """Training images and classes, as far as a data summary has them."""
    found: dict[str, int] = dict(summary.get("imported", {}))
    if "classes" in summary:
        found["classes"] = len(summary["classes"])
    if "train" in summary.get("splits", {}):
        found["images"] = summary["splits"]["train"]["images"]
    return found


def _checked(fields_of_context: Mapping[str, Any]) -> Context:
    try:
        return Context(**fields_of_context)
    except ValueError as error:
        name, _, text = str(error).partition(": ")
        raise StudyError(f"{OPTIONS.get(name, name)}: {text}") from None


def context_for(chosen: Mapping[str, Any], own: Mapping[str, Any] | None = None) -> tuple[Context, tuple[str, ...]]:
    """A training from the options of the command line and what a file says of it, and a note on what was assumed.

    Args:
        chosen: Fields of `Context`, None where nothing was said.
        own: Those that the file gives itself; an option stands before them.

    Raises:
        StudyError: A value is not allowed.
    """
    given = dict(own or {}) | {name: value for name, value in chosen.items() if value is not None}
    context = _checked(given)
    assumed = [f"{OPTIONS[name]} {getattr(context, name)}" for name in OPTIONS if name not in given]
    return context, (f"assumed: {', '.join(assumed)}.",) if assumed else ()


def _context_of_file(dialect: str, text: str, path: Path, chosen: Mapping[str, Any]) -> tuple[Context, tuple[str, ...]]:
    """The training that a hyp file is for, and notes on what was assumed and where file and options differ."""
    own = training_in(dialect, text, origin=str(path))
    try:
        Context(**own)
    except ValueError as error:  # said of the file, since nobody gave an option
        raise StudyError(f"{path}: {error}") from None
    context, notes = context_for(chosen, own)
    # Ours mean the same whatever the training; theirs are read with what the file says.
    differing = [name for name in own if dialect != native.NAME and getattr(context, name) != own[name]]
    said = (
        f"{OPTIONS[name]} {getattr(context, name)}: {path.name} says {own[name]}, and is read with that."
        for name in differing
    )
    return context, (*notes, *said)


def counted(data: str, image_size: int) -> dict[str, int]:
    """Training images and classes of a data set, after its check.

    Raises:
        EvolveError: It cannot be trained on.
    """
    from evolve.run.detection import check_data

    return _counts(check_data(data, image_size=image_size, skip_unreadable=False)["summary"])


def read_text(path: Path) -> str:
    """Content of a text file.

    Raises:
        EvolveError: It cannot be read.
    """
    try:
        return text_files.read_text(path, max_bytes=MAX_RESULTS)
    except text_files.TextFileError as error:
        raise EvolveError(f"{path}: {error}") from None


def import_hyp(path: Path, dialect: str | None, output: Path, chosen: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Writes another trainer's hyp file as our hyp.yaml.

    Args:
        path: The file.
        dialect: Of the file, None to tell it by its keys.
        output: Where to.
        chosen: Fields of the training that it was for, None where the file's own or usual values stand.

    Returns:
        The file's dialect, and what was assumed and what could not be carried over.

    Raises:
        EvolveError: The file does not fit, or its dialect cannot be told.
    """
    text = read_text(path)
    read_as = dialect or detect(text, origin=str(path))
    context, assumed = _context_of_file(read_as, text, path, chosen)
    imported = from_dialect(read_as, text, context, origin=str(path))
    export = to_dialect(native.NAME, imported.values, context)
    head = (f"Imported from {path.name}, a file of {read_as}.", *(f"- {note}" for note in imported.notes))
    write_whole(output, export.text(head))
    return read_as, (*assumed, *imported.notes)


def explain_hyp(
    path: Path, dialect: str | None, trainer: str, chosen: Mapping[str, Any]
) -> tuple[str, Explanation, tuple[str, ...]]:
    """What a trainer makes of a hyp file, written for it or converted to its dialect first.

    Args:
        path: The file.
        dialect: Of the file, None to tell it by its keys.
        trainer: Dialect of the trainer.
        chosen: Fields of the training there, None where the file's own or usual values stand.

    Returns:
        The file's dialect, the explanation, and notes on what was assumed and on the conversion.

    Raises:
        EvolveError: The file does not fit, its dialect cannot be told, or the trainer's cannot say it.
    """
    named(trainer)
    text = read_text(path)
    read_as = dialect or _detected(text, trainer, origin=str(path))
    context, notes = _context_of_file(read_as, text, path, chosen)
    if read_as != trainer:
        imported = from_dialect(read_as, text, context, origin=str(path))
        export = to_dialect(trainer, imported.values, context)
        text = export.text()
        notes = (*notes, f"{path.name}: is of {read_as}, converted first.", *imported.notes, *export.notes)
    return read_as, explain(trainer, text, context, origin=str(path)), notes


def _detected(text: str, trainer: str, *, origin: str) -> str:
    """The file's dialect; that of the trainer where the keys are of all."""
    try:
        return detect(text, origin=origin)
    except StudyError:
        if trainer != "darknet" and read_yaml(text, origin):
            return trainer
        raise


def explanation_text(found: Explanation, notes: tuple[str, ...]) -> str:
    """An explanation as aligned lines."""
    rows = [("", "in the file", "used", ""), *((u.name, u.given, u.used, u.why) for u in found.used)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3])).rstrip()
        for row in rows
    ]
    if found.idle:
        width = max(map(len, found.idle))
        lines += ["", "no effect", *(f"  {name:<{width}}  {why}" for name, why in found.idle.items())]
    if found.problems:
        lines += ["", "problems", *(f"  {each}" for each in found.problems)]
    return "\n".join([*lines, *(["", "notes", *(f"  {each}" for each in notes)] if notes else [])])


def explanation_json(found: Explanation, notes: tuple[str, ...]) -> dict[str, Any]:
    """An explanation for machines."""
    return {
        "dialect": found.dialect,
        "used": [asdict(each) for each in found.used],
        "no_effect": dict(found.idle),
        "problems": list(found.problems),
        "notes": list(notes),
    }
