"""What a study begins with: trials of stored studies and of result files, as far as they lie in its space."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from detector.hyperparameters import names
from evolve.errors import StudyError
from evolve.exchange.results import import_result_file
from evolve.search.samplers.told import Told, told
from evolve.storage.database import Storage
from evolve.study import Study
from evolve.study.earlier import Earlier
from evolve.study.space import OF_PLAN, Scalar

# Besides hyperparameters, what a fitness depends on.
_COMPARED = ("data", "model", "image_size", "epochs", "weights", "fitness")
# What a file of results does not say of its trainings, and its gains are to be read with.
_OF_TRAINING = ("model", "image_size", "batch_size", "nominal_batch_size", "epochs")


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStart:
    """Trials of earlier searches that a study begins with, and what is to be known of them.

    Attributes:
        trials: Trials inside the study's space, in the order of their sources.
        notes: For each source, how many of its trials are of use, and in what its trainings differ from the study's.
    """

    trials: tuple[Earlier, ...]
    notes: tuple[str, ...]


def warm_start(study: Study, open_storage: Callable[[], Storage]) -> WarmStart:
    """Trials that a study's sampler knows before trial 0.

    Args:
        study: Study that names the sources.
        open_storage: Opens the database with the stored studies among them.

    Raises:
        EvolveError: A source is no stored study and no file of results, or none of its trials lies in the space.
    """
    found: list[Earlier] = []
    notes: list[str] = []
    for source in study.warm_start:
        is_file = Path(source).suffix != ""  # which no name of a study has
        before, ended, read_as = _of_file(study, Path(source)) if is_file else _of_study(study, source, open_storage)
        inside = [_earlier(study, source, before, trial) for trial in ended]
        used = [trial for trial in inside if trial is not None]
        if not used:
            raise StudyError(
                f"study {study.name}: warm_start: {source}: of {len(ended)} ended trials none lies in the space; widen "
                "the space, or leave this one out"
            )
        found += used
        differing = _differing(study, before)
        notes.append(f"warm start from {source}: {len(used)} of {len(ended)} ended trials{differing}{read_as}")
    return WarmStart(trials=tuple(found), notes=tuple(notes))


def _of_study(study: Study, name: str, open_storage: Callable[[], Storage]) -> tuple[Study, list[Told], str]:
    with closing(open_storage()) as storage:
        return *_read(storage, study, name), ""


def _of_file(study: Study, path: Path) -> tuple[Study, list[Told], str]:
    """The file as `evolve import` makes a study of it, which is read and thrown away, and what was assumed of it."""
    own = {name: getattr(study, name) for name in _OF_TRAINING}
    with TemporaryDirectory() as folder, closing(Storage(f"sqlite:///{folder}/imported.db")) as storage:
        imported = import_result_file(storage, path, own, name="imported", data=study.data)
        before, ended = _read(storage, study, imported.study.name)
    assumed = "; ".join(["taken for trainings such as this study's", *imported.assumed]).removesuffix(".")
    command = f"`evolve import {path} --name NAME --classes N --images N`"
    return before, ended, f"; {assumed}: where they were others, {command} and name that study here"


def _read(storage: Storage, study: Study, name: str) -> tuple[Study, list[Told]]:
    before = storage.stored_study(name)
    if before is None:
        raise StudyError(
            f"study {study.name}: warm_start: {name} is no study in {storage.where}, which has {storage.study_names()}"
            ", and no file, which has an ending"
        )
    trials = storage.trials(storage.study_id(name), holds_ended=True)
    trials.refresh()
    return before, told(trials.held())


def _earlier(study: Study, source: str, before: Study, trial: Told) -> Earlier | None:
    """The trial as one of the study's, None where it is outside the space."""
    own = trial.trial.params
    if not before.space.keys() <= own.keys():
        return None
    plan = {name: own.get(name, getattr(before, name)) for name in OF_PLAN}
    values = before.hyperparameters(own)
    params: dict[str, Scalar] = {name: plan[name] if name in OF_PLAN else getattr(values, name) for name in study.space}
    if not all(axis.holds(params[name]) for name, axis in study.space.items()):
        return None
    origin = f"{source} trial {trial.trial.number}"
    return Earlier(origin=origin, params=params, fitness=trial.fitness, margin=trial.margin)


def _differing(study: Study, before: Study) -> str:
    """What else than the searched values differs, as far as a definition says it; empty for nothing."""
    ours, theirs = study.hyperparameters({}), before.hyperparameters({})
    found = [name for name in _COMPARED if getattr(study, name) != getattr(before, name)]
    found += [name for name in before.space if name not in study.space]
    fixed = [name for name in names() if name not in {*study.space, *before.space}]
    found += [name for name in fixed if getattr(ours, name) != getattr(theirs, name)]
    return f"; other than here: {', '.join(found)}, so their fitness may say less" if found else ""
