"""`evolve convert`: a data set in another format, or a sentence and nothing written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from detector.datasets import open_dataset
from detector.datasets.label_files import FORMATS
from evolve.cli import app
from evolve.errors import EvolveError
from tests.evolve.commands.test_my_data import write_voc

Convert = Callable[..., Result]


@pytest.fixture
def convert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Convert:
    """Runs `evolve convert` in a folder with twelve photographs of digits; what goes wrong is raised."""
    monkeypatch.chdir(tmp_path)
    write_voc(tmp_path / "photos", 12, data="digits-3")
    return lambda *arguments, **settings: CliRunner().invoke(
        app, ["convert", *arguments], catch_exceptions=False, **settings
    )


def test_digits_are_written_as_voc_and_the_next_command_is_named(convert: Convert) -> None:
    done = convert("digits-3", "my scenes", "--format", "voc")
    lines = done.stdout.splitlines()

    assert done.exit_code == 0
    assert lines[1].startswith("train   640 images, ") and lines[2].startswith("val     128 images, ")
    assert lines[-2:] == ["written my scenes (voc)", "next    evolve run --study my_data --data 'my scenes'"]
    assert len(open_dataset("my scenes", image_size=64).train) == 640


@pytest.mark.parametrize("format_name", FORMATS)
def test_counts_are_those_of_what_was_written(format_name: str, convert: Convert) -> None:
    said = json.loads(convert("photos", "out", "--format", format_name, "--json").stdout)
    summary = open_dataset("out", image_size=64).summary()

    assert (said["format"], said["folder"], said["classes"]) == (format_name, "out", ["0", "1", "2"])
    assert said["splits"] == {
        split: {key: found[key] for key in ("images", "boxes")} for split, found in summary["splits"].items()
    }
    assert [found["images"] for found in said["splits"].values()] == [10, 1, 1]
    assert said["note"].endswith("of 12 images 10 train, 1 val, 1 test by seed 0") and said["moved"] == 0


def test_a_way_through_all_formats_ends_where_it_began(convert: Convert) -> None:
    before = "photos"
    for number, format_name in enumerate((*FORMATS, "voc")):
        convert(before, f"out/{number}", "--format", format_name)
        before = f"out/{number}"
    first, last = (Path("out") / str(number) / "Annotations" for number in (1, len(FORMATS)))

    assert {file.name: file.read_text() for file in first.iterdir()} == {
        file.name: file.read_text() for file in last.iterdir()
    }


def test_images_that_cannot_be_read_stop_it_or_are_left_out(convert: Convert) -> None:
    Path("photos/images/3.jpg").write_bytes(b"")

    with pytest.raises(EvolveError, match=r"1 image cannot be read(.|\n)*go on without them: --skip-unreadable"):
        convert("photos", "out", "--format", "coco")
    assert not Path("out").exists()
    done = convert("photos", "out", "--format", "coco", "--skip-unreadable")
    assert "found   1 unreadable" in done.stdout and Path("out").is_dir()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("photos", "photos", "--format", "yolo"), "photos: is there already; allowed: a folder that is not there"),
        (("photos", "out", "--format", "csv"), "format 'csv' is not known; allowed: yolo, voc, coco, listing"),
        (("nothing", "out", "--format", "yolo"), "data nothing: nothing: No such file or directory; allowed: digits"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(
    arguments: tuple[str, ...], expected: str, convert: Convert
) -> None:
    with pytest.raises(EvolveError, match=expected):
        convert(*arguments)
    assert [path.name for path in Path().iterdir()] == ["photos"]


def test_boxes_that_a_format_cannot_hold_are_told(convert: Convert, tmp_path: Path) -> None:
    convert("photos", "out", "--format", "yolo")
    (label,) = list(Path("out/labels/val").iterdir())
    label.write_text(f"{label.read_text()}0 0.5 0.5 0.001 0.5\n1 0.25 0.5 0.001 0.5\n")

    assert "note    2 boxes were moved by more than half a pixel: listing cannot hold smaller ones" in (
        convert("out", "again", "--format", "listing").stdout
    )


def test_a_disk_that_is_full_leaves_nothing_behind(convert: Convert, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", fill)

    with pytest.raises(OSError, match="No space left"):
        convert("photos", "out", "--format", "yolo")
    assert [path.name for path in Path().iterdir()] == ["photos"]
