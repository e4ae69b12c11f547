"""Optuna's tables: read beside ours, and a trial's rows written as Optuna's API would write them, in few statements.

Types of the tables that are only read are kept plain: Optuna's enumerations come back as text from every database; to
be compared they are cast. Optuna's own reading takes one trial at a time, 13 s for 10,000, and its writing some
milliseconds for every value. What is written here goes through the tables of Optuna's own models.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Integer,
    String,
    Table,
    Text,
    bindparam,
    column,
    func,
    insert,
    select,
    table,
    update,
)

STUDIES = table("studies", column("study_id", Integer), column("study_name", String))
TRIALS = table(
    "trials",
    column("trial_id", Integer),
    column("study_id", Integer),
    column("number", Integer),
    column("state", String),
)
PARAMS = table(
    "trial_params",
    column("param_id", Integer),
    column("trial_id", Integer),
    column("param_name", String),
    column("param_value", Float),
    column("distribution_json", Text),
)
VALUES = table(
    "trial_values",
    column("trial_id", Integer),
    column("objective", Integer),
    column("value", Float),
    column("value_type", String),
)

ATTRIBUTES = table(
    "trial_system_attributes",
    column("trial_id", Integer),
    column("key", String),
    column("value_json", Text),
)

# What is kept with a trial that is a child of another: the number of its parent, below 0 for an earlier study's trial.
PARENT = "evolve:parent"
# What Optuna keeps with a trial that somebody has asked for: values of its parameters, by name.
FIXED_PARAMS = "fixed_params"

# Optuna's own, with its types.
STUDY_ROWS: Table = models.StudyModel.__table__
TRIAL_ROWS: Table = models.TrialModel.__table__
PARAM_ROWS: Table = models.TrialParamModel.__table__
VALUE_ROWS: Table = models.TrialValueModel.__table__
REPORT_ROWS: Table = models.TrialIntermediateValueModel.__table__
ATTRIBUTE_ROWS: Table = models.TrialSystemAttributeModel.__table__
USER_ATTRIBUTE_ROWS: Table = models.TrialUserAttributeModel.__table__

# Made once, since SQLAlchemy compiles a statement anew for every one that it has not seen.
_LOCK_STUDY = select(STUDY_ROWS.c.study_id).where(STUDY_ROWS.c.study_id == bindparam("study")).with_for_update()
_COUNT_BEFORE = (
    select(func.count())
    .select_from(TRIAL_ROWS)
    .where(TRIAL_ROWS.c.study_id == bindparam("study"), TRIAL_ROWS.c.trial_id < bindparam("trial"))
)
_OF_TRIAL = TRIAL_ROWS.c.trial_id == bindparam("trial")
_START = update(TRIAL_ROWS).where(_OF_TRIAL, TRIAL_ROWS.c.state == TrialState.WAITING)
_END = update(TRIAL_ROWS).where(_OF_TRIAL, TRIAL_ROWS.c.state == TrialState.RUNNING)
_REPORT_AGAIN = update(REPORT_ROWS).where(
    REPORT_ROWS.c.trial_id == bindparam("trial"), REPORT_ROWS.c.step == bindparam("at")
)
_KEEP_AGAIN = update(ATTRIBUTE_ROWS).where(
    ATTRIBUTE_ROWS.c.trial_id == bindparam("trial"), ATTRIBUTE_ROWS.c.key == bindparam("name")
)


def complete_indexes(connection: Connection) -> None:
    """Makes the indexes that Optuna's tables lack.

    A process that is killed while it makes the tables leaves some without: nobody looks for them again, and without the
    one of names a study of a name could be made twice.
    """
    for made in models.BaseModel.metadata.sorted_tables:
        for index in made.indexes:
            index.create(connection, checkfirst=True)


def insert_trial(connection: Connection, study_id: int, number: int, *, now: datetime) -> int | None:
    """Id of a new trial that runs from now on; None where others have added trials, so that its number is taken.

    In that case the transaction has to be rolled back.
    """
    if connection.dialect.name != "sqlite":  # there the first statement that writes locks all of it
        connection.execute(_LOCK_STUDY, {"study": study_id})
    values = {"study_id": study_id, "number": number, "state": TrialState.RUNNING, "datetime_start": now}
    key = connection.execute(insert(TRIAL_ROWS), values).inserted_primary_key
    assert key is not None
    is_free = connection.scalar(_COUNT_BEFORE, {"study": study_id, "trial": key[0]}) == number
    return int(key[0]) if is_free else None


def start_waiting(connection: Connection, trial_id: int, *, now: datetime) -> bool:
    """Whether a trial waited, which runs from now on."""
    values = {"trial": trial_id, "state": TrialState.RUNNING, "datetime_start": now}
    return connection.execute(_START, values).rowcount == 1


def insert_params(
    connection: Connection, trial_id: int, params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]
) -> None:
    """Stores parameters in their order; none of them may be stored yet."""
    rows = [
        {
            "trial_id": trial_id,
            "param_name": name,
            "param_value": distributions[name].to_internal_repr(value),
            "distribution_json": distribution_to_json(distributions[name]),
        }
        for name, value in params.items()
    ]
    if rows:  # of none SQLAlchemy would make a row of defaults
        connection.execute(insert(PARAM_ROWS), rows)


def write_report(connection: Connection, trial_id: int, step: int, value: float, *, is_new: bool) -> None:
    """Stores the value of a step, or puts it in place of the one that is stored."""
    stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
    values = {"intermediate_value": stored, "intermediate_value_type": kind}
    if is_new:
        connection.execute(insert(REPORT_ROWS), {"trial_id": trial_id, "step": step, **values})
    else:
        connection.execute(_REPORT_AGAIN, {"trial": trial_id, "at": step, **values})


def write_attribute(connection: Connection, trial_id: int, key: str, value: Any, *, is_new: bool) -> None:
    """Stores what Optuna keeps of a trial under a key, or puts it in place of what is stored."""
    text = json.dumps(value)
    if is_new:
        connection.execute(insert(ATTRIBUTE_ROWS), {"trial_id": trial_id, "key": key, "value_json": text})
    else:
        connection.execute(_KEEP_AGAIN, {"trial": trial_id, "name": key, "value_json": text})


def end_running(
    connection: Connection, trial_id: int, state: TrialState, value: float | None, *, now: datetime
) -> bool:
    """Whether a trial ran, which has ended now, with this value."""
    values = {"trial": trial_id, "state": state, "datetime_complete": now}
    if connection.execute(_END, values).rowcount != 1:
        return False
    if value is not None:
        stored, kind = models.TrialValueModel.value_to_stored_repr(value)
        row = {"trial_id": trial_id, "objective": 0, "value": stored, "value_type": kind}
        connection.execute(insert(VALUE_ROWS), row)
    return True


def utc_now() -> datetime:
    """The time as Optuna's tables hold it: UTC, without saying so."""
    return datetime.now(UTC).replace(tzinfo=None)


