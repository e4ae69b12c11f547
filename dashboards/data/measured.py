"""What was measured in the trials of a study: frames that are read when a picture first asks for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from math import isfinite
from threading import RLock
from typing import Any, Literal, TypeAlias

import pandas as pd
from sqlalchemy import Connection, Engine, Select

from dashboards.data import queries
from dashboards.data.frames import read_frame, read_json, shown_verdicts
from dashboards.data.trial_sets import best_numbers, finished, numbered, spread_evenly
from evolve.findings.search import num_top
from evolve.outcome.cured import SUFFIX, cure_numbers
from evolve.outcome.verdict import TRAINED_THROUGH
from evolve.storage.under_way import is_run
from evolve.study.arms import ALL_TRIALS

FrameName: TypeAlias = Literal[
    "epochs",
    "best_curves",
    "seed_results",
    "steps",
    "last_steps",
    "trainings",
    "seed_epochs",
    "critical",
    "losses",
    "rates",
    "health",
    "classes",
    "objectness",
    "layers",
    "watched",
    "pictures",
    "cures",
]


class Measured:
    """Frames with a column `number`, each read at most once; several threads may ask.

    Args:
        readers: Function that reads each frame, by the name of the frame.
    """

    def __init__(self, readers: Mapping[FrameName, Callable[[], pd.DataFrame]]) -> None:
        self._readers = readers
        self._frames: dict[FrameName, pd.DataFrame] = {}
        self._lock = RLock()

    def frame(self, name: FrameName) -> pd.DataFrame:
        """The frame of that name; what its reader raises is raised, and the next call tries again."""
        with self._lock:
            if name not in self._frames:
                self._frames[name] = self._readers[name]()
            return self._frames[name]

    def restricted(self, numbers: Collection[int]) -> Measured:
        """The same with the rows of these trials alone."""

        def own(name: FrameName) -> pd.DataFrame:
            rows = self.frame(name)
            return rows[rows["number"].isin(numbers)].reset_index(drop=True)

        return Measured({name: partial(own, name) for name in self._readers})


NUM_SEEDED_TRIALS = 12
NUM_STEP_TRIALS = 16
STEP_BUCKETS = 400
NUM_LAST_STEP_TRIALS = 6
NUM_LAST_STEPS = 100


def measured_of_study(
    engine: Engine,
    study_id: int,
    *,
    name: str,
    trials: pd.DataFrame,
    params: pd.DataFrame,
    diagnoses: Mapping[int, Mapping[str, Any]],
    compared: range = ALL_TRIALS,
) -> Measured:
    """Measurements of a study whose trials have been read; nothing is read yet.

    Args:
        engine: The database of the study.
        study_id: Optuna's id of the study.
        name: Name of the study.
        trials: All trials of the study; what is measured in later ones is left out.
        params: Hyperparameters of these trials by number, one column each.
        diagnoses: Stored diagnosis of each diverged trial, by number of the trial.
        compared: Numbers of the trials that can be the best.
    """
    candidates = numbered(trials, compared)
    readers: dict[FrameName, Callable[[Connection], pd.DataFrame]] = {
        "epochs": lambda connection: _epochs(connection, study_id, trials),
        "best_curves": lambda connection: _best_curves(connection, trials),
        "seed_results": lambda connection: _seed_results(connection, candidates),
        "steps": lambda connection: _steps(connection, trials, params),
        "last_steps": lambda connection: _last_steps(connection, trials, diagnoses),
        "trainings": lambda connection: _of_trials(connection, queries.training_rows(study_id), trials),
        "seed_epochs": lambda connection: _of_trials(connection, queries.seed_epoch_rows(study_id), trials),
        "cures": lambda connection: _cures(connection, name),
        "critical": lambda connection: _of_trials(connection, queries.critical_rows(study_id), trials),
    }
    return Measured({name: partial(_read, engine, reader) for name, reader in readers.items()})


def step_trials(trials: pd.DataFrame, params: pd.DataFrame, count: int) -> list[int]:
    """Numbers of the trials whose steps are worth reading: the best, and others spread over the learning rates.

    Args:
        trials: All trials of the study.
        params: Their hyperparameters; without lr0 the trials are spread over their numbers.
        count: Number of trials to choose at most.
    """
    started = trials[trials["verdict"] != "waiting"]["number"]
    best = best_numbers(trials, 1)
    rates = params["lr0"].reindex(started) if "lr0" in params else pd.Series(started.to_numpy(), index=started)
    ranked = [int(number) for number in rates.sort_values(kind="stable").index if number not in best]
    return best + spread_evenly(ranked, count - len(best))


def _read(engine: Engine, reader: Callable[[Connection], pd.DataFrame]) -> pd.DataFrame:
    with engine.connect() as connection:
        return reader(connection)


def _epochs(connection: Connection, study_id: int, trials: pd.DataFrame) -> pd.DataFrame:
    frame = read_frame(connection, queries.epoch_rows(study_id))
    return frame.merge(trials[["trial_id", "number", "verdict"]], on="trial_id")


def _best_curves(connection: Connection, trials: pd.DataFrame) -> pd.DataFrame:
    """Curves of as many of the best trials as findings are about."""
    through = trials[trials["verdict"].isin(TRAINED_THROUGH)]
    ids = _ids(trials, best_numbers(through, num_top(len(finished(through)))))
    return _of_trials(connection, queries.curve_rows(ids), trials)


def _of_trials(connection: Connection, query: Select[Any], trials: pd.DataFrame) -> pd.DataFrame:
    return read_frame(connection, query).merge(trials[["trial_id", "number"]], on="trial_id")


def _cures(connection: Connection, name: str) -> pd.DataFrame:
    """Verdict, reason and fitness of the trials that try the remedies of this study's, by the number of the latter."""
    columns = ("number", "verdict", "reason", "fitness")
    study = connection.execute(queries.study_by_name(f"{name}{SUFFIX}")).one_or_none()
    tried = {} if study is None else cure_numbers(read_json(study.config).get("decisions") or {})
    if study is None or not tried:
        return pd.DataFrame({column: [] for column in columns}).astype({"number": "int64"})
    rows = read_frame(connection, queries.trial_rows(study.study_id))
    has_runner = is_run(study.config, study.heartbeat, time.time())
    rows = rows.assign(verdict=shown_verdicts(rows, has_runner=has_runner)).set_index("number")
    found = rows.reindex([place for place in tried.values() if place in rows.index])
    numbers = {place: number for number, place in tried.items()}
    tried_for = [numbers[place] for place in found.index]
    return found.assign(number=tried_for, reason=found["reason"].fillna(""))[list(columns)].reset_index(drop=True)


