"""Checkpoints: whole or not at all, and nothing in them is run."""

import pickle
from pathlib import Path

import pytest
import torch

from detector import checkpoint
from detector.checkpoint import Checkpoint, CheckpointError
from detector.hyperparameters import Hyperparameters
from detector.plan import TrainingPlan


def a_checkpoint() -> Checkpoint:
    return Checkpoint(
        plan=TrainingPlan(epochs=3),
        values=Hyperparameters(lr0=0.2),
        seed=5,
        names=("digit",),
        anchors=(((0.1, 0.2),),),
        epoch=1,
        step=80,
        weights={"a": torch.arange(3.0)},
        optimizer={"average": {"a": torch.ones(3)}, "momentum": {}, "num_updates": 80, "loss_scale": 1.0},
    )


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    checkpoint.save(a_checkpoint(), tmp_path / "folder" / "a.pt")

    loaded = checkpoint.load(tmp_path / "folder" / "a.pt")

    assert (loaded.plan, loaded.values, loaded.seed) == (TrainingPlan(epochs=3), Hyperparameters(lr0=0.2), 5)
    assert (loaded.names, loaded.anchors, loaded.epoch, loaded.step) == (("digit",), (((0.1, 0.2),),), 1, 80)
    assert torch.equal(loaded.averaged_weights["a"], torch.ones(3))


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.pt"
    checkpoint.save(a_checkpoint(), path)
    before = path.read_bytes()

    def full_disk(_content: object, file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(a_checkpoint(), path)

    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


class Malice:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path("/nonexistent-marker").touch, ())


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps(Malice())])
def test_a_damaged_or_hostile_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.pt"
    path.write_bytes(content)

    with pytest.raises(CheckpointError, match=r"bad\.pt: not a readable checkpoint"):
        checkpoint.load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.pt"):
        checkpoint.load(tmp_path / "none.pt")
