"""One trial as it is read, downsampled in the database: about 300 buckets of steps, whatever its length."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from math import isfinite
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Engine, Select

from dashboards.data import queries, trial_queries
from dashboards.data.frames import read_frame
from dashboards.data.measured import FrameName, Measured
from dashboards.data.study import StudyView
from dashboards.data.study_loading import StudyNotFoundError
from evolve.storage import schema

STEP_BUCKETS = 300
RATES = ("lr", "bias_lr", "momentum")
HEALTH = ("grad_norm", "update_ratio", "max_box_logit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """How far a trial is stored: rows of four short statements, equal as long as nothing of the trial is new.

    Attributes:
        lengths: Seed, last step and count of scales of each seed that has steps.
        epochs: Seed, split and count of epochs.
        checkpoints: Seed, epoch, step and path of the last checkpoint of each seed.
        trainings: Seed, verdict, fitness, seconds and reason of each training that has ended.
    """

    lengths: tuple[Any, ...]
    epochs: tuple[Any, ...]
    checkpoints: tuple[Any, ...]
    trainings: tuple[Any, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds that have steps or epochs, rising."""
        return tuple(sorted({row.seed for row in (*self.lengths, *self.epochs)}))

    @property
    def num_scales(self) -> int:
        """Number of scales of the network; 0 where no step is stored."""
        return max((row.num_scales for row in self.lengths), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialView:
    """Everything the page of a trial shows.

    Attributes:
        study: Study of the trial, with all its other trials.
        number: Number of the trial within the study, from 0.
        seed: Seed of the training whose steps and epochs are shown.
        diverged_seed: Seed of the training that diverged; None where none did, or it is not known.
        outline: How far the trial is stored.
        measured: Steps and epochs of that seed, each frame read when a panel first needs it.
    """

    study: StudyView
    number: int
    seed: int
    diverged_seed: int | None
    outline: Outline
    measured: Measured

    @property
    def row(self) -> Mapping[str, Any]:
        """The trial's row in the study."""
        return self.study.trial(self.number)

    @property
    def verdict(self) -> str:
        """What became of the trial."""
        return str(self.row["verdict"])

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds that have steps or epochs, rising."""
        return self.outline.seeds

    def class_name(self, index: int) -> str:
        """Name of a class, or its number where names are not stored."""
        names = self.study.facts.data_summary.get("classes")
        return str(names[index]) if isinstance(names, list) and index < len(names) else f"class {index}"

    @property
    def finished(self) -> dict[int, int]:
        """Epochs that each of `seeds` has finished."""
        return dict.fromkeys(self.seeds, 0) | {
            row.seed: row.num_epochs for row in self.outline.epochs if row.split == "val"
        }


def single_trial(study: StudyView) -> int | None:
    """Number of the trial of a study that searched nothing, a training; None of any other study."""
    is_training = len(study.trials) == 1 and not study.space and not study.facts.config.get("noise")
    return int(study.trials["number"].iloc[0]) if is_training else None


def load_training(engine: Engine, study: StudyView) -> TrialView | None:
    """The one trial of a study that searched nothing; None of any other study."""
    number = single_trial(study)
    if number is None:
        return None
    with engine.connect() as connection:
        outline = load_outline(connection, trial_id_of(study, number))
    return load_trial(engine, study, number, outline)


def trial_id_of(study: StudyView, number: int) -> int:
    """Optuna's id of a trial.

    Raises:
        StudyNotFoundError: The study has no such trial.
    """
    known = set(study.trials["number"])
    if number not in known:
        first_last = f"{min(known)} to {max(known)}" if known else "none yet"
        raise StudyNotFoundError(f"study {study.facts.name}: has no trial {number}; its trials: {first_last}")
    return int(study.trial(number)["trial_id"])


def load_outline(connection: Connection, trial_id: int) -> Outline:
    """How far a trial is stored now."""
    statements = (
        trial_queries.seed_lengths(trial_id),
        trial_queries.epoch_counts(trial_id),
        trial_queries.trial_checkpoints(trial_id),
        trial_queries.trial_trainings(trial_id),
    )
    lengths, epochs, checkpoints, trainings = _all(connection, statements)
    return Outline(lengths=lengths, epochs=epochs, checkpoints=checkpoints, trainings=trainings)


def load_trial(engine: Engine, study: StudyView, number: int, outline: Outline, seed: int | None = None) -> TrialView:
    """A trial of a study that has been read; its measurements are not read yet.

    Args:
        engine: The database of the study.
        study: Study of the trial, with all its other trials.
        number: Number of the trial within the study, from 0.
        outline: How far the trial is stored.
        seed: Seed of the training whose steps to show; None for the one that diverged, or else the first.

    Raises:
        StudyNotFoundError: The study has no such trial, or the trial has no such seed.
    """
    trial_id = trial_id_of(study, number)
    with engine.connect() as connection:
        diverged = diverged_seed(connection, trial_id, study.diagnoses.get(number, {}), outline.seeds)
    shown = _chosen(number, outline.seeds, seed, diverged)
    longest = max((row.last_step + 1 for row in outline.lengths if row.seed == shown), default=1)
    terms = [f"{term}_{scale}" for term in schema.TERMS for scale in range(outline.num_scales)]
    steps = partial(queries.step_buckets, {trial_id: shown}, -(-longest // STEP_BUCKETS))
    statements: dict[FrameName, Select[Any]] = {
        "losses": steps(("loss", *terms)),
        "rates": steps(RATES),
        "health": steps(HEALTH),
        "critical": trial_queries.seed_critical(trial_id, shown),
        "epochs": trial_queries.seed_epochs(trial_id, shown),
        "classes": trial_queries.seed_rows(schema.class_scores, trial_id, shown),
        "objectness": trial_queries.seed_rows(schema.objectness, trial_id, shown),
        "layers": trial_queries.seed_rows(schema.layer, trial_id, shown),
        "watched": trial_queries.seed_rows(schema.watched, trial_id, shown),
        "pictures": trial_queries.seed_pictures(trial_id, shown),
    }
    measured = Measured({name: partial(_read, engine, statement) for name, statement in statements.items()})
    return TrialView(study=study, number=number, seed=shown, diverged_seed=diverged, outline=outline, measured=measured)


def _all(connection: Connection, statements: Iterable[Select[Any]]) -> list[tuple[Any, ...]]:
    return [tuple(connection.execute(statement).all()) for statement in statements]


def _read(engine: Engine, statement: Select[Any]) -> pd.DataFrame:
    with engine.connect() as connection:
        return read_frame(connection, statement)


def diverged_seed(
    connection: Connection, trial_id: int, diagnosis: Mapping[str, Any], seeds: Collection[int]
) -> int | None:
    """Seed of the training that diverged; None where none did, or it cannot be told.

    Args:
        connection: Connection to the database of the trial.
        trial_id: Optuna's id of the trial.
        diagnosis: Stored diagnosis, empty where there is none. Without a seed, its step is looked up in each training.
        seeds: Seeds whose trainings have steps.
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


def _chosen(number: int, seeds: tuple[int, ...], asked: int | None, diverged: int | None) -> int:
    if asked is not None:
        if asked not in seeds:
            raise StudyNotFoundError(f"trial {number}: has no seed {asked}; its seeds: {list(seeds)}")
        return asked
    if diverged is not None:
        return diverged
    return seeds[0] if seeds else 0
