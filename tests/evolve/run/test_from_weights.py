"""`--weights` and `--freeze` in `evolve run` and `evolve train`, and the same keys in a study file."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from detector import checkpoint
from evolve.errors import StudyError
from evolve.run.weight_files import pinned
from evolve.study import Study
from evolve.study.file import read_study
from evolve.study.hyp import read_hyp, training_of
from tests.evolve.commands.test_my_data import write_voc
from tests.processes import evolve
from tests.small_study import ON_PHOTOS, SMALL

HYP = "lr0: 0.002\ntraining: {data: photos, epochs: 1}\n"


def a_study(**changes: object) -> Study:
    return Study.from_mapping(yaml.safe_load(SMALL) | {"name": "small", **changes}, origin="test")


def test_a_training_from_weights_says_what_it_took_and_tells_another_file_apart(weights: Path, tmp_path: Path) -> None:
    write_voc(tmp_path / "photos", 20, data="digits-1")
    (tmp_path / "hyp.yaml").write_text(HYP)
    shutil.copy(weights, tmp_path / "start.pt")
    command = ("train", "--hyp", "hyp.yaml", "--weights", "start.pt", "--freeze", "backbone", "--name", "tuned")

    done = evolve(tmp_path, *command)
    stored = checkpoint.load(weights)
    checkpoint.save(replace(stored, epoch=7), tmp_path / "start.pt")
    words = [line.split() for line in done.stdout.splitlines() if line.startswith(("weights", "next"))]
    other = evolve(tmp_path, *command, check=False)

    said = "weights start.pt: all layers and the anchors are taken; layers 0 to 12 are frozen"
    assert said in " ".join(done.stderr.split())
    best = "runs/tuned/weights/seed-0-best.pt"
    assert [line[1] for line in words[:2]] == [best, "runs/tuned/weights/seed-0-last.pt"]
    assert [" ".join(line[1:]) for line in words[2:]] == [
        f"evolve val {best} --data photos",
        f"evolve detect {best} IMAGES",
        f"evolve weights {best} --to onnx",
    ]
    last = checkpoint.load(tmp_path / "runs/tuned/weights/seed-0-last.pt")
    assert (last.plan.weights, last.plan.freeze, len(last.plan.weights_sha256)) == ("start.pt", "backbone", 64)
    assert other.returncode == 2 and "--name: tuned is stored with other weights_sha256" in other.stderr
    hyp = read_hyp(tmp_path / "runs/tuned/hyp.yaml").training
    assert (hyp["weights"], hyp["freeze"]) == ("start.pt", "backbone")
    report = (tmp_path / "runs/tuned/report.html").read_text()
    assert "all layers and the anchors are taken" in report


def test_a_study_file_names_weights_and_its_plan_says_what_they_give(weights: Path, tmp_path: Path) -> None:
    write_voc(tmp_path / "photos", 20, data="digits-1")
    (tmp_path / "small.yaml").write_text(ON_PHOTOS + f"weights: {weights}\nfreeze: 7\n")

    planned = evolve(tmp_path, "run", "--study", "small.yaml", "--dry-run").stdout
    refused = evolve(tmp_path, "run", "--study", "small.yaml", "--model", "yolov3-compact", check=False)

    assert f"weights  {weights}: all layers and the anchors are taken; layers 0 to 6 are frozen" in planned
    assert refused.returncode == 1
    assert "holds weights of yolov3-tiny-compact, not of yolov3-compact" in refused.stderr
    assert not (tmp_path / "runs/small-yolov3_compact/trials").exists()


def test_a_network_that_is_left_to_be_chosen_is_that_of_the_weights(weights: Path, tmp_path: Path) -> None:
    write_voc(tmp_path / "photos", 20, data="digits-1")
    command = ("run", "--study", "my_data", "--data", "photos", "--weights", str(weights), "--dry-run")

    planned = evolve(tmp_path, *command)

    assert " ".join(planned.stdout.split()).count(f"weights {weights}: all layers and the anchors are taken") == 1
    assert "model    yolov3-tiny-compact, " in planned.stdout
    assert f"the weights of {weights} are of it" in " ".join(planned.stderr.split())


def test_a_trial_of_a_search_starts_from_the_weights(weights: Path, tmp_path: Path) -> None:
    write_voc(tmp_path / "photos", 20, data="digits-1")
    (tmp_path / "small.yaml").write_text(ON_PHOTOS.replace("[0.01, 1.0e+5]", "[0.0001]"))

    done = evolve(tmp_path, "run", "--study", "small.yaml", "--weights", str(weights), "--trials", "1", "--json")

    found = json.loads(done.stdout)
    assert found["study"] == "small-from_weights"
    # A fresh network has found nothing after this one epoch at a learning rate that hardly moves it.
    assert found["best"]["metrics"]["val"]["map50"] > 0.3


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("freeze: backbone", r"freeze: 'backbone' would keep what is random: weights names no file to start from"),
        ("weights: a.pt\nfreeze: all", r"freeze: 'all' is not one of \['none', 'backbone'\] or a number of leading"),
        ("weights: a.pt\nfreeze: true", r"freeze: True is not one of"),
        ("weights: [a.pt]", r"weights: \['a.pt'\] is not text"),
    ],
)
def test_what_is_not_allowed_is_said_with_its_place(more: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL + more)

    with pytest.raises(StudyError, match=message):
        read_study(str(tmp_path / "small.yaml"))


def test_the_checksum_and_not_the_place_makes_two_studies_differ(weights: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pt"
    shutil.copy(weights, other)
    first, second = pinned(a_study(weights=str(weights))), pinned(a_study(weights=str(other)))
    other.write_bytes(b"something else")
    third = pinned(a_study(weights=str(other)))

    assert first.differences(second) == []
    assert first.differences(third) == ["weights_sha256"]
    assert Study.from_json(first.to_json()) == first
    assert pinned(a_study()) == a_study()


def test_a_hyp_file_names_weights_only_where_there_are_any() -> None:
    plain, tuned = a_study(), a_study(weights="a.pt", freeze=3)

    assert not {"weights", "freeze"} & training_of(plain.to_mapping()).keys()
    assert training_of(tuned.to_mapping()) == training_of(plain.to_mapping()) | {"weights": "a.pt", "freeze": 3}
