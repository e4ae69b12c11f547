"""Trials and studies side by side as they are read: about 200 buckets of steps each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite

import pandas as pd
from sqlalchemy import Connection, Engine

from dashboards.data import queries, trial_queries
from dashboards.data.frames import read_frame
from dashboards.data.measured import Measured
from dashboards.data.study import StudyView
from dashboards.data.trial import diverged_seed
from dashboards.data.trial_sets import TRAINED

MAX_ENTRIES = 12
STEP_TITLES = {"loss": "loss, sum of all terms", "grad_norm": "gradient norm", "lr": "learning rate"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One column of the comparison; `number` is None for a study without a trial that ran to its end."""

    study: StudyView
    number: int | None
    is_study: bool

    @property
    def label(self) -> str:
        """The study, and the trial unless the whole study is meant."""
        name = self.study.facts.name
        if not self.is_study:
            return f"{name} · {self.number}"
        return f"{name} (no best trial yet)" if self.number is None else f"{name} (best: {self.number})"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareView:
    """Trials and studies that are compared.

    Attributes:
        entries: Columns of the comparison, left to right, at most `MAX_ENTRIES`.
        num_chosen: Number of columns that the reader chose, which may be more than are shown.
        measured: Steps of the entries in buckets, with the place of the entry as `slot`, read when they are drawn.
    """

    entries: tuple[Entry, ...]
    num_chosen: int
    measured: Measured


def entry_of(study: StudyView, number: int | None) -> Entry:
    """The column of a trial, or without a number that of a whole study, which its best trial stands for."""
    if number is not None:
        return Entry(study=study, number=number, is_study=False)
    best = study.best
    return Entry(study=study, number=None if best is None else int(best["number"]), is_study=True)


def best_of(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """At most `MAX_ENTRIES` columns: all as they came, or where they are more, the best first.

    Whole studies are kept; then come trials that ran to their end, by fitness, those that were stopped before, those
    that diverged, and those without any number.
    """
    if len(entries) <= MAX_ENTRIES:
        return tuple(entries)
    studies = {entry.study.facts.name: entry.study.trials for entry in entries}
    ranks = {name: _ranks(trials) for name, trials in studies.items()}

    def rank(entry: Entry) -> tuple[int, float]:
        if entry.is_study or entry.number is None:
            return (0, 0.0)
        return ranks[entry.study.facts.name][entry.number]

    return tuple(sorted(entries, key=rank)[:MAX_ENTRIES])


def _ranks(trials: pd.DataFrame) -> dict[int, tuple[int, float]]:
    return {
        int(number): _rank(str(verdict), float(fitness))
        for number, verdict, fitness in zip(trials["number"], trials["verdict"], trials["fitness"], strict=True)
    }


def _rank(verdict: str, fitness: float) -> tuple[int, float]:
    if verdict == "diverged":
        return (3, 0.0)
    if not isfinite(fitness):
        return (4, 0.0)
    return (1 if verdict in TRAINED else 2, -fitness)


STEP_BUCKETS = 200


def compared_steps(engine: Engine, entries: Sequence[Entry]) -> Measured:
    """Steps of each entry, with its place as `slot`; nothing is read yet.

    Args:
        engine: Database that holds the studies of all entries.
        entries: Columns of the comparison. Of each, the seed that diverged is read, or the first one.
    """
    return Measured({"steps": partial(_read, engine, entries)})


def _read(engine: Engine, entries: Sequence[Entry]) -> pd.DataFrame:
    with engine.connect() as connection:
        found = [
            _steps(connection, entry, entry.number).assign(slot=slot, number=entry.number)
            for slot, entry in enumerate(entries)
            if entry.number is not None
        ]
    filled = [frame for frame in found if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()


def _steps(connection: Connection, entry: Entry, number: int) -> pd.DataFrame:
    trial_id = int(entry.study.trial(number)["trial_id"])
    last_steps = {row.seed: row.last_step for row in connection.execute(trial_queries.seed_lengths(trial_id))}
    if not last_steps:
        return pd.DataFrame()
    diverged = diverged_seed(connection, trial_id, entry.study.diagnoses.get(number, {}), list(last_steps))
    seed = next(iter(last_steps)) if diverged is None else diverged
    # Each trial has buckets of its own width, so that one that diverged early keeps all its steps.
    width = -(-(last_steps[seed] + 1) // STEP_BUCKETS)
    return read_frame(connection, queries.step_buckets({trial_id: seed}, width, tuple(STEP_TITLES)))
