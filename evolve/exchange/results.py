"""Results of other trainers' searches as a study of ours: shown, reported, and a history that samplers go on from."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from math import isfinite, nan
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import delete, insert

from detector.hyperparameters import Hyperparameters, names, numeric_range
from detector.text_files import TextFileError, read_text
from evolve.errors import StudyError
from evolve.exchange.dialects import Context, DialectError, from_dialect, named, ultralytics, yolov3
from evolve.exchange.dialects.results import METRICS, Results, Row
from evolve.exchange.dialects.source import Entry, Source
from evolve.outcome.verdict import Verdict
from evolve.search.pruners import make_pruner
from evolve.search.samplers import DIVERGED, divergence_state, make_sampler
from evolve.storage import schema
from evolve.storage.database import Storage
from evolve.study import Study

SEED = 0
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
        path: Of the file; the hyp file beside a results.csv is read, too.
        data: What a search that goes on trains on.
        counts: Number of training images and of classes there, as far as they are known.
    """

    path: Path
    data: str = "not-given"
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedTrial:
    """One training of somebody else's search.

    Attributes:
        values: Hyperparameters in our meaning.
        verdict: converged, undertrained, diverged or failed.
        reason: In words, with the place in the file.
        fitness: At its end, nan if it diverged or failed.
        epochs: Rows for `evolve_epoch` without the trial's id.
    """

    values: Hyperparameters
    verdict: str
    reason: str
    fitness: float
    epochs: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedStudy:
    """What was imported.

    Attributes:
        study: As stored.
        kind: Of the file.
        verdicts: Count of trials by verdict.
        best: Number and fitness of the best trial, None where none counts.
        notes: What could not be carried over, and what was assumed.
    """

    study: Study
    kind: str
    verdicts: Mapping[str, int]
    best: tuple[int, float] | None
    notes: tuple[str, ...]


def import_results(storage: Storage, results: Results, context: Context, *, name: str, origin: Origin) -> ImportedStudy:
    """Stores the trainings of a result file as a new study.

    Args:
        storage: Where to.
        results: Content of the file.
        context: The trainings that it is of.
        name: Of the study.
        origin: Where it is from.

    Raises:
        StudyError: A study of that name is there already, or the definition is not allowed.
        DialectError: A value does not fit; names line and column.
    """
    if name in storage.study_names():
        raise StudyError(f"study {name}: is in {storage.url} already; choose another --name")
    path = origin.path
    if results.kind == "results.csv":
        context = replace(context, epochs=len(results.rows))
    values, notes = _values(results, context, path)
    study = _study(values, results, context, name=name, origin=origin)
    if results.kind == "results.csv":
        trials = [_trained(study, results, values[0], context, path)]
    else:
        trials = [_judged(study, row, each, context, path) for row, each in zip(results.rows, values, strict=True)]
    facts = {"origin": str(path), "format": results.kind, "dialect": results.dialect, "device": "trained elsewhere"}
    summary = {"note": f"not looked at; imported from {path}", "imported": dict(origin.counts)}
    _store(storage, study, trials, facts=facts, summary=summary)
    ended = [each.verdict for each in trials]
    number = storage.best(storage.study_id(name))
    return ImportedStudy(
        study=study,
        kind=results.kind,
        verdicts={each: ended.count(each) for each in sorted(set(ended))},
        best=None if number is None else (number, trials[number].fitness),
        notes=(*results.notes, *notes),
    )


# Hyperparameters


def _values(results: Results, context: Context, origin: Path) -> tuple[list[Hyperparameters], list[str]]:
    """Hyperparameters of each training, and the notes of reading them, each once."""
    if results.kind == "results.csv":
        return _values_beside(results, context, origin)
    dialect = named(results.dialect)
    imported = [dialect.from_source(row.keys, context) for row in results.rows]
    return [each.values for each in imported], list(
        dict.fromkeys(note for each in imported[:NOTED_ROWS] for note in each.notes)
    )


def _values_beside(results: Results, context: Context, origin: Path) -> tuple[list[Hyperparameters], list[str]]:
    """Hyperparameters of the one run: of the hyp file in its folder, else of the learning rates it logged."""
    for file, dialect in (("hyp.yaml", yolov3.NAME), ("args.yaml", ultralytics.NAME)):
        path = origin.with_name(file)
        if path.is_file():
            found = from_dialect(dialect, _text(path), context, origin=str(path))
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


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except TextFileError as error:
        raise DialectError(f"{path}: {error}") from None


def _study(
    values: Sequence[Hyperparameters], results: Results, context: Context, *, name: str, origin: Origin
) -> Study:
    """A study whose space is what varied, as far as it varied."""
    varying = {each: sorted({getattr(one, each) for one in values}) for each in names()}
    space = {each: _parameter(found) for each, found in varying.items() if len(found) > 1}
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
        "hyperparameters": {each: found[0] for each, found in varying.items() if each not in space},
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


# Trials


