"""Checkpoints: whole or not at all, and nothing in them is run."""

import io
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from detector import checkpoint
from detector.checkpoint import Checkpoint, CheckpointError, Found
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


def test_a_second_name_that_is_there_already_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path, second = tmp_path / "a.pt", tmp_path / "b.pt"
    checkpoint.save(a_checkpoint(), path)

    for _ in range(2):
        checkpoint.link(path, second)

    assert sorted(tmp_path.iterdir()) == [path, second]


def test_a_second_name_that_cannot_be_given_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.pt"
    checkpoint.save(a_checkpoint(), path)

    def full_disk(_source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    def no_links(_self: Path, _target: Path) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    monkeypatch.setattr(shutil, "copyfile", full_disk)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.link(path, tmp_path / "b.pt")

    assert list(tmp_path.iterdir()) == [path]


class Malice:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path("/nonexistent-marker").touch, ())


NOT_OURS, DAMAGED = "is no file that evolve wrote", "is damaged, or of another program"


def of_another_program(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


@pytest.mark.parametrize("read", [checkpoint.load, checkpoint.origin_of])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", NOT_OURS),
        (b"epochs: 3", NOT_OURS),
        (b"not a checkpoint", NOT_OURS),
        (pickle.dumps(Malice()), NOT_OURS),
        (b"PK\x03\x04 and no more", DAMAGED),
        (of_another_program({"model": Malice()}), DAMAGED),
        (of_another_program({"epoch": 3}), DAMAGED),
        (of_another_program([1, 2]), DAMAGED),
    ],
)
def test_a_damaged_or_hostile_file_is_refused_by_name_and_nobody_is_advised_to_read_it_all_the_same(
    tmp_path: Path, content: bytes, reason: str, read: Callable[[Path], object]
) -> None:
    path = tmp_path / "bad.pt"
    path.write_bytes(content)

    with pytest.raises(CheckpointError) as error:
        read(path)

    allowed = "allowed: checkpoints and weights that evolve wrote"
    assert str(error.value) == f"{path}: not a readable checkpoint: {reason}; {allowed}"


@pytest.mark.parametrize("read", [checkpoint.load, checkpoint.origin_of])
def test_a_missing_file_is_named_once(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(CheckpointError) as error:
        read(tmp_path / "none.pt")

    assert str(error.value).startswith(f"{tmp_path / 'none.pt'}: not a readable checkpoint: No such file or directory;")


def latest(path: Path, *, origin: str = "", last_epoch: int | None = None) -> Found:
    mine = a_checkpoint()
    return checkpoint.latest(path, mine.plan, mine.values, mine.seed, origin=origin, last_epoch=last_epoch)


@pytest.mark.parametrize("place", range(0, 1000, 23))
def test_a_byte_that_changes_what_is_read_is_found(tmp_path: Path, place: int) -> None:
    path = tmp_path / "a.pt"
    checkpoint.save(a_checkpoint(), path)
    whole = path.read_bytes()
    at = place * len(whole) // 1000
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])

    try:
        loaded = checkpoint.load(path)
    except CheckpointError as error:
        assert "a.pt" in str(error)
    else:  # nobody reads that byte
        mine = a_checkpoint()
        assert replace(loaded, weights={}, optimizer={}) == replace(mine, weights={}, optimizer={})
        assert torch.equal(loaded.weights["a"], mine.weights["a"])
        assert torch.equal(loaded.averaged_weights["a"], mine.averaged_weights["a"])


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    checkpoint.save(replace(a_checkpoint(), weights={"a": torch.tensor([1.0, float("nan")])}), path)

    with pytest.raises(CheckpointError, match=r"a\.pt: weights a are not finite"):
        checkpoint.load(path)


@pytest.mark.parametrize("damage", ["truncated", "empty", "pickle", "directory", "other training"])
def test_from_a_damaged_checkpoint_a_training_goes_back_to_the_one_before(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.pt"
    checkpoint.save(replace(a_checkpoint(), epoch=0), path, keeps_before=True)
    checkpoint.save(a_checkpoint(), path, keeps_before=True)
    whole = path.read_bytes()
    if damage == "directory":
        path.unlink()
        path.mkdir()
    elif damage == "other training":
        checkpoint.save(replace(a_checkpoint(), seed=6), path)
    else:
        path.unlink()
        path.write_bytes(
            {"truncated": whole[: len(whole) // 2], "empty": b"", "pickle": pickle.dumps(Malice())}[damage]
        )

    found = latest(path)
    checkpoint.save(a_checkpoint(), path, keeps_before=True)

    assert found.checkpoint is not None and found.checkpoint.epoch == 0
    assert len(found.passed_over) == 1
    again = latest(path).checkpoint
    assert again is not None and again.epoch == 1


def test_a_checkpoint_of_another_origin_or_of_an_epoch_nobody_knows_of_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    checkpoint.save(replace(a_checkpoint(), origin="mine", epoch=0), path, keeps_before=True)
    checkpoint.save(replace(a_checkpoint(), origin="mine"), path, keeps_before=True)

    foreign, older, none = (
        latest(path, origin="other"),
        latest(path, origin="mine", last_epoch=0),
        latest(tmp_path / "b"),
    )

    assert foreign.checkpoint is None and "another study, another database or other data" in foreign.passed_over[0]
    assert older.checkpoint is not None and older.checkpoint.epoch == 0
    assert "is of epoch 1, but the database knows epochs up to 0" in older.passed_over[0]
    assert none == Found()


def test_what_a_killed_writer_left_is_removed_when_it_is_old(tmp_path: Path) -> None:
    old, new = tmp_path / "a.123.partial", tmp_path / "a.456.partial"
    for file in (old, new):
        file.write_bytes(b"half")
    os.utime(old, (0, 0))

    checkpoint.remove_stale(tmp_path / "a.pt")

    assert not old.exists() and new.exists()


def test_a_file_from_before_a_hyperparameter_was_added_is_read_with_its_default(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    checkpoint.save(a_checkpoint(), path)
    content = torch.load(path, weights_only=True)
    for name in ("optimizer", "box_loss", "coding"):
        del content["values"][name]
    del content["checksum"]
    torch.save(content | {"checksum": checkpoint._checksum(content)}, path)

    assert checkpoint.load(path).values == a_checkpoint().values


def test_a_checkpoint_is_carried_over_to_other_numbers_and_to_no_other_choice(tmp_path: Path) -> None:
    checkpoint.save(a_checkpoint(), tmp_path / "a.pt")
    heir = Hyperparameters(lr0=0.3, momentum=0.5)

    checkpoint.carry_over(tmp_path / "a.pt", tmp_path / "b.pt", heir)

    loaded = checkpoint.load(tmp_path / "b.pt")
    assert loaded.values == heir and loaded.epoch == 1
    assert torch.equal(loaded.weights["a"], torch.arange(3.0))
    with pytest.raises(CheckpointError, match=r"can only be carried over to other numbers: optimizer was 'sgd'"):
        checkpoint.carry_over(tmp_path / "a.pt", tmp_path / "c.pt", replace(heir, optimizer="adamw"))


def test_a_damaged_checkpoint_that_is_carried_over_is_named_once(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"")

    with pytest.raises(CheckpointError) as error:
        checkpoint.carry_over(tmp_path / "a.pt", tmp_path / "b.pt", Hyperparameters())

    assert str(error.value).count("a.pt") == 1
