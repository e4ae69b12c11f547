"""All studies of a database as they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

from sqlalchemy import Engine

from dashboards.data import trial_queries
from dashboards.data.frames import read_json
from dashboards.data.study_loading import check_tables
from dashboards.data.trial_sets import TRAINED
from evolve.analysis import spread_text
from evolve.storage.sqlite import without_secrets
from evolve.storage.under_way import is_alive, is_run, shown_verdict
from evolve.study.arms import ALL_TRIALS, compared_trials

ENDED = ("COMPLETE", "PRUNED", "FAIL")


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySummary:
    """One study in a few numbers.

    Attributes:
        name: Name of the study in Optuna's tables.
        model, data: Name of the network and of the data set that it is trained on; empty if unknown.
        verdicts: Number of trials by verdict.
        num_ended: Number of trials that will not change any more.
        num_planned: Number of trials in the budget, or 0 where there is none.
        best: Best fitness of the trials that ran to their end, of an ablation those that have the seeds of all arms;
            NaN where there is none.
        spread: How far the best fitness can be trusted, in words: its interval over seeds, or that there is one seed;
            empty if unknown.
        first_started, last_seen: When the first trial started and when the study was last heard of, in seconds since
            1970; NaN if unknown.
        is_running: Whether a runner has been heard of lately.
    """

    name: str
    model: str
    data: str
    verdicts: Mapping[str, int]
    num_ended: int
    num_planned: int
    best: float
    spread: str
    first_started: float
    last_seen: float
    is_running: bool

    @property
    def num_trials(self) -> int:
        """Number of trials, whatever became of them."""
        return sum(self.verdicts.values())

    @property
    def seconds_left(self) -> float:
        """Time until the budget is spent, at the pace so far; NaN where nothing can be said."""
        left = self.num_planned - self.num_ended
        if not self.is_running or left <= 0 or not self.num_ended:
            return nan
        return left * (self.last_seen - self.first_started) / self.num_ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All studies, those that run first, then the latest, and the URL of their database without a password."""

    studies: tuple[StudySummary, ...]
    storage: str


def load_overview(engine: Engine, now: float) -> Overview:
    """Every study of a database, in three statements.

    Args:
        engine: A database with Optuna's tables and ours.
        now: Present time in seconds since 1970.
    """
    check_tables(engine)
    with engine.connect() as connection:
        rows = connection.execute(trial_queries.studies_seen()).all()
        ranges = {row.study_id: compared_trials(read_json(row.config)) for row in rows}
        compared = {study_id: numbers for study_id, numbers in ranges.items() if numbers != ALL_TRIALS}
        groups: dict[int, list[Any]] = {}
        for group in connection.execute(trial_queries.outcome_counts(compared)).all():
            groups.setdefault(group.study_id, []).append(group)
        by_seed: dict[int, dict[int, list[float]]] = {}
        for training in connection.execute(trial_queries.best_trainings(compared)).all():
            of_study = by_seed.setdefault(training.study_id, {})
            of_study.setdefault(training.number, []).append(_nan(training.fitness))
    # Of trials that are equally good the first is the best.
    seeds = {study_id: trials[min(trials)] for study_id, trials in by_seed.items()}
    found = [_summary(row, groups.get(row.study_id, []), seeds.get(row.study_id, []), now) for row in rows]
    ordered = sorted(found, key=lambda study: (not study.is_running, -_or_zero(study.last_seen), study.name))
    return Overview(studies=tuple(ordered), storage=without_secrets(engine.url))


def _summary(row: Any, groups: Sequence[Any], by_seed: Sequence[float], now: float) -> StudySummary:
    config = read_json(row.config)
    budget = config.get("budget")
    planned = budget.get("trials") if isinstance(budget, Mapping) else None
    heartbeat = _nan(row.heartbeat)
    has_runner = is_run(row.config, heartbeat, now)
    verdicts: dict[str, int] = {}
    for group in groups:
        verdict = shown_verdict(group.verdict, group.state, has_runner=has_runner)
        verdicts[verdict] = verdicts.get(verdict, 0) + group.number_of
    moments = [time for group in groups for time in (group.last_started, group.last_ended) if isfinite(_nan(time))]
    return StudySummary(
        name=row.study_name,
        model=str(config.get("model") or ""),
        data=str(config.get("data") or ""),
        verdicts=verdicts,
        num_ended=sum(group.number_of for group in groups if group.state in ENDED),
        num_planned=int(planned) if isinstance(planned, int) and planned > 0 else 0,
        best=_best(groups),
        spread=spread_text(by_seed),
        first_started=min((_nan(group.first_started) for group in groups if group.first_started), default=nan),
        last_seen=max([*moments, *([heartbeat] if isfinite(heartbeat) else [])], default=_nan(row.created)),
        is_running=is_alive(heartbeat, now),
    )


def _best(groups: Sequence[Any]) -> float:
    found = []
    for group in groups:
        if group.verdict in TRAINED:
            found.append(_nan(group.fitness))
        elif group.verdict is None and group.state == "COMPLETE":
            found.append(_nan(group.value))
    return max((fitness for fitness in found if isfinite(fitness)), default=nan)


def _nan(value: float | None) -> float:
    return nan if value is None else float(value)


def _or_zero(value: float) -> float:
    return value if isfinite(value) else 0.0
