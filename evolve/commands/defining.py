"""From options of the command line to a study as it is going to be stored, and to a run of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from detector.written_numbers import MAX_CHARACTERS, is_whole
from evolve.commands.options import RUNS
from evolve.commands.output import is_missing, opened_storage, stored_study
from evolve.errors import StudyError, shown
from evolve.run.crew import Asked

if TYPE_CHECKING:
    from evolve.run.data import DataChecked
    from evolve.run.run import Run
    from evolve.study import Study
    from evolve.study.earlier import Earlier


def device_of(name: str, *, training: Asked | None) -> str:
    """torch's name of the device; where worker processes are going to train, their parent loads meanwhile.

    Args:
        name: Name of the device as it was typed: `auto`, or torch's name.
        training: How trials are going to be trained, or None where none is.
    """
    from evolve.run.detection import WORKERS_NEED, choose_device
    from evolve.run.engines import warm_up

    if training is not None and training.has_processes:
        warm_up(WORKERS_NEED)
    return choose_device(name)


def chosen_options(seeds: str | None, **given: object) -> dict[str, Any]:
    """What the command line changes in a definition, by key; None where it says nothing."""
    return {**given, "seeds": None if seeds is None else _numbers("--seeds", seeds)}


def defined(
    study: str, chosen: dict[str, Any], others: dict[str, Any], *, name: str | None, storage: str, device: str
) -> tuple[Study, DataChecked | None]:
    """The study as it is going to be stored, and what its data hold if that was looked up."""
    from evolve.run.data import settled, survey
    from evolve.storage.database import Storage
    from evolve.study.file import read_study
    from evolve.study.naming import derived_name

    file = read_study(study, chosen | others | {"name": name})
    if name is None:
        file = file.renamed(derived_name(file.name, chosen))
    stored = stored_study(storage, file.name)
    definition, checked = settled(file, stored=stored, device=device)
    from evolve.exchange.baselines import look_up_in, looks_up, uses_preset, with_baseline
    from evolve.exchange.presets import with_preset

    if checked is None and ((stored is None and file.preset) or uses_preset(definition, stored)):
        checked = survey(file.data, skip_unreadable=definition.skip_unreadable).at(definition.image_size)
    summary = {} if checked is None else checked.summary
    if looks_up(definition):
        look_up = look_up_in(partial(Storage, storage, reads_only=True), definition, summary)
        return with_baseline(file, definition, stored, look_up), checked
    return with_preset(file, definition, stored, summary) if file.preset else definition, checked


def with_budget(
    storage: str,
    name: str,
    chosen: dict[str, Any],
    budget: dict[str, Any],
    *,
    asked: str = "--resume",
    **recorded: bool,
) -> Study:
    """The study as stored, with a larger budget if one is given, and recording from now on what is asked for.

    Args:
        storage: URL of the database.
        name: Name of the study.
        chosen: Values of options that a stored study does not take, by key; None for those that are not given.
        budget: Values of options that it takes, by key of its budget; None for those that are not given.
        asked: What a person typed to go on with the study, for the text of errors.
        recorded: Whether something is recorded from now on, by the key of the study that says so; what was recorded
            before stays so.

    Raises:
        StudyError: An option is given that it does not take, or it is not stored.
    """
    if given := _options(key for key, value in chosen.items() if value is not None):
        allowed = _options([*budget, *recorded])
        text = f"the stored study says {', '.join(given)}; allowed: {', '.join(allowed)}"
        raise StudyError(f"{asked}: {text}; --name begins another study from its file")
    with opened_storage(storage, reads_only=True) as opened:
        definition = opened.stored_study(name)
        if definition is None:
            raise StudyError(f"{asked}: study {name} is not in {opened.where}; stored: {opened.study_names()}")
    changes = {key: value for key, value in budget.items() if value is not None}
    mapping = definition.to_mapping()
    wanted = {key: mapping[key] or is_asked for key, is_asked in recorded.items()}
    return type(definition).from_json(json.dumps(mapping | wanted | {"budget": mapping["budget"] | changes}))


def _options(keys: Iterable[str]) -> list[str]:
    return [f"--{key.replace('_', '-')}" for key in keys]


def _numbers(option: str, text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")]
    if not all(is_whole(word) and len(word) <= MAX_CHARACTERS for word in words):
        raise StudyError(f"{option}: {shown(text)} is not a list of whole numbers such as 0,1,2")
    return tuple(int(word) for word in words)


def say_choices(study: Study) -> None:
    """What was chosen from the data and why, and what is allowed but has no use."""
    from evolve.commands.plan_text import choices_text
    from evolve.study.checks import warnings

    for line in (*choices_text(study), *(f"note    {warning}" for warning in warnings(study))):
        typer.echo(line, err=True)


def run_of(study: Study, storage: str, device: str, asked: Asked, checked: DataChecked | None) -> Run:
    """A run of a study; a new one's trials of earlier searches are read, and what they are is said."""
    from evolve.run.run import Run

    earlier = _earlier(study, storage) if study.warm_start else ()
    return Run(
        study=study, storage_url=storage, device=device, asked=asked, runs=RUNS, checked=checked, earlier=earlier
    )


def _earlier(study: Study, storage: str) -> tuple[Earlier, ...]:
    """Trials that the study begins with, none where it has them stored already."""
    from evolve.exchange.warm_start import warm_start
    from evolve.storage.database import Storage

    if not is_missing(storage):
        with opened_storage(storage, reads_only=True) as opened:
            if opened.earlier(study.name) is not None:
                return ()
    found = warm_start(study, partial(Storage, storage, reads_only=True))
    for note in found.notes:
        typer.echo(f"note    {note}", err=True)
    return found.trials
