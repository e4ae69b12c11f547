"""Commands between hyp files, ours and other trainers'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from evolve.commands.output import chosen_study, opened_storage, say, say_next
from evolve.errors import StudyError

if TYPE_CHECKING:
    from evolve.exchange.dialects import Context
    from evolve.exchange.results import ImportedStudy, Origin


def export(
    study: Annotated[str | None, typer.Argument(help=STUDY_HELP, show_default=False)] = None,
    study_option: Annotated[str | None, typer.Option("--study", "-s", help="The same, as an option.")] = None,
    to: ToOption = "native",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.")] = None,
    model: ModelOption = None,
    epochs: EpochsOption = None,
    image_size: SizeOption = None,
    batch_size: BatchOption = None,
    images: ImagesOption = None,
    classes: ClassesOption = None,
    schedule: Annotated[str | None, typer.Option("--schedule", help="Export as if this had been found.")] = None,
    storage: StorageOption = DEFAULT_STORAGE,
    as_json: JsonOption = False,
) -> None:
    """Write the best hyperparameters of a study to a hyp file, ours or another trainer's.

    Model, size, batch, epochs, images and classes are those of the training there; the study's own by default.

    Example: `evolve export lr_sweep --to yolov3 --image-size 640 -o hyp.yaml`
    """
    from evolve.exchange.conversion import export_study
    from evolve.run.found import as_json as best_as_json

    if study is not None and study_option is not None:
        raise StudyError(f"--study: {study_option} is given beside {study}; name one study")
    word = study or study_option
    if word is None:
        raise StudyError("export: no study is named; such as: evolve export lr_sweep")
    chosen = _training(locals())
    with opened_storage(storage, reads_only=True) as opened:
        name = chosen_study(opened.engine, word)
        path = output or RUNS / name / _export_file(to)
        done = export_study(opened, name, to, path, chosen=chosen, schedule=schedule)
    best = done.best
    result = {"study": name, "hyp": str(path), "dialect": to, "best": best_as_json(best), "notes": list(done.notes)}
    line = f"hyp     {path}  (trial {best.number}, fitness {best.fitness:.4f})"
    say(result, as_json=as_json, text=lambda: "\n".join([line, *(f"note    {each}" for each in done.notes)]))
    say_next(f"evolve {'train --hyp' if to == 'native' else f'explain --to {to}'} {path}", as_json=as_json)


def import_file(
    file: Annotated[Path, typer.Argument(help="A hyp file or a result file of another trainer.", show_default=False)],
    read_as: FromOption = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Our hyp.yaml to write.")] = None,
    model: ModelOption = None,
    data: DataOption = None,
    epochs: EpochsOption = None,
    image_size: SizeOption = None,
    batch_size: BatchOption = None,
    nominal_batch_size: NominalOption = None,
    images: ImagesOption = None,
    classes: ClassesOption = None,
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
    from evolve.exchange.conversion import context_for
    from evolve.exchange.dialects.results import is_results
    from evolve.exchange.results import Origin

    chosen = _training(locals())
    if is_results(file.name):
        _refuse({"--from": read_as, "--output": output}, f"{file.name} is a result file, which becomes a study")
        counts = {"images": images, "classes": classes}
        known = {key: count for key, count in counts.items() if count is not None}
        context, assumed = context_for(chosen)
        origin = Origin(path=file, data=data or "not-given", counts=known)
        done = _import_results(origin, context, columns, name=name, storage=storage)
        _tell_results(done, assumed, as_json=as_json)
    else:
        only_results = {"--name": name, "--columns": columns, "--data": data}
        _refuse(only_results, f"{file.name} is a hyp file; result files end in csv, txt or ndjson")
        path = output or file.with_name(f"{file.stem}-native.yaml")
        _import_hyp(file, read_as, path, chosen, as_json=as_json)


def explain_file(
    hyp: Annotated[Path, typer.Argument(help="A hyp file of any of the trainers.", show_default=False)],
    to: ToOption = "yolov3",
    read_as: FromOption = None,
    data: DataOption = None,
    model: ModelOption = None,
    batch_size: BatchOption = None,
    nominal_batch_size: NominalOption = None,
    epochs: EpochsOption = None,
    image_size: SizeOption = None,
    images: ImagesOption = None,
    classes: ClassesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what a trainer will really use of a hyp file, and what will have no effect.

    Example: `evolve explain hyp.yaml --to yolov3 --images 800 --classes 1 --batch 16 --epochs 30`
    """
    from evolve.exchange.conversion import counted, explain_hyp, explanation_json, explanation_text

    chosen = _training(locals())
    if data is not None:
        chosen |= {key: value for key, value in counted(data, image_size or 64).items() if chosen[key] is None}
    dialect, found, notes = explain_hyp(hyp, read_as, to, chosen)
    say(explanation_json(found, notes), as_json=as_json, text=lambda: explanation_text(found, notes))
    way = f"train --hyp {hyp}" if dialect == "native" else f"import {hyp} --from {dialect} -o ours.yaml"
    say_next(f"evolve {way}", as_json=as_json)


def _export_file(dialect: str) -> str:
    return {"native": "hyp.yaml", "ultralytics": "args.yaml", "darknet": "net.cfg"}.get(dialect, f"hyp.{dialect}.yaml")


def _refuse(options: Mapping[str, object], reason: str) -> None:
    if unused := [option for option, each in options.items() if each is not None]:
        raise StudyError(f"{', '.join(unused)}: {reason}")


def _training(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a command that say something of a training, which are called as the fields of `Context`.

    Args:
        values: The command's `locals()`; None where an option was not given.
    """
    from evolve.exchange.conversion import OPTIONS

    return {name: values[name] for name in OPTIONS if name in values}


def _import_hyp(file: Path, read_as: str | None, path: Path, chosen: Mapping[str, Any], *, as_json: bool) -> None:
    from evolve.exchange.conversion import import_hyp

    dialect, notes = import_hyp(file, read_as, path, chosen)
    text = "\n".join([f"hyp     {path}  (from {dialect})", *(f"note    {note}" for note in notes)])
    say({"hyp": str(path), "dialect": dialect, "notes": list(notes)}, as_json=as_json, text=lambda: text)
    say_next(f"evolve train --hyp {path}", as_json=as_json)


def _tell_results(done: ImportedStudy, assumed: Sequence[str], *, as_json: bool) -> None:
    from evolve.exchange.results import as_json as imported_as_json
    from evolve.exchange.results import imported_text

    result = imported_as_json(done) | {"assumed": list(assumed)}
    say(result, as_json=as_json, text=lambda: imported_text(done, assumed))
    say_next(f"evolve show {done.study.name}", as_json=as_json)


def _import_results(
    origin: Origin, context: Context, columns: str | None, *, name: str | None, storage: str
) -> ImportedStudy:
    from evolve.exchange.conversion import read_text
    from evolve.exchange.dialects.results import read_results
    from evolve.exchange.results import import_results

    file = origin.path
    kept = [each.strip() for each in columns.split(",")] if columns else []

    results = read_results(read_text(file), origin=str(file), columns=kept)
    study_name = name or "import-" + "".join(each if each.isalnum() else "_" for each in file.stem)
    with opened_storage(storage) as opened:
        return import_results(opened, results, context, name=study_name, origin=origin)
