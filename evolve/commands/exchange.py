"""Commands between hyp files, ours and other trainers'."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolve.commands.options import (
    DEFAULT_STORAGE,
    RUNS,
    STUDY_HELP,
    BatchOption,
    ClassesOption,
    DataOption,
    EpochsOption,
    FromOption,
    ImagesOption,
    JsonOption,
    ModelOption,
    NameOption,
    NominalOption,
    SizeOption,
    StorageOption,
    ToOption,
)
from evolve.commands.output import chosen_study, opened_storage, say, say_next, standing_text
from evolve.errors import StudyError

if TYPE_CHECKING:
    from evolve.exchange.conversion import Explained
    from evolve.exchange.results import ImportedStudy

# The training that a hyp file is for: fields of `evolve.exchange.dialects.Context` with their options.
_TRAINING = {
    "model": ModelOption,
    "epochs": EpochsOption,
    "image_size": SizeOption,
    "batch_size": BatchOption,
    "nominal_batch_size": NominalOption,
    "images": ImagesOption,
    "classes": ClassesOption,
}
_FILES = {"native": "hyp.yaml", "ultralytics": "args.yaml", "darknet": "net.cfg"}


def _of_a_training(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the options of `_TRAINING` in place of its argument `training`, which maps them to values."""

    @wraps(command)
    def with_options(**given: Any) -> None:
        training = {name: given.pop(name) for name in _TRAINING}
        command(training, **given)

    own = signature(command, eval_str=True)
    kept = [parameter for parameter in own.parameters.values() if parameter.name != "training"]
    options = [
        Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=option)
        for name, option in _TRAINING.items()
    ]
    parameters = [*kept, *options]
    with_options.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_options


@_of_a_training
def export(
    training: Mapping[str, Any],
    study: Annotated[str | None, typer.Argument(help=STUDY_HELP, show_default=False)] = None,
    study_option: Annotated[str | None, typer.Option("--study", "-s", help="The same, as an option.")] = None,
    to: ToOption = "native",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.")] = None,
    trial: Annotated[
        int | None, typer.Option("--trial", min=0, help="Export this trial, whatever is best or proven.")
    ] = None,
    schedule: Annotated[str | None, typer.Option("--schedule", help="Export as if this had been found.")] = None,
    storage: StorageOption = DEFAULT_STORAGE,
    as_json: JsonOption = False,
) -> None:
    """Write the best hyperparameters of a study to a hyp file, ours or another trainer's.

    Model, size, batch, epochs, images and classes are those of the training there; the study's own by default. The best
    of a population comes with the schedule it lived through, below from_epoch; other trainers get its first values.
    Of an ablation it is the best arm that is shown to be better than the baseline, else the baseline.

    Example: `evolve export lr_sweep --to yolov3 --image-size 640 -o hyp.yaml`
    """
    from evolve.exchange.conversion import export_study

    if study is not None and study_option is not None:
        raise StudyError(f"--study: {study_option} is given beside {study}; name one study")
    word = study or study_option
    if word is None:
        raise StudyError("export: no study is named; such as: evolve export lr_sweep")
    with opened_storage(storage, reads_only=True) as opened:
        name = chosen_study(opened.engine, word)
        path = output or RUNS / name / _FILES.get(to, f"hyp.{to}.yaml")
        done = export_study(opened, name, to, path, chosen=training, schedule=schedule, trial=trial)
    lines = [f"hyp     {path}  ({done.taken.which}, fitness {done.taken.best.fitness:.4f})"]
    if (standing := done.taken.standing).text:
        lines.append(f"proof   {standing_text(standing, storage)}")
    say(done.as_mapping(), as_json=as_json, text=lambda: _with_notes(*lines, notes=done.notes))
    if to == "native":
        say_next(["evolve", "train", "--hyp", str(path)], as_json=as_json, storage=storage)
    else:
        say_next(["evolve", "explain", "--to", to, str(path)], as_json=as_json)


