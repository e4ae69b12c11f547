"""Nodes that share no disk with the driver: their checkpoints come to its folder, and go from there to other nodes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from detector.telemetry import CheckpointSaved, LaneStarted, StepTelemetry
from evolve.run.engines import Crashed, Ended, Progress
from evolve.study.trial import Record, Trial
from tests.fakes import STEPS_PER_EPOCH, FakeObjective, make_fake
from tests.ray.conftest import NODE, head

pytestmark = pytest.mark.ray
EPOCHS = 6


def make_at_home(step_seconds: float) -> FakeObjective:
    folder = Path("~/runs").expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return make_fake(EPOCHS, folder, step_seconds)


def file_name(trial: int, seed: int) -> str:
    return f"{trial}-{seed}.json"


def home_of(process: int) -> str:
    variables = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    return next(each.partition(b"=")[2].decode() for each in variables if each.startswith(b"HOME="))


def test_a_trial_goes_on_from_its_checkpoint_on_a_node_that_shares_no_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evolve.run.engines.ray import Checkpoints, RayEngine

    monkeypatch.setenv("HOME", str(tmp_path / "driver"))
    trial = Trial(study="apart", number=4, params={"lr0": 0.1}, seeds=(0,))
    records: list[Record] = []
    homes: list[str] = []
    with head(num_cpus=0) as cluster:
        nodes = {
            str(tmp_path / name): cluster.add_node(num_cpus=1, env_vars={"HOME": str(tmp_path / name)}, **NODE)
            for name in ("first", "second")
        }
        checkpoints = Checkpoints(folder=Path("~/runs"), name=file_name)
        engine = RayEngine(partial(make_at_home, 0.05), address=cluster.address, workers=1, checkpoints=checkpoints)
        try:
            engine.submit(trial)
            is_over = False
            while not is_over:
                for event in engine.events(30):
                    is_over = isinstance(event, Ended)
                    if isinstance(event, Crashed):
                        assert event.by_machine, event.traceback
                        engine.submit(trial)
                    if not isinstance(event, Progress):
                        continue
                    records += event.records
                    if event.place:
                        homes.append(home_of(int(event.place.rpartition(" ")[2])))
                    if event.awaits_decision:
                        engine.decide(4, goes_on=True)
                    if len(homes) == 1 and any(isinstance(each.telemetry, CheckpointSaved) for each in records):
                        cluster.remove_node(nodes[homes[0]], allow_graceful=False)
                        homes.append("gone")
        finally:
            engine.close()

    telemetry = [each.telemetry for each in records]
    again = [each.epoch for each in telemetry if isinstance(each, LaneStarted)][-1]
    steps = {each.step for each in telemetry if isinstance(each, StepTelemetry)}
    kept = tmp_path / "driver" / "runs" / "4-0.json"
    assert homes[1] == "gone" and homes[2] != homes[0], homes
    assert again >= 1, "it went on from the checkpoint of another node"
    assert steps == set(range(EPOCHS * STEPS_PER_EPOCH))
    assert kept.read_text() == (tmp_path / Path(homes[2]).name / "runs" / "4-0.json").read_text()
    assert not list(kept.parent.glob(".kept-*"))
