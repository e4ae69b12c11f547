"""Results of other trainers' searches as a study of ours: shown, reported, and a history that samplers go on from."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import delete, insert

from detector.hyperparameters import Hyperparameters, names, numeric_range
from evolve.errors import StudyError
from evolve.exchange.conversion import context_for, read_text
from evolve.exchange.dialects import Context, DialectError, from_dialect, named, ultralytics, yolov3
from evolve.exchange.dialects.source import Entry, Source
from evolve.exchange.result_files import Results, read_results
from evolve.exchange.trainings import SEED, ImportedTrial, judged
from evolve.outcome.verdict import Verdict
from evolve.search.pruners import make_pruner
from evolve.search.samplers import DIVERGED, divergence_state, make_sampler
from evolve.storage import schema
from evolve.storage.database import Storage
from evolve.study import Study
from evolve.study.confirming import NOT_GIVEN
from evolve.study.naming import imported_name

# From the lowest value seen to the highest, ratios count rather than differences.
LOG_RATIO = 10.0
# Where nothing varied: how far around lr0 a search may go on.
LR_REACH = 10.0
# Rows whose notes are shown; later ones say the same of other numbers.
NOTED_ROWS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where results are from.

    Attributes:
        path: The result file; the hyp file beside a results.csv is read, too.
        data: Data set that a search that goes on trains on.
        counts: Number of training images (`images`) and of classes (`classes`) in the trainings, as far as they are
            known.
    """

    path: Path
    data: str = NOT_GIVEN
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedStudy:
    """What was imported.

    Attributes:
        study: The new study as it is stored.
        kind: Kind of the result file, such as evolve.csv.
        verdicts: Number of trials by verdict.
        best: Number and fitness of the best trial, None where none counts.
        notes: What could not be carried over.
        assumed: What was assumed of the trainings.
    """

    study: Study
    kind: str
    verdicts: Mapping[str, int]
    best: tuple[int, float] | None
    notes: tuple[str, ...]
    assumed: tuple[str, ...] = ()

    def as_mapping(self) -> dict[str, Any]:
        """The import as plain values, for machines."""
        return {
            "study": self.study.name,
            "kind": self.kind,
            "verdicts": dict(self.verdicts),
            "best": None if self.best is None else {"number": self.best[0], "fitness": self.best[1]},
            "space": self.study.space.to_mapping(),
            "notes": list(self.notes),
            "assumed": list(self.assumed),
        }


def import_results(storage: Storage, results: Results, context: Context, *, name: str, origin: Origin) -> ImportedStudy:
    """Stores the trainings of a result file as a new study.

    Args:
        storage: Database that the study is stored in.
        results: Content of the result file.
        context: The trainings that the file is of.
        name: Name of the new study.
        origin: The file, and what is known of its trainings.

    Raises:
        StudyError: A study of that name is there already, or the definition is not allowed.
        DialectError: A value does not fit; names line and column.
    """
    if name in storage.study_names():
        raise StudyError(f"study {name}: is in {storage.where} already; choose another --name")
    path = origin.path
    if results.kind == "results.csv":
        context = replace(context, epochs=len(results.rows))
    values, notes = _values(results, context, path)
    study = _study(values, results, context, name=name, origin=origin)
    trainings = [results.rows] if results.kind == "results.csv" else [(row,) for row in results.rows]
    trials = [
        judged(study, rows, hyperparameters, context, file=path.name)
        for rows, hyperparameters in zip(trainings, values, strict=True)
    ]
    facts = {"origin": str(path), "format": results.kind, "dialect": results.dialect, "device": "trained elsewhere"}
    summary = {"note": f"not looked at; imported from {path}", "imported": dict(origin.counts)}
    _store(storage, study, trials, facts=facts, summary=summary)
    ended = [str(trial.verdict) for trial in trials]
    number = storage.best(storage.study_id(name))
    return ImportedStudy(
        study=study,
        kind=results.kind,
        verdicts={verdict: ended.count(verdict) for verdict in sorted(set(ended))},
        best=None if number is None else (number, trials[number].fitness),
        notes=(*results.notes, *notes),
    )


def import_result_file(
    storage: Storage,
    path: Path,
    chosen: Mapping[str, Any],
    *,
    columns: Sequence[str] = (),
    name: str | None = None,
    data: str | None = None,
) -> ImportedStudy:
    """Reads a result file and stores its trainings as a new study.

    Args:
        storage: Database that the study is stored in.
        path: The result file, whose name's end says how to read it.
        chosen: Fields of `Context`, of the trainings there; None where usual values stand.
        columns: Names of the hyperparameters of an evolve.txt, in order; empty where their number tells.
        name: Name of the new study; made of the file's where None.
        data: Data set that a search that goes on trains on, None for none.

    Raises:
        StudyError: A study of that name is there already, or the definition is not allowed.
        DialectError: A value does not fit; names line and column.
    """
    context, assumed = context_for(chosen)
    counts = {key: chosen[key] for key in ("images", "classes") if chosen.get(key) is not None}
    results = read_results(read_text(path), origin=str(path), columns=columns)
    origin = Origin(path=path, data=data or NOT_GIVEN, counts=counts)
    done = import_results(storage, results, context, name=name or imported_name(path), origin=origin)
    return replace(done, assumed=assumed)


# Hyperparameters


def _values(results: Results, context: Context, origin: Path) -> tuple[list[Hyperparameters], list[str]]:
    """Hyperparameters of each training, and the notes of reading them, each once."""
    if results.kind == "results.csv":
        return _values_beside(results, context, origin)
    dialect = named(results.dialect)
    imported = [dialect.from_source(row.keys, context) for row in results.rows]
    notes = dict.fromkeys(note for training in imported[:NOTED_ROWS] for note in training.notes)
    return [training.values for training in imported], list(notes)


