"""Losses of a training whose gains change while it trains are compared under the same gains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution

from detector.telemetry import TERMS, EndCause, EpochMetrics, LaneEnded, LossTerms, StepTelemetry, Telemetry
from evolve.outcome.forensics import Diagnosis
from evolve.outcome.training import TrainingOutcome
from evolve.run.judging import judged
from evolve.run.lending import Course
from evolve.storage.database import Storage
from evolve.study import Study
from evolve.study.trial import Record, Trial
from tests.fakes import fake_study, metrics_of, step_of

GAINS = FloatDistribution(0.1, 10, log=True)
EVEN = dict.fromkeys(TERMS, 1.0)
RAW = 0.5  # of each term at each of two scales, before its gain


def step(number: int, *, cls: float, grown: float = 1.0) -> StepTelemetry:
    """A step in which all terms cost the same, and the class term counts by its gain."""
    part, klass = RAW * grown, RAW * grown * cls
    terms = LossTerms(box=(part, part), obj=(part, part), noobj=(part, part), cls=(klass, klass))
    return replace(step_of(0.1, 0, number, number // 5), loss=6 * part + 2 * klass, terms=terms)


def epoch(number: int, *, cls: float, grown: float = 1.0) -> EpochMetrics:
    part = 2 * RAW * grown
    losses = {"box": part, "obj": part, "noobj": part, "cls": part * cls}
    return replace(metrics_of(0.1, 0, number, 2, "val"), losses=losses, train_losses=losses)


def outcome(folder: Path, study: Study, trials: Sequence[tuple[dict[str, Any], list[Telemetry]]]) -> TrainingOutcome:
    """How a training ended that went through several trials."""
    storage = Storage(f"sqlite:///{folder}/evolve.db")
    stored = optuna.create_study(storage=storage.optuna, study_name=study.name)
    for params, telemetry in trials:
        stored.add_trial(optuna.trial.create_trial(params=params, distributions=dict.fromkeys(params, GAINS), value=0))
        records = [Record(trial=0, seed=0, telemetry=each) for each in telemetry]
        storage.records.write(len(stored.trials), records, {(0, "val", number): 0.0 for number in range(2)})
    trial = Trial(study=study.name, number=len(trials) - 1, params=dict(trials[-1][0]), seeds=(0,))
    ended = LaneEnded(lane=0, step=10, cause=EndCause.FINISHED, reason="ran all epochs")
    found = judged(study, storage, [each.number + 1 for each in stored.trials], trial, 0, ended)
    storage.close()
    return found


def test_a_member_whose_class_term_counts_more_than_before_has_not_diverged(tmp_path: Path) -> None:
    study = fake_study(epochs=2)
    first = [*(step(number, cls=0.5) for number in range(5)), epoch(0, cls=0.5)]
    second = [*(step(number, cls=9) for number in range(5, 10)), epoch(1, cls=9)]

    found = outcome(tmp_path, study, [({"cls": 0.5}, first), ({"cls": 9.0}, second)])

    assert found.verdict == "undertrained"


def test_the_same_holds_where_the_study_changes_the_gain_at_an_epoch(tmp_path: Path) -> None:
    study = fake_study(epochs=2, space={}, sampler="grid", budget={"trials": 1}, from_epoch={1: {"cls": 9}})
    first = [*(step(number, cls=0.5) for number in range(5)), epoch(0, cls=0.5)]
    second = [*(step(number, cls=9) for number in range(5, 10)), epoch(1, cls=9)]

    found = outcome(tmp_path, study, [({}, [*first, *second])])

    assert found.verdict == "undertrained"


def test_one_that_grew_says_by_how_much_since_its_first_steps(tmp_path: Path) -> None:
    study = fake_study(epochs=2)
    first = [*(step(number, cls=0.5) for number in range(5)), epoch(0, cls=0.5)]
    second = [*(step(number, cls=5, grown=3) for number in range(5, 10)), epoch(1, cls=5, grown=3)]

    found = outcome(tmp_path, study, [({"cls": 0.5}, first), ({"cls": 5.0}, second)])

    assert found.verdict == "diverged"
    assert found.reason.startswith("loss grew to 3x its start by step 9")
    assert Diagnosis.from_json(found.diagnosis or "").loss_growth == pytest.approx(3)


def test_a_course_that_goes_on_under_another_gain_is_judged_as_a_run_judges_it() -> None:
    course = Course(fake_study(epochs=2), gains=lambda number: {**EVEN, "cls": (0.5, 9.0)[number]})
    for telemetry in (*(step(number, cls=0.5) for number in range(5)), epoch(0, cls=0.5), epoch(1, cls=9)):
        course.take_in(telemetry)

    found = course.judgement(LaneEnded(lane=0, step=10, cause=EndCause.FINISHED, reason="ran all epochs"))

    assert found.verdict == "undertrained"
