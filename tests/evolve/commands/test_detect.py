"""`evolve detect`: pictures with boxes, label files, and images that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from detector import load_detector
from detector.datasets import open_dataset
from evolve.cli import app
from evolve.errors import EvolveError

Detect = Callable[..., Result]


@pytest.fixture
def detect(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> Detect:
    """Runs `evolve detect` with trained weights in a folder that has three photos."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    val = open_dataset("digits-1", image_size=64).val
    for index in range(3):
        image = Image.fromarray(val.sample(index, 0).image.permute(1, 2, 0).numpy())
        image.resize((200, 200)).save(tmp_path / "photos" / f"{index}.png")
    (tmp_path / "photos/notes.txt").write_text("no image")

    def run(*arguments: str, **settings: Any) -> Result:
        return CliRunner().invoke(app, ["detect", str(weights), *arguments], catch_exceptions=False, **settings)

    return run


def test_a_folder_becomes_pictures_with_boxes(detect: Detect, tmp_path: Path) -> None:
    done = detect("photos", "--score", "0.05")

    assert done.exit_code == 0
    assert "pictures  runs/detect  (3 images: " in done.stdout
    assert sorted(path.name for path in (tmp_path / "runs/detect").iterdir()) == ["0.jpg", "1.jpg", "2.jpg"]
    plain = np.asarray(Image.open(tmp_path / "photos/0.png").convert("RGB"), dtype=int)
    shown = np.asarray(Image.open(tmp_path / "runs/detect/0.jpg"), dtype=int)
    assert abs(shown - plain).max() > 100


def test_json_says_what_the_detector_says(detect: Detect, weights: Path, tmp_path: Path) -> None:
    found = json.loads(detect("photos/1.png", "--score", "0.05", "--json").stdout)

    (expected,) = load_detector(weights)([tmp_path / "photos/1.png"], min_score=0.05)
    (image,) = found["images"]
    assert (image["width"], image["height"]) == (200, 200)
    assert [box["box"] for box in image["boxes"]] == expected.boxes_K4.tolist()
    assert found["objects"] == {"digit": len(image["boxes"])}


def test_label_files_are_in_yolo_format(detect: Detect, tmp_path: Path) -> None:
    found = json.loads(detect("photos", "--score", "0.05", "--save-txt", "--json").stdout)

    (x0, y0, x1, y1), lines = (
        found["images"][0]["boxes"][0]["box"],
        (tmp_path / "runs/detect/labels/0.txt").read_text().splitlines(),
    )
    assert len(lines) == len(found["images"][0]["boxes"])
    row = [float(word) for word in lines[0].split()]
    assert row == pytest.approx([0, (x0 + x1) / 400, (y0 + y1) / 400, (x1 - x0) / 200, (y1 - y0) / 200], abs=1e-5)


def test_images_that_cannot_be_read_are_named_and_the_others_looked_at(detect: Detect, tmp_path: Path) -> None:
    (tmp_path / "photos/broken.jpg").write_bytes(b"\xff\xd8 nothing")

    done = detect("photos", "photos/absent.png", "--json")

    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert len(found["images"]) == 3
    assert [entry["image"] for entry in found["unreadable"]] == ["photos/broken.jpg", "photos/absent.png"]
    assert "passed over  photos/broken.jpg: not a readable image" in done.stderr
    assert "absent.png: not a readable image (No such file" in done.stderr


def test_a_pattern_means_the_images_it_matches_and_each_is_taken_once(detect: Detect) -> None:
    found = json.loads(detect("photos/[01].png", "photos/0.png", "**/1.*", "--json").stdout)

    assert [image["image"] for image in found["images"]] == ["photos/0.png", "photos/1.png"]


def test_images_of_one_name_in_two_folders_become_two_pictures(detect: Detect, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "photos/0.png").rename(tmp_path / "other/1.PNG")

    found = json.loads(detect("photos/1.png", "other", "--json").stdout)

    assert [image["picture"] for image in found["images"]] == ["runs/detect/1.jpg", "runs/detect/1-2.jpg"]


@pytest.mark.parametrize("output", ["photos", "photos/../photos", "link"])
def test_a_folder_that_holds_an_input_is_not_written_to(output: str, detect: Detect, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("photos")
    before = {path.name: path.read_bytes() for path in (tmp_path / "photos").iterdir()}

    with pytest.raises(EvolveError, match=r"holds the image '0.png'.*allowed: a folder without images"):
        detect("photos", "-o", output)

    assert {path.name: path.read_bytes() for path in (tmp_path / "photos").iterdir()} == before


@pytest.mark.parametrize(
    ("image", "output"),
    [
        ("set/images/1.png", "set"),
        ("set/images/1.png", "set/images/.."),
        ("set/images/labels/1.png", "set/labels"),
        ("set/labels/1.png", "set"),
        ("link/1.png", "set"),
    ],
)
def test_labels_that_images_have_already_are_not_written_over(
    image: str, output: str, detect: Detect, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to("set/images")
    (tmp_path / "set/images").mkdir(parents=True)
    (tmp_path / image).parent.mkdir(exist_ok=True)
    (tmp_path / "photos/1.png").rename(tmp_path / image)
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(EvolveError, match=r"-o \S+: its labels/ is where labels of the image '1.png' belong, which "):
        detect(image, "-o", output, "--save-txt")

    assert sorted(tmp_path.rglob("*")) == before
    assert detect(image, "-o", output).exit_code == 0


def test_an_input_that_a_picture_would_be_written_through_is_spared(detect: Detect, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/0.jpg").symlink_to(tmp_path / "photos/0.png")
    before = (tmp_path / "photos/0.png").read_bytes()

    assert detect("photos", "-o", "out").exit_code == 0

    assert (tmp_path / "photos/0.png").read_bytes() == before
    assert not (tmp_path / "out/0.jpg").is_symlink()


@pytest.mark.parametrize("word", ["empty", "photos/*.gif"])
def test_where_there_is_no_image_the_place_is_named(word: str, detect: Detect, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(EvolveError, match=r"has no images; allowed: \.bmp, "):
        detect(word)


def test_weights_that_are_none_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")

    with pytest.raises(EvolveError, match=r"weights .*none.pt: not a readable checkpoint"):
        CliRunner().invoke(app, ["detect", str(tmp_path / "none.pt"), str(tmp_path / "a.png")], catch_exceptions=False)


def test_names_of_files_do_not_reach_the_terminal_as_commands(detect: Detect, tmp_path: Path) -> None:
    (tmp_path / "photos/\x1b[31m.png").write_bytes(b"")

    done = detect("photos")

    assert "\x1b" not in done.stdout + done.stderr
    assert "photos/?[31m.png: not a readable image (the file is empty)" in done.stderr
