"""Commands that train: run a study, or train once with a hyp file."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolve.commands.options import (
    DEFAULT_STORAGE,
    RUNS,
    BatchOption,
    DataOption,
    DeviceOption,
    EpochsOption,
    JsonOption,
    ModelOption,
    NameOption,
    SeedsOption,
    SizeOption,
    StorageOption,
    StudyOption,
    WorkersOption,
)
from evolve.commands.output import opened_storage, say, say_next, write_report
from evolve.errors import StudyError

if TYPE_CHECKING:
    from evolve.runner import StudyStopped
    from evolve.session import Sitting
    from evolve.study import Study


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

    chosen = _chosen(data, model, epochs, image_size, batch_size, seeds)
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

    chosen = _chosen(data, model, epochs, image_size, batch_size, seeds)
    with opened_storage(storage) as opened:
        definition = training_study(read_hyp(hyp), hyp, chosen, name=name, stored=opened.stored_study)
    _warn(definition, is_size_given=True)
    _sit(_sitting(definition, storage, device, workers), as_json=as_json)


def _chosen(
    data: str | None,
    model: str | None,
    epochs: int | None,
    image_size: int | None,
    batch_size: int | None,
    seeds: str | None,
) -> dict[str, Any]:
    """What the command line changes in a definition; None where it says nothing."""
    return {
        "data": data,
        "model": model,
        "epochs": epochs,
        "image_size": image_size,
        "batch_size": batch_size,
        "seeds": None if seeds is None else _numbers("--seeds", seeds),
    }


def _load(study: str, overrides: dict[str, Any]) -> Study:
    from evolve.study import load_study

    return load_study(study, overrides)


def _stored(storage: str, name: str, chosen: dict[str, Any], budget: dict[str, Any]) -> Study:
    """The study as stored, with a larger budget if one is given."""
    if given := [f"--{key.replace('_', '-')}" for key, value in chosen.items() if value is not None]:
        raise StudyError(f"--resume: the stored study says {', '.join(given)}; allowed: --trials, --seconds")
    with opened_storage(storage, must_exist=True) as opened:
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
    say(
        {"study": sitting.study.to_mapping(), "estimate": planned.as_mapping()},
        as_json=as_json,
        text=lambda: f"{describe(sitting.study)}\n\n{planned.text()}",
    )
    say_next(f"evolve run --study {sitting.study.name}", as_json=as_json)


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
    with opened_storage(sitting.storage_url, must_exist=True) as opened:
        best = best_of(opened, name)
        files = {"report": str(write_report(opened, name, sitting.folder / "report.html"))}
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
    say(result, as_json=as_json, text=lambda: result_text(result))
    if stopped.is_failed or best is None:
        say_next(f"evolve show {name}", as_json=as_json)
        raise typer.Exit(1)
    if not stopped.is_complete:
        say_next(f"evolve run --study {name} --resume", as_json=as_json)
        raise typer.Exit(1 if stopped.reason == "stopped" else 0)
    say_next(f"evolve train --hyp {files['hyp']}", as_json=as_json)


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
