"""One trial as it is read, downsampled in the database: about 300 buckets of steps, whatever its length."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Engine

from dashboards.data import queries, trial_queries
from dashboards.data.frames import read_frame
from dashboards.data.study import StudyView
from dashboards.data.study_loading import StudyNotFoundError
from dashboards.data.trial_queries import TRIAL_MEASUREMENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialView:
    """Everything the page of a trial shows.

    Attributes:
        study: The whole study.
        number: The trial.
        seed: Whose steps and epochs are shown.
        seeds: Those that have steps or epochs.
        diverged_seed: The one that diverged; None where none did, or it is not known.
        finished: Epochs that each of `seeds` has finished.
        num_scales: Of the network.
        steps: Buckets of steps of that seed, lowest and highest of each measurement.
        epochs: All epochs of that seed.
        checkpoints: The last one of each seed.
    """

    study: StudyView
    number: int
    seed: int
    seeds: tuple[int, ...]
    diverged_seed: int | None
    finished: Mapping[int, int]
    num_scales: int
    steps: pd.DataFrame
    epochs: pd.DataFrame
    checkpoints: pd.DataFrame

    @property
    def row(self) -> Mapping[str, Any]:
        """The trial's row in the study."""
        return self.study.trial(self.number)

    @property
    def verdict(self) -> str:
        """What became of it."""
        return str(self.row["verdict"])


STEP_BUCKETS = 300


def load_trial(engine: Engine, study: StudyView, number: int, seed: int | None = None) -> TrialView:
    """A trial of a study that has been read.

    Args:
        engine: The database of the study.
        study: The whole study.
        number: The trial.
        seed: Whose steps to read; by default the one that diverged, or the first.

    Raises:
        StudyNotFoundError: The study has no such trial, or the trial has no such seed.
    """
    known = set(study.trials["number"])
    if number not in known:
        first_last = f"{min(known)} to {max(known)}" if known else "none yet"
        raise StudyNotFoundError(f"study {study.facts.name}: has no trial {number}; its trials: {first_last}")
    trial_id = int(study.trial(number)["trial_id"])
    with engine.connect() as connection:
        lengths = connection.execute(trial_queries.seed_lengths(trial_id)).all()
        epochs = read_frame(connection, trial_queries.trial_epochs(trial_id))
        seeds = tuple(sorted({row.seed for row in lengths} | {int(each) for each in epochs["seed"]}))
        diverged = diverged_seed(connection, trial_id, study.diagnoses.get(number, {}), seeds)
        shown = _chosen(number, seeds, seed, diverged)
        longest = max((row.last_step + 1 for row in lengths if row.seed == shown), default=1)
        width = -(-longest // STEP_BUCKETS)
        steps = queries.step_buckets({trial_id: shown}, width, TRIAL_MEASUREMENTS)
        return TrialView(
            study=study,
            number=number,
            seed=shown,
            seeds=seeds,
            diverged_seed=diverged,
            finished=_finished(epochs, seeds),
            num_scales=max((row.num_scales for row in lengths), default=0),
            steps=read_frame(connection, steps),
            epochs=epochs[epochs["seed"] == shown].reset_index(drop=True),
            checkpoints=read_frame(connection, trial_queries.trial_checkpoints(trial_id)),
        )


def diverged_seed(
    connection: Connection, trial_id: int, diagnosis: Mapping[str, Any], seeds: Collection[int]
) -> int | None:
    """Seed of the training that diverged; None where none did, or it cannot be told.

    Args:
        connection: The database of the trial.
        trial_id: Optuna's.
        diagnosis: As stored, empty where there is none. Where it holds no seed, its step is looked at in each training.
        seeds: That have steps.
    """
    if not diagnosis:
        return None
    stored, step = diagnosis.get("seed"), diagnosis.get("step")
    if isinstance(stored, int) and stored in seeds:
        return stored
    if isinstance(step, int):
        for row in connection.execute(trial_queries.steps_at(trial_id, step)):
            if not (isfinite(row.loss) and isfinite(row.grad_norm)):
                return int(row.seed)
    return next(iter(seeds)) if len(seeds) == 1 else None


def _finished(epochs: pd.DataFrame, seeds: Collection[int]) -> dict[int, int]:
    validated = epochs[epochs["split"] == "val"]
    return {seed: int((validated["seed"] == seed).sum()) for seed in seeds}


def _chosen(number: int, seeds: tuple[int, ...], asked: int | None, diverged: int | None) -> int:
    if asked is not None:
        if asked not in seeds:
            raise StudyNotFoundError(f"trial {number}: has no seed {asked}; its seeds: {list(seeds)}")
        return asked
    if diverged is not None:
        return diverged
    return seeds[0] if seeds else 0
