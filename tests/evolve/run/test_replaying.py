"""A diverged training goes again bit for bit, its broken module is named, and another value is tried from there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from math import inf
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import update
from torch import Tensor, nn
from typer.testing import CliRunner

from detector import population
from detector.models.network import initialise_lane
from evolve.cli import app
from evolve.errors import EvolveError, StudyError
from evolve.run.changes import read_changes
from evolve.run.replaying import replay
from evolve.storage import schema
from evolve.storage.database import Storage
from tests.evolve.commands.test_my_data import write_voc
from tests.synthetic import Plan, add_study, new_engine

# Sound for an epoch of four steps; then the rate rises until a box has no size that is a number.
LATE = """
data: digits-1
epochs: 3
hyperparameters:
  box: 1.0
  coding: exp
  box_loss: giou
  clipping: none
  warmup_epochs: 2.5
  warmup: quartic
  warmup_bias_lr: 0.01
  train_share: 0.1
space:
  lr0: {choices: [20.0]}
sampler: grid
budget: {trials: 1}
thresholds: {floor: 0.0}
"""
# Diverges within its first steps.
NOISY = """
data: digits-1
epochs: 1
hyperparameters: {{train_share: 0.4, box: 1.0, warmup_epochs: 0.5, warmup_bias_lr: 0.01, lr0: 1.0e+5}}
noise: {{levels: 2, sources: [{sources}]}}
thresholds: {{floor: 0.0}}
"""


@pytest.fixture(autouse=True)
def threads() -> Iterable[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the study LATE, trained; not to be written to."""
    folder = tmp_path_factory.mktemp("late")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("OMP_NUM_THREADS", "1")
        run_study(folder, LATE)
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


@pytest.fixture
def copied(late: Path, folder: Path) -> Path:
    """A folder of one's own with the study LATE."""
    shutil.copytree(late, folder, dirs_exist_ok=True)
    return folder


def run_study(folder: Path, text: str) -> None:
    (folder / "small.yaml").write_text(text)
    CliRunner().invoke(app, ["run", "--study", "small.yaml", "--engine", "serial", "--device", "cpu"])


def replayed(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["replay", "small", *arguments, "--json"], catch_exceptions=False)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.usefixtures("copied")
def test_a_replay_goes_on_from_the_checkpoint_bit_for_bit_and_shows_the_batch() -> None:
    found = replayed("0")

    assert found["comparison"]["is_equal"]
    assert found["from_step"] > 0
    assert found["until"] == found["from_step"] + found["comparison"]["steps"] - 1
    assert list(found["modules"])[-1] == str(found["until"])
    assert len(found["images"]) == 16
    page = Path(found["page"]).read_text()
    assert "<h1>Replay of trial 0 of small</h1>" in page
    assert page.count('<figure id="figure-modules-') == 3  # a map each of outputs, gradients and gradients of weights
    assert page.count("<details><summary>") == page.count(", in numbers</summary>") == 3


def test_a_replay_that_goes_another_way_says_so(folder: Path) -> None:
    run_study(folder, LATE)
    storage = Storage("sqlite:///runs/evolve.db")
    with storage.engine.begin() as connection:
        connection.execute(update(schema.step).values(loss=schema.step.c.loss * 1.5))
    storage.close()

    found = replayed("0")

    assert found["comparison"]["differs_at"] == found["from_step"]
    assert found["comparison"]["largest"] == pytest.approx(1 / 3)


@pytest.mark.usefixtures("copied")
def test_a_lower_rate_survives_and_the_same_one_does_not() -> None:
    lived = replayed("0", "--with", "lr0=0.01")["survival"]
    died = replayed("0", "--with", "clip_norm=1e6", "--epochs", "3")["survival"]

    assert lived["survives"] and lived["is_whole"] and lived["from_step"] > 0
    assert not died["survives"]
    assert died["changes"] == {"clip_norm": 1e6}


@pytest.mark.usefixtures("copied")
def test_what_has_its_effect_at_the_start_is_tried_from_there() -> None:
    found = replayed("0", "--with", "coding=exp", "--with", "lr0=0.01")["survival"]

    assert found["from_step"] == 0
    assert found["why_from"] == "its start, where coding has its effect"


def test_photographs_that_are_as_they_were_are_not_said_to_have_changed(folder: Path) -> None:
    write_voc(folder / "photos", 20, data="digits-1")
    smaller = LATE.replace("digits-1", "photos").replace("epochs: 3", "epochs: 6\nimage_size: 32")
    run_study(folder, smaller.replace("train_share: 0.1", "train_share: 1").replace("20.0", "1.0e+6"))

    same = replayed("0")
    shutil.copy(folder / "photos" / "images" / "0.jpg", folder / "photos" / "images" / "1.jpg")
    changed = replayed("0")

    assert same["notes"] == []
    assert len(changed["notes"]) == 1 and "1 with other boxes, classes or pixels (images/1.jpg)" in changed["notes"][0]


def test_a_module_that_was_planted_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def planted(network: nn.Module, *arguments: object, **options: object) -> None:
        initialise_lane(network, *arguments, **options)  # type: ignore[arg-type]
        weight: Tensor = dict(network.named_parameters())["blocks.10.conv.weight"].detach()
        weight[0].fill_(inf)

    monkeypatch.setattr(population, "initialise_lane", planted)
    run_study(folder, LATE.replace("20.0", "0.01"))

    found = replayed("0")

    assert found["broken"] == {"step": 0, "module": "blocks.10.conv", "what": "output"}
    assert found["comparison"]["is_equal"]


@pytest.mark.parametrize("sources", ["order, initialisation", "initialisation, order", "order, split"])
def test_a_training_of_a_study_of_noise_goes_again_from_the_seeds_it_had(folder: Path, sources: str) -> None:
    run_study(folder, NOISY.format(sources=sources))

    found = replayed("1")

    assert found["comparison"]["is_equal"] and found["comparison"]["steps"] > 0


def test_only_what_diverged_can_be_replayed(tmp_path: Path) -> None:
    add_study(new_engine(tmp_path / "evolve.db"), Plan(name="sound", num_trials=1, verdicts=["converged"]))
    storage = Storage(f"sqlite:///{tmp_path}/evolve.db", reads_only=True)

    with pytest.raises(EvolveError, match="is converged; only one that diverged can be replayed"):
        replay(storage, "sound", 0, runs=tmp_path)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("clip_norm", "is not a setting such as clip_norm=10"),
        ("clipnorm=1", "did you mean 'clip_norm'"),
        ("clip_norm=-1", "is outside 0..1e"),
        ("coding=linear", "is not one of"),
        ("precision=int8", "is not one of"),
    ],
)
def test_a_setting_that_is_not_allowed_is_refused(setting: str, said: str) -> None:
    with pytest.raises(StudyError, match=said):
        read_changes([setting])


def test_settings_are_read_as_the_detector_takes_them() -> None:
    found = read_changes(["nesterov=false", "lr0=1e-3", "optimizer=adam", "precision=float32"])

    assert found.all == {"nesterov": False, "lr0": 0.001, "optimizer": "adam", "precision": "float32"}