def _values_beside(results: Results, context: Context, origin: Path) -> tuple[list[Hyperparameters], list[str]]:
    """Hyperparameters of the one run: of the hyp file in its folder, else of the learning rates it logged."""
    for file, dialect in (("hyp.yaml", yolov3.NAME), ("args.yaml", ultralytics.NAME)):
        path = origin.with_name(file)
        if path.is_file():
            found = from_dialect(dialect, read_text(path), context, origin=str(path))
            return [found.values], [f"hyperparameters: read from {path} ({dialect}).", *found.notes]
    rates = [min(row.lr) for row in results.rows if row.lr]
    if not rates:
        raise DialectError(
            f"{origin}:1:1: tells no hyperparameters: it has no columns x/lr0 or lr/pg0, and no hyp.yaml or args.yaml "
            "is beside it"
        )
    entry = Entry(text=repr(max(rates)), line=results.rows[0].line, column=1)
    source = Source(origin=str(origin), entries={"lr0": entry})
    note = f"lr0 {max(rates):.4g}: is the highest learning rate that was logged; all others have our defaults."
    return [source.hyperparameters({"lr0": max(rates)})], [note]


def _study(
    values: Sequence[Hyperparameters], results: Results, context: Context, *, name: str, origin: Origin
) -> Study:
    """A study whose space is what varied, as far as it varied."""
    varying = {key: sorted({getattr(hyperparameters, key) for hyperparameters in values}) for key in names()}
    space = {key: _parameter(found) for key, found in varying.items() if len(found) > 1}
    if not space:
        space = {"lr0": _around(values[0].lr0)}
    mapping = {
        "name": name,
        "description": f"Imported from {origin.path.name} ({results.kind}), trained elsewhere.",
        "data": origin.data,
        "model": context.model,
        "image_size": context.image_size,
        "batch_size": context.batch_size,
        "nominal_batch_size": context.nominal_batch_size,
        "epochs": context.epochs,
        "hyperparameters": {key: found[0] for key, found in varying.items() if key not in space},
        "space": space,
        "sampler": "tpe",
        "budget": {"trials": len(values)},
        "seeds": [SEED],
        "fitness": {"map50": 0.0, "map50_95": 0.0, **results.weights},
    }
    return Study.from_mapping(mapping, origin=str(origin.path))


def _parameter(found: Sequence[Any]) -> dict[str, Any]:
    if not isinstance(found[0], float):
        return {"choices": list(found)}
    return {"low": found[0], "high": found[-1], "log": found[0] > 0 and found[-1] / found[0] >= LOG_RATIO}


def _around(lr0: float) -> dict[str, Any]:
    if lr0 == 0:
        return {"low": 0.0, "high": 0.1}
    high = min(lr0 * LR_REACH, numeric_range("lr0")[1])
    return {"low": lr0 / LR_REACH, "high": high, "log": True}


# Storing


def _store(
    storage: Storage,
    study: Study,
    trials: Sequence[ImportedTrial],
    *,
    facts: Mapping[str, str],
    summary: Mapping[str, Any],
) -> None:
    """Writes study and trials, or nothing."""
    opened = storage.open_study(study, make_sampler(study), make_pruner(study))
    study_id = int(opened._study_id)
    try:
        distributions = study.space.distributions()
        opened.add_trials([_frozen(study, trial, distributions) for trial in trials])
        environment_id = storage.keep_environment({**facts, "evolve": version("evolve-yolo")})
        ids = {stored.number: stored._trial_id for stored in opened.get_trials(deepcopy=False)}
        _write_rows(storage, study_id, [(ids[number], trial) for number, trial in enumerate(trials)], environment_id)
        storage.describe_data(study_id, summary, [])
    except BaseException:
        storage.optuna.delete_study(study_id)
        with storage.engine.begin() as connection:
            for table in (schema.study, schema.trial):
                connection.execute(delete(table).where(table.c.study_id == study_id))
        raise


def _frozen(study: Study, trial: ImportedTrial, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    state: TrialState = TrialState.COMPLETE
    value: float | None = trial.fitness
    if trial.verdict is Verdict.DIVERGED:
        state, value = divergence_state(study.sampler)
    elif trial.verdict is Verdict.FAILED:
        state, value = TrialState.FAIL, None
    return create_trial(
        state=state,
        value=value,
        params={name: getattr(trial.values, name) for name in distributions},
        distributions=dict(distributions),
        constraints={DIVERGED: 1.0} if trial.verdict is Verdict.DIVERGED else None,
    )


def _write_rows(
    storage: Storage, study_id: int, trials: Sequence[tuple[int, ImportedTrial]], environment_id: str
) -> None:
    now = time.time()
    rows = [
        {
            "trial_id": trial_id,
            "study_id": study_id,
            "number": number,
            "environment_id": environment_id,
            "started": now,
            "ended": now,
            "verdict": str(trial.verdict),
            "reason": trial.reason,
            "fitness": trial.fitness,
        }
        for number, (trial_id, trial) in enumerate(trials)
    ]
    epochs = [{**epoch, "trial_id": trial_id} for trial_id, trial in trials for epoch in trial.epochs]
    of_training = ("trial_id", "verdict", "reason", "fitness")
    trainings = [{"seed": SEED} | {name: row[name] for name in of_training} for row in rows]
    with storage.engine.begin() as connection:
        connection.execute(insert(schema.trial), rows)
        connection.execute(insert(schema.training), trainings)
        if epochs:
            connection.execute(insert(schema.epoch), epochs)
