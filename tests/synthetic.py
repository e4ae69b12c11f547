"""Studies that were never trained, in a real database: Optuna's tables and ours, filled the way a run fills them.

Fitness is a hill over the learning rate, trainings above about 1 diverge, and steps follow warm-up and schedule.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from math import cos, exp, log10, nan, pi
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    distribution_to_json,
)
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import Connection, Engine, func, insert, select

from detector.telemetry import EpochMetrics, LossTerms, StepTelemetry
from evolve.outcome.forensics import Diagnosis
from evolve.storage import schema
from evolve.storage.database import Storage
from evolve.storage.rows import epoch_row, step_row
from evolve.study import Study
from tests.synthetic_seeing import picture_rows, seen_rows

STATE_OF = {
    "converged": TrialState.COMPLETE,
    "undertrained": TrialState.COMPLETE,
    "diverged": TrialState.PRUNED,
    "pruned": TrialState.PRUNED,
    "doomed": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "running": TrialState.RUNNING,
    "waiting": TrialState.WAITING,
}
SPACE: dict[str, BaseDistribution] = {
    "lr0": FloatDistribution(1e-4, 10.0, log=True),
    "momentum": FloatDistribution(0.6, 0.98),
    "box": FloatDistribution(0.01, 0.3, log=True),
    "warmup_epochs": FloatDistribution(0.0, 3.0),
    "schedule": CategoricalDistribution(["linear", "cosine"]),
}
TRACEBACK = """Traceback (most recent call last):
  File "detector/trainer.py", line 211, in fit
    loss = self.loss(self.model(images), targets)
RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; <7.8 GiB> total)
"""
CREATED = 1_780_000_000.0
SIGN_AHEAD = 12  # steps from the first sign to the end


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A study to make up.

    Attributes:
        verdicts: What becomes of each trial, or empty to let its hyperparameters decide.
        log_steps: Whether rows of steps are written, and what evaluations show besides metrics.
        screens: Whether it is a screening of changes; each of its hyperparameters has two choices then.
        heartbeat: When somebody was last heard of who runs the study, in seconds since 1970; None where nobody does, as
            of one of which no trial is running.
        warned: What the steps of trials foretold while they ran, by number of the trial.
    """

    name: str = "digits-lr"
    description: str = "Where does the learning rate stop being safe?"
    num_trials: int = 16
    verdicts: Sequence[str] = ()
    space: Mapping[str, BaseDistribution] = field(default_factory=lambda: SPACE)
    epochs: int = 10
    steps_per_epoch: int = 20
    seeds: tuple[int, ...] = (0,)
    log_steps: bool = True
    has_findings: bool = True
    seed: int = 0
    traceback: str = TRACEBACK
    reason: str = ""
    screens: bool = False
    heartbeat: float | None = field(default_factory=time.time)
    warned: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a made-up trial does: where it stops and how good it gets."""

    verdict: str
    skill: float
    last_epoch: int
    last_step: int


def new_engine(path: Path) -> Engine:
    """An empty database with Optuna's tables and ours."""
    path.write_bytes(_empty())
    storage = Storage(f"sqlite:///{path}")
    storage.optuna.engine.dispose()
    return storage.engine


@cache  # making the tables takes longer than most tests that need them
def _empty() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        Storage(f"sqlite:///{path}").close()
        return path.read_bytes()


def add_study(engine: Engine, plan: Plan) -> int:
    """Writes the study and all its rows; returns its id."""
    rng = np.random.default_rng(plan.seed)
    with engine.begin() as connection:
        study_id = _add_study_rows(connection, plan)
        first_id = _next_trial_id(connection)
        rows: dict[Any, list[dict[str, Any]]] = {}
        for number in range(plan.num_trials):
            params = {name: _draw(rng, each) for name, each in plan.space.items()}
            outcome = _outcome(rng, plan, number, params)
            for table, more in _trial_rows(rng, plan, (study_id, first_id + number, number), params, outcome).items():
                rows.setdefault(table, []).extend(more)
        if plan.heartbeat is not None and any(trial["verdict"] is None for trial in rows.get(schema.trial, [])):
            lease = {"study_id": study_id, "token": "t", "host": "h", "pid": 1, "heartbeat": plan.heartbeat}
            rows[schema.lease] = [lease]
        rows[schema.event] = [
            {"study_id": study_id, "trial_id": first_id + number, "created": 0.0, "kind": "warned", "message": text}
            for number, text in plan.warned.items()
        ]
        for table, records in rows.items():
            if records:
                connection.execute(insert(table), records)
    return study_id


