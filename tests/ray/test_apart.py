"""A node dies in mid-study; the nodes share no disk with the driver, to whose folder all checkpoints come."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from optuna.trial import TrialState

from detector.telemetry import CheckpointSaved, LaneStarted
from evolve.run.events import TrialEnded, TrialProgressed, WorkerLost
from tests.fake_runs import trials_told
from tests.fakes import STEPS_PER_EPOCH, FakeObjective, fake_study, make_fake
from tests.ray.conftest import NODE, head
from tests.ray.test_study import noted, run, steps

pytestmark = pytest.mark.ray
EPOCHS = 6


def make_at_home(step_seconds: float) -> FakeObjective:
    folder = Path("~/runs").expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return make_fake(EPOCHS, folder, step_seconds)


def file_name(trial: int, seed: int) -> Path:
    return Path(f"{trial}-{seed}.json")


def home_of(place: str) -> str:
    process = int(place.rpartition(" ")[2])
    variables = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    return next(each.partition(b"=")[2].decode() for each in variables if each.startswith(b"HOME="))


def test_a_node_that_dies_costs_no_trial_and_doubles_none_and_its_trials_go_on_from_their_checkpoints_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evolve.run.engines.ray import Checkpoints

    monkeypatch.setenv("HOME", str(tmp_path / "driver"))
    study = fake_study(epochs=EPOCHS, budget={"trials": 5}, space={"lr0": {"low": 0.01, "high": 0.5, "log": True}})
    checkpoints = Checkpoints(folder=Path("~/runs"), name=file_name)
    events: list[object] = []
    gone = ""
    with head(num_cpus=0) as cluster:
        nodes = {
            str(tmp_path / name): cluster.add_node(num_cpus=1, env_vars={"HOME": str(tmp_path / name)}, **NODE)
            for name in ("first", "second")
        }
        make = partial(make_at_home, 0.05)
        for event in run(study, tmp_path, make=make, address=cluster.address, checkpoints=checkpoints):
            events.append(event)
            has_saved = isinstance(event, TrialProgressed) and any(
                isinstance(record.telemetry, CheckpointSaved) for record in event.records
            )
            if has_saved and not gone:
                gone = home_of(noted(tmp_path)[0])
                cluster.remove_node(nodes[gone], allow_graceful=False)

    lost = [each.trial.number for each in events if isinstance(each, WorkerLost)]
    ended = [each.trial.number for each in events if isinstance(each, TrialEnded)]
    records = [record for each in events if isinstance(each, TrialProgressed) for record in each.records]
    starts = [
        each.telemetry.epoch for each in records if each.trial in lost and isinstance(each.telemetry, LaneStarted)
    ]
    kept = {file.name: json.loads(file.read_text())["epoch"] for file in (tmp_path / "driver" / "runs").iterdir()}
    assert len(lost) == 1 and sorted(ended) == list(range(5))
    assert {each.state for each in trials_told(tmp_path)} == {TrialState.COMPLETE}
    assert dict(steps(tmp_path)) == dict.fromkeys(range(5), EPOCHS * STEPS_PER_EPOCH)
    assert len(starts) == 2 and starts[0] == 0 and starts[1] >= 1, "it went on from the checkpoint of the other node"
    assert kept == {str(file_name(number, 0)): EPOCHS - 1 for number in range(5)}
