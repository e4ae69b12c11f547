"""Confirmations that are stored: which study they are of, and what training its best again has shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any

from sqlalchemy import ColumnElement, Engine, and_, func, select

from evolve.confirmed import NO_STANDING, Confirmation, Searched, Standing, confirmed, not_confirmed
from evolve.outcome.verdict import TRAINED_THROUGH
from evolve.storage import schema
from evolve.storage.ablations import trainings_of
from evolve.storage.optuna_tables import STUDIES
from evolve.study import Study
from evolve.study.confirming import NOT_GIVEN

_STORED = schema.study.join(STUDIES, STUDIES.c.study_id == schema.study.c.study_id)
_TRIALS = schema.trial.join(STUDIES, STUDIES.c.study_id == schema.trial.c.study_id)


def confirmations(engine: Engine, study: str) -> list[Study]:
    """The studies that train the best of one again, the newest first.

    Args:
        engine: A database with Optuna's tables and ours.
        study: Name of the search.
    """
    own = schema.study.c
    query = select(own.config).where(confirms(study)).order_by(own.created.desc())
    with engine.connect() as connection:
        return [Study.from_json(config) for config in connection.scalars(query)]


def confirms(study: str) -> ColumnElement[bool]:
    """Whether a row of `evolve_study` is a confirmation of the study that has a name now, not of one removed before."""
    own, search, named = schema.study.c, schema.study.alias(), STUDIES.alias()
    made = select(search.c.created).join(named, named.c.study_id == search.c.study_id)
    # LIKE takes small letters for capitals on SQLite.
    without = func.replace(own.config, f'"confirms": {json.dumps(study)}', "")
    return and_(
        without != own.config,
        own.created >= made.where(named.c.study_name == study).scalar_subquery(),
    )


def read_confirmation(engine: Engine, confirming: Study) -> Confirmation:
    """What a confirmation has come to so far.

    Args:
        engine: Database that has the search; a confirmation that has not begun has no trainings in it.
        confirming: The study that trains candidates again.
    """
    assert confirming.ablation is not None
    search = confirming.ablation.confirms
    own = schema.trial.c
    query = select(func.count()).select_from(_TRIALS)
    with engine.connect() as connection:
        ended = connection.scalar(query.where(STUDIES.c.study_name == confirming.name, own.verdict.is_not(None)))
    return confirmed(
        confirming,
        trainings_of(engine, confirming.name),
        _searched(engine, search, _config(engine, search)),
        is_complete=(ended or 0) >= confirming.budget.trials,
    )


def confirmation_of(engine: Engine, study: str) -> Confirmation | None:
    """The newest complete confirmation of a study; None where there is none."""
    read = (read_confirmation(engine, confirming) for confirming in confirmations(engine, study))
    return next((found for found in read if found.is_complete), None)


def standing_of(engine: Engine, study: str) -> Standing:
    """How far the best of a stored study can be trusted; silent where nothing was chosen among many, or found."""
    config = _config(engine, study)
    return standing_from(engine, study, config, num_trained=len(_searched(engine, study, config).found))


def standing_from(engine: Engine, study: str, config: Mapping[str, Any], *, num_trained: int) -> Standing:
    """How far the best of a stored study can be trusted, where the study has been read already.

    Args:
        engine: Database that has the study.
        study: Name of the study.
        config: The study as it is stored; may be empty for a study that evolve did not make.
        num_trained: Number of trials that trained through.
    """
    is_search = config.get("space") and not any(config.get(key) for key in ("ablation", "noise", "pbt"))
    if not is_search or not num_trained:
        return NO_STANDING
    if (found := confirmation_of(engine, study)) is not None:
        return Standing(said=found.sentence, confirmation=found)
    command = "" if config.get("data") == NOT_GIVEN else f"evolve confirm {study}"
    return not_confirmed(num_trained, num_seeds=len(config.get("seeds") or (0,)), command=command)


def _config(engine: Engine, study: str) -> Mapping[str, Any]:
    """A study as it is stored; without keys where it is not there, or not ours."""
    query = select(schema.study.c.config).select_from(_STORED).where(STUDIES.c.study_name == study)
    with engine.connect() as connection:
        found: dict[str, Any] = json.loads(connection.scalar(query) or "{}")
    return found


def _searched(engine: Engine, study: str, config: Mapping[str, Any]) -> Searched:
    own = schema.trial.c
    query = select(own.number, own.fitness).select_from(_TRIALS)
    query = query.where(STUDIES.c.study_name == study, own.verdict.in_(TRAINED_THROUGH))
    with engine.connect() as connection:
        found = {number: fitness for number, fitness in connection.execute(query) if isfinite(fitness)}
    return Searched(epochs=config.get("epochs"), found=found, own=0 if config.get("baseline") else None)
