"""Commands that train: run a study, or train once with a hyp file."""

from __future__ import annotations

import json
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detector.written_numbers import MAX_CHARACTERS, is_whole
from evolve.commands.again import typed_again
from evolve.commands.options import (
    DEFAULT_STORAGE,
    RUNS,
    AcceptDataOption,
    AddressOption,
    BatchOption,
    DataOption,
    DeviceOption,
    DryRunOption,
    EngineOption,
    EpochsOption,
    FreezeOption,
    InspectOption,
    JsonOption,
    LanesOption,
    ModelOption,
    NameOption,
    NmsOption,
    ResumeOption,
    SecondsOption,
    SeedsOption,
    SizeOption,
    SkipOption,
    StorageOption,
    StudyOption,
    TrialsOption,
    UpdatesOption,
    WeightsOption,
    WorkersOption,
)
from evolve.commands.output import opened_storage, say, say_next, stored_study
from evolve.errors import StudyError, shown
from evolve.run.crew import Asked

if TYPE_CHECKING:
    from evolve.run.data import DataChecked
    from evolve.run.events import StudyStopped
    from evolve.run.found import Found
    from evolve.run.run import Run
    from evolve.study import Study
    from evolve.study.hyp import HypFile
    from evolve.study.planning import Advice


def run(
    study: StudyOption,
    data: DataOption = None,
    model: ModelOption = None,
    epochs: EpochsOption = None,
    updates: UpdatesOption = None,
    trials: TrialsOption = None,
    seconds: SecondsOption = None,
    image_size: SizeOption = None,
    batch_size: BatchOption = None,
    nms_iou: NmsOption = None,
    weights: WeightsOption = None,
    freeze: FreezeOption = None,
    seeds: SeedsOption = None,
    skip_unreadable: SkipOption = False,
    accept_changed_data: AcceptDataOption = False,
    inspect: InspectOption = False,
    device: DeviceOption = "auto",
    engine: EngineOption = "auto",
    workers: WorkersOption = None,
    lanes: LanesOption = None,
    address: AddressOption = "",
    storage: StorageOption = DEFAULT_STORAGE,
    name: NameOption = None,
    resume: ResumeOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run a study up to its budget, then write its report and hyp.yaml. Run again to go on.

    Example: `evolve run --study my_data --data PATH`
    """
    chosen = _chosen(
        seeds,
        data=data,
        model=model,
        epochs=epochs,
        updates=updates,
        image_size=image_size,
        batch_size=batch_size,
        nms_iou=nms_iou,
        weights=weights,
        freeze=freeze,
    )
    asked = Asked(engine=engine, workers=workers, lanes=lanes, address=address)
    device = _device(device, trains=not dry_run)
    budget = {"trials": trials, "seconds": seconds}
    if resume:
        definition, checked = _stored(storage, name or study, chosen, budget, inspects=inspect), None
    else:
        others = budget | {"skip_unreadable": skip_unreadable or None, "inspect": inspect or None}
        definition, checked = _defined(study, chosen, others, name=name, storage=storage, device=device)
    _say_choices(definition)
    run = replace(_run_of(definition, storage, device, asked, checked), accepts_changed_data=accept_changed_data)
    (_print_plan if dry_run else _train)(run, as_json=as_json)


def train(
    hyp: Annotated[Path, typer.Option("--hyp", help="hyp.yaml of `evolve export`, or your own.", show_default=False)],
    data: DataOption = None,
    model: ModelOption = None,
    epochs: EpochsOption = None,
    updates: UpdatesOption = None,
    image_size: SizeOption = None,
    batch_size: BatchOption = None,
    nms_iou: NmsOption = None,
    weights: WeightsOption = None,
    freeze: FreezeOption = None,
    seeds: SeedsOption = None,
    skip_unreadable: SkipOption = False,
    accept_changed_data: AcceptDataOption = False,
    inspect: InspectOption = False,
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    storage: StorageOption = DEFAULT_STORAGE,
    name: NameOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train once with the hyperparameters of a file; stopped, the same command goes on from the last checkpoint.

    Example: `evolve train --hyp runs/lr_sweep/hyp.yaml --epochs 30`
    """
    from evolve.run.weight_files import checksum
    from evolve.study.hyp import read_hyp
    from evolve.study.naming import training_study

    file = read_hyp(hyp)
    device = _device(device, trains=True)
    chosen = _chosen(
        seeds,
        data=data,
        model=model,
        epochs=epochs,
        image_size=image_size,
        batch_size=batch_size,
        nms_iou=nms_iou,
        weights=weights,
        freeze=freeze,
    )
    if updates is not None:
        chosen["epochs"] = _epochs(updates, file, chosen, skip_unreadable=skip_unreadable)
    sha256 = checksum(weights or file.training.get("weights"))
    others = {"skip_unreadable": skip_unreadable or None, "inspect": inspect or None, "weights_sha256": sha256}
    definition = training_study(file, hyp, chosen, others, name=name, stored=partial(stored_study, storage))
    _say_choices(definition)
    run = _run_of(definition, storage, device, Asked(workers=workers), None)
    _train(replace(run, accepts_changed_data=accept_changed_data), as_json=as_json)


def _epochs(updates: int, hyp: HypFile, chosen: dict[str, Any], *, skip_unreadable: bool) -> int:
    """Epochs that hold so many updates, of a training with what was chosen and, for the rest, what a hyp file says."""
    from evolve.run.data import epochs_of

    if chosen["epochs"] is not None:
        raise StudyError("--updates: is given beside --epochs; name one of them")
    given = {key: value for key, value in chosen.items() if value is not None}
    training, train_share = {**hyp.training, **given}, hyp.values.train_share
    return epochs_of(updates, training, train_share=train_share, skip_unreadable=skip_unreadable)


def _device(name: str, *, trains: bool) -> str:
    """torch's name of the device; where trials are going to train, the parent of their workers loads meanwhile."""
    from evolve.run.detection import WORKERS_NEED, choose_device
    from evolve.run.engines import warm_up

    if trains:
        warm_up(WORKERS_NEED)
    return choose_device(name)


def _chosen(seeds: str | None, **given: object) -> dict[str, Any]:
    """What the command line changes in a definition, by key; None where it says nothing."""
    return {**given, "seeds": None if seeds is None else _numbers("--seeds", seeds)}


def _defined(
    study: str, chosen: dict[str, Any], others: dict[str, Any], *, name: str | None, storage: str, device: str
) -> tuple[Study, DataChecked | None]:
    """The study as it is going to be stored, and what its data hold if that was looked up."""
    from evolve.run.data import settled, survey
    from evolve.study.file import read_study
    from evolve.study.naming import derived_name

    file = read_study(study, chosen | others | {"name": name})
    if name is None:
        file = file.renamed(derived_name(file.name, chosen))
    stored = stored_study(storage, file.name)
    definition, checked = settled(file, stored=stored, device=device)
    if not file.preset:
        return definition, checked
    from evolve.exchange.presets import with_preset

    if stored is None and checked is None:
        checked = survey(file.data, skip_unreadable=definition.skip_unreadable).at(definition.image_size)
    return with_preset(file, definition, stored, {} if checked is None else checked.summary), checked


def _stored(storage: str, name: str, chosen: dict[str, Any], budget: dict[str, Any], *, inspects: bool) -> Study:
    """The study as stored, with a larger budget if one is given, and inspected from now on where that is asked for."""
    if given := [f"--{key.replace('_', '-')}" for key, value in chosen.items() if value is not None]:
        raise StudyError(f"--resume: the stored study says {', '.join(given)}; allowed: --trials, --seconds, --inspect")
    with opened_storage(storage, reads_only=True) as opened:
        definition = opened.stored_study(name)
        if definition is None:
            raise StudyError(f"--resume: study {name} is not in {storage}; stored: {opened.study_names()}")
    changes = {key: value for key, value in budget.items() if value is not None}
    mapping = definition.to_mapping()
    wanted = {"budget": mapping["budget"] | changes, "inspect": definition.inspect or inspects}
    return type(definition).from_json(json.dumps(mapping | wanted))


def _numbers(option: str, text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")]
    if not all(is_whole(word) and len(word) <= MAX_CHARACTERS for word in words):
        raise StudyError(f"{option}: {shown(text)} is not a list of whole numbers such as 0,1,2")
    return tuple(int(word) for word in words)


def _say_choices(study: Study) -> None:
    """What was chosen from the data and why, and what is allowed but has no use."""
    from evolve.commands.plan_text import choices_text
    from evolve.study.checks import warnings

    for line in (*choices_text(study), *(f"note    {warning}" for warning in warnings(study))):
        typer.echo(line, err=True)


def _run_of(study: Study, storage: str, device: str, asked: Asked, checked: DataChecked | None) -> Run:
    from evolve.run.run import Run

    return Run(study=study, storage_url=storage, device=device, asked=asked, runs=RUNS, checked=checked)


def _print_plan(run: Run, *, as_json: bool) -> None:
    from evolve.commands.plan_text import data_lines, describe, estimate
    from evolve.run.data import survey
    from evolve.run.weight_files import start_text

    study = run.study
    checked = run.checked or survey(study.data, skip_unreadable=study.skip_unreadable).at(study.image_size)
    start = start_text(study, checked.summary["classes"])
    starts = [f"weights  {study.weights}: {start}"] if start else []
    planned = estimate(run)
    lines = [describe(study), *starts, *data_lines(study.data, checked), "", planned.text()]
    result = {
        "study": study.to_mapping(),
        "data": {key: value for key, value in asdict(checked).items() if key not in ("files", "box_sides")},
        "estimate": planned.as_mapping(),
        "advice": [asdict(advice) for advice in _advice(run, checked)],
    }
    say(result, as_json=as_json, text=lambda: "\n".join(lines))
    _say_advice(run, checked)
    say_next(typed_again(without=("--dry-run",)), as_json=as_json)


def _advice(run: Run, checked: DataChecked) -> tuple[Advice, ...]:
    from evolve.study.planning import DataFacts, advice

    return advice(run.study, DataFacts.from_summary(run.study.data, checked.summary))


def _say_advice(run: Run, checked: DataChecked) -> None:
    """Before anything is trained: what would keep it from learning, and what the mend would cost here."""
    if not (found := _advice(run, checked)):
        return
    from evolve.commands.plan_text import estimate
    from evolve.formatting import rough_duration
    from evolve.run.run import mended

    for obstacle in found:
        typer.echo(f"note    {obstacle.reason}: {obstacle.option} {obstacle.value}", err=True)
    seconds = estimate(mended(run, found, checked)).total_seconds
    instead = {obstacle.option: obstacle.value for obstacle in found}
    typer.echo(f"note    about {rough_duration(seconds)} here: {typed_again(instead=instead)}", err=True)


def _train(run: Run, *, as_json: bool) -> None:
    """Runs a study to its end, shows it, and writes what it found."""
    from rich.console import Console

    from evolve.commands.progress import Progress
    from evolve.run.data import DataChecked
    from evolve.run.events import StudyStopped
    from evolve.run.run import run_study

    console = Console(stderr=True)
    stopped: StudyStopped | None = None
    with _stop_signals() as should_stop, Progress(run.study, console) as progress:
        for event in run_study(run, should_stop=should_stop):
            progress.update(event)
            if isinstance(event, DataChecked):
                _say_advice(run, event)
            if isinstance(event, StudyStopped):
                stopped = event
    assert stopped is not None
    _finish(run, stopped, as_json=as_json)


def _finish(run: Run, stopped: StudyStopped, *, as_json: bool) -> None:
    from evolve.commands.results import result_of, result_text

    result = result_of(run, stopped)
    say(result.as_mapping(), as_json=as_json, text=lambda: result_text(result, nms_iou=run.study.nms_iou))
    _say_what_is_next(run, stopped, result.found, as_json=as_json)


def _say_what_is_next(run: Run, stopped: StudyStopped, found: Found, *, as_json: bool) -> None:
    from evolve.commands.results import uses_of

    name = run.study.name
    place = [] if run.storage_url == DEFAULT_STORAGE else ["--storage", run.storage_url]
    if found.grounded is not None and found.grounded.remedies and stopped.is_complete:
        instead = {remedy.option: remedy.value for remedy in found.grounded.remedies}
        say_next(typed_again(instead=instead), as_json=as_json)
        # A single training was asked for and is done; a search that found nothing is not.
        raise typer.Exit(1 if len(run.study.space) else 0)
    if stopped.is_failed or found.best is None or found.grounded is not None:
        say_next(shlex.join(["evolve", "show", name, *place]), as_json=as_json)
        raise typer.Exit(1)
    if not stopped.is_complete:
        say_next(shlex.join(["evolve", "run", "--study", name, "--resume", *place]), as_json=as_json)
        raise typer.Exit(1 if stopped.reason == "stopped" else 0)
    if len(run.study.space):
        say_next(shlex.join(["evolve", "train", "--hyp", found.files["hyp"], *place]), as_json=as_json)
        return
    for command in uses_of(found.weights, run.study.data):
        say_next(command, as_json=as_json)


@contextmanager
def _stop_signals() -> Iterator[Any]:
    """A function that tells whether Ctrl-C or a termination has been asked for; the second Ctrl-C is not waited for."""
    asked: list[int] = []

    def note(number: int, _frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        typer.echo("stopping; unfinished trials go on with the next run (Ctrl-C again to stop at once)", err=True)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
