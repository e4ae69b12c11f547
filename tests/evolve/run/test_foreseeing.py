"""A study whose pruner foresees: what is stopped, what is told of it, and the same whoever trains."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from math import isnan
from pathlib import Path

import pytest
from optuna.trial import TrialState
from sqlalchemy import select

from detector.telemetry import LaneStarted
from evolve.outcome.warnings import FIRST_UPDATES, UPDATES
from evolve.run.engines import Engine, ProcessEngine, SerialEngine
from evolve.run.events import TrialWarned
from evolve.run.foreseeing import Foresight
from evolve.storage import schema
from evolve.storage.database import Storage
from evolve.storage.ledger import EventKind
from evolve.storage.recordings import recordings
from evolve.study import Study, Warnings
from evolve.study.trial import Record
from tests.fake_runs import events_of, trials_told
from tests.fakes import STEPS_PER_EPOCH, fake_study, make_fake, step_of

# The fake's updates are a fifth of lr0: a decisive sign from lr0 0.5 on, none below.
WARNINGS = {"update": 0.1, "sustained": 3}
RATES = [0.6, 0.9, 0.02, 0.05]
ENGINES: dict[str, Callable[..., Engine]] = {
    "serial": SerialEngine,
    "two lanes": partial(SerialEngine, lanes=2),
    "a process": partial(ProcessEngine, workers=1),
}


def study(**changes: object) -> Study:
    space = {"lr0": {"choices": RATES}}
    usual = {"space": space, "sampler": "grid", "budget": {"trials": 4}, "pruner": "doomed", "warnings": WARNINGS}
    return fake_study(**(usual | changes))


def run(
    definition: Study, folder: Path, engine: Callable[..., Engine] = SerialEngine, most: int | None = None
) -> list[object]:
    """Events of one run; after `most` of them it is abandoned, as by a crash of this process."""
    return events_of(definition, folder, engine(partial(make_fake, definition.epochs, folder)), stop_after=most)


def warned(folder: Path) -> dict[float, list[str]]:
    """What is stored of warnings, by lr0."""
    storage = Storage(f"sqlite:///{folder}/evolve.db")
    with closing(storage), storage.engine.connect() as connection:
        query = select(schema.event.c.trial_id, schema.event.c.message).where(schema.event.c.kind == EventKind.WARNED)
        rows = connection.execute(query).all()
    rates = {trial._trial_id: trial.params["lr0"] for trial in trials_told(folder)}
    return {
        rate: [row.message for row in rows if row.trial_id == trial_id]
        for trial_id, rate in rates.items()
        if trial_id in {row.trial_id for row in rows}
    }


def outcomes(folder: Path) -> dict[float, tuple[str, str, int]]:
    """Verdict, reason and count of steps by lr0."""
    storage = Storage(f"sqlite:///{folder}/evolve.db")
    found = {}
    for trial in trials_told(folder):
        outcome = storage.outcome(trial._trial_id)
        assert outcome is not None
        steps = storage.records.steps(trial._trial_id, 0)
        found[trial.params["lr0"]] = (str(outcome.verdict), outcome.reason, len(steps))
    storage.close()
    return found


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_doomed_is_stopped_after_its_first_epoch_and_what_is_not_trains_on(engine: str, tmp_path: Path) -> None:
    definition = study(space={"lr0": {"choices": [0.9, 0.05]}}, budget={"trials": 2})

    run(definition, tmp_path, ENGINES[engine])

    reason = "foreseen after 1 of 4 epochs: update 0.18 above 0.1 at step 4"
    assert outcomes(tmp_path)[0.9] == ("doomed", reason, STEPS_PER_EPOCH)
    assert outcomes(tmp_path)[0.05][::2] == ("undertrained", 4 * STEPS_PER_EPOCH)


def test_what_warns_and_recovers_trains_on(tmp_path: Path) -> None:
    definition = study(
        space={"lr0": {"choices": [0.6, 0.4]}}, budget={"trials": 2}, warnings={"update": 0.05, "sustained": 1}
    )

    run(definition, tmp_path)

    assert {rate: verdict for rate, (verdict, _, _) in outcomes(tmp_path).items()} == {
        0.6: "doomed",
        0.4: "undertrained",  # its updates are 0.08 throughout, and its loss falls
    }


def test_samplers_are_told_that_it_diverged_and_never_that_it_failed(tmp_path: Path) -> None:
    run(study(), tmp_path)
    storage = Storage(f"sqlite:///{tmp_path}/evolve.db")

    stopped = [trial for trial in trials_told(tmp_path) if outcomes(tmp_path)[trial.params["lr0"]][0] == "doomed"]

    assert stopped
    for trial in stopped:
        assert trial.state is TrialState.PRUNED and trial.constraints["diverged"] > 0
        assert isnan(storage.outcome(trial._trial_id).fitness)  # type: ignore[union-attr]
    assert storage.best(storage.study_id("fake")) not in {trial.number for trial in stopped}
    storage.close()


def test_a_run_that_was_killed_goes_on_to_the_same_outcomes(tmp_path: Path) -> None:
    whole, halted = tmp_path / "whole", tmp_path / "halted"
    for folder in (whole, halted):
        folder.mkdir()
    run(study(), whole)

    for most in (2, 3, 4, 6):
        run(study(), halted, most=most)
    run(study(), halted)

    assert outcomes(halted) == outcomes(whole)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_warns_is_said_once_and_stored_whatever_the_pruner(engine: str, tmp_path: Path) -> None:
    events = run(study(pruner="none"), tmp_path, ENGINES[engine])

    said = {event.trial.params["lr0"]: event.reason for event in events if isinstance(event, TrialWarned)}
    assert said == {0.6: "update 0.12 above 0.1 at step 3", 0.9: "update 0.18 above 0.1 at step 3"}
    assert warned(tmp_path) == {rate: [reason] for rate, reason in said.items()}
    assert "doomed" not in {verdict for verdict, _, _ in outcomes(tmp_path).values()}


@pytest.mark.parametrize("most", [2, 3, 4, 5, 6, 8])
def test_what_has_warned_before_its_run_was_killed_is_not_said_again(most: int, tmp_path: Path) -> None:
    definition = study(pruner="none", space={"lr0": {"choices": [0.9, 0.05]}}, budget={"trials": 2})

    run(definition, tmp_path, most=most)
    run(definition, tmp_path)

    assert warned(tmp_path) == {0.9: ["update 0.18 above 0.1 at step 3"]}


def test_each_seed_of_a_trial_warns_for_itself(tmp_path: Path) -> None:
    definition = study(pruner="none", space={"lr0": {"choices": [0.9]}}, budget={"trials": 1}, seeds=[0, 1])

    said = [event.reason for event in run(definition, tmp_path) if isinstance(event, TrialWarned)]

    assert said == [f"update 0.18 above 0.1 at step 3 (seed {seed})" for seed in (0, 1)]


def test_a_loss_that_is_no_number_is_no_warning_of_one(tmp_path: Path) -> None:
    quiet = WARNINGS | {"update": 9.0, "sustained": 1}
    definition = study(pruner="none", space={"lr0": {"choices": [5.0]}}, budget={"trials": 1}, warnings=quiet)

    events = run(definition, tmp_path)

    assert outcomes(tmp_path)[5.0][0] == "diverged"
    assert not [event for event in events if isinstance(event, TrialWarned)]


def test_a_training_that_goes_on_from_where_another_trial_was_is_not_watched(tmp_path: Path) -> None:
    storage = Storage(f"sqlite:///{tmp_path}/evolve.db")
    foresight, later = Foresight(storage.records, study()), range(STEPS_PER_EPOCH, 3 * STEPS_PER_EPOCH)
    started = LaneStarted(lane=0, epoch=1, step=STEPS_PER_EPOCH, total_steps=20)
    steps = [step_of(0.9, 0, number, number // STEPS_PER_EPOCH) for number in later]

    found = foresight.see(
        1, {"lr0": 0.9}, [Record(trial=0, seed=0, telemetry=telemetry) for telemetry in (started, *steps)]
    )

    assert found == [] and foresight.foretold(1, 0) == ""
    storage.close()


def test_trainings_that_a_rule_stopped_are_no_labels(tmp_path: Path) -> None:
    run(study(space={"lr0": {"choices": [*RATES, 5.0]}}, budget={"trials": 5}), tmp_path)
    storage = Storage(f"sqlite:///{tmp_path}/evolve.db")

    found = recordings(storage, study(space={"lr0": {"choices": [*RATES, 5.0]}}, budget={"trials": 5}))

    stopped = sum(verdict == "doomed" for verdict, _, _ in outcomes(tmp_path).values())
    assert stopped and found.left_out == {"doomed": stopped}
    assert len(found.runs) == 5 - stopped
    assert all(each.total_steps == 20 and each.steps_per_epoch == STEPS_PER_EPOCH for each in found.runs)
    storage.close()


def test_warnings_of_a_study_are_part_of_its_definition_where_its_pruner_heeds_them() -> None:
    assert study().differences(study(warnings=WARNINGS | {"box": 0.7})) == ["warnings.box"]
    assert study(pruner="none").differences(study(pruner="none", warnings={"box": 0.7})) == []
    assert study().differences(study(critical=True)) == ["critical"]


def test_a_level_of_updates_alone_is_that_of_every_kind_of_training() -> None:
    assert set(study().warnings.model_dump(include={*UPDATES, *FIRST_UPDATES}).values()) == {0.1}
    stored = study(warnings=WARNINGS | dict.fromkeys(UPDATES, 0.1))  # before first updates had levels of their own
    assert study().differences(stored) == []
    named = study(warnings={"update": 0.1, "update_exp": 0.2}).warnings
    assert (named.update, named.update_exp) == (0.1, 0.2)
    assert named.update_adaptive == Warnings().update_adaptive
