"""A study whose pruner foresees: what is stopped, what is told of it, and the same whoever trains."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import isnan
from pathlib import Path

import pytest
from optuna.trial import TrialState

from evolve.outcome.warnings import FIRST_UPDATES, UPDATES
from evolve.run.engines import Engine, ProcessEngine, SerialEngine
from evolve.storage.database import Storage
from evolve.storage.recordings import recordings
from evolve.study import Study, Warnings
from tests.fake_runs import events_of, trials_told
from tests.fakes import STEPS_PER_EPOCH, fake_study, make_fake

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


def run(definition: Study, folder: Path, engine: Callable[..., Engine] = SerialEngine, most: int | None = None) -> None:
    """One run; after `most` events it is abandoned, as by a crash of this process."""
    events_of(definition, folder, engine(partial(make_fake, definition.epochs, folder)), stop_after=most)


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


def test_another_pruner_looks_at_no_step(tmp_path: Path) -> None:
    run(study(pruner="none"), tmp_path)

    assert "doomed" not in {verdict for verdict, _, _ in outcomes(tmp_path).values()}


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
