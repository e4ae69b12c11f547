"""Reading a study: fewer than twenty statements, whatever its size."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from math import inf
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Engine, Row, inspect

from dashboards.data import queries
from dashboards.data.frames import read_frame, read_json, shown_verdicts
from dashboards.data.measured import measured_of_study
from dashboards.data.study import TRIAL_COLUMNS, Parameter, StudyFacts, StudyView
from detector.telemetry import METRICS
from evolve.outcome.verdict import TRAINED_THROUGH
from evolve.storage import schema
from evolve.storage.confirmations import standing_from
from evolve.storage.optuna_tables import STUDIES, TRIALS
from evolve.storage.sqlite import without_password, without_secrets
from evolve.storage.time_spent import time_spent
from evolve.storage.under_way import is_run
from evolve.study.arms import compared_trials

FINDINGS_PER_KIND = 50
INFINITE = {"INF_POS": inf, "INF_NEG": -inf}


class StudyNotFoundError(LookupError):
    """The database has no study of that name."""


def load(engine: Engine, study_name: str, now: float | None = None) -> StudyView:
    """The study of that name, as it is now.

    Args:
        engine: A database with Optuna's tables and ours.
        study_name: Name of the study in Optuna's tables.
        now: Present time in seconds since 1970, by which a run is heard of or not; None asks the clock.

    Raises:
        StudyNotFoundError: There is no such study.
    """
    check_tables(engine)
    with engine.connect() as connection:
        study = _study_row(connection, study_name)
        has_runner = is_run(study.config, study.heartbeat, time.time() if now is None else now)
        trials, diagnoses = _trials(read_frame(connection, queries.trial_rows(study.study_id)), has_runner=has_runner)
        trials = _with_last_epochs(trials, read_frame(connection, queries.last_epoch_rows(study.study_id)))
        distributions = _distributions(connection.execute(queries.distribution_rows(study.study_id)).all())
        params = _params(read_frame(connection, queries.param_rows(study.study_id)), distributions)
        facts = StudyFacts(
            name=study_name,
            config=read_json(study.config),
            data_summary=read_json(study.data_summary),
            created=study.created,
            storage=without_secrets(engine.url),
        )
        return StudyView(
            facts=facts,
            space=_space(facts.config.get("space"), distributions),
            trials=trials,
            params=params,
            distributions=distributions,
            measured=measured_of_study(
                engine,
                study.study_id,
                name=study_name,
                trials=trials,
                params=params,
                diagnoses=diagnoses,
                compared=compared_trials(facts.config),
            ),
            diagnoses=diagnoses,
            findings=read_frame(connection, queries.finding_rows(study.study_id, FINDINGS_PER_KIND)),
            finding_counts=_counts(connection.execute(queries.finding_counts(study.study_id)).all()),
            environments=_environments(connection, trials),
            notes=read_notes(connection, study.study_id),
            events=read_frame(connection, queries.event_rows(study.study_id)),
            parents={
                row.number: int(row.value_json) for row in connection.execute(queries.parent_rows(study.study_id))
            },
            time=time_spent(connection, study.study_id, now),
            standing=standing_from(engine, study_name, facts.config, num_trained=_num_trained(trials)),
        )


def read_notes(connection: Connection, study_id: int) -> pd.DataFrame:
    """Notes on the trials of a study, oldest first, with the number of the trial."""
    return read_frame(connection, queries.note_rows(study_id))


def check_tables(engine: Engine) -> None:
    """Makes sure that the tables are there without which there is no study.

    Raises:
        StudyNotFoundError: Some that are needed are missing.
    """
    present = set(inspect(engine).get_table_names())
    # Tables that an older evolve did not make are read as empty ones.
    needed = {STUDIES.name, TRIALS.name, schema.study.name, schema.trial.name}
    if missing := sorted(needed - present):
        where = without_password(engine.url)
        raise StudyNotFoundError(f"{where}: no study here, tables {missing} are missing; `evolve run` makes them")


def _num_trained(trials: pd.DataFrame) -> int:
    return int((trials["verdict"].isin(TRAINED_THROUGH) & trials["fitness"].notna()).sum())


def _study_row(connection: Connection, name: str) -> Row[Any]:
    row = connection.execute(queries.study_by_name(name)).one_or_none()
    if row is None:
        known = list(connection.execute(queries.study_names(limit=20)).scalars())
        where = without_password(connection.engine.url)
        raise StudyNotFoundError(f"{where}: no study named {name!r}; there are: {known}")
    return row


def _trials(rows: pd.DataFrame, *, has_runner: bool) -> tuple[pd.DataFrame, dict[int, dict[str, Any]]]:
    is_ours = rows["our_id"].notna()
    infinite = rows["value_type"].map(INFINITE).astype("float64")
    said = {name: rows[name].fillna("") for name in ("reason", "traceback", "environment_id")}
    frame = rows.assign(
        verdict=shown_verdicts(rows, has_runner=has_runner),
        fitness=rows["fitness"].where(is_ours, infinite.fillna(rows["value"])),
        **said,
    )
    diagnosed = rows[rows["diagnosis"].notna() & (rows["diagnosis"] != "")]
    diagnoses = {
        int(number): read_json(text) for number, text in zip(diagnosed["number"], diagnosed["diagnosis"], strict=True)
    }
    return frame.reindex(columns=list(TRIAL_COLUMNS)).fillna({"epochs": 0}).astype(TRIAL_COLUMNS), diagnoses


def _distributions(rows: Iterable[Row[Any]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for row in rows:
        found[row.param_name] = (*found.get(row.param_name, ()), row.distribution_json)
    return found


def _params(rows: pd.DataFrame, distributions: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    by_name = {name: part.set_index("number")["param_value"] for name, part in rows.groupby("param_name", sort=False)}
    columns = {name: by_name[name] for name in distributions if name in by_name}
    # Optuna refuses a choice whose options change within a study, so the first distribution speaks for all.
    choices = {name: json.loads(distributions[name][0])["attributes"].get("choices") for name in columns}
    named = {
        name: column if choices[name] is None else column.map(partial(_choice, options=choices[name]))
        for name, column in columns.items()
    }
    return pd.DataFrame(named).sort_index()


def _choice(index: float, *, options: Sequence[object]) -> str:
    return str(options[int(index)]) if 0 <= index < len(options) else f"choice {index:g}"


def _with_last_epochs(trials: pd.DataFrame, last: pd.DataFrame) -> pd.DataFrame:
    by_split = {split: rows.set_index("trial_id") for split, rows in last.groupby("split")}
    filled = trials.set_index("trial_id", drop=False)
    if "val" in by_split:
        for name in METRICS:
            filled[name] = by_split["val"][name].reindex(filled.index)
        filled["epochs"] = (by_split["val"]["epoch"].reindex(filled.index) + 1).fillna(0).astype("int64")
    if "test" in by_split:
        for name in ("map50", "map50_95"):
            filled[f"test_{name}"] = by_split["test"][name].reindex(filled.index)
    return filled.reset_index(drop=True)[list(TRIAL_COLUMNS)]


def _space(configured: object, distributions: Mapping[str, Sequence[str]]) -> tuple[Parameter, ...]:
    known = {name: _drawn(name, [json.loads(text) for text in texts]) for name, texts in distributions.items()}
    planned = configured if isinstance(configured, Mapping) else {}
    missing = {name: _planned(name, axis) for name, axis in planned.items() if name not in known}
    order = [name for name in planned if name in known or name in missing] + [
        name for name in known if name not in planned
    ]
    return tuple(known[name] if name in known else missing[name] for name in order)


def _drawn(name: str, distributions: Sequence[Mapping[str, Any]]) -> Parameter:
    attributes = [distribution["attributes"] for distribution in distributions]
    choices = tuple(dict.fromkeys(str(choice) for known in attributes for choice in known.get("choices", ())))
    if choices:
        return Parameter(name=name, choices=choices)
    return Parameter(
        name=name,
        low=min(known["low"] for known in attributes),
        high=max(known["high"] for known in attributes),
        is_log=all(known.get("log", False) for known in attributes),
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


def _counts(rows: Iterable[Row[Any]]) -> dict[str, int]:
    return {row.kind: row.number_of for row in rows}


def _environments(connection: Connection, trials: pd.DataFrame) -> tuple[tuple[str, Mapping[str, Any], int], ...]:
    used = Counter(identity for identity in trials["environment_id"] if identity)
    rows = connection.execute(queries.environment_rows(list(used))).all()
    known = {row.environment_id: read_json(row.facts) for row in rows}
    return tuple((identity, known.get(identity, {}), count) for identity, count in used.most_common())
