"""A population of members that copy each other: the same on every engine and after a crash, and replayed as one run."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from optuna.trial import TrialState

from detector import checkpoint
from evolve.errors import EvolveError, StudyError
from evolve.run.crew import Asked, crew
from evolve.run.curing import prepared
from evolve.run.detection import checkpoint_path
from evolve.run.engines import Engine, ProcessEngine, SerialEngine
from evolve.run.events import StudyStopped
from evolve.run.found import export_hyp
from evolve.run.keeping import affected_by, unneeded
from evolve.run.lanes import DetectionObjective
from evolve.run.lived import lived
from evolve.storage.database import Storage
from evolve.storage.optuna_tables import PARENT
from evolve.storage.trial_rows import trial_rows
from evolve.study import Study
from evolve.study.confirming import check_confirmable
from evolve.study.hyp import read_hyp, training_of, write_hyp
from evolve.study.naming import training_study
from tests.fake_runs import events_of, run_in_workers, trials_told
from tests.fakes import fake_study, make_fake
from tests.processes import evolve, forked
from tests.scenes import few_scenes

POPULATION = {"sampler": "pbt", "pbt": {"members": 4, "interval": 1}, "budget": {"trials": 16}}
ENGINES: dict[str, Callable[[Any], Engine]] = {
    "lanes": partial(SerialEngine, lanes=4),
    "workers": partial(ProcessEngine, workers=2),
    "a worker with lanes": partial(ProcessEngine, workers=1, lanes=3),
}


def told(folder: Path, name: str = "fake") -> list[tuple[object, ...]]:
    """What each trial was, from whom it went on, and what it came to."""
    return [
        (each.params, each.system_attrs.get(PARENT), each.state, each.values, each.intermediate_values)
        for each in trials_told(folder, name)
    ]


def faked(folder: Path, study: Study) -> Callable[[], Any]:
    return partial(make_fake, study.epochs, folder)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[object, ...]]:
    folder, study = tmp_path_factory.mktemp("straight"), fake_study(**POPULATION)
    events_of(study, folder, SerialEngine(faked(folder, study)))
    return told(folder)


def test_each_trial_is_a_part_that_goes_on_from_its_parents(straight: list[tuple[object, ...]]) -> None:
    epochs = [list(reported) for *_, reported in straight]
    parents = [parent for _, parent, *_ in straight]

    assert epochs == [[0]] * 4 + [[1]] * 4 + [[2]] * 4 + [[3]] * 4
    assert parents[:4] == [None] * 4
    copied = [number for number in range(4, 16) if parents[number] != number - 4]
    assert 3 <= len(copied) < 12 and all(
        parents[number] in range(number // 4 * 4 - 4, number // 4 * 4) for number in copied
    )
    assert all(straight[number][0] == straight[number - 4][0] for number in range(4, 16) if number not in copied)


@pytest.mark.parametrize("engine", ENGINES)
def test_lanes_and_workers_find_what_one_trial_after_another_does(
    engine: str, tmp_path: Path, straight: list[tuple[object, ...]]
) -> None:
    study = fake_study(**POPULATION)

    events_of(study, tmp_path, ENGINES[engine](faked(tmp_path, study)))

    assert told(tmp_path) == straight


@pytest.mark.parametrize("stop_after", [3, 9, 14, 23, 37])
def test_a_run_that_is_killed_anywhere_goes_on_as_if_it_had_not_been(
    stop_after: int, tmp_path: Path, straight: list[tuple[object, ...]]
) -> None:
    study = fake_study(**POPULATION)
    events_of(study, tmp_path, SerialEngine(faked(tmp_path, study), lanes=2), stop_after=stop_after)

    events_of(study, tmp_path, SerialEngine(faked(tmp_path, study)))

    assert told(tmp_path) == straight


def test_kill_9_in_a_generation_changes_nothing_of_what_is_found(
    tmp_path: Path, straight: list[tuple[object, ...]]
) -> None:
    program = partial(run_in_workers, fake_study(**POPULATION), tmp_path, seconds=0.02, workers=2, lanes=2)
    with forked(program, tmp_path) as driver:
        driver.wait_until(lambda: driver.said().count("TrialEnded") >= 6)  # two of the second generation
        driver.send(signal.SIGKILL)
        driver.ended()
    before = told(tmp_path)

    with forked(program, tmp_path) as driver:
        ended = driver.ended()

    assert ended.returncode == 0, ended.stderr
    assert 6 <= sum(state.is_finished() for _, _, state, *_ in before) < 16  # type: ignore[attr-defined]
    assert told(tmp_path) == straight


def test_only_what_trained_to_the_last_epoch_can_be_the_best(tmp_path: Path) -> None:
    study = fake_study(**POPULATION)
    events_of(study, tmp_path, SerialEngine(faked(tmp_path, study)))
    storage = Storage(f"sqlite:///{tmp_path}/evolve.db")

    rows = {row.number: row for row in trial_rows(storage.engine, "fake")}
    best = storage.best(storage.study_id("fake"))
    storage.close()

    assert {rows[number].verdict for number in range(12)} <= {"partial", "diverged"}
    assert rows[4].verdict == "diverged" or ", on from trial" in rows[4].reason
    assert best in range(12, 16) and rows[best].verdict in ("converged", "undertrained")


def test_a_population_of_which_all_diverge_begins_anew_and_each_loss_is_a_result(tmp_path: Path) -> None:
    study = fake_study(**POPULATION, space={"lr0": {"low": 2, "high": 9}}, epochs=8, name="lost")
    study = Study.from_mapping(study.to_mapping() | {"pbt": {"members": 4, "interval": 2}}, origin="test")

    events = events_of(study, tmp_path, SerialEngine(faked(tmp_path, study), lanes=4))

    found = told(tmp_path, "lost")
    storage = Storage(f"sqlite:///{tmp_path}/evolve.db")
    rows = trial_rows(storage.engine, "lost")
    with pytest.raises(EvolveError, match="what diverged in a population has been replaced"):
        prepared(storage, "lost")
    storage.close()
    assert isinstance(events[-1], StudyStopped) and events[-1].is_complete
    assert [state for _, _, state, *_ in found] == [TrialState.PRUNED] * 16
    assert [parent for _, parent, *_ in found] == [None] * 16
    assert all(row.verdict == "diverged" and row.diagnosis for row in rows)


def test_weights_are_kept_until_nobody_can_go_on_from_them(tmp_path: Path) -> None:
    study = fake_study(**POPULATION)
    events_of(study, tmp_path, SerialEngine(faked(tmp_path, study)), stop_after=30)
    storage = Storage(f"sqlite:///{tmp_path}/evolve.db")
    verdicts = storage.verdicts(storage.study_id("fake"))
    for number in range(16):
        checkpoint_path(tmp_path, number, 0).parent.mkdir(parents=True)

    dropped = {int(path.name) for path in unneeded(tmp_path, study, storage, storage.study_id("fake"))}
    storage.close()

    ended = max(verdicts) + 1
    whole = ended // 4  # generations that have ended; those before the last of them are gone on from by nobody
    assert 4 <= ended < 16
    assert dropped == {number for number in range((whole - 1) * 4) if verdicts[number] != "diverged"}


def test_members_are_what_trains_at_once_and_never_on_a_cluster() -> None:
    found = crew(Asked(workers=2, lanes=8), ["cpu"], trials=8, sampler="pbt")

    assert (found.workers, found.most_lanes) == (2, 4)
    with pytest.raises(StudyError, match="--engine ray: trials of a population go on from each other's checkpoints"):
        crew(Asked(engine="ray"), ["cpu"], trials=8, sampler="pbt")


def test_a_schedule_cannot_be_confirmed_as_an_arm() -> None:
    with pytest.raises(StudyError, match="its best lived through a schedule, which no arm has"):
        check_confirmable(fake_study(**POPULATION))


# Member 0, which begins with the fixed rate, diverges at once and goes on from a copy of the other.
REAL = Study.from_mapping(
    {
        "name": "real",
        "data": "digits-1",
        "image_size": 32,
        "batch_size": 4,
        "epochs": 3,
        "hyperparameters": {"lr0": 1e6, "warmup_epochs": 0, "clip_norm": 0, "coding": "exp"},
        "space": {"lr0": {"low": 1e-3, "high": 1e-2}, "momentum": {"low": 0.5, "high": 0.95}},
        "baseline": True,
        "sampler": "pbt",
        "pbt": {"members": 2, "interval": 1, "share": 0.5},
        "budget": {"trials": 6},
        "thresholds": {"floor": 0.0},
        "keep_weights": "all",
    },
    origin="test",
)


def real_engine(study: Study, folder: Path, *, lanes: int = 1) -> Engine:
    data = few_scenes("digits-1", train=8, val=4, test=4)
    made = DetectionObjective(study=study, device="cpu", run_folder=folder, dataset=data)
    return SerialEngine(lambda: made, lanes=lanes)


@pytest.fixture
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def replayed(study: Study, folder: Path, *, lanes: int) -> tuple[checkpoint.Checkpoint, checkpoint.Checkpoint]:
    """Last checkpoint of member 0 of a population, and of one training with the schedule that it lived through."""
    events_of(study, folder, real_engine(study, folder, lanes=lanes))
    storage = Storage(f"sqlite:///{folder}/evolve.db")
    best = storage.best(storage.study_id(study.name))
    assert best is not None
    through = lived(storage, study, 4)
    export_hyp(storage, study.name, folder / "best.yaml")
    assert read_hyp(folder / "best.yaml").later == lived(storage, study, best).changes
    storage.close()
    training = training_of(study.to_mapping())
    path = folder / "hyp.yaml"
    write_hyp(path, study.hyperparameters(through.first), training=training, header=[], later=through.changes)
    again = training_study(read_hyp(path), path, {}, {}, name="again", stored=lambda _: None)
    (folder / "again").mkdir()
    events_of(again, folder / "again", real_engine(again, folder / "again"))

    assert through.line[0] == 1 and len(through.line) == 3 and through.changes == again.from_epoch != {}
    found = checkpoint.load(checkpoint_path(folder, 4, 0)), checkpoint.load(checkpoint_path(folder / "again", 0, 0))
    assert found[0].values == found[1].values
    return found


@pytest.mark.usefixtures("one_thread")
def test_the_schedule_of_a_member_trained_as_one_run_ends_in_the_same_weights_bit_for_bit(tmp_path: Path) -> None:
    member, again = replayed(REAL, tmp_path, lanes=1)

    assert all(torch.equal(member.weights[name], value) for name, value in again.weights.items())
    assert all(torch.equal(member.averaged_weights[name], value) for name, value in again.averaged_weights.items())


@pytest.mark.usefixtures("one_thread")
def test_trained_as_lanes_in_float64_it_ends_in_the_same_weights_but_for_their_last_bits(tmp_path: Path) -> None:
    member, again = replayed(REAL.model_copy(update={"precision": "float64"}), tmp_path, lanes=4)

    for name, value in again.weights.items():
        torch.testing.assert_close(member.weights[name], value, rtol=1e-6, atol=1e-9)


def test_an_ended_trial_leaves_weights_of_the_generation_before_it_needless() -> None:
    study = fake_study(**POPULATION)

    assert affected_by(study, 2) == {2}
    assert affected_by(study, 6) == {0, 1, 2, 3, 6}
    assert affected_by(fake_study(), 6) == {6}


def test_a_run_keeps_the_weights_that_the_next_generation_goes_on_from_and_no_others(tmp_path: Path) -> None:
    small = {
        "data": "digits-1",
        "image_size": 32,
        "epochs": 3,
        "hyperparameters": {"train_share": 0.05, "warmup_epochs": 0},
        "space": {"lr0": {"low": 1e-3, "high": 1e-2}, "momentum": {"low": 0.5, "high": 0.95}},
        "sampler": "pbt",
        "pbt": {"members": 4, "interval": 1},
        "budget": {"trials": 12},
        "thresholds": {"floor": 0.0},
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small))
    evolve(tmp_path, "run", "--study", "small.yaml", "--workers", "1", "--lanes", "2")
    storage = Storage(f"sqlite:///{tmp_path}/runs/evolve.db")
    study_id = storage.study_id("small")

    assert [*storage.verdicts(study_id).values()].count("partial") == 8
    assert "failed" not in storage.verdicts(study_id).values()
    kept = [path.name for path in (tmp_path / "runs" / "small" / "trials").iterdir()]
    assert kept == [f"{storage.best(study_id):04d}"]
    storage.close()