def _add_study_rows(connection: Connection, plan: Plan) -> int:
    study = connection.execute(insert(models.StudyModel.__table__).values(study_name=plan.name))
    study_id = int(study.inserted_primary_key[0])
    connection.execute(
        insert(models.StudyDirectionModel.__table__).values(
            study_id=study_id, direction=optuna.study.StudyDirection.MAXIMIZE, objective=0
        )
    )
    connection.execute(
        insert(schema.study).values(
            study_id=study_id, config=json.dumps(_config(plan)), created=CREATED, data_summary=json.dumps(DATA_SUMMARY)
        )
    )
    if plan.num_trials:
        run = {"started": CREATED - 5, "heartbeat": CREATED + 60 * plan.num_trials, "workers": 2, "lanes": 1}
        run |= {"engine": "ProcessEngine", "host": "node-7", "device": "cuda", "study_id": study_id}
        connection.execute(insert(schema.run).values(run | {"ended": run["heartbeat"]}))
    if plan.has_findings:
        connection.execute(insert(schema.data_finding), [dict(each, study_id=study_id) for each in FINDINGS])
    if plan.log_steps:
        connection.execute(insert(schema.picture), picture_rows(study_id))
    facts = {"python": "3.11.7", "torch": "2.14.1", "device": "NVIDIA H100", "commit": "0123abcd", "host": "node-7"}
    if not connection.execute(schema.environment.select().where(schema.environment.c.environment_id == "e" * 64)).all():
        connection.execute(insert(schema.environment).values(environment_id="e" * 64, facts=json.dumps(facts)))
    return study_id


DATA_SUMMARY = {
    "source": "digits, rendered",
    "classes": ["zero", "one", "two"],
    "max_boxes": 4,
    "splits": {
        "train": {"images": 640, "boxes": 1893, "boxes_by_class": {"zero": 640, "one": 620, "two": 633}},
        "val": {"images": 160, "boxes": 481, "boxes_by_class": {"zero": 160, "one": 150, "two": 171}},
        "test": {"images": 160, "boxes": 470, "boxes_by_class": {"zero": 150, "one": 160, "two": 160}},
    },
    "findings": {"clipped": 7, "empty_image": 1},
}
FINDINGS = [
    {"kind": "clipped", "file": f"labels/train/{number:05d}.txt", "line": 3, "message": "box reached 1.02, cut to 1"}
    for number in range(7)
] + [{"kind": "empty_image", "file": "labels/val/00011.txt", "line": None, "message": "no boxes: background image"}]


STUDY = Study.from_mapping(
    {
        "name": "made-up",
        "data": "digits-3",
        "hyperparameters": {"weight_decay": 0.0005, "nesterov": True},
        "space": {"lr0": {"low": 0.1, "high": 1}},
        "pruner": "median",
        "budget": {"trials": 1},
    },
    origin="synthetic",
)


def _config(plan: Plan) -> dict[str, Any]:
    """A real study's, with what the plan says: names and texts may be such as no study file could hold."""
    space = {name: json.loads(distribution_to_json(each))["attributes"] for name, each in plan.space.items()}
    planned = {"name": plan.name, "description": plan.description, "epochs": plan.epochs, "seeds": list(plan.seeds)}
    chosen = {"sampler": "screening", "pruner": "none"} if plan.screens else {}
    budget = {"trials": plan.num_trials, "seconds": None}
    return STUDY.to_mapping() | planned | chosen | {"space": space, "budget": budget}


def _next_trial_id(connection: Connection) -> int:
    highest = connection.execute(select(func.max(models.TrialModel.__table__.c.trial_id))).scalar()
    return int(highest or 0) + 1


