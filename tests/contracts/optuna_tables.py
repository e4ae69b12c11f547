"""What is written to Optuna's tables directly is what its API writes: the same trials, both ways, in one database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from optuna.storages._rdb.models import BaseModel
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import select

from evolve.storage.database import Storage
from evolve.storage.trials import Trials

SPACE: dict[str, BaseDistribution] = {
    "lr0": FloatDistribution(1e-4, 10, log=True),
    "momentum": FloatDistribution(0.5, 0.95, step=0.05),
    "epochs": IntDistribution(1, 9),
    "schedule": CategoricalDistribution(["linear", "cosine", True, None, 0.1]),
    "fixed": FloatDistribution(2.0, 2.0),
}
PARAMS = {"lr0": 1 / 3, "momentum": 0.75, "epochs": 4, "schedule": "cosine", "fixed": 2.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What becomes of a trial: reports by epoch, what is kept with it, and how it ends; None while it runs."""

    reports: Mapping[int, float] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    state: TrialState | None = None
    value: float | None = None
    constraints: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=lambda: dict(PARAMS))
    is_queued: bool = False


LIVES = (
    Life(
        state=TrialState.COMPLETE,
        value=0.1 + 0.2,
        reports={0: 0.1, 1: 1 / 3, 2: 0.30000000000000004},
        constraints={"diverged": -2.5},
    ),
    Life(state=TrialState.COMPLETE, value=0.0, constraints={"diverged": 1 / 3}),
    Life(state=TrialState.COMPLETE, value=float("inf"), params=PARAMS | {"schedule": None}),
    Life(state=TrialState.PRUNED, reports={0: 0.5, 3: 0.25}, attributes={"completed_rung_0": 0.5, "b": [1, None, "ü"]}),
    Life(state=TrialState.PRUNED, reports={1: 0.7, 0: 0.9}, constraints={"diverged": 1.0}),
    Life(state=TrialState.PRUNED),
    Life(state=TrialState.FAIL, reports={0: float("nan")}, params=PARAMS | {"schedule": True}),
    Life(state=TrialState.FAIL, is_queued=True, params=PARAMS | {"schedule": 0.1, "epochs": 9}),
    Life(reports={0: 1e-300, 1: float("-inf")}),
)


def check_written_alike(url: str) -> None:
    """Lives of trials written both ways: as Optuna reads them, and row by row."""
    storage = Storage(url)
    before = datetime.now()
    made = {name: _new_study(storage, name) for name in ("theirs", "ours")}
    for life in LIVES:
        _live_theirs(made["theirs"], life)
    trials = storage.trials(made["ours"]._study_id, holds_ended=True)
    trials.refresh()
    for life in LIVES:
        _live_ours(made["ours"], trials, life)

    theirs, ours = (optuna.load_study(study_name=name, storage=url).get_trials() for name in made)
    assert list(map(_without_times, ours)) == list(map(_without_times, theirs))
    for trial, other in zip(ours, theirs, strict=True):
        for mine, their in (
            (trial.datetime_start, other.datetime_start),
            (trial.datetime_complete, other.datetime_complete),
        ):
            assert (mine is None) == (their is None)
            assert mine is None or (mine.tzinfo is None and before <= mine <= datetime.now())
    assert _rows(storage, made["ours"]._study_id) == _rows(storage, made["theirs"]._study_id)
    check_read_alike(storage, made["ours"]._study_id, trials)
    storage.close()


def check_read_alike(storage: Storage, study_id: int, trials: Trials) -> None:
    """Trials in memory, and those read anew, are those that Optuna reads, times included."""
    theirs = list(map(_comparable, storage.optuna.get_all_trials(study_id)))
    anew = storage.trials(study_id, holds_ended=True)
    anew.refresh()
    for found in (anew.held(), trials.held()):
        for mine, other in zip(map(_comparable, found), theirs, strict=True):
            assert mine == other
    assert anew.count == trials.count == len(theirs)


def _new_study(storage: Storage, name: str) -> Any:
    return optuna.create_study(
        storage=storage.optuna, study_name=name, direction="maximize", sampler=RandomSampler(), pruner=NopPruner()
    )


def _live_theirs(study: Any, life: Life) -> None:
    if life.is_queued:
        study.enqueue_trial(dict(life.params))
    trial = study.ask()
    if not life.is_queued:
        for name, value in life.params.items():
            stored = SPACE[name].to_internal_repr(value)
            study._storage.set_trial_param(trial._trial_id, name, stored, SPACE[name])
    else:
        for name, distribution in SPACE.items():
            trial._suggest(name, distribution)
    for step, value in life.reports.items():
        trial.report(value, step)
    for key, value in life.attributes.items():
        study._storage.set_trial_system_attr(trial._trial_id, key, value)
    for name, violation in life.constraints.items():
        trial.set_constraint(name, violation)
    if life.state is not None:
        study.tell(trial, life.value, state=life.state)


def _live_ours(study: Any, trials: Trials, life: Life) -> None:
    if life.is_queued:
        study.enqueue_trial(dict(life.params))
        trials.refresh()
        trial = trials.take_up(trials.waiting()[0], dict(life.params), SPACE)
    else:
        trial = trials.add(dict(life.params), SPACE)
    for step, value in life.reports.items():
        trials.report(trial, step, value)
    trials.keep(trial, life.attributes)
    if life.state is not None:
        trials.tell(trial, life.state, life.value, constraints=life.constraints)


def _comparable(trial: FrozenTrial) -> dict[str, Any]:
    """All fields, with texts for numbers, since NaN is not equal to itself; True is not 1.

    Parameters are in their order, which is that of columns; of the others Optuna's depends on the database.
    """
    unordered = ("intermediate_values", "user_attrs", "system_attrs")
    found = {name.lstrip("_"): value for name, value in vars(trial).items()}
    found |= {name: sorted(found[name].items()) for name in unordered}
    return {name: repr(value) for name, value in found.items()} | {"constraints": trial.constraints}


def _without_times(trial: FrozenTrial) -> dict[str, Any]:
    changing = ("datetime_start", "datetime_complete", "trial_id")
    return {name: value for name, value in _comparable(trial).items() if name not in changing}


def _rows(storage: Storage, study_id: int) -> dict[str, list[list[Any]]]:
    """Every row of Optuna's tables of a study's trials, in order, without ids and times."""
    tables = BaseModel.metadata.tables
    trials = tables["trials"]
    found = {}
    with storage.engine.connect() as connection:
        for name, table in tables.items():
            if "trial_id" not in table.c:
                continue
            key = next(iter(table.primary_key))
            columns = [each for each in table.c if each is not key and each.name not in ("trial_id", "study_id")]
            columns = [each for each in columns if not each.name.startswith("datetime")]
            query = select(trials.c.number, *columns).where(trials.c.study_id == study_id)
            if table is not trials:
                query = query.join(table, table.c.trial_id == trials.c.trial_id)
            found[name] = [list(row) for row in connection.execute(query.order_by(trials.c.number, key))]
    return found
