"""A study from its first trial to its last: judged, told, stored, interrupted and continued."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from math import isnan, log
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from evolve.errors import StorageError, StudyError
from evolve.outcome.forensics import Diagnosis
from evolve.outcome.training import TrialOutcome
from evolve.run.engines import ProcessEngine, SerialEngine
from evolve.run.events import StudyStopped, TrialEnded, TrialStarted
from evolve.run.runner import StudyRun
from evolve.search.samplers import STANDARD_ERROR
from evolve.storage.database import Storage
from evolve.study import Study
from tests.fake_runs import events_of, run_in_workers, trials_told
from tests.fakes import STEPS_PER_EPOCH, UNLUCKY_SEED, fake_study, make_fake
from tests.processes import forked


def run(
    study: Study, folder: Path, *, should_stop: Callable[[], bool] = lambda: False, stop_after: int | None = None
) -> list[object]:
    engine = SerialEngine(partial(make_fake, study.epochs, folder))
    return events_of(study, folder, engine, should_stop=should_stop, stop_after=stop_after)


def verdicts(folder: Path, name: str = "fake") -> dict[int, str]:
    storage = Storage(f"sqlite:///{folder}/evolve.db")
    found = storage.verdicts(storage.study_id(name))
    storage.close()
    return found


def test_a_study_runs_to_its_budget_and_every_trial_is_told_and_judged(tmp_path: Path) -> None:
    events = run(fake_study(), tmp_path)

    ended = [each for each in events if isinstance(each, TrialEnded)]
    last = events[-1]
    assert isinstance(last, StudyStopped) and last.is_complete
    assert [each.trial.number for each in ended] == list(range(6))
    assert all(each.state.is_finished() for each in trials_told(tmp_path))
    assert verdicts(tmp_path) == {each.trial.number: str(each.outcome.verdict) for each in ended}


def test_a_diverged_trial_is_a_result_with_its_diagnosis_and_never_the_best(tmp_path: Path) -> None:
    study = fake_study(space={"lr0": {"choices": [5.0, 0.1]}}, sampler="grid", budget={"trials": 2})
    run(study, tmp_path)
    storage = Storage(f"sqlite:///{tmp_path}/evolve.db")
    by_lr0 = {each.params["lr0"]: each for each in trials_told(tmp_path)}

    outcome = storage.outcome(by_lr0[5.0]._trial_id)

    assert outcome is not None and outcome.verdict == "diverged" and isnan(outcome.fitness)
    assert storage.seconds(by_lr0[5.0]._trial_id) == pytest.approx(0.05 + 3 * 0.01)  # an epoch, three steps
    assert storage.seconds(by_lr0[0.1]._trial_id) == pytest.approx(5 * 0.05)
    assert "step 7" in outcome.reason and "box loss nan" in outcome.reason
    assert '"last_finite_grad_step": 6' in (outcome.diagnosis or "")
    assert by_lr0[5.0].state is TrialState.PRUNED
    # Updates are a fifth of lr0 of the weights, and in danger from a fifth on.
    margins = {lr0: trial.constraints["diverged"] for lr0, trial in by_lr0.items()}
    assert margins == pytest.approx({5.0: log(5), 0.1: log(0.1)})
    assert storage.best(storage.study_id("fake")) == by_lr0[0.1].number
    steps = storage.records.steps(by_lr0[5.0]._trial_id, 0)
    assert len(steps) == 8 and isnan(steps[-1].loss) and isnan(steps[-1].terms.box[0])
    assert len(steps[-1].terms.box) == 2
    storage.close()


def test_a_trial_of_several_seeds_says_which_of_them_diverged(tmp_path: Path) -> None:
    run(fake_study(space={"lr0": {"choices": [5.0]}}, budget={"trials": 1}, seeds=[3, 4]), tmp_path)
    storage = Storage(f"sqlite:///{tmp_path}/evolve.db")

    outcome = storage.outcome(trials_told(tmp_path)[0]._trial_id)
    storage.close()

    assert outcome is not None and outcome.reason.startswith("seed 3: box loss nan")
    assert Diagnosis.from_json(outcome.diagnosis or "").seed == 3


def test_each_training_is_kept_and_one_that_diverges_in_mid_epoch_after_a_good_one_costs_its_seconds(
    tmp_path: Path,
) -> None:
    seeds = [0, UNLUCKY_SEED, 14]
    run(fake_study(space={"lr0": {"choices": [0.1]}}, budget={"trials": 1}, seeds=seeds), tmp_path)
    storage = Storage(f"sqlite:///{tmp_path}/evolve.db")
    trial_id = trials_told(tmp_path)[0]._trial_id

    trainings, outcome = storage.records.trainings(trial_id), storage.outcome(trial_id)

    assert {seed: training.verdict for seed, training in trainings.items()} == {
        0: "undertrained",
        UNLUCKY_SEED: "diverged",
    }
    assert trainings[0].fitness > 0.5 and isnan(trainings[UNLUCKY_SEED].fitness)
    assert outcome is not None and outcome.diagnosis == trainings[UNLUCKY_SEED].diagnosis
    assert outcome.reason.startswith(f"seed {UNLUCKY_SEED}: box loss nan")
    assert outcome.reason.endswith("(the others: 1 undertrained)")
    assert storage.seconds(trial_id) == pytest.approx(5 * 0.05 + 0.05 + 3 * 0.01)  # five epochs; one, and three steps
    storage.close()


def test_a_crash_is_a_failure_with_its_traceback_and_the_study_goes_on(tmp_path: Path) -> None:
    study = fake_study(space={"lr0": {"choices": [5e-5, 0.1]}}, sampler="grid", budget={"trials": 2})
    run(study, tmp_path)
    storage = Storage(f"sqlite:///{tmp_path}/evolve.db")
    failed = next(each for each in trials_told(tmp_path) if each.state is TrialState.FAIL)

    outcome = storage.outcome(failed._trial_id)
    storage.close()

    assert outcome is not None and outcome.verdict == "failed"
    assert "breaks this network" in outcome.reason and "in misbehave" in (outcome.traceback or "")
    assert sorted(verdicts(tmp_path).values()) == ["failed", "undertrained"]


def test_when_everything_fails_the_study_stops_early_and_says_so(tmp_path: Path) -> None:
    study = fake_study(space={"lr0": {"low": 2e-5, "high": 9e-5}})

    last = run(study, tmp_path)[-1]

    assert isinstance(last, StudyStopped) and last.is_failed and not last.is_complete
    assert last.reason == "all of the first 3 trials failed"


def test_a_full_disk_stops_the_study_and_leaves_the_trial_to_go_on_later(tmp_path: Path) -> None:
    study = fake_study(space={"lr0": {"choices": [5e-7, 0.1]}}, sampler="grid", budget={"trials": 2})

    last = run(study, tmp_path)[-1]

    assert isinstance(last, StudyStopped) and last.is_failed
    assert "No space left on device" in last.reason and "nothing finished is lost" in last.reason
    assert TrialState.RUNNING in {each.state for each in trials_told(tmp_path)}


def test_the_pruner_stops_trials_behind_the_others(tmp_path: Path) -> None:
    study = fake_study(
        epochs=8, pruner="median", budget={"trials": 14}, space={"lr0": {"low": 1e-3, "high": 0.9, "log": True}}
    )
    run(study, tmp_path)

    assert "pruned" in verdicts(tmp_path).values()
    for trial in trials_told(tmp_path):
        if trial.state is TrialState.PRUNED:
            assert len(trial.intermediate_values) < 8


def test_fitness_is_the_mean_over_the_seeds(tmp_path: Path) -> None:
    study = fake_study(
        seeds=[0, 10], space={"lr0": {"choices": [0.1]}}, fitness={"map50": 1, "map50_95": 0}, budget={"trials": 1}
    )
    run(study, tmp_path)

    (trial,) = trials_told(tmp_path)
    assert trial.value == pytest.approx((1 + 0.9) / 2)
    # Half of the distance of two values is the standard error of their mean.
    assert trial.system_attrs[STANDARD_ERROR] == pytest.approx((1 - 0.9) / 2)


def test_a_baseline_comes_first(tmp_path: Path) -> None:
    run(fake_study(baseline=True, hyperparameters={"lr0": 0.05, "momentum": 0.9}), tmp_path)

    assert trials_told(tmp_path)[0].params == {"lr0": 0.05, "momentum": 0.9}


def test_running_again_adds_nothing_and_a_larger_budget_adds_the_difference(tmp_path: Path) -> None:
    run(fake_study(), tmp_path)
    before = {each.number: each.params for each in trials_told(tmp_path)}

    again = run(fake_study(), tmp_path)
    more = run(fake_study(budget={"trials": 8}), tmp_path)

    assert [type(each) for each in again] == [StudyStopped]
    assert [each.trial.number for each in more if isinstance(each, TrialStarted)] == [6, 7]
    assert {each.number: each.params for each in trials_told(tmp_path)}.items() >= before.items()


def test_another_definition_under_the_same_name_is_refused(tmp_path: Path) -> None:
    run(fake_study(), tmp_path)

    with pytest.raises(StorageError, match="with other epochs; give this one another --name"):
        run(fake_study(epochs=5), tmp_path)


@pytest.mark.parametrize("sampler", ["random", "qmc", "tpe", "cmaes", "gp", "grid", "evolution"])
@pytest.mark.parametrize("stop_after", [3, 8, 17])
def test_a_study_stopped_anywhere_asks_what_it_would_have_asked(tmp_path: Path, sampler: str, stop_after: int) -> None:
    study = fake_study(sampler=sampler)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()

    run(study, whole)
    run(study, parts, stop_after=stop_after)
    run(study, parts)

    def asked(folder: Path) -> list[tuple[object, ...]]:
        return [(each.number, each.params, each.state, each.values) for each in trials_told(folder)]

    assert asked(parts) == asked(whole)


def test_a_time_budget_starts_no_further_trial_and_lets_running_ones_end(tmp_path: Path) -> None:
    first = run(fake_study(budget={"trials": 6, "seconds": 1e-6}), tmp_path)
    second = run(fake_study(), tmp_path)

    assert [each.trial.number for each in first if isinstance(each, TrialEnded)] == []
    last = first[-1]
    assert isinstance(last, StudyStopped) and not last.is_complete and not last.is_failed
    assert last.reason == "time budget of 1e-06 s spent"
    assert len([each for each in second if isinstance(each, TrialEnded)]) == 6


def test_a_budget_is_not_spent_while_a_trial_that_an_earlier_run_left_has_not_ended(tmp_path: Path) -> None:
    study = fake_study(budget={"trials": 2})
    make = partial(make_fake, study.epochs, tmp_path)
    events_of(study, tmp_path, SerialEngine(make, lanes=2), stop_after=2)

    stopped = events_of(study, tmp_path, SerialEngine(make), should_stop=lambda: True)[-1]
    hurried = fake_study(budget={"trials": 2, "seconds": 100})
    out_of_time = events_of(hurried, tmp_path, SerialEngine(make), times=[0, 0, 200])[-1]

    assert stopped == StudyStopped(reason="stopped", is_complete=False)
    assert out_of_time == StudyStopped(reason="time budget of 100 s spent", is_complete=False)


def test_a_trial_that_another_process_trains_keeps_the_study_from_being_complete(tmp_path: Path) -> None:
    study = fake_study(budget={"trials": 2})
    engine = SerialEngine(partial(make_fake, study.epochs, tmp_path))
    with closing(Storage(f"sqlite:///{tmp_path}/evolve.db")) as storage, closing(engine):
        started = StudyRun(study, storage, engine, environment_id="test")
        with storage.lease(started.study_id, study.name) as lease:
            events = started.events(lease)
            next(events)
            theirs = optuna.load_study(study_name=study.name, storage=storage.url)
            theirs.ask(study.space.distributions())
            last = list(events)[-1]

    assert last == StudyStopped(reason="trials [1] have not ended", is_complete=False)


def test_ctrl_c_keeps_finished_trials_and_the_unfinished_one_goes_on_under_its_number(tmp_path: Path) -> None:
    count = iter(range(1000))
    first = run(fake_study(), tmp_path, should_stop=lambda: next(count) > 25)
    second = run(fake_study(), tmp_path)

    done = [each.trial.number for each in first if isinstance(each, TrialEnded)]
    last = first[-1]
    assert isinstance(last, StudyStopped) and last.reason == "stopped"
    assert 0 < len(done) < 6
    started = [each for each in second if isinstance(each, TrialStarted)]
    assert started[0].is_resumed and started[0].trial.number == len(done)
    assert [each.trial.number for each in second if isinstance(each, TrialEnded)] == list(range(len(done), 6))


def test_two_runs_of_one_study_at_once_are_refused(tmp_path: Path) -> None:
    storage = Storage(f"sqlite:///{tmp_path}/evolve.db")
    started = StudyRun(fake_study(), storage, SerialEngine(partial(make_fake, 4, tmp_path)), environment_id="test")

    with (
        storage.lease(started.study_id, "fake"),
        pytest.raises(StorageError, match=f"study fake: process {os.getpid()} on .* runs it"),
    ):
        run(fake_study(), tmp_path)
    storage.close()


def test_a_decision_of_the_pruner_outlives_the_process_that_asked_for_it(tmp_path: Path) -> None:
    study = fake_study(epochs=9, pruner="asha", budget={"trials": 8}, sampler="qmc")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    run(study, whole)

    end_trial = Storage.end_trial

    def killed(self: Storage, trial_id: int, outcome: TrialOutcome) -> None:
        if outcome.verdict == "pruned" and trial_id not in seen:
            seen.add(trial_id)
            raise KeyboardInterrupt
        end_trial(self, trial_id, outcome)

    seen: set[int] = set()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Storage, "end_trial", killed)
        for _ in range(9):
            with suppress(KeyboardInterrupt):
                run(study, parts)

    assert seen
    assert verdicts(parts) == verdicts(whole)
    assert [(each.params, each.values) for each in trials_told(parts)] == [
        (each.params, each.values) for each in trials_told(whole)
    ]


def test_no_trial_is_started_that_would_not_be_over_in_time(tmp_path: Path) -> None:
    seconds = iter(range(0, 100000, 1))
    storage = Storage(f"sqlite:///{tmp_path}/evolve.db")
    study = fake_study(space={"lr0": {"choices": [0.1]}}, budget={"trials": 50, "seconds": 100})
    engine = SerialEngine(partial(make_fake, study.epochs, tmp_path))
    started = StudyRun(study, storage, engine, environment_id="test", clock=lambda: float(next(seconds)))
    with storage.lease(started.study_id, study.name) as lease:
        events = list(started.events(lease))
    storage.close()

    last = events[-1]
    assert isinstance(last, StudyStopped) and not last.is_complete
    assert last.reason == "time budget of 100 s: another trial would not be over by then"
    assert next(seconds) < 110
    assert len(verdicts(tmp_path)) > 3


@pytest.mark.parametrize("workers", [1, 2])
def test_kill_9_loses_no_finished_trial_doubles_none_and_changes_no_parameters(tmp_path: Path, workers: int) -> None:
    program = partial(run_in_workers, fake_study(sampler="tpe"), tmp_path, seconds=0.02, workers=workers)
    with forked(program, tmp_path) as driver:
        driver.wait_until(lambda: driver.said().count("TrialEnded") >= 2)
        time.sleep(0.15)
        driver.send(signal.SIGKILL)
        assert driver.ended().returncode == -signal.SIGKILL
    finished = {each.number: each for each in trials_told(tmp_path) if each.state.is_finished()}

    with forked(program, tmp_path) as driver:
        ended = driver.ended()

    assert ended.returncode == 0, ended.stderr
    after = trials_told(tmp_path)
    assert len(finished) >= 2
    assert [each.number for each in after] == list(range(6))
    assert all(each.state.is_finished() for each in after)
    for number, before in finished.items():
        assert (after[number].params, after[number].values) == (before.params, before.values)
    whole = tmp_path / "whole"
    whole.mkdir()
    run(fake_study(sampler="tpe"), whole)
    if workers == 1:  # with two the order of ends, and so what the sampler knows, depends on the clock
        assert [each.params for each in after] == [each.params for each in trials_told(whole)]
    storage = Storage(f"sqlite:///{tmp_path}/evolve.db")
    for trial in after:
        steps = [each.step for each in storage.records.steps(trial._trial_id, 0)]
        assert steps == list(range(len(steps)))
        assert len(steps) in (8, 4 * STEPS_PER_EPOCH)
    storage.close()


def test_two_workers_finish_a_study_as_one_does(tmp_path: Path) -> None:
    study = fake_study(sampler="random")
    storage = Storage(f"sqlite:///{tmp_path}/evolve.db")
    engine = ProcessEngine(partial(make_fake, study.epochs, tmp_path), workers=2)
    started = StudyRun(study, storage, engine, environment_id="test")
    with storage.lease(started.study_id, study.name) as lease:
        list(started.events(lease))
    storage.close()
    alone = tmp_path / "alone"
    alone.mkdir()
    run(study, alone)

    assert [(each.params, each.values) for each in trials_told(tmp_path)] == [
        (each.params, each.values) for each in trials_told(alone)
    ]


def test_only_an_engine_with_the_studys_scheduler_runs_it(tmp_path: Path) -> None:
    storage = Storage(f"sqlite:///{tmp_path}/evolve.db")
    engine = SerialEngine(partial(make_fake, 4, tmp_path))

    with pytest.raises(StudyError, match=r"'asha' is one of Ray Tune's, and this engine .* take --engine ray"):
        StudyRun(fake_study(scheduler="asha"), storage, engine, environment_id="test")

    storage.close()