def _judged(study: Study, row: Row, values: Hyperparameters, context: Context, origin: Path) -> ImportedTrial:
    """A training of which only the end is known."""
    fitness, place = _fitness(study, row), f"{origin.name} line {row.line}"
    verdict, reason = Verdict.CONVERGED, f"fitness {fitness:.3g}, trained elsewhere ({place})"
    if row.failure:
        verdict, reason, fitness = Verdict.FAILED, f"{row.failure} ({place})", nan
    elif not isfinite(fitness):
        verdict, reason = Verdict.DIVERGED, f"fitness or a metric is not finite ({place})"
        fitness = nan
    elif fitness < study.thresholds.floor:
        verdict = Verdict.UNDERTRAINED
        reason = f"fitness {fitness:.2g} never left the ground (below {study.thresholds.floor:g}; {place})"
    last = _epoch(row, fitness, epoch=context.epochs - 1, context=context)
    has_metrics = bool(row.metrics) and verdict is not Verdict.FAILED
    return ImportedTrial(
        values=values,
        verdict=str(verdict),
        reason=reason,
        fitness=fitness,
        epochs=(last,) if has_metrics else (),
    )


def _trained(study: Study, results: Results, values: Hyperparameters, context: Context, origin: Path) -> ImportedTrial:
    """The training of a results.csv, all its epochs known."""
    fitness = [_fitness(study, row) for row in results.rows]
    place = f"{origin.name} line {results.rows[-1].line}"
    last = fitness[-1]
    verdict, reason = Verdict.CONVERGED, f"fitness {last:.3g} after {len(fitness)} epochs, trained elsewhere ({place})"
    broken = [row.line for row, each in zip(results.rows, fitness, strict=True) if not _is_sound(row, each)]
    if broken:
        verdict, last = Verdict.DIVERGED, nan
        reason = f"a loss or metric is not finite ({origin.name} line {broken[0]})"
    elif last < study.thresholds.floor:
        verdict, reason = Verdict.UNDERTRAINED, f"fitness {last:.2g} never left the ground ({place})"
    epochs = tuple(
        _epoch(row, each, epoch=number, context=context)
        for number, (row, each) in enumerate(zip(results.rows, fitness, strict=True))
    )
    return ImportedTrial(values=values, verdict=str(verdict), reason=reason, fitness=last, epochs=epochs)


def _is_sound(row: Row, fitness: float) -> bool:
    return isfinite(fitness) and all(map(isfinite, row.train_losses.values()))


def _fitness(study: Study, row: Row) -> float:
    if row.fitness is not None:
        # A tuner that was told NaN metrics may still have written a number.
        return row.fitness if all(map(isfinite, row.metrics.values())) else nan
    weights = study.fitness.model_dump()
    # A metric without weight may be missing, and 0 * nan is nan.
    known = {name: row.metrics.get(name, nan) if weights[name] else 0.0 for name in weights}
    return study.fitness.score(**known)


def _epoch(row: Row, fitness: float, *, epoch: int, context: Context) -> dict[str, Any]:
    return {
        "seed": SEED,
        "split": "val",
        "epoch": epoch,
        "step": (epoch + 1) * context.batches,
        "fitness": fitness,
        **{name: row.metrics.get(name, nan) for name in set(METRICS.values())},
        **{f"loss_{term}": row.losses.get(term, nan) for term in schema.TERMS},
        **{f"train_{term}": row.train_losses.get(term, nan) for term in schema.TERMS},
        "seconds": None,
    }


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
        opened.add_trials([_frozen(study, each, distributions) for each in trials])
        environment_id = storage.keep_environment({**facts, "evolve": version("evolve-yolo")})
        ids = {each.number: each._trial_id for each in opened.get_trials(deepcopy=False)}
        _write_rows(storage, study_id, [(ids[number], each) for number, each in enumerate(trials)], environment_id)
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
    if trial.verdict == Verdict.DIVERGED:
        state, value = divergence_state(study.sampler)
    elif trial.verdict == Verdict.FAILED:
        state, value = TrialState.FAIL, None
    return create_trial(
        state=state,
        value=value,
        params={name: getattr(trial.values, name) for name in distributions},
        distributions=dict(distributions),
        constraints={DIVERGED: 1.0} if trial.verdict == Verdict.DIVERGED else None,
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
            "verdict": trial.verdict,
            "reason": trial.reason,
            "fitness": trial.fitness,
        }
        for number, (trial_id, trial) in enumerate(trials)
    ]
    epochs = [{**each, "trial_id": trial_id} for trial_id, trial in trials for each in trial.epochs]
    with storage.engine.begin() as connection:
        connection.execute(insert(schema.trial), rows)
        if epochs:
            connection.execute(insert(schema.epoch), epochs)


def as_json(imported: ImportedStudy) -> dict[str, Any]:
    """An imported study for machines."""
    best = imported.best
    return {
        "study": imported.study.name,
        "kind": imported.kind,
        "verdicts": dict(imported.verdicts),
        "best": None if best is None else {"number": best[0], "fitness": best[1]},
        "space": imported.study.space.to_mapping(),
        "notes": list(imported.notes),
    }


def imported_text(imported: ImportedStudy, assumed: Sequence[str]) -> str:
    """An imported study in lines for people."""
    counts = ", ".join(f"{count} {verdict}" for verdict, count in imported.verdicts.items())
    lines = [f"study   {imported.study.name}: {counts}  (from {imported.kind})"]
    if imported.best is not None:
        lines.append(f"best    trial {imported.best[0]}: fitness {imported.best[1]:.4f}")
    return "\n".join([*lines, *(f"note    {each}" for each in (*assumed, *imported.notes))])
