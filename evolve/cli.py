"""The command line: the only place where things are wired together. Heavy imports wait until they are needed."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolve.errors import EvolveError, StudyError

if TYPE_CHECKING:
    from evolve.dialects import Context
    from evolve.importing import ImportedStudy, Origin
    from evolve.runner import StudyStopped
    from evolve.session import Sitting
    from evolve.storage import Storage
    from evolve.study import Study

DEFAULT_STORAGE = "sqlite:///runs/evolve.db"
RUNS = Path("runs")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Tune the hyperparameters of a YOLOv3-style detector: run a study, look at it, train with what it found.",
)

StudyName = Annotated[str, typer.Argument(help="Name of a study that has been run.", show_default=False)]
StudyOption = Annotated[
    str,
    typer.Option("--study", "-s", help="A study's name (see `evolve studies`) or its YAML file.", show_default=False),
]
StorageOption = Annotated[str, typer.Option("--storage", envvar="EVOLVE_STORAGE", help="Any SQLAlchemy URL.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
DataOption = Annotated[
    str | None,
    typer.Option("--data", help="digits-1, digits-3, digits-10, a YOLO data.yaml, or a Pascal VOC folder."),
]
ModelOption = Annotated[str | None, typer.Option("--model", help="yolov3, yolov3-spp, yolov3-tiny, or -compact ones.")]
EpochsOption = Annotated[int | None, typer.Option("--epochs", help="Epochs of every training.")]
SizeOption = Annotated[int | None, typer.Option("--image-size", help="Side of the training images, a multiple of 32.")]
BatchOption = Annotated[int | None, typer.Option("--batch-size", "--batch", help="Images in a batch.")]
SeedsOption = Annotated[str | None, typer.Option("--seeds", help="Training seeds, such as 0,1,2.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
WorkersOption = Annotated[int | None, typer.Option("--workers", min=1, help="Processes that train at once.")]
DIALECT_NAMES = "native, yolov3, yolov3-early, ultralytics or darknet"
ToOption = Annotated[str, typer.Option("--to", help=f"Trainer: {DIALECT_NAMES}.")]
FromOption = Annotated[
    str | None, typer.Option("--from", help=f"Trainer that the file is of: {DIALECT_NAMES}; else told by its keys.")
]
ImagesOption = Annotated[int | None, typer.Option("--images", help="Number of training images.")]
ClassesOption = Annotated[int | None, typer.Option("--classes", help="Number of classes.")]
NominalOption = Annotated[
    int | None, typer.Option("--nominal-batch-size", help="Images between two updates, where one can choose.")
]
NameOption = Annotated[str | None, typer.Option("--name", help="Name to store it under.")]


@app.command()
def run(
    study: StudyOption,
    data: DataOption = None,
    model: ModelOption = None,
    epochs: EpochsOption = None,
    trials: Annotated[int | None, typer.Option("--trials", help="Trials in all, earlier ones included.")] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", help="Start no trial after this long.")] = None,
    image_size: SizeOption = None,
    batch_size: BatchOption = None,
    seeds: SeedsOption = None,
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    storage: StorageOption = DEFAULT_STORAGE,
    name: NameOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the stored study as it was defined; only the budget may grow.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and what it would cost.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a study up to its budget, then write its report and hyp.yaml. Run again to go on.

    Example: `evolve run --study lr_sweep`
    """
    from evolve.naming import derived_name

    chosen: dict[str, Any] = {
        "data": data,
        "model": model,
        "epochs": epochs,
        "image_size": image_size,
        "batch_size": batch_size,
        "seeds": None if seeds is None else _numbers("--seeds", seeds),
    }
    budget = {"trials": trials, "seconds": seconds}
    if resume:
        definition = _stored(storage, name or study, chosen, budget)
    else:
        definition = _load(study, chosen | budget)
        definition = _load(study, chosen | budget | {"name": name or derived_name(definition, chosen)})
    _warn(definition, is_size_given=image_size is not None or resume)
    sitting = _sitting(definition, storage, device, workers)
    if dry_run:
        _print_plan(sitting, as_json=as_json)
        return
    _sit(sitting, as_json=as_json)


