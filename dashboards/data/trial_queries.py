"""The SQL behind the page of one trial, the list of studies, and what tells that anything is new."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, Select, String, Table, and_, case, cast, func, or_, select, true

from evolve.outcome.cured import SUFFIX
from evolve.outcome.verdict import TRAINED_THROUGH
from evolve.storage import schema
from evolve.storage.confirmations import confirms
from evolve.storage.optuna_tables import STUDIES, TRIALS, VALUES
from evolve.storage.under_way import studies_and_holders

ALL: Mapping[int, range] = MappingProxyType({})


def seed_lengths(trial_id: int) -> Select[Any]:
    """Seeds of a trial that have steps, the last step of each, and the scales its network has."""
    step = schema.step
    columns = (step.c.seed, func.max(step.c.step).label("last_step"), func.max(step.c.num_scales).label("num_scales"))
    return select(*columns).where(step.c.trial_id == trial_id).group_by(step.c.seed).order_by(step.c.seed)


def steps_at(trial_id: int, step_number: int) -> Select[Any]:
    """Loss and gradient norm of one step in each training of a trial, by seed."""
    step = schema.step
    columns = (step.c.seed, step.c.loss, step.c.grad_norm)
    return select(*columns).where(step.c.trial_id == trial_id, step.c.step == step_number).order_by(step.c.seed)


def seed_critical(trial_id: int, seed: int) -> Select[Any]:
    """Critical ratios of one seed of a trial, by step."""
    own = schema.step.c
    is_asked = and_(own.trial_id == trial_id, own.seed == seed, own.critical_ratio.is_not(None))
    return select(own.step, own.critical_ratio).where(is_asked).order_by(own.step)


def epoch_counts(trial_id: int) -> Select[Any]:
    """How many epochs of each seed and split of a trial are stored."""
    epoch = schema.epoch
    keys = (epoch.c.seed, epoch.c.split)
    return select(*keys, func.count().label("num_epochs")).where(epoch.c.trial_id == trial_id).group_by(*keys)


def seed_epochs(trial_id: int, seed: int) -> Select[Any]:
    """Every epoch of one seed of a trial."""
    epoch = schema.epoch
    own = select(epoch).where(epoch.c.trial_id == trial_id, epoch.c.seed == seed)
    return own.order_by(epoch.c.split, epoch.c.epoch)


def seed_rows(table: Table, trial_id: int, seed: int) -> Select[Any]:
    """Every row of one seed of a trial, of a table that has an epoch in its key, in the key's order."""
    own = select(table).where(table.c.trial_id == trial_id, table.c.seed == seed)
    return own.order_by(*table.primary_key.columns)


def seed_pictures(trial_id: int, seed: int) -> Select[Any]:
    """The pictures of one seed of a trial, by split and place."""
    taken, picture, trial = schema.taken, schema.picture, schema.trial
    columns = (taken.c.split, taken.c.place, picture.c.jpeg, picture.c.width, picture.c.height, picture.c.boxes)
    of_study = and_(picture.c.study_id == trial.c.study_id, picture.c.picture_id == taken.c.picture_id)
    rows = taken.join(trial, trial.c.trial_id == taken.c.trial_id).join(picture, of_study)
    own = select(*columns).select_from(rows).where(taken.c.trial_id == trial_id, taken.c.seed == seed)
    return own.order_by(taken.c.split, taken.c.place)


def trial_checkpoints(trial_id: int) -> Select[Any]:
    """The last checkpoint of each seed of a trial."""
    table = schema.checkpoint
    columns = (table.c.seed, table.c.epoch, table.c.step, table.c.path)
    return select(*columns).where(table.c.trial_id == trial_id).order_by(table.c.seed)


def trial_trainings(trial_id: int) -> Select[Any]:
    """How each training of a trial ended that has."""
    table = schema.training
    columns = (table.c.seed, table.c.verdict, table.c.fitness, table.c.seconds, table.c.reason)
    return select(*columns).where(table.c.trial_id == trial_id).order_by(table.c.seed)


def studies_seen() -> Select[Any]:
    """Every study with our row of it and who runs it."""
    ours, lease = schema.study, schema.lease
    return (
        select(STUDIES.c.study_id, STUDIES.c.study_name, ours.c.config, ours.c.created, lease.c.heartbeat)
        .select_from(studies_and_holders())
        .order_by(STUDIES.c.study_name)
    )


def can_be_best(number: ColumnElement[int], study_id: ColumnElement[int], compared: Mapping[int, range]) -> Any:
    """Condition that a trial can be the best of its study: of an ablation some only tune for others, or add seeds.

    Args:
        number: Column with the number of the trial.
        study_id: Column with the id of its study.
        compared: Numbers of the trials that can be the best, by study id; in a study that is not named all can.
    """
    return and_(true(), *(or_(study_id != own, number.between(of.start, of.stop - 1)) for own, of in compared.items()))