@_of_a_training
def import_file(
    training: Mapping[str, Any],
    file: Annotated[Path, typer.Argument(help="A hyp file or a result file of another trainer.", show_default=False)],
    read_as: FromOption = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Our hyp.yaml to write.")] = None,
    data: DataOption = None,
    columns: Annotated[
        str | None, typer.Option("--columns", help="Hyperparameters of an evolve.txt, in order.")
    ] = None,
    name: NameOption = None,
    storage: StorageOption = DEFAULT_STORAGE,
    as_json: JsonOption = False,
) -> None:
    """Read another trainer's hyp file, or make a study of its results: evolve.csv or .txt, tune_results, results.csv.

    Example: `evolve import hyp.yaml --classes 3 -o ours.yaml`, `evolve import evolve.csv --name theirs`
    """
    from evolve.exchange.conversion import import_hyp
    from evolve.exchange.result_files import is_results
    from evolve.exchange.results import import_result_file

    if is_results(file.name):
        _refuse({"--from": read_as, "--output": output}, f"{file.name} is a result file, which becomes a study")
        kept = [column.strip() for column in columns.split(",")] if columns else []
        with opened_storage(storage) as opened:
            done = import_result_file(opened, file, training, columns=kept, name=name, data=data)
        say(done.as_mapping(), as_json=as_json, text=lambda: _study_text(done))
        say_next(["evolve", "show", done.study.name], as_json=as_json, storage=storage)
    else:
        only_results = {"--name": name, "--columns": columns, "--data": data}
        _refuse(only_results, f"{file.name} is a hyp file; result files end in csv, txt or ndjson")
        path = output or file.with_name(f"{file.stem}-native.yaml")
        hyp = import_hyp(file, read_as, path, training)
        line = f"hyp     {path}  (from {hyp.dialect})"
        say(hyp.as_mapping(), as_json=as_json, text=lambda: _with_notes(line, notes=hyp.notes))
        say_next(["evolve", "train", "--hyp", str(path)], as_json=as_json)


@_of_a_training
def explain_file(
    training: Mapping[str, Any],
    hyp: Annotated[Path, typer.Argument(help="A hyp file of any of the trainers.", show_default=False)],
    to: ToOption = "yolov3",
    read_as: FromOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what a trainer will really use of a hyp file, and what will have no effect.

    Example: `evolve explain hyp.yaml --to yolov3 --images 800 --classes 1 --batch 16 --epochs 30`
    """
    from evolve.exchange.conversion import explain_hyp

    found = explain_hyp(hyp, read_as, to, training, data=data)
    say(found.as_mapping(), as_json=as_json, text=lambda: _explanation_text(found))
    taken = ["import", str(hyp), "--from", found.dialect, "-o", "ours.yaml"]
    say_next(["evolve", *(["train", "--hyp", str(hyp)] if found.dialect == "native" else taken)], as_json=as_json)


def _refuse(options: Mapping[str, object], reason: str) -> None:
    if unused := [option for option, value in options.items() if value is not None]:
        raise StudyError(f"{', '.join(unused)}: {reason}")


def _with_notes(*lines: str, notes: Sequence[str]) -> str:
    return "\n".join([*lines, *(f"note    {note}" for note in notes)])


def _study_text(done: ImportedStudy) -> str:
    counts = ", ".join(f"{count} {verdict}" for verdict, count in done.verdicts.items())
    lines = [f"study   {done.study.name}: {counts}  (from {done.kind})"]
    if done.best is not None:
        lines.append(f"best    trial {done.best[0]}: fitness {done.best[1]:.4f}")
    return _with_notes(*lines, notes=(*done.assumed, *done.notes))


def _explanation_text(done: Explained) -> str:
    """An explanation as aligned lines."""
    found = done.explanation
    rows = [
        ("", "in the file", "used", ""),
        *((quantity.name, quantity.given, quantity.used, quantity.why) for quantity in found.used),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3])).rstrip()
        for row in rows
    ]
    if found.idle:
        width = max(map(len, found.idle))
        lines += ["", "no effect", *(f"  {name:<{width}}  {why}" for name, why in found.idle.items())]
    if found.problems:
        lines += ["", "problems", *(f"  {problem}" for problem in found.problems)]
    return "\n".join([*lines, *(["", "notes", *(f"  {note}" for note in done.notes)] if done.notes else [])])
