"""Hyperparameters moved between trainers: export, import and explain, whose results are values that commands print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from detector import text_files
from detector.hyperparameters import Hyperparameters
from evolve.errors import StudyError
from evolve.exchange.dialects import (
    Context,
    DialectError,
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
from evolve.formatting import listed
from evolve.run.found import Taken, export_hyp, provenance
from evolve.storage.database import Storage
from evolve.study import Study
from evolve.study.hyp import write_whole

MAX_RESULTS = 2**25  # bytes of a result file, of which a search of ten thousand trainings has four million
# Options of the command line by the field of `Context` that they set.
OPTIONS = {field.name: f"--{field.name.replace('_', '-')}" for field in fields(Context)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A hyp file that was written with the best hyperparameters of a study.

    Attributes:
        study: Name of the study.
        hyp: Path of the file.
        dialect: Dialect of the file.
        taken: Trial whose hyperparameters the file has, and how far they can be trusted.
        notes: What could not be carried over, and why.
    """

    study: str
    hyp: Path
    dialect: str
    taken: Taken
    notes: tuple[str, ...] = ()

    def as_mapping(self) -> dict[str, Any]:
        """The export as plain values, for machines."""
        of_file = {"study": self.study, "hyp": str(self.hyp), "dialect": self.dialect}
        return {**of_file, **self.taken.as_mapping(), "notes": list(self.notes)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedHyp:
    """Our hyp.yaml that was written from a file of another trainer.

    Attributes:
        hyp: Path of our file.
        dialect: Dialect of the other trainer's file.
        notes: What was assumed, and what could not be carried over.
    """

    hyp: Path
    dialect: str
    notes: tuple[str, ...]

    def as_mapping(self) -> dict[str, Any]:
        """The import as plain values, for machines."""
        return {"hyp": str(self.hyp), "dialect": self.dialect, "notes": list(self.notes)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What a trainer makes of a hyp file.

    Attributes:
        dialect: Dialect of the file, which was converted to the trainer's where it is another one.
        explanation: What the trainer makes of it.
        notes: What was assumed, and what the conversion could not carry over.
    """

    dialect: str
    explanation: Explanation
    notes: tuple[str, ...]

    def as_mapping(self) -> dict[str, Any]:
        """The explanation as plain values, for machines."""
        found = self.explanation
        return {
            "dialect": found.dialect,
            "used": [asdict(quantity) for quantity in found.used],
            "no_effect": dict(found.idle),
            "problems": list(found.problems),
            "notes": list(self.notes),
        }


def export_study(
    storage: Storage,
    study_name: str,
    dialect: str,
    path: Path,
    *,
    chosen: Mapping[str, Any],
    schedule: str | None,
    trial: int | None = None,
) -> Exported:
    """Writes the best hyperparameters of a study for another trainer.

    Args:
        storage: Database that has the study.
        study_name: Name of the study.
        dialect: Dialect of the file.
        path: Path of the file to write.
        chosen: Fields of `Context`, of the training there, that differ from the study's; None where they do not.
        schedule: Schedule to export instead of the one that was found; None for the latter.
        trial: Number of a trial to export instead of the best; None for the best.

    Raises:
        StudyError: The dialect cannot say it, or images and classes are not known.
        EvolveError: There is no such study, or no trial of it has trained through.
    """
    named(dialect)
    given = {name: value for name, value in chosen.items() if value is not None}
    if dialect == native.NAME:
        if unused := [OPTIONS[name] for name in given] + ["--schedule"] * (schedule is not None):
            raise StudyError(f"{', '.join(unused)}: have no use with --to native, which says what the study trained")
        taken = export_hyp(storage, study_name, path, trial=trial).taken
        return Exported(study=study_name, hyp=path, dialect=dialect, taken=taken)
    found = provenance(storage, study_name, trial=trial)
    study, params, head = found.taken.study, found.taken.best.params, list(found.head)
    values = study.hyperparameters(found.lived.first)
    if schedule is not None and schedule != values.schedule:
        head.append(f"schedule {schedule}: asked for with --schedule; found with {values.schedule}.")
        values = _with_schedule(values, schedule)
    export = to_dialect(dialect, values, _context_of(storage, study.of_trial(params), given))
    write_whole(path, export.text(tuple(head)))
    notes = export.notes
    if changes := found.lived.changes:
        epochs = listed([str(epoch) for epoch in changes])
        notes = (
            *notes,
            f"Values that changed from epochs {epochs} on are those it began with: no other file can say it.",
        )
    return Exported(study=study_name, hyp=path, dialect=dialect, taken=found.taken, notes=notes)


def _with_schedule(values: Hyperparameters, schedule: str) -> Hyperparameters:
    try:
        return replace(values, schedule=schedule)
    except ValueError as error:
        raise StudyError(f"--schedule: {str(error).removeprefix('schedule: ')}") from None


def _context_of(storage: Storage, study: Study, given: Mapping[str, Any]) -> Context:
    known: dict[str, Any] = {name: getattr(study, name) for name in OPTIONS if hasattr(study, name)}
    known |= {**_counts(storage.data_summary(storage.study_id(study.name))), **given}
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


def _checked(known: Mapping[str, Any]) -> Context:
    try:
        return Context(**known)
    except ValueError as error:
        name, _, text = str(error).partition(": ")
        raise StudyError(f"{OPTIONS.get(name, name)}: {text}") from None


def context_for(chosen: Mapping[str, Any], own: Mapping[str, Any] | None = None) -> tuple[Context, tuple[str, ...]]:
    """A training from the options of the command line and what a file says of it, and a note on what was assumed.

    Args:
        chosen: Fields of `Context`, None where nothing was said.
        own: Fields of `Context` that the file gives itself; an option stands before them.

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


def _counted(chosen: Mapping[str, Any], data: str) -> dict[str, Any]:
    """Fields of a training, with images and classes counted in a data set where they were not given."""
    from evolve.run.detection import check_data

    found = check_data(data, image_size=chosen.get("image_size") or 64, skip_unreadable=False)
    return {**chosen, **{name: count for name, count in _counts(found["summary"]).items() if chosen.get(name) is None}}


def read_text(path: Path) -> str:
    """Content of a text file.

    Raises:
        DialectError: It cannot be read.
    """
    try:
        return text_files.read_text(path, max_bytes=MAX_RESULTS)
    except text_files.TextFileError as error:
        raise DialectError(f"{path}: {error}") from None


def import_hyp(path: Path, dialect: str | None, output: Path, chosen: Mapping[str, Any]) -> ImportedHyp:
    """Writes another trainer's hyp file as our hyp.yaml.

    Args:
        path: The other trainer's file.
        dialect: Dialect of the file, None to tell it by its keys.
        output: Path of our file.
        chosen: Fields of `Context`, of the training that it was for; None where the file's own or usual values stand.

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
    return ImportedHyp(hyp=output, dialect=read_as, notes=(*assumed, *imported.notes))


def explain_hyp(
    path: Path, dialect: str | None, trainer: str, chosen: Mapping[str, Any], *, data: str | None = None
) -> Explained:
    """What a trainer makes of a hyp file, written for it or converted to its dialect first.

    Args:
        path: The hyp file.
        dialect: Dialect of the file, None to tell it by its keys.
        trainer: Dialect of the trainer.
        chosen: Fields of `Context`, of the training there; None where the file's own or usual values stand.
        data: Data set whose images and classes are counted where they are not given; None for none.

    Raises:
        EvolveError: The file does not fit, its dialect cannot be told, the trainer's cannot say it, or the data set
            cannot be trained on.
    """
    named(trainer)
    chosen = chosen if data is None else _counted(chosen, data)
    text = read_text(path)
    read_as = dialect or _detected(text, trainer, origin=str(path))
    context, notes = _context_of_file(read_as, text, path, chosen)
    if read_as != trainer:
        imported = from_dialect(read_as, text, context, origin=str(path))
        export = to_dialect(trainer, imported.values, context)
        text = export.text()
        notes = (*notes, f"{path.name}: is of {read_as}, converted first.", *imported.notes, *export.notes)
    found = explain(trainer, text, context, origin=str(path))
    return Explained(dialect=read_as, explanation=found, notes=notes)


def _detected(text: str, trainer: str, *, origin: str) -> str:
    """The file's dialect; that of the trainer where the keys are of all."""
    try:
        return detect(text, origin=origin)
    except StudyError:
        if trainer != "darknet" and read_yaml(text, origin):
            return trainer
        raise
