"""Commands that train: run a study, or train once with a hyp file."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolve.commands.again import typed_with
from evolve.commands.defining import chosen_options, defined, device_of, run_of, say_choices, with_budget
from evolve.commands.options import (
    DEFAULT_STORAGE,
    AcceptDataOption,
    AddressOption,
    BatchOption,
    CriticalOption,
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
from evolve.commands.output import say, say_next, stored_study
from evolve.commands.training import print_plan, trained
from evolve.errors import StudyError
from evolve.run.crew import Asked

if TYPE_CHECKING:
    from evolve.run.events import StudyStopped
    from evolve.run.found import Found
    from evolve.run.run import Run
    from evolve.study.hyp import HypFile


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
    critical: CriticalOption = False,
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
    chosen = chosen_options(
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
    device = device_of(device, training=None if dry_run else asked)
    budget = {"trials": trials, "seconds": seconds}
    if resume:
        of_file = chosen | {"skip_unreadable": skip_unreadable or None}
        definition, checked = (
            with_budget(storage, name or study, of_file, budget, inspect=inspect, critical=critical),
            None,
        )
    else:
        recorded = {"inspect": inspect or None, "critical": critical or None}
        others = budget | recorded | {"skip_unreadable": skip_unreadable or None}
        definition, checked = defined(study, chosen, others, name=name, storage=storage, device=device)
    say_choices(definition)
    run = replace(run_of(definition, storage, device, asked, checked), accepts_changed_data=accept_changed_data)
    (print_plan if dry_run else _train)(run, as_json=as_json)


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
    critical: CriticalOption = False,
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    storage: StorageOption = DEFAULT_STORAGE,
    name: NameOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train once with the hyperparameters of a file; stopped, the same command goes on from the last checkpoint.

    What the file has below from_epoch takes the place of its other values from these epochs on.

    Example: `evolve train --hyp runs/lr_sweep/hyp.yaml --epochs 30`
    """
    from evolve.run.weight_files import checksum
    from evolve.study.hyp import read_hyp
    from evolve.study.naming import training_study

    file = read_hyp(hyp)
    asked = Asked(workers=workers)
    device = device_of(device, training=asked)
    chosen = chosen_options(
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
    recorded = {"inspect": inspect or None, "critical": critical or None}
    others = recorded | {"skip_unreadable": skip_unreadable or None, "weights_sha256": sha256}
    definition = training_study(file, hyp, chosen, others, name=name, stored=partial(stored_study, storage))
    say_choices(definition)
    run = run_of(definition, storage, device, asked, None)
    _train(replace(run, accepts_changed_data=accept_changed_data), as_json=as_json)


def _epochs(updates: int, hyp: HypFile, chosen: dict[str, Any], *, skip_unreadable: bool) -> int:
    """Epochs that hold so many updates, of a training with what was chosen and, for the rest, what a hyp file says."""
    from evolve.run.data import epochs_of

    if chosen["epochs"] is not None:
        raise StudyError("--updates: is given beside --epochs; name one of them")
    given = {key: value for key, value in chosen.items() if value is not None}
    training, train_share = {**hyp.training, **given}, hyp.values.train_share
    return epochs_of(updates, training, train_share=train_share, skip_unreadable=skip_unreadable)


def _train(run: Run, *, as_json: bool) -> None:
    """Runs a study to its end, shows it, and writes what it found."""
    _finish(run, trained(run), as_json=as_json)


def _finish(run: Run, stopped: StudyStopped, *, as_json: bool) -> None:
    from evolve.commands.results import result_of, result_text

    result = result_of(run, stopped)
    text = partial(result_text, result, nms_iou=run.study.nms_iou, storage=run.storage_url)
    say(result.as_mapping(), as_json=as_json, text=text)
    _say_what_is_next(run, stopped, result.found, as_json=as_json)


def _say_what_is_next(run: Run, stopped: StudyStopped, found: Found, *, as_json: bool) -> None:
    from evolve.commands.results import uses_of

    name = run.study.name
    then = partial(say_next, as_json=as_json, storage=run.storage_url)
    if found.grounded is not None and found.grounded.remedies and stopped.is_complete:
        if command := typed_with({remedy.option: remedy.value for remedy in found.grounded.remedies}):
            say_next(command, as_json=as_json)
        else:
            then(["evolve", "show", name])
        # A single training was asked for and is done; a search that found nothing is not.
        raise typer.Exit(1 if len(run.study.space) else 0)
    is_empty = found.best is None or found.grounded is not None
    if stopped.is_failed or (is_empty and stopped.is_complete):
        then(["evolve", "show", name])
        raise typer.Exit(1)
    if not stopped.is_complete:
        then(["evolve", "run", "--study", name, "--resume"])
        raise typer.Exit(1 if is_empty or stopped.reason == "stopped" else 0)
    if run.study.ablation is not None:
        then(["evolve", "ablate", name])
        return
    if run.study.noise is not None:
        then(["evolve", "noise", name])
        return
    if run.study.screening is not None and stopped.is_complete:  # of its trials the best is no more than the luckiest
        then(["evolve", "confirm", name, "--top", "1"])
        return
    if len(run.study.space):
        then(["evolve", "train", "--hyp", found.files["hyp"]])
        return
    for command in uses_of(found.weights, run.study.data):
        say_next(command, as_json=as_json)
