"""The SQL behind a study's pages: Optuna's tables and ours, in statements every database understands.

Optuna is not asked itself, since it reads one trial at a time: 10,000 trials take it 13 s.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Float,
    FromClause,
    Integer,
    Select,
    and_,
    case,
    false,
    func,
    literal_column,
    or_,
    select,
)

from detector.telemetry import METRICS
from evolve.storage import schema
from evolve.storage.optuna_tables import ATTRIBUTES, PARAMS, PARENT, STUDIES, TRIALS, VALUES
from evolve.storage.under_way import studies_and_holders

TERMS = schema.TERMS
STEP_MEASUREMENTS = ("loss", "lr", "bias_lr", "momentum")
STEP_TERMS = tuple(schema.STEP_LOSSES)
EPOCH_MEASUREMENTS = ("fitness", *METRICS, *schema.EPOCH_LOSSES)


def study_by_name(name: str) -> Select[Any]:
    """Id of the study, its row of ours where there is one, and when somebody who runs it was last heard of."""
    ours, lease = schema.study, schema.lease
    return (
        select(STUDIES.c.study_id, ours.c.config, ours.c.created, ours.c.data_summary, lease.c.heartbeat)
        .select_from(studies_and_holders())
        .where(STUDIES.c.study_name == name)
    )


def study_names(limit: int) -> Select[Any]:
    """Names of the studies there are."""
    return select(STUDIES.c.study_name).order_by(STUDIES.c.study_name).limit(limit)


def trial_rows(study_id: int) -> Select[Any]:
    """One row a trial: Optuna's number, state and value, and what we know besides."""
    ours = schema.trial
    first_value = and_(VALUES.c.trial_id == TRIALS.c.trial_id, VALUES.c.objective == 0)
    return (
        select(
            TRIALS.c.trial_id,
            TRIALS.c.number,
            TRIALS.c.state,
            VALUES.c.value,
            VALUES.c.value_type,
            ours.c.trial_id.label("our_id"),
            *(
                ours.c[name]
                for name in (
                    "environment_id",
                    "started",
                    "ended",
                    "seconds",
                    "verdict",
                    "reason",
                    "diagnosis",
                    "traceback",
                    "fitness",
                )
            ),
        )
        .select_from(TRIALS.outerjoin(ours, ours.c.trial_id == TRIALS.c.trial_id).outerjoin(VALUES, first_value))
        .where(TRIALS.c.study_id == study_id)
        .order_by(TRIALS.c.number)
    )


def param_rows(study_id: int) -> Select[Any]:
    """One row for each trial and hyperparameter; a choice is its index."""
    # Without the distribution, which is the same text in each row and twice as long to read as all else.
    return (
        select(TRIALS.c.number, PARAMS.c.param_name, PARAMS.c.param_value)
        .select_from(PARAMS.join(TRIALS, TRIALS.c.trial_id == PARAMS.c.trial_id))
        .where(TRIALS.c.study_id == study_id)
    )


def parent_rows(study_id: int) -> Select[Any]:
    """Number of each trial that is a child of another, and the number of its parent as JSON."""
    own = ATTRIBUTES.c
    return (
        select(TRIALS.c.number, own.value_json)
        .select_from(ATTRIBUTES.join(TRIALS, TRIALS.c.trial_id == own.trial_id))
        .where(TRIALS.c.study_id == study_id, own.key == PARENT)
        .order_by(TRIALS.c.number)
    )


def distribution_rows(study_id: int) -> Select[Any]:
    """Every distribution a hyperparameter was drawn from, those of early trials first."""
    own = PARAMS.c
    return (
        select(own.param_name, own.distribution_json)
        .select_from(PARAMS.join(TRIALS, TRIALS.c.trial_id == own.trial_id))
        .where(TRIALS.c.study_id == study_id)
        .group_by(own.param_name, own.distribution_json)
        .order_by(func.min(own.param_id))
    )


def epoch_rows(study_id: int) -> Select[Any]:
    """Means over the seeds by trial, split and epoch; missing where a seed has no number, as AVG would hide it."""
    epoch = schema.epoch
    keys = (epoch.c.trial_id, epoch.c.split, epoch.c.epoch)
    means = (_strict_mean(epoch.c[name]).label(name) for name in EPOCH_MEASUREMENTS)
    return (
        select(*keys, func.count().label("num_seeds"), func.max(epoch.c.step).label("step"), *means)
        .where(epoch.c.trial_id.in_(_trials_of(study_id)))
        .group_by(*keys)
        .order_by(*keys)
    )


