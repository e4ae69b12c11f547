"""The trials of a study with all that is stored about each, read in nine statements whatever their number."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import nan
from statistics import fmean
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    and_,
    func,
    select,
)

from detector.telemetry import METRICS
from evolve.analysis import spread_text
from evolve.errors import StorageError
from evolve.findings.search import Tried
from evolve.outcome.verdict import TRAINED_THROUGH
from evolve.storage import schema
from evolve.storage.optuna_tables import PARAMS, STUDIES, TRIALS
from evolve.storage.sqlite import without_password
from evolve.storage.under_way import is_run, shown_verdict, studies_and_holders


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What somebody wrote about a trial.

    Attributes:
        created: Seconds since 1970.
        author: Name of the account, empty where it had none.
        text, tag: The note and its tag as they were written; one of them may be empty.
    """

    created: float
    author: str
    text: str
    tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The last file of weights that a training wrote; it may have been removed since.

    Attributes:
        seed: Seed of the training that wrote it.
        epoch: Epoch at whose end it was written.
        step: Number of steps done by then.
        path: Path of the file, relative to the run folder of the study.
    """

    seed: int
    epoch: int
    step: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How a training of a trial ended, as it is stored.

    Attributes:
        seed: The seed that the trial was trained with.
        verdict: What became of the training; None where only the trial's verdict is known.
        reason: The verdict in words; empty where it is not known.
        fitness: Fitness on the validation images after its last epoch; None where there is none.
        seconds: Seconds that it trained over all its starts; None where they are not known.
    """

    seed: int
    verdict: str | None
    reason: str
    fitness: float | None
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRow:
    """What is stored about a trial.

    Attributes:
        study: Name of the study.
        number: Number of the trial within the study, from 0.
        verdict: What became of it, as `shown_verdict` says it; unjudged where evolve did not train it.
        fitness: Mean over the seeds on the validation images, None where there is none.
        params: Values of the searched hyperparameters by name.
        reason: Why the verdict is what it is, in words.
        seconds: Training time summed over all seeds, None while it trains.
        trainings: How each of its trainings ended, by seed; none for those that have not.
        by_seed: Metrics of the last epoch by seed and split (val, test).
        diagnosis: How the trial diverged; None where it did not.
        notes: Notes on the trial, oldest first.
        events: Other events of the trial, such as a worker that was lost; oldest first.
        checkpoints: Last file of weights of each training, by seed.
        traceback: Python traceback of a failed training, empty without a failure.
    """

    study: str
    number: int
    verdict: str
    fitness: float | None
    params: Mapping[str, Any]
    reason: str
    seconds: float | None
    trainings: Sequence[Training]
    by_seed: Mapping[int, Mapping[str, Mapping[str, float]]]
    diagnosis: Mapping[str, Any] | None
    notes: Sequence[Note]
    events: Sequence[str]
    checkpoints: Sequence[Checkpoint]
    traceback: str

    @property
    def is_trained_through(self) -> bool:
        """Whether it can be the best of its study."""
        return self.verdict in TRAINED_THROUGH and self.fitness is not None

    @property
    def tried(self) -> Tried:
        """The trial as rules over a search see it, without its curve."""
        fitness = nan if self.fitness is None else self.fitness
        return Tried(number=self.number, verdict=self.verdict, params=self.params, fitness=fitness)

    @property
    def spread(self) -> str:
        """How far the fitness, a mean over seeds, can be trusted; empty where that of no seed is known."""
        return spread_text([training.fitness for training in self.trainings if training.fitness is not None])

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Means over the seeds by split; NaN where a seed has no number."""
        splits = sorted({split for metrics in self.by_seed.values() for split in metrics}, reverse=True)
        return {split: self._means(split) for split in splits}

    def _means(self, split: str) -> dict[str, float]:
        found = [metrics[split] for metrics in self.by_seed.values() if split in metrics]
        return {name: fmean(metrics[name] for metrics in found) for name in METRICS}

    def as_json(self) -> dict[str, Any]:
        """The row for machines."""
        return {
            "study": self.study,
            "trial": self.number,
            "verdict": self.verdict,
            "fitness": self.fitness,
            "spread": self.spread,
            "params": dict(self.params),
            "reason": self.reason,
            "seconds": self.seconds,
            "seeds": list(self.by_seed),
            "trainings": [asdict(training) for training in self.trainings],
            "metrics": self.metrics,
            "by_seed": {str(seed): dict(metrics) for seed, metrics in self.by_seed.items()},
            "diagnosis": self.diagnosis,
            "notes": [asdict(note) for note in self.notes],
            "events": list(self.events),
            "checkpoints": [asdict(checkpoint) for checkpoint in self.checkpoints],
            "traceback": self.traceback,
        }


def trial_rows(engine: Engine, study: str, *, number: int | None = None) -> list[TrialRow]:
    """A row for every trial or for one: those that trained through before others, the fittest first.

    Args:
        engine: A database with Optuna's tables and ours.
        study: Name of the study.
        number: Number of the only trial to read; None reads all.

    Raises:
        StorageError: There is no such study, or no such trial in it.
    """
    with engine.connect() as connection:
        columns = (STUDIES.c.study_id, schema.study.c.config, schema.lease.c.heartbeat)
        query = select(*columns).select_from(studies_and_holders()).where(STUDIES.c.study_name == study)
        found = connection.execute(query).one_or_none()
        if found is None:
            raise StorageError(f"study {study}: is not in {without_password(engine.url)}")
        chosen = TRIALS.c.study_id == found.study_id
        if number is not None:
            _check_number(connection, study, chosen, number)
            chosen &= TRIALS.c.number == number
        has_runner = is_run(found.config, found.heartbeat, time.time())
        rows = _rows(connection, study, chosen, has_runner=has_runner)
    return sorted(rows, key=lambda row: (not row.is_trained_through, row.fitness is None, -(row.fitness or 0.0)))


def description_of(engine: Engine, study: str) -> str:
    """What a study is to find out, in its own words; empty where it says nothing or evolve did not make it."""
    ours = schema.study
    query = select(ours.c.config).join(STUDIES, STUDIES.c.study_id == ours.c.study_id)
    with engine.connect() as connection:
        config = connection.scalar(query.where(STUDIES.c.study_name == study))
    return " ".join(str(json.loads(config or "{}").get("description", "")).split())


def _check_number(connection: Connection, study: str, of_study: ColumnElement[bool], number: int) -> None:
    last = connection.scalar(select(func.max(TRIALS.c.number)).where(of_study))
    if last is None or not 0 <= number <= last:
        known = "it has no trials yet" if last is None else f"its trials are 0 to {last}"
        raise StorageError(f"study {study}: has no trial {number}; {known}")


def _rows(connection: Connection, study: str, chosen: ColumnElement[bool], *, has_runner: bool) -> list[TrialRow]:
    params, by_seed = _params(connection, chosen), _last_epochs(connection, chosen)
    notes, checkpoints = _notes(connection, chosen), _checkpoints(connection, chosen)
    events, trainings = _events(connection, chosen), _trainings(connection, chosen)
    ours = schema.trial
    names = ("verdict", "reason", "fitness", "seconds", "diagnosis", "traceback")
    query = (
        select(TRIALS.c.trial_id, TRIALS.c.number, TRIALS.c.state, *(ours.c[name] for name in names))
        .select_from(TRIALS.outerjoin(ours, ours.c.trial_id == TRIALS.c.trial_id))
        .where(chosen)
        .order_by(TRIALS.c.number)
    )
    return [
        TrialRow(
            study=study,
            number=row.number,
            verdict=shown_verdict(row.verdict, row.state, has_runner=has_runner),
            fitness=_known(row.fitness),
            params=params[row.trial_id],
            reason=row.reason or "",
            seconds=_known(row.seconds),
            trainings=trainings[row.trial_id],
            by_seed=by_seed[row.trial_id],
            diagnosis=json.loads(row.diagnosis) if row.diagnosis else None,
            notes=notes[row.trial_id],
            events=events[row.trial_id],
            checkpoints=checkpoints[row.trial_id],
            traceback=row.traceback or "",
        )
        for row in connection.execute(query)
    ]


def _known(value: float | None) -> float | None:
    return None if value is None or value != value else value


def _params(connection: Connection, chosen: ColumnElement[bool]) -> dict[int, dict[str, Any]]:
    """Parameters by trial id and name, in the order in which they were drawn."""
    own = PARAMS.c
    of_chosen = PARAMS.join(TRIALS, TRIALS.c.trial_id == own.trial_id)
    # A choice is stored as its index, and Optuna lets no parameter change its choices or kind within a study.
    kinds = select(own.param_name, func.min(own.distribution_json)).select_from(of_chosen).where(chosen)
    distributions: dict[str, BaseDistribution] = {
        name: json_to_distribution(text) for name, text in connection.execute(kinds.group_by(own.param_name))
    }
    values = select(own.trial_id, own.param_name, own.param_value).select_from(of_chosen).where(chosen)
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    for trial_id, name, value in connection.execute(values.order_by(own.param_id)):
        found[trial_id][name] = distributions[name].to_external_repr(value)
    return found


def _last_epochs(
    connection: Connection, chosen: ColumnElement[bool]
) -> dict[int, dict[int, dict[str, dict[str, float]]]]:
    """Metrics of the last epoch by trial id, seed and split."""
    epoch = schema.epoch
    keys = (epoch.c.trial_id, epoch.c.seed, epoch.c.split)
    of_chosen = epoch.join(TRIALS, TRIALS.c.trial_id == epoch.c.trial_id)
    last = select(*keys, func.max(epoch.c.epoch).label("last")).select_from(of_chosen).where(chosen)
    ends = last.group_by(*keys).subquery()
    is_last = and_(*(ends.c[key.name] == key for key in keys), ends.c.last == epoch.c.epoch)
    query = select(*keys, *(epoch.c[name] for name in METRICS)).select_from(epoch.join(ends, is_last))
    found: dict[int, dict[int, dict[str, dict[str, float]]]] = defaultdict(dict)
    for trial_id, seed, split, *values in connection.execute(query.order_by(*keys)):
        found[trial_id].setdefault(seed, {})[split] = dict(zip(METRICS, values, strict=True))
    return found


def _trainings(connection: Connection, chosen: ColumnElement[bool]) -> dict[int, list[Training]]:
    own = schema.training.c
    query = select(own.trial_id, own.seed, own.verdict, own.reason, own.fitness, own.seconds)
    query = query.join(TRIALS, TRIALS.c.trial_id == own.trial_id).where(chosen).order_by(own.trial_id, own.seed)
    found: dict[int, list[Training]] = defaultdict(list)
    for trial_id, seed, verdict, reason, *numbers in connection.execute(query):
        fitness, seconds = map(_known, numbers)
        found[trial_id].append(Training(seed=seed, verdict=verdict, reason=reason, fitness=fitness, seconds=seconds))
    return found


def _notes(connection: Connection, chosen: ColumnElement[bool]) -> dict[int, list[Note]]:
    own = schema.note.c
    found: dict[int, list[Note]] = defaultdict(list)
    query = select(own.trial_id, own.created, own.author, own.text, own.tag)
    query = query.join(TRIALS, TRIALS.c.trial_id == own.trial_id).where(chosen).order_by(own.note_id)
    for row in connection.execute(query):
        found[row.trial_id].append(Note(created=row.created, author=row.author, text=row.text, tag=row.tag))
    return found


def _events(connection: Connection, chosen: ColumnElement[bool]) -> dict[int, list[str]]:
    own = schema.event.c
    found: dict[int, list[str]] = defaultdict(list)
    query = select(own.trial_id, own.kind, own.message).join(TRIALS, TRIALS.c.trial_id == own.trial_id)
    for trial_id, kind, message in connection.execute(query.where(chosen).order_by(own.event_id)):
        found[trial_id].append(f"{kind.replace('_', ' ')}: {message}")
    return found


def _checkpoints(connection: Connection, chosen: ColumnElement[bool]) -> dict[int, list[Checkpoint]]:
    own = schema.checkpoint.c
    query = select(own.trial_id, own.seed, own.epoch, own.step, own.path)
    query = query.join(TRIALS, TRIALS.c.trial_id == own.trial_id).where(chosen).order_by(own.trial_id, own.seed)
    found: dict[int, list[Checkpoint]] = defaultdict(list)
    for row in connection.execute(query):
        found[row.trial_id].append(Checkpoint(seed=row.seed, epoch=row.epoch, step=row.step, path=row.path))
    return found