def _seed_results(connection: Connection, trials: pd.DataFrame) -> pd.DataFrame:
    ids = _ids(trials, best_numbers(trials, NUM_SEEDED_TRIALS))
    return read_frame(connection, queries.seed_rows(ids)).merge(trials[["trial_id", "number"]], on="trial_id")


def _steps(connection: Connection, trials: pd.DataFrame, params: pd.DataFrame) -> pd.DataFrame:
    ids = _ids(trials, step_trials(trials, params, NUM_STEP_TRIALS))
    ranges = connection.execute(queries.step_ranges(ids)).all()
    longest = max((row.last_step for row in ranges), default=0) + 1
    seeds = {row.trial_id: row.seed for row in ranges}
    width = -(-longest // STEP_BUCKETS)
    frame = read_frame(connection, queries.step_buckets(seeds, width))
    return frame.merge(trials[["trial_id", "number", "verdict"]], on="trial_id")


def _last_steps(
    connection: Connection, trials: pd.DataFrame, diagnoses: Mapping[int, Mapping[str, Any]]
) -> pd.DataFrame:
    known = {number: found["step"] for number, found in sorted(diagnoses.items()) if _is_step(found.get("step"))}
    chosen = spread_evenly(sorted(known, key=lambda number: int(known[number])), NUM_LAST_STEP_TRIALS)
    ends = {trial_id: int(known[number]) for number, trial_id in zip(chosen, _ids(trials, chosen), strict=True)}
    frame = read_frame(connection, queries.steps_up_to(ends, NUM_LAST_STEPS)).merge(
        trials[["trial_id", "number"]], on="trial_id"
    )
    return _diverging_seed(frame.assign(end=frame["trial_id"].map(ends)), diagnoses)


def _diverging_seed(frame: pd.DataFrame, diagnoses: Mapping[int, Mapping[str, Any]]) -> pd.DataFrame:
    kept = []
    for number, rows in frame.groupby("number"):
        at_end = rows[rows["step"] == rows["end"]]
        broken = at_end[~at_end[["loss", "grad_norm"]].map(isfinite).all(axis=1)]
        seed = diagnoses[int(str(number))].get("seed")
        if seed is None:  # stored before seeds were
            seed = broken["seed"].min() if len(broken) else rows["seed"].min()
        kept.append(rows[rows["seed"] == seed])
    return pd.concat(kept, ignore_index=True) if kept else frame


def _is_step(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _ids(trials: pd.DataFrame, numbers: Sequence[int]) -> list[int]:
    by_number = trials.set_index("number")["trial_id"]
    return [int(by_number[number]) for number in numbers]
