"""The command that compares arms: runs an ablation or goes on with it, and says what it shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolve.commands.compared_text import stored_ablation
from evolve.commands.defining import chosen_options, defined, device_of, run_of, say_choices, with_budget
from evolve.commands.options import (
    DEFAULT_STORAGE,
    AcceptDataOption,
    AddressOption,
    BatchOption,
    DataOption,
    DeviceOption,
    EngineOption,
    EpochsOption,
    FreezeOption,
    InspectOption,
    JsonOption,
    LanesOption,
    ModelOption,
    NameOption,
    NmsOption,
    SecondsOption,
    SeedsOption,
    SizeOption,
    SkipOption,
    StorageOption,
    UpdatesOption,
    WeightsOption,
    WorkersOption,
)
from evolve.commands.output import chosen_study, is_missing, opened_storage, say, say_next, stored_study, terminal_width
from evolve.commands.training import print_plan, trained
from evolve.run.crew import Asked
from evolve.study.ablation import BASELINE

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from evolve.ablation.compared import Compared
    from evolve.ablation.crossed import NoiseFound
    from evolve.ablation.power import Variation
    from evolve.run.data import DataChecked
    from evolve.run.run import Run
    from evolve.study import Study

STUDY = "A study with an ablation: its name (see `evolve studies`), its YAML file, or what a stored one begins with."


def ablate(
    study: Annotated[str, typer.Argument(help=STUDY, show_default=False)],
    plan: Annotated[
        bool, typer.Option("--plan", help="Print arms, seeds and cost, and what a difference can be found.")
    ] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="The effects as a table for a paper's appendix.")
    ] = False,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write the effects to this file, a row an arm.")] = None,
    data: DataOption = None,
    model: ModelOption = None,
    epochs: EpochsOption = None,
    updates: UpdatesOption = None,
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
    as_json: JsonOption = False,
) -> None:
    """Compare arms over paired seeds: train what is missing, then say what helps, by how much, and how sure that is.

    Example: `evolve ablate warmup_ablation --plan`
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
    others = {"seconds": seconds, "skip_unreadable": skip_unreadable or None, "inspect": inspect or None}
    definition, checked = _defined(study, chosen, others, name=name, storage=storage, device=device)
    if plan:
        run = _run_of(definition, storage, device, asked, checked, trains=False)
        print_plan(run, as_json=as_json, notes=_notes(storage, definition), is_stored=not _is_file(study))
        return
    is_complete, files = True, dict[str, str]()
    if not _is_trained(storage, definition):
        run = _run_of(definition, storage, device, asked, checked, trains=True)
        run = replace(run, accepts_changed_data=accept_changed_data)
        is_complete, files = _train(run, is_stored=not _is_file(study))
    found = stored_ablation(storage, definition)
    if csv is not None:
        files |= _written(found, csv)
    _say(found, files, markdown=markdown, as_json=as_json)
    again = ["evolve", "ablate", definition.name, *(["--markdown"] if is_complete else [])]
    say_next(again, as_json=as_json or markdown, storage=storage)
    if not is_complete:
        raise typer.Exit(1)


def _defined(
    study: str, chosen: dict[str, Any], others: dict[str, Any], *, name: str | None, storage: str, device: str
) -> tuple[Study, DataChecked | None]:
    """The study that a word of the command line means, and what its data hold if that was looked up.

    Raises:
        StudyError: It compares no arms, or is stored and not to be changed.
    """
    if _is_file(study):
        here = device_of(device, training=None)
        definition, checked = defined(study, chosen, others, name=name, storage=storage, device=here)
    else:
        with opened_storage(storage, reads_only=True) as opened:
            stored = chosen_study(opened.engine, study)
        of_file = chosen | {"name": name, "skip_unreadable": others["skip_unreadable"]}
        budget, inspect = {"seconds": others["seconds"]}, bool(others["inspect"])
        checked = None
        definition = with_budget(storage, stored, of_file, budget, inspect=inspect, asked=f"evolve ablate {stored}")
    _check_compares(definition)
    return definition, checked