def _draw(rng: np.random.Generator, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(rng.integers(len(distribution.choices)))]
    assert isinstance(distribution, FloatDistribution)
    if distribution.log:
        return float(10 ** rng.uniform(log10(distribution.low), log10(distribution.high)))
    return float(rng.uniform(distribution.low, distribution.high))


def _outcome(rng: np.random.Generator, plan: Plan, number: int, params: Mapping[str, Any]) -> Outcome:
    lr0, momentum = params.get("lr0", 0.1), params.get("momentum", 0.9)
    distance = (log10(lr0) - log10(0.12)) / 1.1
    skill = 0.9 * exp(-(distance**2)) * (1 - 0.5 * abs(momentum - 0.9)) * (1 + 0.04 * rng.standard_normal())
    verdict = plan.verdicts[number] if plan.verdicts else _verdict(rng, plan, number, lr0, skill)
    total = plan.epochs * plan.steps_per_epoch
    last_step = {
        "diverged": min(int(rng.integers(2, 40)) + int(plan.steps_per_epoch * rng.exponential(1.0)), total - 1),
        "pruned": min(4, plan.epochs) * plan.steps_per_epoch - 1,
        "doomed": plan.steps_per_epoch - 1,
        "failed": int(rng.integers(1, plan.steps_per_epoch + 1)),
        "running": total // 2,
        "waiting": -1,
    }.get(verdict, total - 1)
    return Outcome(
        verdict=verdict,
        skill=float(np.clip(skill, 0.0, 0.97)),
        last_epoch=(last_step + 1) // plan.steps_per_epoch - 1,
        last_step=last_step,
    )


def _verdict(rng: np.random.Generator, plan: Plan, number: int, lr0: float, skill: float) -> str:
    if number == plan.num_trials - 1:
        return "running"
    if rng.random() < 1 / (1 + exp(-9 * (log10(lr0) - log10(1.1)))):
        return "diverged"
    if rng.random() < 0.03:
        return "failed"
    if skill < 0.35 and rng.random() < 0.5:
        return "pruned"
    return "converged" if skill > 0.3 else "undertrained"


def _trial_rows(
    rng: np.random.Generator, plan: Plan, ids: tuple[int, int, int], params: Mapping[str, Any], outcome: Outcome
) -> dict[Any, list[dict[str, Any]]]:
    study_id, trial_id, number = ids
    epochs = _epoch_rows(rng, plan, trial_id, outcome)
    steps = _step_rows(rng, plan, trial_id, params, outcome) if plan.log_steps else []
    last_val = [row for row in epochs if row["split"] == "val" and row["epoch"] == outcome.last_epoch]
    fitness = float(np.mean([row["fitness"] for row in last_val])) if last_val else None
    ended = outcome.verdict not in ("running", "waiting")
    trial = {"trial_id": trial_id, "study_id": study_id, "number": number}
    optuna_trial = trial | {"state": STATE_OF[outcome.verdict], "datetime_start": datetime(2026, 5, 28, tzinfo=UTC)}
    rows: dict[Any, list[dict[str, Any]]] = {
        schema.training: _training_rows(plan, trial_id, params, outcome, epochs) if ended else [],
        models.TrialModel.__table__: [optuna_trial],
        models.TrialParamModel.__table__: [
            _param_row(trial_id, name, plan.space[name], params[name]) for name in params
        ],
        schema.epoch: epochs,
        schema.step: steps,
    }
    rows |= seen_rows(epochs) if plan.log_steps else {}
    if ended and fitness is not None:
        finite = models.TrialValueModel.TrialValueType.FINITE
        rows[models.TrialValueModel.__table__] = [
            {"trial_id": trial_id, "objective": 0, "value": fitness, "value_type": finite}
        ]
    if outcome.verdict != "waiting":
        rows[schema.trial] = [
            trial
            | _our_trial(plan, number, params, outcome, None if outcome.verdict in ("diverged", "failed") else fitness)
        ]
    return rows


