"""How well the order of trials at a rung foretells their order at the end, in a study that is stored."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Engine, select

from evolve.analysis import RankCorrelation, rank_correlation
from evolve.outcome.verdict import TRAINED_THROUGH
from evolve.storage import schema
from evolve.storage.optuna_tables import STUDIES
from evolve.study import Study
from evolve.study.rungs import rungs_below

LEAST_TRIALS = 8  # with fewer the interval reaches from nothing to everything


def foretelling(engine: Engine, study: Study) -> Mapping[int, RankCorrelation]:
    """Rank correlation of the fitness after so many epochs with that of the whole trial, by rung.

    Only trials that trained through have an end. Where the study stops or pauses others, these are missing, and those
    that are left differ less.

    Args:
        engine: A database with Optuna's tables and ours.
        study: Study whose trials are looked at; at a rung their first seed counts, as it does for pruners.
    """
    rungs, trial, epoch = rungs_below(study.epochs), schema.trial.c, schema.epoch.c
    of_study = schema.trial.join(STUDIES, STUDIES.c.study_id == trial.study_id)
    query = (
        select(epoch.epoch, epoch.fitness, trial.fitness)
        .select_from(of_study.join(schema.epoch, epoch.trial_id == trial.trial_id))
        .where(STUDIES.c.study_name == study.name, trial.verdict.in_(TRAINED_THROUGH))
        .where(epoch.split == "val", epoch.seed == study.seeds[0], epoch.epoch.in_([rung - 1 for rung in rungs]))
        .where(epoch.fitness.is_not(None), trial.fitness.is_not(None))
    )
    with engine.connect() as connection:
        rows = connection.execute(query.order_by(trial.number)).all()
    pairs = {rung: [(early, end) for last, early, end in rows if last == rung - 1] for rung in rungs}
    return {
        rung: rank_correlation(*zip(*found, strict=True)) for rung, found in pairs.items() if len(found) >= LEAST_TRIALS
    }
