"""`evolve val`: the numbers of training, for weights and a split that are named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from detector import checkpoint
from detector.datasets import open_dataset
from detector.trainer import LaneSpec, Trainer
from evolve.cli import app
from evolve.errors import EvolveError
from tests.trained import PLAN, VALUES

Val = Callable[..., Result]


@pytest.fixture
def val(weights: Path) -> Val:
    """Runs `evolve val` with trained weights; what goes wrong is raised."""

    def run(*arguments: str, file: Path = weights, **settings: Any) -> Result:
        return CliRunner().invoke(app, ["val", str(file), *arguments], catch_exceptions=False, **settings)

    return run


def write_yolo(folder: Path, names: list[str], *, label: int, factor: int = 1) -> Path:
    """Ten validation scenes as PNG files, enlarged by a factor, with a label file each."""
    val = open_dataset("digits-1", image_size=64).val
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for index in range(10):
        scene = val.sample(index, 0)
        image = Image.fromarray(scene.image.permute(1, 2, 0).numpy())
        image.resize((64 * factor, 64 * factor), Image.Resampling.NEAREST).save(folder / "images" / f"{index}.png")
        (folder / "labels" / f"{index}.txt").write_text(
            "".join(
                f"{label} {(x0 + x1) / 128} {(y0 + y1) / 128} {(x1 - x0) / 64} {(y1 - y0) / 64}\n"
                for x0, y0, x1, y1 in scene.boxes_M4.tolist()
            )
        )
    config = {"path": ".", "train": "images", "val": "images", "names": names}
    (folder / "data.yaml").write_text(yaml.safe_dump(config))
    return folder


def two_class_weights(path: Path) -> Path:
    """Weights of a network of two classes as it is after one."""
    lane = LaneSpec(values=VALUES, checkpoint=path)
    data = open_dataset(str(write_yolo(path.parent / "train", ["digit", "other"], label=0)), image_size=64)
    list(Trainer(replace(PLAN, epochs=1), data, [lane]).fit())
    return path


def test_the_scores_are_those_that_training_measured(val: Val, weights: Path) -> None:
    found = json.loads(val("--data", "digits-1", "--json").stdout)

    stored = checkpoint.load(weights).metrics
    assert stored["map50"] > 0.3
    assert {name: found[name] for name in stored} == dict(stored)
    assert found["classes"]["digit"] == {"objects": found["objects"], **stored}


def test_images_with_most_mistakes_are_named_by_their_files(val: Val, tmp_path: Path) -> None:
    data = write_yolo(tmp_path / "data", ["digit"], label=0)
    (data / "labels" / "4.txt").write_text("".join(f"0 0.1 0.{row} 0.15 0.08\n" for row in range(1, 10)))

    found = json.loads(val("--data", str(data), "--json").stdout)
    text = val("--data", str(data)).stdout

    assert found["worst"][0]["image"] == str(data / "images" / "4.png")
    assert found["worst"][0]["missed"] >= 8
    totals = [each["missed"] + each["false"] for each in found["worst"]]
    assert totals == sorted(totals, reverse=True)
    assert 0 not in totals
    assert "most mistakes there" in text
    assert found["worst"][0]["image"] in text


def test_the_parts_of_the_result_agree_with_each_other(val: Val) -> None:
    found = json.loads(val("--data", "digits-1", "--split", "test", "--json").stdout)

    best, counts = found["best"], found["confusion"]["counts"]
    assert found["images"] == 256
    assert best == max(found["sweep"], key=lambda point: point["f1"])
    assert sum(part["objects"] for part in found["sizes"].values()) == found["objects"]
    assert sum(counts[0]) == found["objects"]
    assert counts[0][0] == round(best["recall"] * found["objects"])
    assert counts[1][0] == round(best["false_positives_per_image"] * found["images"])
    assert found["confusion"]["found"] == ["digit", "background"]
    curve = found["curves"]["all"]
    assert curve == found["curves"]["classes"]["digit"]
    assert len(curve["score"]) == 99
    assert curve["recall"] == sorted(curve["recall"], reverse=True)
    same_score = next(
        point for point in found["sweep"] if (point["score"], point["nms_iou"]) == (0.5, found["nms_iou"])
    )
    assert {name: column[49] for name, column in curve.items()} == {name: same_score[name] for name in curve}


def test_people_read_the_scores_the_best_point_and_what_to_do_with_it(val: Val) -> None:
    lines = val("--data", "digits-1").stdout.splitlines()

    heads = [line.split()[0] for line in lines if line]
    assert {"val", "all", "class", "small", "medium", "large", "best", "confusion", "next"} <= set(heads)
    assert " --score 0." in lines[-1]
    assert lines[0].endswith("(suppression at IoU 0.45)")
    assert "precision and recall: of each row at its own best F1, so parts may all have a higher recall" in lines


def test_another_overlap_of_suppression_gives_other_scores_and_is_swept(val: Val) -> None:
    one, other = (
        json.loads(val("--data", "digits-1", "--nms-iou", overlap, "--json").stdout) for overlap in ("0.45", "0.85")
    )

    assert one["map50"] != other["map50"]
    assert 0.85 in {point["nms_iou"] for point in other["sweep"]}


def test_classes_are_matched_by_name_whatever_their_order(val: Val, tmp_path: Path) -> None:
    trained = checkpoint.load(two_class_weights(tmp_path / "two.pt"))
    assert trained.names == ("digit", "other")

    ways = []
    for label, names in enumerate((["digit", "other"], ["other", "digit"])):
        data = write_yolo(tmp_path / str(label), names, label=label)
        ways.append(json.loads(val("--data", str(data), "--json", file=tmp_path / "two.pt").stdout))

    for key in ("classes", "confusion", "best", "map50"):
        assert ways[0][key] == ways[1][key]


def test_a_class_that_the_weights_do_not_know_is_refused(val: Val, tmp_path: Path) -> None:
    with pytest.raises(EvolveError, match=r"classes \['cat'\] are not among those of the weights; allowed: \['digit'"):
        val("--data", str(write_yolo(tmp_path / "data", ["cat", "digit"], label=1)))


def test_sizes_are_those_of_the_files(val: Val, tmp_path: Path) -> None:
    small = json.loads(val("--data", str(write_yolo(tmp_path / "a", ["digit"], label=0)), "--json").stdout)
    large = json.loads(val("--data", str(write_yolo(tmp_path / "b", ["digit"], label=0, factor=8)), "--json").stdout)

    assert small["sizes"]["large"] == {
        "objects": 0, "precision": None, "recall": None, "map50": None, "map50_95": None
    }  # fmt: skip
    assert large["sizes"]["large"]["objects"] == large["objects"] == small["objects"]
    assert large["map50"] == pytest.approx(small["map50"], abs=0.2)


def test_a_split_that_is_not_there_is_refused_with_those_that_are(val: Val, tmp_path: Path) -> None:
    with pytest.raises(EvolveError, match=r"'tset': data digits-1 have no such split; allowed: train, val, test"):
        val("--data", "digits-1", "--split", "tset")


def test_data_that_cannot_be_read_are_named(val: Val, tmp_path: Path) -> None:
    with pytest.raises(EvolveError, match=r"data .*none: No such file"):
        val("--data", str(tmp_path / "none"))