def curve_rows(trial_ids: Collection[int]) -> Select[Any]:
    """Fitness and losses on the validation images by trial and epoch, of the given trials: means as above."""
    epoch = schema.epoch
    keys = (epoch.c.trial_id, epoch.c.epoch)
    means = (_strict_mean(epoch.c[name]).label(name) for name in ("fitness", *schema.EPOCH_LOSSES))
    return (
        select(*keys, *means)
        .where(epoch.c.trial_id.in_(trial_ids), epoch.c.split == "val")
        .group_by(*keys)
        .order_by(*keys)
    )


def last_epoch_rows(study_id: int) -> Select[Any]:
    """The last epoch of each trial and split: means over the seeds, as above."""
    epoch = schema.epoch
    keys = (epoch.c.trial_id, epoch.c.split)
    last = (
        select(*keys, func.max(epoch.c.epoch).label("last_epoch"))
        .where(epoch.c.trial_id.in_(_trials_of(study_id)))
        .group_by(*keys)
        .subquery()
    )
    is_last = and_(*(last.c[key.name] == key for key in keys), last.c.last_epoch == epoch.c.epoch)
    means = (_strict_mean(epoch.c[name]).label(name) for name in METRICS)
    return select(*keys, epoch.c.epoch, *means).select_from(epoch.join(last, is_last)).group_by(*keys, epoch.c.epoch)


def seed_rows(trial_ids: Collection[int]) -> Select[Any]:
    """The last epoch of each seed and split of the given trials."""
    epoch = schema.epoch
    keys = (epoch.c.trial_id, epoch.c.seed, epoch.c.split)
    last = (
        select(*keys, func.max(epoch.c.epoch).label("last_epoch"))
        .where(epoch.c.trial_id.in_(trial_ids))
        .group_by(*keys)
        .subquery()
    )
    is_last = and_(*(last.c[key.name] == key for key in keys), last.c.last_epoch == epoch.c.epoch)
    return (
        select(*keys, epoch.c.epoch, epoch.c.fitness, epoch.c.map50, epoch.c.map50_95)
        .select_from(epoch.join(last, is_last))
        .order_by(*keys)
    )


def training_rows(study_id: int) -> Select[Any]:
    """How each training of a study ended, by trial and seed."""
    own = schema.training.c
    columns = (own.trial_id, own.seed, own.verdict, own.fitness)
    return select(*columns).where(own.trial_id.in_(_trials_of(study_id))).order_by(own.trial_id, own.seed)


def seed_epoch_rows(study_id: int) -> Select[Any]:
    """Fitness on the validation images by trial, seed and epoch."""
    own = schema.epoch.c
    keys = (own.trial_id, own.seed, own.epoch)
    is_asked = and_(own.trial_id.in_(_trials_of(study_id)), own.split == "val")
    return select(*keys, own.fitness).where(is_asked).order_by(*keys)


def critical_rows(study_id: int) -> Select[Any]:
    """Every critical ratio that was measured, by trial, seed and step."""
    own = schema.step.c
    keys = (own.trial_id, own.seed, own.step)
    is_asked = and_(own.trial_id.in_(_trials_of(study_id)), own.critical_ratio.is_not(None))
    return select(*keys, own.in_warmup, own.critical_ratio).where(is_asked).order_by(*keys)


def step_ranges(trial_ids: Collection[int]) -> Select[Any]:
    """The first seed of each given trial and its last step."""
    step = schema.step
    first = _first_seeds(trial_ids)
    return (
        select(step.c.trial_id, step.c.seed, func.max(step.c.step).label("last_step"))
        .select_from(step.join(first, and_(first.c.trial_id == step.c.trial_id, first.c.seed == step.c.seed)))
        .group_by(step.c.trial_id, step.c.seed)
    )


def step_buckets(seeds: Mapping[int, int], width: int, names: Sequence[str] = STEP_MEASUREMENTS) -> Select[Any]:
    """Lowest and highest value of every `width` steps of one seed of each trial, and the count of missing numbers.

    Args:
        seeds: Seed of the training to read, by trial id.
        width: Steps in a bucket; 1 returns the steps themselves.
        names: Measurements to read, by the names of their columns.
    """
    step = schema.step
    # Written out, since a bound number would make the two uses of the expression differ for PostgreSQL.
    bucket = step.c.step // literal_column(str(int(width)), Integer)
    extremes = [
        expression.label(f"{name}_{what}") for name in names for what, expression in _extremes(step.c[name]).items()
    ]
    return (
        select(
            step.c.trial_id,
            func.min(step.c.step).label("first_step"),
            func.max(step.c.step).label("last_step"),
            *extremes,
        )
        .where(_any_of([and_(step.c.trial_id == trial_id, step.c.seed == seed) for trial_id, seed in seeds.items()]))
        .group_by(step.c.trial_id, bucket)
        .order_by(step.c.trial_id, bucket)
    )


