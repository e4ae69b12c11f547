"""The first command on somebody's own images ends in something sensible, whatever the folder is like."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detector.datasets.digits import open_digits
from tests.processes import evolve

SHORT = ("--updates", "8", "--trials", "1", "--image-size", "64", "--model", "yolov3-tiny-compact")


def write_voc(folder: Path, count: int, *, data: str, annotations: str = "annotations") -> Path:
    """Scenes of digits as JPEG files with an XML file each."""
    scenes = open_digits(data, image_size=64)
    for place in (annotations, "images"):
        (folder / place).mkdir(parents=True)
    for index in range(count):
        scene = scenes.train.sample(index, 0)
        Image.fromarray(scene.image.permute(1, 2, 0).numpy()).save(folder / "images" / f"{index}.jpg", quality=95)
        objects = "".join(
            f"<object><name>{scenes.names[label]}</name><bndbox><xmin>{x0 + 1:g}</xmin><ymin>{y0 + 1:g}</ymin>"
            f"<xmax>{x1:g}</xmax><ymax>{y1:g}</ymax></bndbox></object>"
            for (x0, y0, x1, y1), label in zip(scene.boxes_M4.tolist(), scene.labels_M.tolist(), strict=True)
        )
        (folder / annotations / f"{index}.xml").write_text(f"<annotation>{objects}</annotation>")
    return folder


def write_hopeless_study(folder: Path) -> None:
    """A my_data of this folder whose rates are far too low to learn anything."""
    (folder / "studies").mkdir()
    (folder / "studies" / "my_data.yaml").write_text(
        "model: auto\nimage_size: auto\nbatch_size: auto\nupdates: 300\nsampler: random\nbudget: {trials: 1}\n"
        "hyperparameters: {warmup_bias_lr: 0}\nspace: {lr0: {low: 1.0e-9, high: 1.0e-8, log: true}}\n"
        # Two validation images may be found by chance.
        "thresholds: {floor: 0.99}\n"
    )


def test_twenty_images_get_small_batches_and_an_honest_end(tmp_path: Path) -> None:
    write_voc(tmp_path / "photos", 20, data="digits-1")
    write_hopeless_study(tmp_path)

    finished = evolve(tmp_path, "run", "--study", "my_data", "--data", "photos", *SHORT, check=False)

    assert "chosen  batch_size 4: 16 training images make 4 batches an epoch" in finished.stderr
    assert "note    32 updates; photographs want 300 or more: --updates 600" in finished.stderr
    assert "nothing no trial left the ground" in finished.stdout
    assert "change  --model yolov3-tiny-3l: " in finished.stdout
    assert finished.stdout.splitlines()[-1] == (
        "next    evolve run --study my_data --data photos --trials 1 --image-size 64 --model yolov3-tiny-3l "
        "--updates 600"
    )
    assert not (tmp_path / "runs/my_data-photos-yolov3_tiny_compact-8up-64px/hyp.yaml").exists()
    assert finished.returncode == 1


def test_what_never_left_the_ground_is_not_exported(tmp_path: Path) -> None:
    write_voc(tmp_path / "photos", 20, data="digits-1")
    write_hopeless_study(tmp_path)
    evolve(tmp_path, "run", "--study", "my_data", "--data", "photos", *SHORT, check=False)

    refused = evolve(tmp_path, "export", "my_data-photos-yolov3_tiny_compact-8up-64px", check=False)

    assert refused.returncode == 1
    assert "no trial left the ground" in refused.stderr and "--updates 600" in refused.stderr


def test_ten_classes_are_named_with_their_counts_and_their_gain_is_searched(tmp_path: Path) -> None:
    write_voc(tmp_path / "photos", 60, data="digits-10")

    said = json.loads(
        evolve(tmp_path, "run", "--study", "my_data", "--data", "photos", *SHORT, "--dry-run", "--json").stdout
    )

    assert set(said["data"]["summary"]["splits"]["train"]["boxes_by_class"]) == set("0123456789")
    assert "cls" in said["study"]["space"]
    assert said["estimate"]["start_seconds"] > 0
    assert [advice["option"] for advice in said["advice"]] == ["--model", "--updates", "--image-size"][:2]


def test_an_untidy_folder_stops_with_all_that_cannot_be_read_and_goes_on_when_told_to(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "photos", 24, data="digits-1", annotations="annots")
    cut = folder / "images" / "3.jpg"
    cut.write_bytes(cut.read_bytes()[:-20])
    (folder / "images" / "5.jpg").write_bytes(b"")
    (folder / "images" / "7.jpg").write_bytes(b"no image")
    exif = Image.Exif()
    exif[0x0112] = 0
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(folder / "images" / "9.jpg", exif=exif)
    command = ("run", "--study", "my_data", "--data", "photos", *SHORT)

    stopped = evolve(tmp_path, *command, check=False)
    went_on = evolve(tmp_path, *command, "--skip-unreadable", "--dry-run")

    assert stopped.returncode == 1
    assert "5.jpg" in stopped.stderr and "7.jpg" in stopped.stderr and "3.jpg" not in stopped.stderr
    assert "--skip-unreadable" in stopped.stderr
    assert "2 unreadable" in went_on.stdout and "1 cut short" in went_on.stdout


def test_a_dry_run_ends_with_the_command_itself(tmp_path: Path) -> None:
    write_voc(tmp_path / "my photos", 20, data="digits-1")

    said = evolve(tmp_path, "run", "--study", "my_data", "--data", "my photos", *SHORT, "--dry-run").stdout

    assert said.splitlines()[-1] == (
        "next    evolve run --study my_data --data 'my photos' --updates 8 --trials 1 --image-size 64 "
        "--model yolov3-tiny-compact"
    )


def test_without_data_the_command_says_what_to_add(tmp_path: Path) -> None:
    refused = evolve(tmp_path, "run", "--study", "my_data", check=False)

    assert refused.returncode == 2
    assert "evolve run --study my_data --data PATH" in refused.stderr


@pytest.mark.parametrize("arguments", [("--updates", "8"), ("--epochs", "2")])
def test_a_training_ends_by_naming_its_weights_and_how_to_load_them(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "hyp.yaml").write_text("lr0: 0.02\ntraining: {data: digits-1, batch_size: 64}\n")

    said = evolve(tmp_path, "train", "--hyp", "hyp.yaml", *arguments, check=False)

    assert "weights runs/" in said.stdout or "nothing no trial left the ground" in said.stdout
    (page,) = re.findall(r"^val +(runs/\S+/val\.html)$", said.stdout, re.M)
    assert "What is taken for what" in (tmp_path / page).read_text()