def local(stored: datetime | None) -> datetime | None:
    """The time as Optuna shows it: this machine's, without saying so."""
    return None if stored is None else stored.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)


# Reading


def count_trials(connection: Connection, study_id: int) -> tuple[int, int]:
    """Number of trials of a study, in any state, and the highest id of one, 0 where there is none."""
    query = select(func.count(), func.coalesce(func.max(TRIAL_ROWS.c.trial_id), 0))
    count, last = connection.execute(query.where(TRIAL_ROWS.c.study_id == study_id)).one()
    return int(count), int(last)


def read_trials(connection: Connection, chosen: ColumnElement[bool]) -> list[FrozenTrial]:
    """Trials equal to those that Optuna reads, in the order in which they were made.

    Trials with the same distributions share them, so that many take little memory: they are not to be changed.

    Args:
        connection: Connection to a database with Optuna's tables.
        chosen: Condition on columns of `TRIAL_ROWS` for the trials to read.
    """
    own = TRIAL_ROWS.c
    columns = (own.trial_id, own.number, own.state, own.datetime_start, own.datetime_complete)
    rows = connection.execute(select(*columns).where(chosen).order_by(own.trial_id)).all()
    if not rows:
        return []
    params = _read_params(connection, chosen)
    values = _read_values(connection, chosen)
    reports = _read_reports(connection, chosen)
    user, system = (_read_attributes(connection, kept, chosen) for kept in (USER_ATTRIBUTE_ROWS, ATTRIBUTE_ROWS))
    return [
        FrozenTrial(
            number=row.number,
            state=row.state,
            value=None,
            values=values.get(row.trial_id),
            datetime_start=local(row.datetime_start),
            datetime_complete=local(row.datetime_complete),
            params=params[row.trial_id][0] if row.trial_id in params else {},
            distributions=params[row.trial_id][1] if row.trial_id in params else {},
            user_attrs=user.get(row.trial_id, {}),
            system_attrs=system.get(row.trial_id, {}),
            intermediate_values=reports.get(row.trial_id, {}),
            trial_id=row.trial_id,
        )
        for row in rows
    ]