def steps_up_to(ends: Mapping[int, int], count: int) -> Select[Any]:
    """The `count` steps that end with the given one, of all seeds of each trial.

    Args:
        ends: Last step to read, by trial id.
        count: Number of steps to read, the last one included.
    """
    step = schema.step
    windows = [
        and_(step.c.trial_id == trial_id, step.c.step > end - count, step.c.step <= end)
        for trial_id, end in ends.items()
    ]
    names = (
        "trial_id",
        "seed",
        "step",
        "loss",
        "grad_norm",
        "update_ratio",
        "max_box_logit",
        "num_scales",
        *STEP_TERMS,
    )
    return (
        select(*(step.c[name] for name in names))
        .where(_any_of(windows))
        .order_by(step.c.trial_id, step.c.seed, step.c.step)
    )


def finding_counts(study_id: int) -> Select[Any]:
    """Count of findings of the data check by kind."""
    finding = schema.data_finding
    return (
        select(finding.c.kind, func.count().label("number_of"))
        .where(finding.c.study_id == study_id)
        .group_by(finding.c.kind)
        .order_by(finding.c.kind)
    )


def finding_rows(study_id: int, limit_per_kind: int) -> Select[Any]:
    """The first findings of each kind."""
    finding = schema.data_finding
    rank = func.row_number().over(partition_by=finding.c.kind, order_by=finding.c.finding_id).label("rank")
    ranked = (
        select(finding.c.finding_id, finding.c.kind, finding.c.file, finding.c.line, finding.c.message, rank)
        .where(finding.c.study_id == study_id)
        .subquery()
    )
    columns = (ranked.c.kind, ranked.c.file, ranked.c.line, ranked.c.message)
    return select(*columns).where(ranked.c.rank <= limit_per_kind).order_by(ranked.c.kind, ranked.c.finding_id)


def environment_rows(environment_ids: Collection[str]) -> Select[Any]:
    """Facts of the given environments."""
    environment = schema.environment
    return select(environment.c.environment_id, environment.c.facts).where(
        environment.c.environment_id.in_(environment_ids)
    )


def note_rows(study_id: int) -> Select[Any]:
    """Notes on the trials of a study, oldest first."""
    note = schema.note
    columns = (TRIALS.c.number, note.c.created, note.c.author, note.c.text, note.c.tag)
    return (
        select(*columns)
        .select_from(note.join(TRIALS, TRIALS.c.trial_id == note.c.trial_id))
        .where(TRIALS.c.study_id == study_id)
        .order_by(note.c.note_id)
    )


def event_rows(study_id: int) -> Select[Any]:
    """Events of a study besides its trials' results, in order; events of the study itself have no number."""
    event = schema.event
    columns = (TRIALS.c.number, event.c.created, event.c.kind, event.c.message)
    return (
        select(*columns)
        .select_from(event.outerjoin(TRIALS, TRIALS.c.trial_id == event.c.trial_id))
        .where(event.c.study_id == study_id)
        .order_by(event.c.event_id)
    )


def _trials_of(study_id: int) -> Select[Any]:
    return select(TRIALS.c.trial_id).where(TRIALS.c.study_id == study_id)


def _first_seeds(trial_ids: Collection[int]) -> FromClause:
    step = schema.step
    first = func.min(step.c.seed).label("seed")
    return select(step.c.trial_id, first).where(step.c.trial_id.in_(trial_ids)).group_by(step.c.trial_id).subquery()


def _strict_mean(values: ColumnElement[Any]) -> ColumnElement[Any]:
    return case((func.count(values) == func.count(), func.avg(values, type_=Float())))


def _extremes(values: ColumnElement[Any]) -> dict[str, ColumnElement[Any]]:
    return {"low": func.min(values), "high": func.max(values), "missing": func.count() - func.count(values)}


def _any_of(conditions: list[ColumnElement[bool]]) -> ColumnElement[bool]:
    return or_(false(), *conditions)