def outcome_counts(compared: Mapping[int, range] = ALL) -> Select[Any]:
    """Trials of each study by state and verdict, with the best fitness and the first and last moment of each group.

    Args:
        compared: Numbers of the trials that can be the best, by study id; in a study that is not named all can.
    """
    ours = schema.trial
    is_candidate = can_be_best(TRIALS.c.number, TRIALS.c.study_id, compared)
    finite = and_(
        VALUES.c.trial_id == TRIALS.c.trial_id,
        VALUES.c.objective == 0,
        or_(VALUES.c.value_type.is_(None), cast(VALUES.c.value_type, String) == "FINITE"),
    )
    return (
        select(
            TRIALS.c.study_id,
            TRIALS.c.state,
            ours.c.verdict,
            func.count().label("number_of"),
            func.max(case((is_candidate, ours.c.fitness))).label("fitness"),
            func.max(VALUES.c.value).label("value"),
            func.min(ours.c.started).label("first_started"),
            func.max(ours.c.started).label("last_started"),
            func.max(ours.c.ended).label("last_ended"),
        )
        .select_from(TRIALS.outerjoin(ours, ours.c.trial_id == TRIALS.c.trial_id).outerjoin(VALUES, finite))
        .group_by(TRIALS.c.study_id, TRIALS.c.state, ours.c.verdict)
    )


def best_trainings(compared: Mapping[int, range]) -> Select[Any]:
    """Fitness of each seed of the trials that have the highest fitness of their study and trained through.

    Args:
        compared: Numbers of the trials that can be the best, by study id; in a study that is not named all can.
    """
    trial, training = schema.trial, schema.training
    is_through = and_(trial.c.verdict.in_(TRAINED_THROUGH), can_be_best(trial.c.number, trial.c.study_id, compared))
    highest = select(trial.c.study_id, func.max(trial.c.fitness).label("fitness")).where(is_through)
    best = highest.group_by(trial.c.study_id).subquery()
    rows = trial.join(best, and_(best.c.study_id == trial.c.study_id, best.c.fitness == trial.c.fitness))
    of_those = rows.join(training, training.c.trial_id == trial.c.trial_id)
    columns = (trial.c.study_id, trial.c.number, training.c.seed, training.c.fitness)
    return select(*columns).select_from(of_those).where(is_through).order_by(*columns[:3])


def study_version(study_id: int | ScalarSelect[int]) -> Select[Any]:
    """Numbers that change whenever the trials of a study do; cheap, also at 10,000 trials."""
    ours = schema.trial
    return (
        select(
            TRIALS.c.state,
            func.count(),
            func.count(ours.c.verdict),
            func.count(ours.c.ended),
            func.max(ours.c.ended),
            func.max(ours.c.started),
        )
        .select_from(TRIALS.outerjoin(ours, ours.c.trial_id == TRIALS.c.trial_id))
        .where(TRIALS.c.study_id == study_id)
        .group_by(TRIALS.c.state)
        .order_by(TRIALS.c.state)
    )


def cure_version(study: str) -> Select[Any]:
    """Numbers that change whenever the trials that try the remedies of a study do."""
    cures = select(STUDIES.c.study_id).where(STUDIES.c.study_name == f"{study}{SUFFIX}")
    return study_version(cures.scalar_subquery())


def epoch_version(study_id: int) -> Select[Any]:
    """Count of the epochs of trials that run."""
    epoch = schema.epoch
    return (
        select(func.count())
        .select_from(epoch.join(TRIALS, TRIALS.c.trial_id == epoch.c.trial_id))
        .where(TRIALS.c.study_id == study_id, cast(TRIALS.c.state, String) == "RUNNING")
    )


def note_version() -> Select[Any]:
    """The newest note."""
    return select(func.max(schema.note.c.note_id))


def run_version(study_id: int) -> Select[Any]:
    """A number that changes when a run begins or ends; not with its heartbeats."""
    run = schema.run
    return select(func.count() + func.count(run.c.ended)).where(run.c.study_id == study_id)


def confirmation_version(study: str) -> Select[Any]:
    """Numbers that change whenever the trials that confirm a study do."""
    ours, trial = schema.study, schema.trial
    of_those = trial.join(ours, ours.c.study_id == trial.c.study_id)
    columns: list[ColumnElement[Any]] = [func.count(trial.c.ended), func.max(trial.c.ended)]
    return select(*columns).select_from(of_those).where(confirms(study))
