"""A study may begin from another trainer's usual hyperparameters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from evolve.errors import StudyError
from evolve.exchange.dialects import TABLES
from evolve.exchange.presets import DIALECT_OF, with_preset
from evolve.study.file import PRESETS, StudyFile, read_study
from tests.processes import evolve

SUMMARY = {"classes": ["a", "b", "c"], "splits": {"train": {"images": 160}}}


def file_of(folder: Path, **changes: object) -> StudyFile:
    path = folder / "s.yaml"
    space = {"lr0": {"low": 0.001, "high": 0.1, "log": True}}
    path.write_text(yaml.safe_dump({"space": space, "budget": {"trials": 2}, "epochs": 1, **changes}))
    return read_study(str(path))


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_study_that_keeps_what_its_file_says(name: str, tmp_path: Path) -> None:
    file = file_of(tmp_path, preset=name, hyperparameters={"fliplr": 0.25}, model="yolov3-tiny", image_size=160)

    study = with_preset(file, file.preview(), None, SUMMARY)

    assert study.hyperparameters({}).fliplr == 0.25 and "lr0" not in study.fixed
    assert study.decisions["preset"].startswith(f"{name} preset: ")
    assert study.hyperparameters({}) != file.preview().hyperparameters({})
    assert {"paper", *DIALECT_OF} == set(PRESETS) and set(DIALECT_OF.values()) == set(TABLES)


def test_ultralytics_gains_are_those_its_train_py_ends_up_with(tmp_path: Path) -> None:
    file = file_of(tmp_path, preset="ultralytics-yolov3", model="yolov3-tiny", image_size=160)

    values = with_preset(file, file.preview(), None, SUMMARY).hyperparameters({})

    assert (values.box, values.noobj, values.cls) == pytest.approx((0.05 * 1.5, 1.5 / 16, 0.5 * 3 / 80 * 1.5))


def test_a_stored_study_keeps_its_values_whatever_the_data_are_now(tmp_path: Path) -> None:
    file = file_of(tmp_path, preset="ultralytics-yolov3")
    stored = with_preset(file, file.preview(), None, SUMMARY)
    other = {"classes": ["a"], "splits": {"train": {"images": 16}}}

    again = with_preset(file, file.settled_like(stored), stored, other)

    assert again.differences(stored) == [] and again.decisions == stored.decisions


def test_another_preset_than_the_stored_studys_is_refused(tmp_path: Path) -> None:
    began, plain = file_of(tmp_path, preset="paper"), file_of(tmp_path)
    stored, without = with_preset(began, began.preview(), None, SUMMARY), plain.preview()
    other = file_of(tmp_path, preset="darknet")

    with pytest.raises(
        StudyError, match=r"preset: study s is stored with other values: those of paper, not of darknet"
    ):
        with_preset(other, other.settled_like(stored), stored, {})
    with pytest.raises(StudyError, match="those of no preset, not of darknet"):
        with_preset(other, other.settled_like(without), without, {})


def test_a_preset_that_nobody_knows_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"s.yaml: preset: unknown preset 'yolov5'"):
        file_of(tmp_path, preset="yolov5")


def test_a_run_says_whose_hyperparameters_it_begins_from_and_goes_on_with_them(tmp_path: Path) -> None:
    file_of(tmp_path, preset="darknet", data="digits-1", hyperparameters={"lrf": 0.5})
    planned = json.loads(evolve(tmp_path, "run", "--study", "s.yaml", "--dry-run", "--json").stdout)["study"]

    assert planned["hyperparameters"]["coding"] == "exp" and planned["hyperparameters"]["lrf"] == 0.5
    assert "yolov3.cfg" in planned["decisions"]["preset"]


def test_a_study_under_former_defaults_has_the_presets_values_and_not_those(tmp_path: Path) -> None:
    file = file_of(tmp_path, preset="ultralytics-yolov3", defaults=1)

    values = with_preset(file, file.preview(), None, SUMMARY).hyperparameters({})

    assert (values.coding, values.cells, values.box_loss) == ("bounded", "neighbours", "ciou")