@lru_cache(maxsize=1024)
def _distributions(texts: tuple[tuple[str, str], ...]) -> dict[str, BaseDistribution]:
    """Distributions by name, from their JSON by name; the same texts give the same dictionary."""
    return {name: json_to_distribution(text) for name, text in texts}


def _read_params(
    connection: Connection, chosen: ColumnElement[bool]
) -> dict[int, tuple[dict[str, Any], dict[str, BaseDistribution]]]:
    """Parameters and distributions by trial id, in the order in which they were stored."""
    own = PARAM_ROWS.c
    query = select(own.trial_id, own.param_name, own.param_value, own.distribution_json)
    query = query.join(TRIAL_ROWS, TRIAL_ROWS.c.trial_id == own.trial_id).where(chosen).order_by(own.param_id)
    texts: dict[int, list[tuple[str, str]]] = defaultdict(list)
    stored: dict[int, list[float]] = defaultdict(list)
    for trial_id, name, value, text in connection.execute(query):
        texts[trial_id].append((name, text))
        stored[trial_id].append(value)
    found: dict[int, tuple[dict[str, Any], dict[str, BaseDistribution]]] = {}
    for trial_id, pairs in texts.items():
        distributions = _distributions(tuple(pairs))
        values = zip(distributions.items(), stored[trial_id], strict=True)
        params = {name: distribution.to_external_repr(value) for (name, distribution), value in values}
        found[trial_id] = params, distributions
    return found


def _read_values(connection: Connection, chosen: ColumnElement[bool]) -> dict[int, list[float]]:
    own, to_value = VALUE_ROWS.c, models.TrialValueModel.stored_repr_to_value
    query = select(own.trial_id, own.value, own.value_type).join(TRIAL_ROWS, TRIAL_ROWS.c.trial_id == own.trial_id)
    found: dict[int, list[float]] = defaultdict(list)
    for trial_id, value, kind in connection.execute(query.where(chosen).order_by(own.objective)):
        found[trial_id].append(to_value(value, kind))
    return found


def _read_reports(connection: Connection, chosen: ColumnElement[bool]) -> dict[int, dict[int, float]]:
    """Values by trial id and step."""
    own, to_value = REPORT_ROWS.c, models.TrialIntermediateValueModel.stored_repr_to_intermediate_value
    query = select(own.trial_id, own.step, own.intermediate_value, own.intermediate_value_type)
    query = query.join(TRIAL_ROWS, TRIAL_ROWS.c.trial_id == own.trial_id).where(chosen)
    found: dict[int, dict[int, float]] = defaultdict(dict)
    for trial_id, step, value, kind in connection.execute(query.order_by(own.trial_intermediate_value_id)):
        found[trial_id][step] = to_value(value, kind)
    return found


def _read_attributes(connection: Connection, rows: Table, chosen: ColumnElement[bool]) -> dict[int, dict[str, Any]]:
    query = select(rows.c.trial_id, rows.c.key, rows.c.value_json)
    query = query.join(TRIAL_ROWS, TRIAL_ROWS.c.trial_id == rows.c.trial_id).where(chosen)
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    for trial_id, key, text in connection.execute(query):
        found[trial_id][key] = json.loads(text)
    return found