@app.command()
def train(
    hyp: Annotated[Path, typer.Option("--hyp", help="hyp.yaml of `evolve export`, or your own.", show_default=False)],
    data: DataOption = None,
    model: ModelOption = None,
    epochs: EpochsOption = None,
    image_size: SizeOption = None,
    batch_size: BatchOption = None,
    seeds: SeedsOption = None,
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    storage: StorageOption = DEFAULT_STORAGE,
    name: NameOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train once with the hyperparameters of a file; stopped, the same command goes on from the last checkpoint.

    Example: `evolve train --hyp runs/lr_sweep/hyp.yaml --epochs 30`
    """
    from evolve.hyp import read_hyp
    from evolve.naming import training_study

    chosen: dict[str, Any] = {
        "data": data,
        "model": model,
        "epochs": epochs,
        "image_size": image_size,
        "batch_size": batch_size,
        "seeds": None if seeds is None else _numbers("--seeds", seeds),
    }
    with _opened(storage) as opened:
        definition = training_study(read_hyp(hyp), hyp, chosen, name=name, stored=opened.stored_study)
    _warn(definition, is_size_given=True)
    _sit(_sitting(definition, storage, device, workers), as_json=as_json)


@app.command()
def studies(
    name: Annotated[str | None, typer.Argument(help="Describe this study.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """List the studies that can be run, or describe one.

    Example: `evolve studies lr_sweep`
    """
    from evolve.plan_text import describe
    from evolve.study import available_studies, load_study

    if name is not None:
        definition = load_study(name)
        _print(definition.to_mapping(), as_json=as_json, text=lambda: describe(definition))
        return
    found = {each: load_study(str(path)) for each, path in available_studies()}
    summaries = {each: _first_sentence(study.description) for each, study in found.items()}
    width = max(map(len, summaries), default=0)
    _print(
        {each: study.to_mapping() for each, study in found.items()},
        as_json=as_json,
        text=lambda: "\n".join(f"{each:<{width}}  {text}" for each, text in summaries.items()),
    )
    _next("evolve run --study lr_sweep --dry-run", as_json=as_json)


@app.command()
def show(
    study: StudyName,
    storage: StorageOption = DEFAULT_STORAGE,
    as_json: JsonOption = False,
    limit: Annotated[int, typer.Option("--limit", help="Rows of the table; the best come first.")] = 50,
) -> None:
    """Show a study's trials: best first, each with its verdict and why.

    Example: `evolve show lr_sweep`
    """
    from evolve.trial_table import trial_rows, trial_table

    with _opened(storage, must_exist=True) as opened:
        rows = trial_rows(opened, study)
    _print(rows, as_json=as_json, text=lambda: trial_table(study, rows, limit=limit))
    _next(f"evolve report {study}", as_json=as_json)


@app.command()
def report(
    study: StudyName,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.")] = None,
    storage: StorageOption = DEFAULT_STORAGE,
    as_json: JsonOption = False,
) -> None:
    """Write a study's report: one HTML file that needs no network.

    Example: `evolve report lr_sweep`
    """
    with _opened(storage, must_exist=True) as opened:
        path = _write_report(opened, study, output or RUNS / study / "report.html")
    _print({"report": str(path)}, as_json=as_json, text=lambda: f"report  {path}")
    _next(f"evolve export {study}", as_json=as_json)


@app.command()
def dashboard(
    storage: StorageOption = DEFAULT_STORAGE,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; others than this machine's need a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 8050,
    token: Annotated[
        str, typer.Option("--token", envvar="EVOLVE_TOKEN", help="What readers must know; 12 characters or more.")
    ] = "",
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the pages in a browser.")] = True,
) -> None:
    """Show all studies in a browser, live. It only reads, so it may run beside a study; Ctrl-C ends it.

    Example: `evolve dashboard --no-browser`
    """
    from dashboards.server import serve

    serve(storage, host=host, port=port, token=token, opens_browser=browser)


@app.command()
def note(
    study: StudyName,
    trial: Annotated[int, typer.Argument(help="Number of the trial.", show_default=False)],
    text: Annotated[str, typer.Argument(help="What to remember.")] = "",
    tag: Annotated[str, typer.Option("--tag", help="A word by which the trial is found again.")] = "",
    storage: StorageOption = DEFAULT_STORAGE,
    as_json: JsonOption = False,
) -> None:
    """Leave a note on a trial; the dashboard shows it.

    Example: `evolve note lr_sweep 7 "loss spikes at the end of warm-up" --tag odd`
    """
    from evolve.notes import add_note

    with _opened(storage, must_exist=True) as opened:
        add_note(opened.engine, study, trial, text, tag=tag)
    result = {"study": study, "trial": trial, "text": text, "tag": tag}
    _print(result, as_json=as_json, text=lambda: f"noted   study {study}, trial {trial}")
    _next("evolve dashboard", as_json=as_json)


@app.command()
def export(
    study: Annotated[str | None, typer.Argument(help="Name of a study that has been run.", show_default=False)] = None,
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
    from evolve.interchange import export_study
    from evolve.session import as_json as best_as_json

    if study is not None and study_option is not None:
        raise StudyError(f"--study: {study_option} is given beside {study}; name one study")
    name = study or study_option
    if name is None:
        raise StudyError("export: no study is named; such as: evolve export lr_sweep")
    path = output or RUNS / name / _export_file(to)
    chosen = {
        "model": model,
        "epochs": epochs,
        "image_size": image_size,
        "batch_size": batch_size,
        "images": images,
        "classes": classes,
    }
    with _opened(storage, must_exist=True) as opened:
        done = export_study(opened, name, to, path, chosen=chosen, schedule=schedule)
    best = done.best
    result = {"hyp": str(path), "dialect": to, "best": best_as_json(best), "notes": list(done.notes)}
    line = f"hyp     {path}  (trial {best.number}, fitness {best.fitness:.4f})"
    _print(result, as_json=as_json, text=lambda: "\n".join([line, *(f"note    {each}" for each in done.notes)]))
    _next(f"evolve {'train --hyp' if to == 'native' else f'explain --to {to}'} {path}", as_json=as_json)


@app.command("import")
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
    from evolve.dialects.results import is_results
    from evolve.importing import Origin, imported_text
    from evolve.importing import as_json as imported_as_json
    from evolve.interchange import context_for, import_hyp

    context, assumed = context_for(
        {
            "model": model,
            "epochs": epochs,
            "image_size": image_size,
            "batch_size": batch_size,
            "nominal_batch_size": nominal_batch_size,
            "images": images,
            "classes": classes,
        }
    )
    if is_results(file.name):
        if unused := [option for option, each in (("--from", read_as), ("--output", output)) if each is not None]:
            raise StudyError(f"{', '.join(unused)}: {file.name} is a result file, which becomes a study")
        counts = {"images": images, "classes": classes}
        known = {key: count for key, count in counts.items() if count is not None}
        origin = Origin(path=file, data=data or "not-given", counts=known)
        done = _import_results(origin, context, columns, name=name, storage=storage)
        result = imported_as_json(done) | {"assumed": list(assumed)}
        _print(result, as_json=as_json, text=lambda: imported_text(done, assumed))
        _next(f"evolve show {done.study.name}", as_json=as_json)
        return
    if unused := [option for option, each in (("--name", name), ("--columns", columns), ("--data", data)) if each]:
        raise StudyError(f"{', '.join(unused)}: {file.name} is a hyp file; result files end in csv, txt or ndjson")
    path = output or file.with_name(f"{file.stem}-native.yaml")
    dialect, notes = import_hyp(file, read_as, path, context)
    notes = (*assumed, *notes)
    text = "\n".join([f"hyp     {path}  (from {dialect})", *(f"note    {each}" for each in notes)])
    _print({"hyp": str(path), "dialect": dialect, "notes": list(notes)}, as_json=as_json, text=lambda: text)
    _next(f"evolve train --hyp {path}", as_json=as_json)


@app.command("explain")
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
    from evolve.interchange import context_for, counted, explain_hyp, explanation_json, explanation_text

    chosen = {
        "model": model,
        "epochs": epochs,
        "image_size": image_size,
        "batch_size": batch_size,
        "nominal_batch_size": nominal_batch_size,
        "images": images,
        "classes": classes,
    }
    if data is not None:
        chosen |= {key: value for key, value in counted(data, image_size or 64).items() if chosen[key] is None}
    context, assumed = context_for(chosen)
    dialect, found, notes = explain_hyp(hyp, read_as, to, context)
    notes = (*assumed, *notes)
    _print(explanation_json(found, notes), as_json=as_json, text=lambda: explanation_text(found, notes))
    way = f"train --hyp {hyp}" if dialect == "native" else f"import {hyp} --from {dialect} -o ours.yaml"
    _next(f"evolve {way}", as_json=as_json)


def main() -> None:
    """Runs the command line: exit status 0 done, 1 failed, 2 misused."""
    try:
        app(standalone_mode=True)
    except EvolveError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2 if isinstance(error, StudyError) else 1)
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        sys.exit(1)
    except Exception as error:
        # Full disks and databases that went away are for people to put right; anything else is our mistake.
        if not isinstance(error, OSError) and not type(error).__module__.startswith("sqlalchemy."):
            raise
        typer.echo(f"error: {str(error).splitlines()[0]}; nothing finished is lost, run again", err=True)
        sys.exit(1)


# Pieces of the commands


def _export_file(dialect: str) -> str:
    return {"native": "hyp.yaml", "ultralytics": "args.yaml", "darknet": "net.cfg"}.get(dialect, f"hyp.{dialect}.yaml")


def _import_results(
    origin: Origin, context: Context, columns: str | None, *, name: str | None, storage: str
) -> ImportedStudy:
    from evolve.dialects.results import read_results
    from evolve.importing import import_results
    from evolve.interchange import read_text

    file = origin.path
    kept = [each.strip() for each in columns.split(",")] if columns else []

    results = read_results(read_text(file), origin=str(file), columns=kept)
    study_name = name or "import-" + "".join(each if each.isalnum() else "_" for each in file.stem)
    with _opened(storage) as opened:
        return import_results(opened, results, context, name=study_name, origin=origin)


def _load(study: str, overrides: dict[str, Any]) -> Study:
    from evolve.study import load_study

    return load_study(study, overrides)


def _stored(storage: str, name: str, chosen: dict[str, Any], budget: dict[str, Any]) -> Study:
    """The study as stored, with a larger budget if one is given."""
    if given := [f"--{key.replace('_', '-')}" for key, value in chosen.items() if value is not None]:
        raise StudyError(f"--resume: the stored study says {', '.join(given)}; allowed: --trials, --seconds")
    with _opened(storage, must_exist=True) as opened:
        definition = opened.stored_study(name)
        if definition is None:
            raise StudyError(f"--resume: study {name} is not in {storage}; stored: {opened.study_names()}")
    changes = {key: value for key, value in budget.items() if value is not None}
    mapping = definition.to_mapping()
    return type(definition).from_json(json.dumps(mapping | {"budget": mapping["budget"] | changes}))


def _numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(each) for each in text.split(","))
    except ValueError:
        raise StudyError(f"{option}: {text!r} is not a list of whole numbers such as 0,1,2") from None


def _warn(study: Study, *, is_size_given: bool) -> None:
    for warning in study.warnings():
        typer.echo(f"note: {warning}", err=True)
    if not is_size_given and not study.data.startswith("digits"):
        typer.echo(
            f"note: image_size: {study.image_size} px comes from the study; photographs may need more: --image-size",
            err=True,
        )


def _sitting(study: Study, storage: str, device: str, workers: int | None) -> Sitting:
    from evolve.session import Sitting

    return Sitting(study=study, storage_url=storage, device=device, workers=workers, runs=RUNS)


def _print_plan(sitting: Sitting, *, as_json: bool) -> None:
    from evolve.detection import choose_device, measure_cost
    from evolve.plan_text import describe, estimate

    cost = measure_cost(sitting.study, choose_device(sitting.device))
    planned = estimate(sitting, cost)
    _print(
        {"study": sitting.study.to_mapping(), "estimate": planned.as_mapping()},
        as_json=as_json,
        text=lambda: f"{describe(sitting.study)}\n\n{planned.text()}",
    )
    _next(f"evolve run --study {sitting.study.name}", as_json=as_json)


def _sit(sitting: Sitting, *, as_json: bool) -> None:
    """Runs a study to its end, shows it, and writes what it found."""
    from rich.console import Console

    from evolve.progress import Progress
    from evolve.runner import StudyStopped
    from evolve.session import run_sitting

    console = Console(stderr=True)
    stopped: StudyStopped | None = None
    with _stop_signals() as should_stop, Progress(sitting.study, console) as progress:
        for happening in run_sitting(sitting, should_stop=should_stop):
            progress.update(happening)
            if isinstance(happening, StudyStopped):
                stopped = happening
    assert stopped is not None
    _finish(sitting, stopped, as_json=as_json)


def _finish(sitting: Sitting, stopped: StudyStopped, *, as_json: bool) -> None:
    from evolve.plan_text import result_text
    from evolve.session import as_json as best_as_json
    from evolve.session import best_of, export_hyp

    name = sitting.study.name
    with _opened(sitting.storage_url, must_exist=True) as opened:
        best = best_of(opened, name)
        files = {"report": str(_write_report(opened, name, sitting.folder / "report.html"))}
        if best is not None:
            export_hyp(opened, name, sitting.folder / "hyp.yaml")
            files["hyp"] = str(sitting.folder / "hyp.yaml")
        verdicts = list(opened.verdicts(opened.study_id(name)).values())
    result = {
        "study": name,
        "is_complete": stopped.is_complete,
        "reason": stopped.reason,
        "verdicts": {each: verdicts.count(each) for each in sorted(set(verdicts))},
        "best": best_as_json(best),
        "files": files,
    }
    _print(result, as_json=as_json, text=lambda: result_text(result))
    if stopped.is_failed or best is None:
        _next(f"evolve show {name}", as_json=as_json)
        raise typer.Exit(1)
    if not stopped.is_complete:
        _next(f"evolve run --study {name} --resume", as_json=as_json)
        raise typer.Exit(1 if stopped.reason == "stopped" else 0)
    _next(f"evolve train --hyp {files['hyp']}", as_json=as_json)


def _write_report(storage: Storage, study: str, path: Path) -> Path:
    from dashboards.report import write_report

    storage.study_id(study)  # says which studies there are if this is none
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_report(storage.engine, study, path)


@contextmanager
def _opened(url: str, *, must_exist: bool = False) -> Iterator[Storage]:
    from evolve.storage import Storage, sqlite_file

    file = sqlite_file(url)
    if must_exist and file is not None and not file.exists():
        raise EvolveError(f"storage {url}: there is no such file; run a study first, or name another with --storage")
    storage = Storage(url)
    try:
        yield storage
    finally:
        storage.close()


@contextmanager
def _stop_signals() -> Iterator[Any]:
    """A function that tells whether Ctrl-C or a termination has been asked for; the second Ctrl-C is not waited for."""
    asked: list[int] = []

    def note(number: int, _frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        typer.echo("stopping; unfinished trials go on with the next run (Ctrl-C again to stop at once)", err=True)

    before = {each: signal.signal(each, note) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print(result: Any, *, as_json: bool, text: Any) -> None:
    typer.echo(json.dumps(_without_nan(result), indent=2) if as_json else text())


def _without_nan(value: Any) -> Any:
    """The same for strict JSON: what is not a number is null."""
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and (value != value or abs(value) == float("inf")) else value


def _next(command: str, *, as_json: bool) -> None:
    if not as_json:
        typer.echo(f"next    {command}")


def _first_sentence(text: str) -> str:
    return " ".join(text.split()).partition(". ")[0].rstrip(".")


if __name__ == "__main__":
    main()