def _training_rows(
    plan: Plan, trial_id: int, params: Mapping[str, Any], outcome: Outcome, epochs: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    has_fitness = outcome.verdict not in ("diverged", "failed")
    fitness = {row["seed"]: row["fitness"] for row in epochs if row["split"] == "val" and has_fitness}
    diagnosis = _diagnosis(plan, params, outcome).to_json() if outcome.verdict == "diverged" else None
    shared = {"trial_id": trial_id, "verdict": outcome.verdict, "reason": plan.reason or _reason(outcome)}
    shared |= {"diagnosis": diagnosis, "seconds": 0.06 * (outcome.last_step + 1), "validating": 0.0}
    return [shared | {"seed": seed, "fitness": fitness.get(seed)} for seed in plan.seeds]


def _param_row(trial_id: int, name: str, distribution: BaseDistribution, value: Any) -> dict[str, Any]:
    return {
        "trial_id": trial_id,
        "param_name": name,
        "param_value": distribution.to_internal_repr(value),
        "distribution_json": distribution_to_json(distribution),
    }


def _our_trial(
    plan: Plan, number: int, params: Mapping[str, Any], outcome: Outcome, fitness: float | None
) -> dict[str, Any]:
    ended = outcome.verdict != "running"
    seconds = 0.06 * (outcome.last_step + 1) * len(plan.seeds)
    diagnosis = _diagnosis(plan, params, outcome) if outcome.verdict == "diverged" else None
    return {
        "environment_id": "e" * 64,
        "started": CREATED + 60.0 * number,
        "ended": CREATED + 60.0 * number + seconds if ended else None,
        "seconds": seconds if ended else None,
        "verdict": outcome.verdict if ended else None,
        "reason": plan.reason or _reason(outcome) if ended else None,
        "diagnosis": None if diagnosis is None else diagnosis.to_json(),
        "traceback": plan.traceback if outcome.verdict == "failed" else None,
        "fitness": fitness,
    }


def _reason(outcome: Outcome) -> str:
    return {
        "converged": "fitness rose less than 0.005 in the last 3 epochs",
        "undertrained": "fitness was still rising at the last epoch",
        "diverged": f"loss nan at step {outcome.last_step}",
        "pruned": f"below the median of epoch {outcome.last_epoch}",
        "doomed": f"foreseen after {outcome.last_epoch + 1} epochs",
        "failed": "out of memory",
    }[outcome.verdict]


def _broken(last_step: int) -> tuple[str, int]:
    return "obj" if last_step % 3 else "box", last_step % 2


def _diagnosis(plan: Plan, params: Mapping[str, Any], outcome: Outcome) -> Diagnosis:
    step = outcome.last_step
    lr, momentum = _rates(plan, params, step)
    return Diagnosis(
        step=step,
        epoch=step // plan.steps_per_epoch,
        term=_broken(step)[0],
        scale=_broken(step)[1],
        value=float("nan"),
        num_terms=2,
        lr=lr,
        bias_lr=lr,
        momentum=momentum,
        in_warmup=step < params.get("warmup_epochs", 1.0) * plan.steps_per_epoch,
        last_finite_loss=812.5,
        loss_growth=101.0,
        last_finite_grad_norm=4.1e5 / (1 + step) if step else float("nan"),
        last_finite_grad_step=step - 1 if step else None,
        first_sign_step=max(step - SIGN_AHEAD, 0) if step % 5 else None,
        steps_ahead=min(step, SIGN_AHEAD) if step % 5 else None,
        max_update_ratio=0.7,
        max_box_logit=31.0,
    )


def _epoch_rows(rng: np.random.Generator, plan: Plan, trial_id: int, outcome: Outcome) -> list[dict[str, Any]]:
    rows = []
    for seed in plan.seeds:
        gain = 1 + 0.03 * rng.standard_normal()
        rows += [
            _epoch_row(rng, plan, (trial_id, seed, "val", epoch), outcome.skill * gain)
            for epoch in range(outcome.last_epoch + 1)
        ]
        if outcome.verdict in ("converged", "undertrained"):
            rows.append(
                _epoch_row(rng, plan, (trial_id, seed, "test", outcome.last_epoch), outcome.skill * gain * 0.96)
            )
    return rows


def _epoch_row(rng: np.random.Generator, plan: Plan, keys: tuple[int, int, str, int], skill: float) -> dict[str, Any]:
    trial_id, seed, split, epoch = keys
    progress = 1 - exp(-4 * (epoch + 1) / plan.epochs)
    map50 = float(np.clip(skill * progress + 0.01 * rng.standard_normal(), 0, 1))
    map50_95 = 0.55 * map50
    loss = 6 * (1 - 0.9 * skill * progress)
    parts = {"box": 0.4, "obj": 0.25, "noobj": 0.2, "cls": 0.15}
    metrics = EpochMetrics(
        lane=0,
        epoch=epoch,
        step=(epoch + 1) * plan.steps_per_epoch,
        split=split,
        precision=min(map50 * 1.05, 1.0),
        recall=map50 * 0.95,
        map50=map50,
        map50_95=map50_95,
        losses={name: loss * part * (1.1 + 0.02 * epoch) for name, part in parts.items()},
        train_losses={name: loss * part for name, part in parts.items()},
        seconds=0.06 * plan.steps_per_epoch,
    )
    return epoch_row(trial_id, seed, metrics) | {"fitness": STUDY.fitness.of(metrics)}


def _rates(plan: Plan, params: Mapping[str, Any], step: int) -> tuple[float, float]:
    lr0, momentum = params.get("lr0", 0.1), params.get("momentum", 0.9)
    total = plan.epochs * plan.steps_per_epoch
    done = step / total
    falling = 1 - 0.99 * done if params.get("schedule") != "cosine" else 0.01 + 0.99 * (1 + cos(pi * done)) / 2
    warmup = params.get("warmup_epochs", 1.0) * plan.steps_per_epoch
    warm = min(step / warmup, 1.0) if warmup > 0 else 1.0
    return lr0 * falling * warm, 0.8 + (momentum - 0.8) * warm


def _step_rows(
    rng: np.random.Generator, plan: Plan, trial_id: int, params: Mapping[str, Any], outcome: Outcome
) -> list[dict[str, Any]]:
    rows = []
    for seed in plan.seeds:
        noise = rng.standard_normal((outcome.last_step + 1, 2))
        for step in range(outcome.last_step + 1):
            telemetry = _step(plan, params, outcome, step, noise=(float(noise[step, 0]), float(noise[step, 1])))
            rows.append(step_row(trial_id, seed, telemetry))
    return rows


def _step(
    plan: Plan, params: Mapping[str, Any], outcome: Outcome, step: int, *, noise: tuple[float, float]
) -> StepTelemetry:
    to_end, has_diverged = outcome.last_step - step, outcome.verdict == "diverged"
    blow_up = exp(max(12 - to_end, 0) * 0.9) if has_diverged else 1.0
    is_lost = has_diverged and to_end == 0
    lr, momentum = _rates(plan, params, step)
    loss = (2 + 6 * exp(-4 * step / (plan.epochs * plan.steps_per_epoch))) * (1 + 0.1 * noise[0])
    terms = {"box": [0.2, 0.2], "obj": [0.3, 0.3], "noobj": [0.1, 0.1], "cls": [0.1, 0.1]}
    if has_diverged:
        term, scale = _broken(outcome.last_step)
        terms[term][scale] = nan if is_lost else 0.2 * min(blow_up, 1e30)
    return StepTelemetry(
        lane=0,
        step=step,
        epoch=step // plan.steps_per_epoch,
        loss=nan if is_lost else loss * min(blow_up, 1e4),
        terms=LossTerms(**{name: tuple(values) for name, values in terms.items()}),
        grad_norm=nan if is_lost else 8 * exp(0.3 * noise[1]) * blow_up,
        update_ratio=nan if is_lost else 2e-3 * min(lr, 1) * exp(0.2 * noise[1]) * blow_up,
        lr=lr,
        bias_lr=max(lr, 0.1 - 0.005 * step),
        momentum=momentum,
        max_box_logit=3.0 * blow_up**0.3,
        in_warmup=step < params.get("warmup_epochs", 1.0) * plan.steps_per_epoch,
        seconds=0.06,
        images_per_second=266.0,
    )
