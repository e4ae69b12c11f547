"""Names of studies and trainings: the same command finds its own again, another one does not collide."""

from pathlib import Path

import pytest

from detector.hyperparameters import Hyperparameters
from evolve.errors import StudyError
from evolve.study import Study
from evolve.study.hyp import HypFile
from evolve.study.naming import data_name, derived_name, imported_name, training_study

HYP = HypFile(values=Hyperparameters(lr0=0.02), given=("lr0",), training={"epochs": 3})


def named(**chosen: object) -> str:
    return derived_name("lr_sweep", chosen)


def test_a_study_as_it_is_keeps_its_name() -> None:
    assert named(data=None, epochs=None) == "lr_sweep"


def test_what_the_command_line_changes_is_in_the_name() -> None:
    assert named(data="photos/raccoon", model="yolov3-tiny", epochs=30, image_size=160) == (
        "lr_sweep-raccoon-yolov3_tiny-30ep-160px"
    )
    assert named(seeds=(0, 1)) == "lr_sweep-seeds0_1"
    assert named(updates=600, nms_iou=0.6) == "lr_sweep-600up-nms0_6"
    assert named(weights="a/darknet53.conv.74", freeze=75) == "lr_sweep-from_darknet53_conv-freeze_75"


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ("photos/cells/data.yaml", "cells"),
        ("photos/cells/dataset.yml", "cells"),
        ("photos/cells.yaml", "cells"),
        ("photos/cells/train.txt", "cells"),
        ("photos/cells/_annotations.coco.json", "cells"),
        ("photos/annotations/instances_cells.json", "instances_cells"),
        ("photos/cells v1.2", "cells_v1_2"),
        ("digits-3", "digits_3"),
    ],
)
def test_a_data_set_is_named_by_its_folder_where_the_file_has_anyones_name(data: str, word: str) -> None:
    assert named(data=data) == f"lr_sweep-{word}"


def test_tables_for_others_name_the_data_without_the_path_to_them() -> None:
    assert [data_name(data) for data in ("/home/me/photos/blood-cells", "digits-3", "a/cells/data.yaml")] == [
        "blood-cells",
        "digits-3",
        "cells",
    ]


def train(stored: dict[str, Study], *, name: str | None = None, **chosen: object) -> Study:
    return training_study(HYP, Path("mine.yaml"), chosen, {}, name=name, stored=stored.get)


def test_a_training_is_a_study_of_one_trial_with_the_files_values_and_setting() -> None:
    study = train({}, batch_size=8)

    assert (study.name, study.epochs, study.nominal_batch_size) == ("train-mine-8b", 3, 8)
    assert study.hyperparameters({}) == HYP.values
    assert study.budget.trials == 1


def test_the_same_training_goes_on_under_its_name_and_another_is_counted_up() -> None:
    first = train({})
    other = HypFile(values=Hyperparameters(lr0=0.3), given=("lr0",), training={"epochs": 3})

    assert train({first.name: first}).name == first.name
    second = training_study(other, Path("mine.yaml"), {}, {}, name=None, stored={first.name: first}.get)
    assert second.name == "train-mine-2"


def test_a_name_that_is_taken_by_another_training_is_refused() -> None:
    first = train({}, name="mine")

    with pytest.raises(StudyError, match="--name: mine is stored with other epochs"):
        train({"mine": first}, name="mine", epochs=9)


@pytest.mark.parametrize(
    ("file", "name"), [("résultats.csv", "import-r_sultats"), ("a" * 120 + ".csv", f"import-{'a' * 93}")]
)
def test_an_import_is_named_after_its_file_as_a_study_may_be_named(file: str, name: str) -> None:
    assert imported_name(Path(file)) == name
    assert Study.from_mapping({"name": name, "space": {}, "budget": {"trials": 1}}, origin="test").name == name