def _run_of(study: Study, storage: str, device: str, asked: Asked, checked: DataChecked | None, *, trains: bool) -> Run:
    say_choices(study)
    return run_of(study, storage, device_of(device, training=asked if trains else None), asked, checked)


def _is_file(study: str) -> bool:
    """Whether a word means a study's file rather than a stored study."""
    from evolve.study.file import available_studies

    path = Path(study)
    return path.suffix in (".yaml", ".yml") or len(path.parts) > 1 or study in dict(available_studies())


def _check_compares(study: Study) -> None:
    """Refuses a study without arms.

    Raises:
        StudyError: It has no ablation.
    """
    from evolve.ablation.trained import plan_of

    plan_of(study)


def _is_trained(storage: str, study: Study) -> bool:
    """Whether every trial of an ablation has ended, so that there is nothing to train."""
    if stored_study(storage, study.name) is None:
        return False
    with opened_storage(storage, reads_only=True) as opened:
        opened.check_can_run(study)
        return len(opened.verdicts(opened.study_id(study.name))) >= study.budget.trials


def _train(run: Run, *, is_stored: bool) -> tuple[bool, dict[str, str]]:
    """Trains what is missing; whether that is all, and the files that were written."""
    from evolve.commands.results import result_of

    stopped = trained(run, is_stored=is_stored)
    typer.echo(f"ended   {stopped.reason}", err=True)
    result = result_of(run, stopped)
    if (nothing := result.found.grounded) is not None:
        typer.echo(f"note    {nothing.text}, so that there is little to compare", err=True)
    return stopped.is_complete, result.files


def _notes(storage: str, study: Study) -> list[str]:
    """What differences the plan can find, and below which no single comparison means anything, as far as is known."""
    from evolve.ablation.power import Variation, plan_sentence, spread_of_differences
    from evolve.ablation.trained import plan_of
    from evolve.storage.noise import known_noise

    _, plan = plan_of(study)
    known: tuple[Variation, str] | None = None
    noise: NoiseFound | None = None
    if not is_missing(storage):
        with opened_storage(storage, reads_only=True) as opened:
            known, noise = _variation(opened.engine, study), known_noise(opened.engine, study)
    if known is None and noise is not None and noise.shares is not None and noise.shares.deviation:
        varying = Variation(spread=spread_of_differences(noise.shares.deviation))
        known = varying, f"{noise.study.name}, if sharing a seed helps nothing"
    said = plan_sentence(len(plan.seeds), len(plan.arms) - 1, None if known is None else known[0], looks=plan.num_looks)
    notes = [f"power: {said}" if known is None else f"power: {said} (as in {known[1]})"]
    if noise is not None and noise.shares is not None:
        notes.append(f"noise: {noise.shares.sentence} ({noise.basis})")
    return notes


def _variation(engine: Engine, study: Study) -> tuple[Variation, str] | None:
    """How differences vary over seeds in the newest ablation of the same data and metric, and its name."""
    from evolve.ablation.trained import arm_runs, plan_of, variation_of
    from evolve.storage.ablations import ablations, trainings_of

    for other in ablations(engine):
        if (other.data, other.fitness) == (study.data, study.fitness):
            runs = arm_runs(plan_of(other)[1], trainings_of(engine, other.name))
            if varying := variation_of(runs, baseline=BASELINE):
                return varying, other.name
    return None


def _say(found: Compared, files: Mapping[str, str], *, markdown: bool, as_json: bool) -> None:
    from evolve.commands.effect_text import as_mapping, table_markdown, table_text

    def text() -> str:
        if markdown:
            return table_markdown(found)
        return "\n".join(
            [table_text(found, width=terminal_width()), *(f"{kind:<8}{file}" for kind, file in files.items())]
        )

    say(as_mapping(found) | {"files": dict(files)}, as_json=as_json, text=text)


def _written(found: Compared, path: Path) -> dict[str, str]:
    from evolve.commands.effect_text import write_rows

    return {kind: str(file) for kind, file in write_rows(found, path).items()}
