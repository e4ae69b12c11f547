"""Reading a study: about a dozen statements, whatever its size."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import inf, isfinite, nan
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import ColumnElement, Connection, Engine, Float, Integer, Row, Select, inspect

from dashboards.views import queries
from dashboards.views.study import (
    NO_NOTES,
    TRIAL_COLUMNS,
    Parameter,
    StudyFacts,
    StudyView,
    best_numbers,
    read_json,
    spread_evenly,
)
from evolve import schema

NUM_SEEDED_TRIALS = 12
NUM_STEP_TRIALS = 16
STEP_BUCKETS = 400
NUM_LAST_STEP_TRIALS = 6
NUM_LAST_STEPS = 100
FINDINGS_PER_KIND = 50

VERDICT_OF_STATE = {"RUNNING": "running", "WAITING": "waiting", "PRUNED": "pruned", "FAIL": "failed"}


class StudyNotFoundError(LookupError):
    """The database has no study of that name."""


def load(engine: Engine, study_name: str) -> StudyView:
    """The study of that name, as it is now.

    Args:
        engine: A database with Optuna's tables and ours.
        study_name: As given to Optuna.

    Raises:
        StudyNotFoundError: There is no such study.
    """
    present = check_tables(engine)
    with engine.connect() as connection:
        study = _study_row(connection, study_name)
        trials, diagnoses = _trials(connection.execute(queries.trial_rows(study.study_id)).all())
        params, distributions = _params(connection.execute(queries.param_rows(study.study_id)).all())
        epochs = read_frame(connection, queries.epoch_rows(study.study_id)).merge(
            trials[["trial_id", "number", "verdict"]], on="trial_id"
        )
        trials = _with_last_epochs(trials, epochs)
        facts = StudyFacts(
            name=study_name,
            config=read_json(study.config),
            data_summary=read_json(study.data_summary),
            created=study.created,
        )
        return StudyView(
            facts=facts,
            space=_space(facts.config.get("space"), distributions),
            trials=trials,
            params=params,
            distributions=distributions,
            epochs=epochs,
            seed_results=_seed_results(connection, trials),
            steps=_steps(connection, trials, params),
            last_steps=_last_steps(connection, trials, diagnoses),
            diagnoses=diagnoses,
            findings=read_frame(connection, queries.finding_rows(study.study_id, FINDINGS_PER_KIND)),
            finding_counts=_counts(connection.execute(queries.finding_counts(study.study_id)).all()),
            environments=_environments(connection, trials),
            notes=read_notes(connection, study.study_id) if schema.note.name in present else NO_NOTES,
        )


def step_trials(trials: pd.DataFrame, params: pd.DataFrame, count: int) -> list[int]:
    """Numbers of the trials whose steps are worth reading: the best, and others spread over the learning rates.

    Args:
        trials: All trials.
        params: Their hyperparameters; without lr0 the trials are spread over their numbers.
        count: How many at most.
    """
    started = trials[trials["verdict"] != "waiting"]["number"]
    best = best_numbers(trials, 1)
    rates = params["lr0"].reindex(started) if "lr0" in params else pd.Series(started.to_numpy(), index=started)
    ranked = [int(number) for number in rates.sort_values(kind="stable").index if number not in best]
    return best + spread_evenly(ranked, count - len(best))


def read_notes(connection: Connection, study_id: int) -> pd.DataFrame:
    """Notes on the trials of a study, oldest first, with the number of the trial."""
    return read_frame(connection, queries.note_rows(study_id))


def check_tables(engine: Engine) -> set[str]:
    """Names of the tables there are.

    Raises:
        StudyNotFoundError: Some that are needed are missing.
    """
    present = set(inspect(engine).get_table_names())
    # Notes came later; a database that is only read may be without them.
    needed = {queries.studies.name, queries.trials.name, *schema.metadata.tables} - {schema.note.name}
    if missing := sorted(needed - present):
        where = engine.url.render_as_string(hide_password=True)
        raise StudyNotFoundError(f"{where}: no study here, tables {missing} are missing; `evolve run` makes them")
    return present


def _study_row(connection: Connection, name: str) -> Row[Any]:
    row = connection.execute(queries.study_by_name(name)).one_or_none()
    if row is None:
        known = list(connection.execute(queries.study_names(limit=20)).scalars())
        where = connection.engine.url.render_as_string(hide_password=True)
        raise StudyNotFoundError(f"{where}: no study named {name!r}; there are: {known}")
    return row


def read_frame(connection: Connection, statement: Select[Any]) -> pd.DataFrame:
    """The rows of a statement, one column for each of its own, with numbers where those are numbers."""
    # Column by column, since pandas takes rows many times more slowly; types are the statement's, also without rows.
    columns = list(zip(*connection.execute(statement).all(), strict=True)) or [()] * len(statement.selected_columns)
    selected = zip(statement.selected_columns, columns, strict=True)
    return pd.DataFrame({each.key: np.array(values, dtype=_dtype(each, values)) for each, values in selected})


def _dtype(selected: ColumnElement[Any], values: Sequence[Any]) -> str:
    if isinstance(selected.type, Integer):
        return "float64" if None in values else "int64"
    return "float64" if isinstance(selected.type, Float | schema.Real) else "object"


def _trials(rows: Sequence[Row[Any]]) -> tuple[pd.DataFrame, dict[int, dict[str, Any]]]:
    records = [_trial_record(row) for row in rows]
    frame = pd.DataFrame.from_records(records, columns=list(TRIAL_COLUMNS)).fillna({"epochs": 0})
    diagnoses = {row.number: read_json(row.diagnosis) for row in rows if row.diagnosis}
    return frame.astype(TRIAL_COLUMNS), diagnoses


def _trial_record(row: Row[Any]) -> dict[str, Any]:
    is_ours = row.our_id is not None
    return {
        "number": row.number,
        "trial_id": row.trial_id,
        "state": row.state,
        "verdict": row.verdict or VERDICT_OF_STATE.get(row.state, "unjudged"),
        "fitness": row.fitness if is_ours else _optuna_value(row.value, row.value_type),
        "reason": row.reason or "",
        "traceback": row.traceback or "",
        "seconds": row.seconds,
        "started": row.started,
        "ended": row.ended,
        "environment_id": row.environment_id or "",
    }


def _optuna_value(value: float | None, value_type: str | None) -> float:
    infinite = {"INF_POS": inf, "INF_NEG": -inf}
    return infinite.get(value_type or "", nan if value is None else value)


def _params(rows: Iterable[Row[Any]]) -> tuple[pd.DataFrame, dict[str, tuple[str, ...]]]:
    values: dict[str, dict[int, object]] = {}
    distributions: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        number, name, value, text = row.number, row.param_name, row.param_value, row.distribution_json
        seen = distributions.setdefault(name, {})
        content = seen.get(text)
        if content is None:
            content = seen[text] = json.loads(text)
        values.setdefault(name, {})[number] = _external(value, content)
    frame = pd.DataFrame({name: pd.Series(column) for name, column in values.items()}).sort_index()
    return frame, {name: tuple(seen) for name, seen in distributions.items()}


def _external(value: float, distribution: Mapping[str, Any]) -> object:
    attributes = distribution["attributes"]
    return str(attributes["choices"][int(value)]) if "choices" in attributes else float(value)


def _with_last_epochs(trials: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    # Rows are ordered by epoch; pandas' own `last` would skip a NaN and show an older epoch.
    last = {
        split: rows.drop_duplicates("number", keep="last").set_index("number")
        for split, rows in epochs.groupby("split")
    }
    filled = trials.set_index("number")
    if "val" in last:
        for name in ("map50", "map50_95", "precision", "recall"):
            filled[name] = last["val"][name].reindex(filled.index)
        filled["epochs"] = (last["val"]["epoch"].reindex(filled.index) + 1).fillna(0).astype("int64")
    if "test" in last:
        for name in ("map50", "map50_95"):
            filled[f"test_{name}"] = last["test"][name].reindex(filled.index)
    return filled.reset_index()[list(TRIAL_COLUMNS)]


def _space(configured: object, distributions: Mapping[str, Sequence[str]]) -> tuple[Parameter, ...]:
    known = {name: _drawn(name, [json.loads(text) for text in texts]) for name, texts in distributions.items()}
    planned = configured if isinstance(configured, Mapping) else {}
    missing = {name: _planned(name, axis) for name, axis in planned.items() if name not in known}
    order = [name for name in planned if name in known or name in missing] + [
        name for name in known if name not in planned
    ]
    return tuple(known[name] if name in known else missing[name] for name in order)


def _drawn(name: str, distributions: Sequence[Mapping[str, Any]]) -> Parameter:
    attributes = [each["attributes"] for each in distributions]
    choices = tuple(dict.fromkeys(str(choice) for each in attributes for choice in each.get("choices", ())))
    if choices:
        return Parameter(name=name, choices=choices)
    return Parameter(
        name=name,
        low=min(each["low"] for each in attributes),
        high=max(each["high"] for each in attributes),
        is_log=all(each.get("log", False) for each in attributes),
    )


def _planned(name: str, axis: object) -> Parameter:
    content = axis if isinstance(axis, Mapping) else {}
    choices = content.get("choices") or (axis if isinstance(axis, list) else ())
    low, high = content.get("low"), content.get("high")
    return Parameter(
        name=name,
        low=-inf if low is None else float(low),
        high=inf if high is None else float(high),
        is_log=bool(content.get("log", False)),
        choices=tuple(str(choice) for choice in choices),
    )


def _seed_results(connection: Connection, trials: pd.DataFrame) -> pd.DataFrame:
    ids = _ids(trials, best_numbers(trials, NUM_SEEDED_TRIALS))
    return read_frame(connection, queries.seed_rows(ids)).merge(trials[["trial_id", "number"]], on="trial_id")


def _steps(connection: Connection, trials: pd.DataFrame, params: pd.DataFrame) -> pd.DataFrame:
    ids = _ids(trials, step_trials(trials, params, NUM_STEP_TRIALS))
    ranges = connection.execute(queries.step_ranges(ids)).all()
    longest = max((row.last_step for row in ranges), default=0) + 1
    seeds = {row.trial_id: row.seed for row in ranges}
    width = -(-longest // STEP_BUCKETS)
    frame = read_frame(connection, queries.step_buckets(seeds, width))
    return frame.merge(trials[["trial_id", "number", "verdict"]], on="trial_id")


def _last_steps(
    connection: Connection, trials: pd.DataFrame, diagnoses: Mapping[int, Mapping[str, Any]]
) -> pd.DataFrame:
    known = {number: each["step"] for number, each in sorted(diagnoses.items()) if _is_step(each.get("step"))}
    chosen = spread_evenly(sorted(known, key=lambda number: int(known[number])), NUM_LAST_STEP_TRIALS)
    ends = {trial_id: int(known[number]) for number, trial_id in zip(chosen, _ids(trials, chosen), strict=True)}
    frame = read_frame(connection, queries.steps_up_to(ends, NUM_LAST_STEPS)).merge(
        trials[["trial_id", "number"]], on="trial_id"
    )
    return _diverging_seed(frame.assign(end=frame["trial_id"].map(ends)), diagnoses)


def _diverging_seed(frame: pd.DataFrame, diagnoses: Mapping[int, Mapping[str, Any]]) -> pd.DataFrame:
    kept = []
    for number, rows in frame.groupby("number"):
        at_end = rows[rows["step"] == rows["end"]]
        broken = at_end[~at_end[["loss", "grad_norm"]].map(isfinite).all(axis=1)]
        seed = diagnoses[int(str(number))].get("seed", broken["seed"].min() if len(broken) else rows["seed"].min())
        kept.append(rows[rows["seed"] == seed])
    return pd.concat(kept, ignore_index=True) if kept else frame


def _is_step(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _counts(rows: Iterable[Row[Any]]) -> dict[str, int]:
    return {row.kind: row.number_of for row in rows}


def _environments(connection: Connection, trials: pd.DataFrame) -> tuple[tuple[str, Mapping[str, Any], int], ...]:
    used = Counter(identity for identity in trials["environment_id"] if identity)
    rows = connection.execute(queries.environment_rows(list(used))).all()
    known = {row.environment_id: read_json(row.facts) for row in rows}
    return tuple((identity, known.get(identity, {}), count) for identity, count in used.most_common())


def _ids(trials: pd.DataFrame, numbers: Sequence[int]) -> list[int]:
    by_number = trials.set_index("number")["trial_id"]
    return [int(by_number[number]) for number in numbers]
