"""Reading one trial, thinned in the database: about 300 buckets of steps, whatever its length."""

from __future__ import annotations

from sqlalchemy import Engine

from dashboards.views import queries, trial_queries
from dashboards.views.frames import read_frame
from dashboards.views.loading import StudyNotFoundError
from dashboards.views.study import StudyView
from dashboards.views.trial import TrialView

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
        shown = _chosen(study, number, seeds, seed)
        longest = max((row.last_step + 1 for row in lengths if row.seed == shown), default=1)
        width = -(-longest // STEP_BUCKETS)
        steps = queries.step_buckets({trial_id: shown}, width, trial_queries.TRIAL_MEASUREMENTS)
        return TrialView(
            study=study,
            number=number,
            seed=shown,
            seeds=seeds,
            num_scales=max((row.num_scales for row in lengths), default=0),
            steps=read_frame(connection, steps),
            epochs=epochs[epochs["seed"] == shown].reset_index(drop=True),
            checkpoints=read_frame(connection, trial_queries.trial_checkpoints(trial_id)),
        )


def _chosen(study: StudyView, number: int, seeds: tuple[int, ...], asked: int | None) -> int:
    if asked is not None:
        if asked not in seeds:
            raise StudyNotFoundError(f"trial {number}: has no seed {asked}; its seeds: {list(seeds)}")
        return asked
    diverged = study.diagnoses.get(number, {}).get("seed")
    if diverged in seeds:
        return int(str(diverged))
    return seeds[0] if seeds else 0
