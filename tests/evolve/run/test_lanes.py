"""Trials side by side in one training: what they find is what they would have found alone."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from detector.telemetry import EndCause, EpochMetrics, LaneEnded, LaneStarted
from evolve.run.engines import Engine, ProcessEngine, SerialEngine
from evolve.run.events import TrialEnded
from evolve.run.found import export_hyp
from evolve.run.lanes import DetectionObjective
from evolve.run.runner import StudyRun
from evolve.storage.database import Storage
from evolve.study import Study
from evolve.study.hyp import read_hyp
from evolve.study.trial import Record, Trial
from tests.fakes import fake_study, make_fake
from tests.scenes import few_scenes

# In float64, so that what is trained beside a trial does not change its numbers but in their last bits.
EXACT = Study.from_mapping(
    {
        "name": "lanes",
        "data": "digits-1",
        "model": "yolov3-tiny-compact",
        "image_size": 32,
        "batch_size": 4,
        "nominal_batch_size": 4,
        "precision": "float64",
        "epochs": 2,
        "seeds": [0, 1],
        # Boxes by exp, which overflow in the few steps there are.
        "hyperparameters": {"warmup_epochs": 0, "clip_norm": 0, "coding": "exp"},
        "space": {"lr0": {"low": 1e-3, "high": 1e6, "log": True}},
        "budget": {"trials": 3},
    },
    origin="test",
)


def found(study: Study, folder: Path, engine: Engine) -> list[tuple[object, ...]]:
    """What a study asked and was told, trial by trial."""
    storage = Storage(f"sqlite:///{folder}/evolve.db")
    started = StudyRun(study, storage, engine, environment_id="test")
    with storage.lease(started.study_id, study.name) as lease:
        ended = [event for event in started.events(lease) if isinstance(event, TrialEnded)]
    storage.close()
    trials = optuna.load_study(study_name=study.name, storage=f"sqlite:///{folder}/evolve.db").get_trials()
    assert len(ended) == len(trials) == study.budget.trials
    return [(each.params, each.state, each.values, each.intermediate_values) for each in trials]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_worker_with_lanes_asks_and_finds_what_lanes_in_this_process_do(tmp_path: Path, sampler: str) -> None:
    study = fake_study(sampler=sampler, pruner="asha", epochs=9, seeds=[0, 1], budget={"trials": 12})
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()

    mine = found(study, here, SerialEngine(partial(make_fake, study.epochs, here), lanes=3))
    theirs = found(study, there, ProcessEngine(partial(make_fake, study.epochs, there), workers=1, lanes=3))

    assert mine == theirs
    assert {state for _, state, *_ in mine} == {TrialState.COMPLETE, TrialState.PRUNED}


def test_without_a_sampler_that_looks_back_lanes_find_what_one_trial_after_another_does(tmp_path: Path) -> None:
    study = fake_study(sampler="random", budget={"trials": 8})
    one, four = tmp_path / "one", tmp_path / "four"
    one.mkdir()
    four.mkdir()

    alone = found(study, one, SerialEngine(partial(make_fake, study.epochs, one)))
    together = found(study, four, SerialEngine(partial(make_fake, study.epochs, four), lanes=4))

    assert alone == together


def objective(folder: Path) -> DetectionObjective:
    data = few_scenes("digits-1", train=8, val=4, test=4)
    return DetectionObjective(study=EXACT, device="cpu", run_folder=folder, dataset=data)


def trial(number: int, lr0: float) -> Trial:
    return Trial(study="lanes", number=number, params={"lr0": lr0}, seeds=(0, 1))


def trained(made: DetectionObjective, trials: list[Trial], *, stops: tuple[int, ...] = ()) -> list[Record]:
    training, under_way, records = made.start(trials), len(trials), []
    while under_way:
        records += training.train_epoch()
        for number in stops:
            training.stop(number, "was behind the others")
        stops = ()
        records += training.settle()
        ends = [each for each in records if isinstance(each.telemetry, LaneEnded)]
        over = {each.trial for each in ends if each.seed == 1 or each.telemetry.cause is not EndCause.FINISHED}
        under_way = len(trials) - len(over)
    return records


def scores(records: list[Record], number: int) -> dict[tuple[int, int, str], float]:
    return {
        (each.seed, each.telemetry.epoch, each.telemetry.split): sum(each.telemetry.losses.values())
        for each in records
        if each.trial == number and isinstance(each.telemetry, EpochMetrics)
    }


def test_each_trial_trains_with_all_its_seeds_whoever_is_beside_it(tmp_path: Path) -> None:
    trials = [trial(0, 0.01), trial(1, 1e6), trial(2, 0.003)]
    together = trained(objective(tmp_path / "together"), trials)
    alone = trained(objective(tmp_path / "alone"), [trials[2]])

    assert scores(together, 2) == pytest.approx(scores(alone, 2), rel=1e-9)
    assert set(scores(together, 0)) == {(s, e, p) for s in (0, 1) for e, p in ((0, "val"), (1, "val"), (1, "test"))}
    (diverged,) = [each for each in together if each.trial == 1 and isinstance(each.telemetry, LaneEnded)]
    assert diverged.telemetry.is_diverged and diverged.seed == 0  # another seed could not make it converge


def test_trials_go_on_together_from_checkpoints_of_different_epochs(tmp_path: Path) -> None:
    made = objective(tmp_path)
    trials = [trial(0, 0.01), trial(1, 0.003)]
    first = made.start(trials[:1])
    begun = [*first.train_epoch(), *first.settle()]

    went_on = trained(made, trials)
    straight = trained(objective(tmp_path / "straight"), trials)

    starts = {each.trial: each.telemetry.epoch for each in went_on[:2] if isinstance(each.telemetry, LaneStarted)}
    assert starts == {0: 1, 1: 0}
    for number in (0, 1):
        assert scores([*begun, *went_on], number) == pytest.approx(scores(straight, number), rel=1e-9)


def test_a_trial_that_is_stopped_does_not_begin_its_next_seed(tmp_path: Path) -> None:
    records = trained(objective(tmp_path), [trial(0, 0.01), trial(1, 0.003)], stops=(0,))

    ends = [
        (each.seed, each.telemetry.cause)
        for each in records
        if each.trial == 0 and isinstance(each.telemetry, LaneEnded)
    ]
    assert ends == [(0, EndCause.STOPPED)]
    assert {seed for seed, *_ in scores(records, 1)} == {0, 1}


def test_a_trial_that_searches_its_batch_trains_and_goes_on_with_it(tmp_path: Path) -> None:
    space = {"batch_size": {"choices": [2, 4]}}
    mapping = EXACT.to_mapping()
    searching = Study.from_mapping(mapping | {"space": space, "seeds": [1]}, origin="test")
    fixed = Study.from_mapping(mapping | {"batch_size": 2, "nominal_batch_size": 4, "seeds": [1]}, origin="test")
    made, other = (replace(objective(tmp_path / each.name), study=each) for each in (searching, fixed))
    two = Trial(study="lanes", number=0, params={"batch_size": 2}, seeds=(1,))
    first = made.start([two])
    begun = [*first.train_epoch(), *first.settle()]

    went_on = trained(made, [two])
    expected = trained(replace(other, run_folder=tmp_path / "fixed"), [replace(two, params={})])

    assert made.fuse_key(two) != made.fuse_key(replace(two, params={"batch_size": 4}))
    assert scores([*begun, *went_on], 0) == scores(expected, 0)
    assert {each.telemetry.epoch for each in went_on if isinstance(each.telemetry, LaneStarted)} == {1}
    assert [each.telemetry.total_steps for each in begun if isinstance(each.telemetry, LaneStarted)] == [8]


def test_the_hyp_file_of_a_study_that_searches_its_batch_names_the_batch_of_its_best(tmp_path: Path) -> None:
    space = {"lr0": {"low": 0.05, "high": 0.2}, "batch_size": {"choices": [8, 32]}}
    study = fake_study(sampler="random", space=space, nominal_batch_size=16, budget={"trials": 6})
    found(study, tmp_path, SerialEngine(partial(make_fake, study.epochs, tmp_path)))
    storage = Storage(f"sqlite:///{tmp_path}/evolve.db")

    best = export_hyp(storage, study.name, tmp_path / "hyp.yaml").taken.best
    storage.close()

    training = read_hyp(tmp_path / "hyp.yaml").training
    batch = best.params["batch_size"]
    assert batch in (8, 32) and training["batch_size"] == batch
    assert training["nominal_batch_size"] == max(16, batch)
