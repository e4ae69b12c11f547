"""Ablations that are stored: what they compare, and how the trainings of their arms ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Engine, select

from evolve.storage import schema
from evolve.storage.optuna_tables import STUDIES, TRIALS
from evolve.study import Study

if TYPE_CHECKING:
    from evolve.ablation.trained import Trained


def trainings_of(engine: Engine, study: str) -> list[Trained]:
    """Every training of a study that has ended, by trial and seed.

    Args:
        engine: A database with Optuna's tables and ours.
        study: Name of the study; one that is not stored has none.
    """
    from evolve.ablation.trained import Trained  # with statistics, which other commands have no need of

    own = schema.training.c
    columns = (TRIALS.c.number, own.seed, own.verdict, own.fitness)
    query = (
        select(*columns)
        .join(TRIALS, TRIALS.c.trial_id == own.trial_id)
        .join(STUDIES, STUDIES.c.study_id == TRIALS.c.study_id)
        .where(STUDIES.c.study_name == study, own.verdict.is_not(None))
        .order_by(TRIALS.c.number, own.seed)
    )
    with engine.connect() as connection:
        rows = connection.execute(query).all()
    return [Trained(trial=number, seed=seed, verdict=verdict, fitness=value) for number, seed, verdict, value in rows]


def ablations(engine: Engine) -> list[Study]:
    """All studies that compare arms, the newest first."""
    own = schema.study.c
    query = select(own.config).where(own.config.contains('"ablation": {')).order_by(own.created.desc())
    with engine.connect() as connection:
        return [Study.from_json(config) for config in connection.scalars(query)]
